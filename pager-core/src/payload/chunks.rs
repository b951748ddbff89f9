//! [`Payload`]: the chunks of one page-out on their way into a backend.
//!
//! Callers hold chunks as plain `Vec<u64>`s or as [`ChunkBuf`]s; a background
//! write holds them as [`OwnedChunk`]s. A backend sees all three through this one
//! view, and either copies the words and [clears](Payload::clear) the chunks, or
//! [moves the chunks out](Payload::take_chunks).

use std::fmt;

use crate::Result;
use crate::backend::ChunkKind;
use crate::memory::{Adopt, ChunkBuf, Window, try_reserve};

mod sealed {
    use super::{ChunkBuf, OwnedChunk};

    pub trait Sealed: Sized {
        fn payload(chunks: &mut [Self]) -> Slices<'_>;
    }

    /// The callers' chunks, whichever kind they are.
    #[derive(Debug)]
    pub enum Slices<'a> {
        Vecs(&'a mut [Vec<u64>]),
        Bufs(&'a mut [ChunkBuf]),
        Owned(&'a mut [OwnedChunk]),
        Shared(&'a [OwnedChunk]),
        Words(&'a [u64]),
    }
}

pub(super) use sealed::Slices;

/// A buffer of words that can be paged out: `Vec<u64>`, [`ChunkBuf`], or an
/// [`OwnedChunk`] of either kind. Sealed: these three are all there are.
pub trait Chunk: sealed::Sealed {
    /// The words of the chunk.
    fn words(&self) -> &[u64];
}

/// A chunk that pager owns, of either kind.
#[derive(PartialEq, Eq)]
pub enum OwnedChunk {
    /// Memory of the general allocator.
    Vec(Vec<u64>),
    /// Memory of an [`Arena`](crate::Arena).
    Buf(ChunkBuf),
}

impl OwnedChunk {
    /// Which kind it is.
    #[must_use]
    pub fn kind(&self) -> ChunkKind {
        match self {
            Self::Vec(_) => ChunkKind::Vec,
            Self::Buf(_) => ChunkKind::Buf,
        }
    }

    fn clear(&mut self) {
        match self {
            Self::Vec(vec) => vec.clear(),
            Self::Buf(buf) => buf.clear(),
        }
    }

    /// [`Destination`](crate::Destination)'s append, for either kind.
    pub(crate) fn append(
        &mut self,
        words: usize,
        fill: impl FnOnce(&mut Window<'_>) -> Result<()>,
    ) -> Result<()> {
        match self {
            Self::Vec(vec) => Adopt::append(vec, words, fill),
            Self::Buf(buf) => Adopt::append(buf, words, fill),
        }
    }
}

impl fmt::Debug for OwnedChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} chunk of {} words", self.kind(), self.words().len())
    }
}

impl Chunk for OwnedChunk {
    fn words(&self) -> &[u64] {
        match self {
            Self::Vec(vec) => vec,
            Self::Buf(buf) => buf,
        }
    }
}

impl Chunk for Vec<u64> {
    fn words(&self) -> &[u64] {
        self
    }
}

impl Chunk for ChunkBuf {
    fn words(&self) -> &[u64] {
        self
    }
}

impl sealed::Sealed for OwnedChunk {
    fn payload(chunks: &mut [Self]) -> Slices<'_> {
        Slices::Owned(chunks)
    }
}

impl sealed::Sealed for Vec<u64> {
    fn payload(chunks: &mut [Self]) -> Slices<'_> {
        Slices::Vecs(chunks)
    }
}

impl sealed::Sealed for ChunkBuf {
    fn payload(chunks: &mut [Self]) -> Slices<'_> {
        Slices::Bufs(chunks)
    }
}

/// The chunks of one page-out, joined in order.
pub struct Payload<'a> {
    pub(super) slices: Slices<'a>,
    len: usize,
    /// Whether the chunks stay with their owner, who empties them.
    lent: bool,
}

impl<'a> Payload<'a> {
    /// A view of `chunks`. Complexity: one addition per chunk.
    pub fn new<C: Chunk>(chunks: &'a mut [C]) -> Self {
        let len = chunks.iter().map(|chunk| chunk.words().len()).sum();
        Self {
            slices: C::payload(chunks),
            len,
            lent: false,
        }
    }

    /// A view of chunks that stay as they are until their owner knows that more
    /// than this payload has been stored. As [`shared`](Self::shared) otherwise.
    pub fn lent<C: Chunk>(chunks: &'a mut [C]) -> Self {
        Self {
            lent: true,
            ..Self::new(chunks)
        }
    }

    /// A view of chunks that others are reading meanwhile: they are stored, and
    /// whoever owns them empties them. [`clear`](Self::clear) leaves them as they
    /// are, and [`take_chunks`](Self::take_chunks) yields copies.
    pub fn shared(chunks: &'a [OwnedChunk]) -> Self {
        let len = chunks.iter().map(|chunk| chunk.words().len()).sum();
        Self {
            slices: Slices::Shared(chunks),
            len,
            lent: true,
        }
    }

    /// The same of one chunk, given by its words.
    #[must_use]
    pub fn of_words(words: &'a [u64]) -> Self {
        Self {
            slices: Slices::Words(words),
            len: words.len(),
            lent: true,
        }
    }

    /// Words in all chunks together.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no word at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes in all chunks together.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.len * size_of::<u64>()
    }

    /// Number of chunks, empty ones included.
    #[must_use]
    pub fn chunk_count(&self) -> usize {
        match &self.slices {
            Slices::Vecs(chunks) => chunks.len(),
            Slices::Bufs(chunks) => chunks.len(),
            Slices::Owned(chunks) => chunks.len(),
            Slices::Shared(chunks) => chunks.len(),
            Slices::Words(_) => 1,
        }
    }

    /// The words of chunk `index`.
    ///
    /// # Panics
    ///
    /// If there is no such chunk.
    #[must_use]
    pub fn chunk(&self, index: usize) -> &[u64] {
        match &self.slices {
            Slices::Vecs(chunks) => chunks[index].words(),
            Slices::Bufs(chunks) => chunks[index].words(),
            Slices::Owned(chunks) => chunks[index].words(),
            Slices::Shared(chunks) => chunks[index].words(),
            Slices::Words(words) => {
                assert_eq!(index, 0, "there is one chunk");
                words
            }
        }
    }

    /// The words of every chunk, in order.
    pub fn chunks(&self) -> impl ExactSizeIterator<Item = &[u64]> + Clone {
        (0..self.chunk_count()).map(|index| self.chunk(index))
    }

    /// Empties every chunk; their capacity stays with the caller.
    pub fn clear(&mut self) {
        if self.lent {
            return;
        }
        match &mut self.slices {
            Slices::Vecs(chunks) => chunks.iter_mut().for_each(Vec::clear),
            Slices::Bufs(chunks) => chunks.iter_mut().for_each(ChunkBuf::clear),
            Slices::Owned(chunks) => chunks.iter_mut().for_each(OwnedChunk::clear),
            Slices::Shared(_) | Slices::Words(_) => {}
        }
        self.len = 0;
    }

    /// Moves every chunk that has words out, and leaves the caller empty ones
    /// without capacity. The iterator must be run to its end. Without memory for
    /// the copies of a [shared](Self::shared) payload the process aborts:
    /// [`try_take_chunks`](Self::try_take_chunks) is an error then.
    pub fn take_chunks(&mut self) -> impl Iterator<Item = OwnedChunk> {
        (0..self.chunk_count()).filter_map(|index| {
            if self.lent {
                let words = self.chunk(index);
                return (!words.is_empty()).then(|| OwnedChunk::Vec(words.to_vec()));
            }
            match &mut self.slices {
                Slices::Vecs(chunks) => take_vec(&mut chunks[index]).map(OwnedChunk::Vec),
                Slices::Bufs(chunks) => take_buf(&mut chunks[index]).map(OwnedChunk::Buf),
                Slices::Owned(chunks) => match &mut chunks[index] {
                    OwnedChunk::Vec(vec) => take_vec(vec).map(OwnedChunk::Vec),
                    OwnedChunk::Buf(buf) => take_buf(buf).map(OwnedChunk::Buf),
                },
                Slices::Shared(_) | Slices::Words(_) => None,
            }
        })
    }

    /// As [`take_chunks`](Self::take_chunks), for backends that keep the chunks of
    /// [shared](Self::shared) payloads too: memory for the copies is asked for
    /// before anything has moved.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory); the chunks are as they were.
    pub fn try_take_chunks(&mut self) -> Result<Vec<OwnedChunk>> {
        if self.lent {
            let full = self.chunks().filter(|words| !words.is_empty());
            return full.map(copied).collect();
        }
        Ok(self.take_chunks().collect())
    }

    /// The kind of the first chunk.
    pub(crate) fn kind(&self) -> ChunkKind {
        match &self.slices {
            Slices::Vecs(_) => ChunkKind::Vec,
            Slices::Bufs(_) => ChunkKind::Buf,
            Slices::Owned(chunks) => chunks.first().map_or(ChunkKind::Vec, OwnedChunk::kind),
            Slices::Shared(chunks) => chunks.first().map_or(ChunkKind::Vec, OwnedChunk::kind),
            Slices::Words(_) => ChunkKind::Vec,
        }
    }

    /// Whether every chunk is of this kind and may be moved out; never so for a
    /// [shared](Self::shared) payload.
    #[must_use]
    pub fn is_all(&self, kind: ChunkKind) -> bool {
        if self.lent {
            return false;
        }
        match &self.slices {
            Slices::Vecs(_) => kind == ChunkKind::Vec,
            Slices::Bufs(_) => kind == ChunkKind::Buf,
            Slices::Owned(chunks) => chunks.iter().all(|chunk| chunk.kind() == kind),
            Slices::Shared(_) | Slices::Words(_) => false,
        }
    }
}

fn copied(words: &[u64]) -> Result<OwnedChunk> {
    let mut copy = Vec::new();
    try_reserve(&mut copy, words.len(), Vec::try_reserve_exact)?;
    copy.extend_from_slice(words);
    Ok(OwnedChunk::Vec(copy))
}

fn take_vec(vec: &mut Vec<u64>) -> Option<Vec<u64>> {
    (!vec.is_empty()).then(|| std::mem::take(vec))
}

fn take_buf(buf: &mut ChunkBuf) -> Option<ChunkBuf> {
    (!buf.is_empty()).then(|| std::mem::take(buf))
}

impl fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload")
            .field("words", &self.len)
            .field("chunks", &self.chunk_count())
            .finish()
    }
}
