//! [`LargeObjects`]: chunks in pooled anonymous memory with huge pages, which the kernel
//! swaps when it likes. `lgalloc` reads ahead when told, and does not page out.

#![allow(
    unsafe_code,
    reason = "the allocator hands out raw memory, as allocators do"
)]

use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::slice;
use std::time::Duration;

use lgalloc::{AllocError, BackgroundWorkerConfig, Handle, LgAlloc};

use super::{Kept, Peer};

/// The allocator, which a process has once.
#[derive(Debug)]
pub(super) struct LargeObjects(());

/// One object. Given back when it is dropped.
struct KeptObject {
    words: NonNull<u64>,
    word_count: usize,
    /// Taken when the object is given back.
    handle: Option<Handle>,
}

// SAFETY: the memory is this object's own, and words may be read and written anywhere; the
// handle says the same of itself.
unsafe impl Send for KeptObject {}
// SAFETY: through a shared reference nobody writes.
unsafe impl Sync for KeptObject {}

impl LargeObjects {
    /// Enables it for the process, with the worker that returns freed memory to the kernel.
    pub(super) fn new() -> Self {
        lgalloc::lgalloc_set_config(LgAlloc::new().enable().with_background_config(
            BackgroundWorkerConfig {
                interval: Duration::from_secs(1),
                clear_bytes: 64 << 20,
            },
        ));
        Self(())
    }
}

impl Peer for LargeObjects {
    fn put(&self, words: &[u64]) -> io::Result<Box<dyn Kept>> {
        let (start, capacity, handle) =
            lgalloc::allocate::<u64>(words.len()).map_err(|error| match error {
                AllocError::Io(error) => error,
                AllocError::OutOfMemory => io::ErrorKind::OutOfMemory.into(),
                error => io::Error::other(error),
            })?;
        debug_assert!(capacity >= words.len());
        // SAFETY: memory of at least so many words that nobody else has; what is copied lies
        // elsewhere.
        unsafe { start.copy_from_nonoverlapping(NonNull::from(words).cast(), words.len()) };
        Ok(Box::new(KeptObject {
            words: start,
            word_count: words.len(),
            handle: Some(handle),
        }))
    }
}

impl Kept for KeptObject {
    fn word_count(&self) -> usize {
        self.word_count
    }

    fn prefetch(&self) {
        if let Some(handle) = &self.handle {
            // Advice: what comes of it is a matter of speed.
            let _ = handle.prefetch::<u64>(0..self.word_count);
        }
    }

    fn bring_back(self: Box<Self>, words: &mut [u64]) -> io::Result<()> {
        // SAFETY: so many words were written when the object was made, and nobody changes them.
        let kept = unsafe { slice::from_raw_parts(self.words.as_ptr(), self.word_count) };
        words.copy_from_slice(kept);
        Ok(())
    }
}

impl Drop for KeptObject {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            lgalloc::deallocate(handle);
        }
    }
}

impl fmt::Debug for KeptObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptObject")
            .field("words", &self.words)
            .field("word_count", &self.word_count)
            .finish_non_exhaustive()
    }
}
