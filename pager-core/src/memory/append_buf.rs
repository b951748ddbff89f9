//! [`AppendBuf`]: a buffer that one thread appends to while others read what it has
//! published.
//!
//! There is one [`Appender`] to each buffer, and it alone writes, always behind what it
//! has written before. So published bytes never change, and whoever sees that they are
//! published may read them for as long as it holds the buffer. The appender gets the
//! memory back as a [`ChunkBuf`] once nobody else holds it.

#![allow(unsafe_code, reason = "shares the filled part of a buffer that grows")]

use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

use super::ChunkBuf;
use crate::Result;
use crate::sync::{AtomicUsize, Ordering};

/// The buffer, and `beside` it whatever lives as long: its charge, say.
pub(crate) struct AppendBuf<C> {
    /// Where its memory begins: that of `buf`, whose spare room it is.
    start: NonNull<u8>,
    capacity_bytes: usize,
    /// Bytes that may be read. Release by the appender, and Acquire by readers: who sees
    /// the count sees the bytes.
    published_bytes: AtomicUsize,
    /// Not looked into while the buffer is shared.
    buf: ChunkBuf<u8>,
    beside: C,
}

// SAFETY: it owns plain memory, as a `ChunkBuf` does; what is beside may be sent.
unsafe impl<C: Send> Send for AppendBuf<C> {}
// SAFETY: through a shared reference only published bytes can be read, which nobody
// writes any more; what is beside may be shared.
unsafe impl<C: Sync> Sync for AppendBuf<C> {}

/// The right to append to one buffer.
pub(crate) struct Appender<C> {
    shared: Arc<AppendBuf<C>>,
    filled_bytes: usize,
}

impl<C> Appender<C> {
    /// An empty buffer of at least this capacity, in the arena that all share.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`](crate::Error::OutOfMemory), with nothing made of `beside`.
    pub(crate) fn new(capacity_bytes: usize, beside: C) -> Result<Self> {
        let mut buf = ChunkBuf::with_capacity(capacity_bytes)?;
        let spare = buf.spare();
        let capacity_bytes = size_of_val(spare);
        let start = NonNull::new(spare.as_mut_ptr().cast()).unwrap_or(NonNull::dangling());
        let shared = AppendBuf {
            start,
            capacity_bytes,
            published_bytes: AtomicUsize::new(0),
            buf,
            beside,
        };
        Ok(Self {
            shared: Arc::new(shared),
            filled_bytes: 0,
        })
    }

    /// The buffer as readers have it.
    pub(crate) fn shared(&self) -> &Arc<AppendBuf<C>> {
        &self.shared
    }

    /// Bytes appended, published or not.
    pub(crate) fn filled_bytes(&self) -> usize {
        self.filled_bytes
    }

    /// Bytes that can still be appended.
    pub(crate) fn room_bytes(&self) -> usize {
        self.shared.capacity_bytes - self.filled_bytes
    }

    /// Appends as much of `bytes` as there is room for, and returns how much that was.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room_bytes());
        // SAFETY: `filled_bytes` is at most the capacity of the memory at `start`.
        let end = unsafe { self.shared.start.add(self.filled_bytes) };
        // SAFETY: `count` bytes fit behind `end`; nobody else reads or writes there, for
        // they are not published and this is the only appender; `bytes` is memory of
        // somebody else's, for nobody can have borrowed what is not published.
        unsafe { end.copy_from_nonoverlapping(NonNull::from(bytes).cast(), count) };
        self.filled_bytes += count;
        count
    }

    /// Appends zeros up to byte `offset`, or as many as there is room for.
    pub(crate) fn pad_to(&mut self, offset: usize) {
        while self.filled_bytes < offset {
            let count = (offset - self.filled_bytes).min(64);
            if self.append(&[0; 64][..count]) == 0 {
                return;
            }
        }
    }

    /// Lets readers have everything that was appended.
    pub(crate) fn publish(&self) {
        self.shared
            .published_bytes
            .store(self.filled_bytes, Ordering::Release);
    }

    /// What was appended.
    pub(crate) fn filled(&self) -> &[u8] {
        // SAFETY: the first `filled_bytes` of the memory at `start` are filled, and none
        // of them is written again.
        unsafe { std::slice::from_raw_parts(self.shared.start.as_ptr(), self.filled_bytes) }
    }

    /// The buffer and what lay beside it, if nobody else holds it.
    ///
    /// # Errors
    ///
    /// The appender as it was.
    pub(crate) fn into_parts(self) -> Result<(ChunkBuf<u8>, C), Self> {
        let filled_bytes = self.filled_bytes;
        match Arc::try_unwrap(self.shared) {
            Ok(AppendBuf {
                mut buf, beside, ..
            }) => {
                // SAFETY: so many bytes are within the capacity and filled.
                unsafe { buf.assume_filled(filled_bytes) };
                Ok((buf, beside))
            }
            Err(shared) => Err(Self {
                shared,
                filled_bytes,
            }),
        }
    }
}

impl<C> AppendBuf<C> {
    /// Bytes that may be read.
    pub(crate) fn published_bytes(&self) -> usize {
        self.published_bytes.load(Ordering::Acquire)
    }

    /// The published bytes from `offset` on; none if it lies behind them.
    pub(crate) fn published_from(&self, offset: usize) -> &[u8] {
        let published_bytes = self.published_bytes();
        let offset = offset.min(published_bytes);
        // SAFETY: `offset` is within the capacity.
        let start = unsafe { self.start.add(offset) };
        // SAFETY: the bytes up to `published_bytes` are filled and not written again as
        // long as the buffer is, of which this is a borrow.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), published_bytes - offset) }
    }

    /// Bytes of memory that it holds.
    pub(crate) fn capacity_bytes(&self) -> usize {
        self.capacity_bytes
    }

    /// What lives as long.
    pub(crate) fn beside(&self) -> &C {
        &self.beside
    }
}

impl<C> fmt::Debug for AppendBuf<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let published_bytes = self.published_bytes();
        write!(f, "{published_bytes} of {} bytes", self.capacity_bytes)
    }
}

impl<C> fmt::Debug for Appender<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes filled, {:?}", self.filled_bytes, self.shared)
    }
}

#[cfg(all(test, not(pager_shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_is_read_once_it_is_published() {
        let mut appender = Appender::new(16, ()).unwrap();
        let shared = Arc::clone(appender.shared());
        assert_eq!(appender.append(b"abc"), 3);
        assert_eq!(shared.published_from(0), b"");
        appender.publish();
        let early = shared.published_from(1);
        appender.append(b"de");
        assert_eq!(early, b"bc");
        appender.publish();
        assert_eq!(shared.published_from(0), b"abcde");
        appender.append(b"f");
        assert_eq!(appender.filled(), b"abcdef");
        let appender = appender.into_parts().expect_err("it is shared");
        appender.publish();
        assert_eq!(shared.published_from(3), b"def");
        drop(shared);
        let (buf, ()) = appender.into_parts().expect("it is not shared");
        assert_eq!(*buf, *b"abcdef");
    }

    #[test]
    fn no_more_is_appended_than_there_is_room_for() {
        let mut appender = Appender::new(8, "beside").unwrap();
        let room_bytes = appender.room_bytes();
        let bytes = vec![7; room_bytes + 1];
        assert_eq!(appender.append(&bytes), room_bytes);
        assert_eq!(appender.append(&bytes), 0);
        let (buf, beside) = appender.into_parts().expect("it is not shared");
        assert_eq!((buf.len(), beside), (room_bytes, "beside"));
    }

    #[test]
    fn readers_see_whole_what_is_appended_meanwhile() {
        let mut appender = Appender::new(4096, ()).unwrap();
        let shared = Arc::clone(appender.shared());
        let reader = std::thread::spawn(move || {
            let mut seen = 0;
            while seen < 1000 {
                let bytes = shared.published_from(0);
                let expected = (0..=u8::MAX).cycle().take(bytes.len());
                assert!(bytes.iter().copied().eq(expected));
                seen = bytes.len();
                std::thread::yield_now();
            }
        });
        for byte in (0..=u8::MAX).cycle().take(1000) {
            appender.append(&[byte]);
            appender.publish();
        }
        reader.join().unwrap();
    }
}
