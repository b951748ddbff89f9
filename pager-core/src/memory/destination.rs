//! [`Destination`]: what reads append to and takes fill.

#![allow(
    unsafe_code,
    reason = "views elements as bytes, and lengthens a buffer over those that were filled"
)]

use std::io;
use std::mem::MaybeUninit;

use bytemuck::Pod;

use super::{ChunkBuf, ElementLayout, HeapBuf, Window, try_reserve};
use crate::backend::ChunkKind;
use crate::{Error, OwnedChunk, Result};

/// A buffer that elements can be read into: a `Vec` or a [`ChunkBuf`], and with the
/// features of those names `bytes::Bytes` and Arrow's `Buffer`. Sealed: these are all
/// there are.
///
/// A [`ChunkBuf`] is aligned for direct I/O, so a file backend reads straight
/// into it; a `Vec` costs one copy more.
pub trait Destination: Adopt {}

impl<T: Pod> Destination for Vec<T> {}
impl<T: Pod> Destination for ChunkBuf<T> {}

/// The sealed half of [`Destination`].
pub trait Adopt {
    /// What it is a buffer of.
    type Element: Pod;

    /// The kind of chunk that [`adopt`](Self::adopt) accepts.
    const KIND: ChunkKind;

    /// Forgets the elements; the capacity stays.
    fn clear(&mut self);

    /// Appends exactly `len_bytes` bytes, a whole number of elements, which `fill`
    /// writes; nothing on failure.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`], those of `fill`, and [`Error::Io`] if it left
    /// part of the window unfilled.
    fn append(
        &mut self,
        len_bytes: usize,
        fill: impl FnOnce(&mut Window<'_>) -> Result<()>,
    ) -> Result<()>;

    /// Becomes this chunk, if it is of the right kind and its buffer is one for these
    /// elements, and returns the buffer it was before.
    ///
    /// # Errors
    ///
    /// The chunk, otherwise.
    fn adopt(&mut self, chunk: OwnedChunk) -> Result<OwnedChunk, OwnedChunk>;
}

impl<T: Pod> Adopt for Vec<T> {
    type Element = T;

    const KIND: ChunkKind = ChunkKind::Vec;

    fn clear(&mut self) {
        self.clear();
    }

    fn append(
        &mut self,
        len_bytes: usize,
        fill: impl FnOnce(&mut Window<'_>) -> Result<()>,
    ) -> Result<()> {
        let additional = elements_in::<T>(len_bytes);
        try_reserve(self, additional, Vec::try_reserve)?;
        fill_exactly(bytes_of(&mut self.spare_capacity_mut()[..additional]), fill)?;
        let len = self.len() + additional;
        // SAFETY: within the capacity reserved above, and `fill_exactly` has
        // seen all bytes of the additional elements filled, of which any make one.
        unsafe { self.set_len(len) };
        Ok(())
    }

    fn adopt(&mut self, chunk: OwnedChunk) -> Result<OwnedChunk, OwnedChunk> {
        match chunk {
            OwnedChunk::Vec(buf) => {
                let vec = buf.into_vec().map_err(OwnedChunk::Vec)?;
                let old = std::mem::replace(self, vec);
                Ok(OwnedChunk::Vec(HeapBuf::of_vec(old)))
            }
            other => Err(other),
        }
    }
}

impl<T: Pod> Adopt for ChunkBuf<T> {
    type Element = T;

    const KIND: ChunkKind = ChunkKind::Buf;

    fn clear(&mut self) {
        self.clear();
    }

    fn append(
        &mut self,
        len_bytes: usize,
        fill: impl FnOnce(&mut Window<'_>) -> Result<()>,
    ) -> Result<()> {
        let additional = elements_in::<T>(len_bytes);
        self.reserve(additional)?;
        fill_exactly(bytes_of(&mut self.spare()[..additional]), fill)?;
        // SAFETY: within the capacity reserved above, and `fill_exactly` has
        // seen all bytes of the additional elements filled, of which any make one.
        unsafe { self.assume_filled(additional) };
        Ok(())
    }

    fn adopt(&mut self, chunk: OwnedChunk) -> Result<OwnedChunk, OwnedChunk> {
        match chunk {
            OwnedChunk::Buf(buf) => {
                let buf = buf.cast().map_err(OwnedChunk::Buf)?;
                let old = std::mem::replace(self, buf);
                Ok(OwnedChunk::Buf(old.into_bytes()))
            }
            other => Err(other),
        }
    }
}

impl HeapBuf {
    /// As [`Adopt::append`], with no more room than is needed.
    pub(crate) fn append(
        &mut self,
        len_bytes: usize,
        fill: impl FnOnce(&mut Window<'_>) -> Result<()>,
    ) -> Result<()> {
        self.reserve_exact(len_bytes)?;
        fill_exactly(&mut self.spare()[..len_bytes], fill)?;
        // SAFETY: within the capacity reserved above, and `fill_exactly` has seen all
        // of them filled.
        unsafe { self.assume_filled(len_bytes) };
        Ok(())
    }
}

/// How many elements so many bytes are.
fn elements_in<T: Pod>(len_bytes: usize) -> usize {
    let element = ElementLayout::of::<T>();
    debug_assert!(
        len_bytes.is_multiple_of(element.bytes()),
        "elements are read whole"
    );
    len_bytes / element.bytes()
}

/// The bytes of elements that are not initialised.
fn bytes_of<T: Pod>(spare: &mut [MaybeUninit<T>]) -> &mut [MaybeUninit<u8>] {
    let (start, len_bytes) = (spare.as_mut_ptr(), size_of_val(spare));
    // SAFETY:
    // - the same memory, exclusively borrowed for as long as the result lives;
    // - bytes have no alignment, and `MaybeUninit` asks nothing of their content;
    // - whatever is written to them, the elements stay valid as `MaybeUninit`s.
    unsafe { std::slice::from_raw_parts_mut(start.cast(), len_bytes) }
}

/// Runs `fill` over a window of `spare`, and succeeds only if all of `spare` is
/// initialised afterwards.
pub(super) fn fill_exactly(
    spare: &mut [MaybeUninit<u8>],
    fill: impl FnOnce(&mut Window<'_>) -> Result<()>,
) -> Result<()> {
    let (start, len) = (spare.as_ptr().cast::<u8>(), spare.len());
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
