//! [`Destination`]: what reads append to and takes fill.

#![allow(unsafe_code, reason = "lengthens a buffer over words that were filled")]

use std::io;
use std::mem::MaybeUninit;

use super::{ChunkBuf, Window, try_reserve};
use crate::backend::ChunkKind;
use crate::{Error, OwnedChunk, Result};

/// A buffer that words can be read into: `Vec<u64>` or [`ChunkBuf`]. Sealed:
/// these two are all there are.
///
/// A [`ChunkBuf`] is aligned for direct I/O, so a file backend reads straight
/// into it; a `Vec` costs one copy more.
pub trait Destination: Adopt {}

impl Destination for Vec<u64> {}
impl Destination for ChunkBuf {}

/// The sealed half of [`Destination`].
pub trait Adopt {
    /// The kind of chunk that [`adopt`](Self::adopt) accepts.
    const KIND: ChunkKind;

    /// Forgets the words; the capacity stays.
    fn clear(&mut self);

    /// Appends exactly `words` words, which `fill` writes; nothing on failure.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`], those of `fill`, and [`Error::Io`] if it left
    /// part of the window unfilled.
    fn append(
        &mut self,
        words: usize,
        fill: impl FnOnce(&mut Window<'_>) -> Result<()>,
    ) -> Result<()>;

    /// Becomes this chunk, if it is of the right kind, and returns the buffer it
    /// was before.
    ///
    /// # Errors
    ///
    /// The chunk, otherwise.
    fn adopt(&mut self, chunk: OwnedChunk) -> Result<OwnedChunk, OwnedChunk>;
}

impl Adopt for Vec<u64> {
    const KIND: ChunkKind = ChunkKind::Vec;

    fn clear(&mut self) {
        self.clear();
    }

    fn append(
        &mut self,
        words: usize,
        fill: impl FnOnce(&mut Window<'_>) -> Result<()>,
    ) -> Result<()> {
        try_reserve(self, words, Vec::try_reserve)?;
        fill_exactly(&mut self.spare_capacity_mut()[..words], fill)?;
        let len = self.len() + words;
        // SAFETY: within the capacity reserved above, and `fill_exactly` has
        // seen all of the additional words filled.
        unsafe { self.set_len(len) };
        Ok(())
    }

    fn adopt(&mut self, chunk: OwnedChunk) -> Result<OwnedChunk, OwnedChunk> {
        match chunk {
            OwnedChunk::Vec(vec) => Ok(OwnedChunk::Vec(std::mem::replace(self, vec))),
            other @ OwnedChunk::Buf(_) => Err(other),
        }
    }
}

impl Adopt for ChunkBuf {
    const KIND: ChunkKind = ChunkKind::Buf;

    fn clear(&mut self) {
        self.clear();
    }

    fn append(
        &mut self,
        words: usize,
        fill: impl FnOnce(&mut Window<'_>) -> Result<()>,
    ) -> Result<()> {
        self.reserve(words)?;
        fill_exactly(&mut self.spare()[..words], fill)?;
        // SAFETY: within the capacity reserved above, and `fill_exactly` has
        // seen all of the additional words filled.
        unsafe { self.assume_filled(words) };
        Ok(())
    }

    fn adopt(&mut self, chunk: OwnedChunk) -> Result<OwnedChunk, OwnedChunk> {
        match chunk {
            OwnedChunk::Buf(buf) => Ok(OwnedChunk::Buf(std::mem::replace(self, buf))),
            other @ OwnedChunk::Vec(_) => Err(other),
        }
    }
}

/// Runs `fill` over a window of `spare`, and succeeds only if all of `spare` is
/// initialised afterwards.
pub(super) fn fill_exactly(
    spare: &mut [MaybeUninit<u64>],
    fill: impl FnOnce(&mut Window<'_>) -> Result<()>,
) -> Result<()> {
    let (start, len) = (spare.as_ptr().cast::<u64>(), spare.len());
    let mut window = Window::new(spare);
    fill(&mut window)?;
    if window.proves_full(start, len) {
        return Ok(());
    }
    Err(Error::Io {
        backend: "registry",
        operation: "read",
        path: None,
        source: io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the backend did not fill the window it was given",
        ),
    })
}
