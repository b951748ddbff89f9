//! [`Chunk`] and [`OwnedChunk`]: the buffers that are paged out, as callers hold them and
//! as pager does.
//!
//! Callers hold them as `Vec`s or as [`ChunkBuf`]s of one type of elements; pager owns
//! them without that type, as bytes and what those are aligned to.

use std::fmt;

use bytemuck::Pod;

use crate::Result;
use crate::backend::ChunkKind;
use crate::memory::{Adopt, ChunkBuf, ElementLayout, HeapBuf, Window};

pub(super) mod sealed {
    use super::{ChunkKind, ElementLayout, HeapBuf, OwnedChunk};

    /// A chunk, its type forgotten.
    pub trait Erased {
        /// Its bytes.
        fn content(&self) -> &[u8];

        /// Bytes of its buffer.
        fn capacity_bytes(&self) -> usize;

        /// Which kind it is.
        fn kind(&self) -> ChunkKind;

        /// What it is made of.
        fn element(&self) -> ElementLayout;

        /// Empties it; the capacity stays.
        fn clear(&mut self);

        /// Moves it out, and leaves one without capacity.
        fn take(&mut self) -> OwnedChunk;

        /// Becomes an empty chunk with this buffer, if it is one that had none; returns
        /// it otherwise.
        fn refill(&mut self, buffer: HeapBuf) -> Option<HeapBuf> {
            Some(buffer)
        }
    }

    /// Chunks of one page-out, whatever holds them.
    pub trait List {
        /// How many.
        fn count(&self) -> usize;

        /// One of them.
        fn at(&self, index: usize) -> &dyn Erased;

        /// One of them, to be changed.
        fn at_mut(&mut self, index: usize) -> &mut dyn Erased;
    }
}

use super::shared::SharedBytes;
use sealed::{Erased, List};

/// A buffer that can be paged out: a `Vec` or a [`ChunkBuf`] of any plain element,
/// [`Shared`](crate::Shared) bytes, with the features of those names `bytes::Bytes` and
/// Arrow's `Buffer`, or an [`OwnedChunk`] of any kind. Sealed: these are all there are.
pub trait Chunk: Erased {
    /// What it is a buffer of.
    type Element: Pod;

    /// What it holds.
    fn elements(&self) -> &[Self::Element];
}

/// The chunks of one page-out: an array, a `Vec` or a mutable slice of [`Chunk`]s.
/// Sealed: these three are all there are.
pub trait Chunks: List {}

/// A chunk that pager owns, of either kind, as bytes.
#[derive(PartialEq, Eq)]
pub enum OwnedChunk {
    /// Memory of the general allocator.
    Vec(HeapBuf),
    /// Memory of an [`Arena`](crate::Arena).
    Buf(ChunkBuf<u8>),
    /// Memory of somebody else's, who shares it.
    Shared(SharedBytes),
}

impl OwnedChunk {
    /// An empty one without memory.
    pub(crate) fn empty(kind: ChunkKind, element: ElementLayout) -> Self {
        match kind {
            ChunkKind::Vec => Self::Vec(HeapBuf::new(element)),
            ChunkKind::Buf | ChunkKind::Shared => Self::Buf(ChunkBuf::new()),
        }
    }

    /// Which kind it is.
    #[must_use]
    pub fn kind(&self) -> ChunkKind {
        Erased::kind(self)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Vec(buf) => buf,
            Self::Buf(buf) => buf,
            Self::Shared(owner) => owner.as_ref(),
        }
    }

    /// [`Destination`](crate::Destination)'s append, for either kind, of bytes.
    pub(crate) fn append(
        &mut self,
        len_bytes: usize,
        fill: impl FnOnce(&mut Window<'_>) -> Result<()>,
    ) -> Result<()> {
        match self {
            Self::Vec(buf) => buf.append(len_bytes, fill),
            Self::Buf(buf) => Adopt::append(buf, len_bytes, fill),
            Self::Shared(_) => {
                let mut buf = ChunkBuf::new();
                buf.extend_from_slice(self.bytes())?;
                Adopt::append(&mut buf, len_bytes, fill)?;
                *self = Self::Buf(buf);
                Ok(())
            }
        }
    }
}

impl fmt::Debug for OwnedChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} chunk of {} bytes", self.kind(), self.bytes().len())
    }
}

impl<T: Pod> From<Vec<T>> for OwnedChunk {
    fn from(vec: Vec<T>) -> Self {
        Self::Vec(HeapBuf::of_vec(vec))
    }
}

impl AsRef<[u8]> for OwnedChunk {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl<T: Pod> From<ChunkBuf<T>> for OwnedChunk {
    fn from(buf: ChunkBuf<T>) -> Self {
        Self::Buf(buf.into_bytes())
    }
}

impl Chunk for OwnedChunk {
    type Element = u8;

    fn elements(&self) -> &[u8] {
        self.bytes()
    }
}

impl<T: Pod> Chunk for Vec<T> {
    type Element = T;

    fn elements(&self) -> &[T] {
        self
    }
}

impl<T: Pod> Chunk for ChunkBuf<T> {
    type Element = T;

    fn elements(&self) -> &[T] {
        self
    }
}

impl Erased for OwnedChunk {
    fn content(&self) -> &[u8] {
        self.bytes()
    }

    fn capacity_bytes(&self) -> usize {
        match self {
            Self::Vec(buf) => buf.capacity_bytes(),
            Self::Buf(buf) => buf.capacity_bytes(),
            Self::Shared(owner) => owner.as_ref().len(),
        }
    }

    fn kind(&self) -> ChunkKind {
        match self {
            Self::Vec(_) => ChunkKind::Vec,
            Self::Buf(_) => ChunkKind::Buf,
            Self::Shared(_) => ChunkKind::Shared,
        }
    }

    fn element(&self) -> ElementLayout {
        ElementLayout::BYTES
    }

    fn clear(&mut self) {
        match self {
            Self::Vec(buf) => buf.clear(),
            Self::Buf(buf) => buf.clear(),
            Self::Shared(_) => *self = Self::Buf(ChunkBuf::new()),
        }
    }

    fn take(&mut self) -> Self {
        let empty = Self::empty(self.kind(), ElementLayout::BYTES);
        std::mem::replace(self, empty)
    }
}

impl<T: Pod> Erased for Vec<T> {
    fn content(&self) -> &[u8] {
        bytemuck::cast_slice(self)
    }

    fn capacity_bytes(&self) -> usize {
        self.capacity() * size_of::<T>()
    }

    fn kind(&self) -> ChunkKind {
        ChunkKind::Vec
    }

    fn element(&self) -> ElementLayout {
        ElementLayout::of::<T>()
    }

    fn clear(&mut self) {
        self.clear();
    }

    fn take(&mut self) -> OwnedChunk {
        std::mem::take(self).into()
    }

    fn refill(&mut self, buffer: HeapBuf) -> Option<HeapBuf> {
        if self.capacity() > 0 {
            return Some(buffer);
        }
        match buffer.into_vec() {
            Ok(vec) => {
                *self = vec;
                None
            }
            Err(other) => Some(other),
        }
    }
}

impl<T: Pod> Erased for ChunkBuf<T> {
    fn content(&self) -> &[u8] {
        bytemuck::cast_slice(self)
    }

    fn capacity_bytes(&self) -> usize {
        self.capacity_bytes()
    }

    fn kind(&self) -> ChunkKind {
        ChunkKind::Buf
    }

    fn element(&self) -> ElementLayout {
        ElementLayout::of::<T>()
    }

    fn clear(&mut self) {
        self.clear();
    }

    fn take(&mut self) -> OwnedChunk {
        std::mem::take(self).into()
    }
}

/// The same for everything that derefs to a slice of chunks.
macro_rules! list {
    ($([$($generics:tt)*] $list:ty),* $(,)?) => {$(
        impl<$($generics)*> List for $list {
            fn count(&self) -> usize {
                self.len()
            }

            fn at(&self, index: usize) -> &dyn Erased {
                &self[index]
            }

            fn at_mut(&mut self, index: usize) -> &mut dyn Erased {
                &mut self[index]
            }
        }

        impl<$($generics)*> Chunks for $list {}
    )*};
}

list!([C: Chunk] Vec<C>, [C: Chunk] &mut [C], [C: Chunk, const N: usize] [C; N]);
