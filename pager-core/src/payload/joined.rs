//! [`Payload`]: the chunks of one page-out on their way into a backend.
//!
//! A backend sees the chunks of callers and those of pager through this one view, as
//! bytes, and either copies them and [clears](Payload::clear) the chunks, or
//! [moves the chunks out](Payload::take_chunks).

use std::fmt;

use super::chunks::sealed::{Erased, List};
use super::chunks::{Chunks, OwnedChunk};
use crate::Result;
use crate::backend::ChunkKind;
use crate::memory::{ElementLayout, HeapBuf};

/// Where the chunks are.
pub(super) enum Slices<'a> {
    List(&'a mut dyn List),
    Shared(&'a [OwnedChunk]),
    Bytes(&'a [u8]),
}

/// The chunks of one page-out, joined in order: bytes, of which any number is legal.
pub struct Payload<'a> {
    pub(super) slices: Slices<'a>,
    len_bytes: usize,
    /// Of the buffers of all chunks that are not empty.
    pub(super) capacity_bytes: usize,
    element: ElementLayout,
    /// Whether the chunks stay with their owner, who empties them.
    lent: bool,
}

impl<'a> Payload<'a> {
    /// A view of `chunks`. Complexity: one addition per chunk.
    pub fn new<L: Chunks>(chunks: &'a mut L) -> Self {
        let (mut len_bytes, mut capacity_bytes) = (0, 0);
        let mut element = None;
        for index in 0..chunks.count() {
            let chunk = chunks.at(index);
            element.get_or_insert_with(|| chunk.element());
            let len = chunk.content().len();
            if len > 0 {
                len_bytes += len;
                capacity_bytes += chunk.capacity_bytes();
            }
        }
        Self {
            slices: Slices::List(chunks),
            len_bytes,
            capacity_bytes,
            element: element.unwrap_or(ElementLayout::BYTES),
            lent: false,
        }
    }

    /// A view of chunks that stay as they are until their owner knows that more
    /// than this payload has been stored. As [`shared`](Self::shared) otherwise.
    pub fn lent<L: Chunks>(chunks: &'a mut L) -> Self {
        Self {
            lent: true,
            ..Self::new(chunks)
        }
    }

    /// A view of chunks that others are reading meanwhile: they are stored, and
    /// whoever owns them empties them. [`clear`](Self::clear) leaves them as they
    /// are, and [`take_chunks`](Self::take_chunks) yields copies.
    pub fn shared(chunks: &'a [OwnedChunk]) -> Self {
        let len_bytes = chunks.iter().map(|chunk| chunk.bytes().len()).sum();
        Self {
            len_bytes,
            capacity_bytes: len_bytes,
            slices: Slices::Shared(chunks),
            element: ElementLayout::BYTES,
            lent: true,
        }
    }

    /// The same of one chunk, given by its bytes.
    #[must_use]
    pub fn of_bytes(bytes: &'a [u8]) -> Self {
        Self {
            slices: Slices::Bytes(bytes),
            len_bytes: bytes.len(),
            capacity_bytes: bytes.len(),
            element: ElementLayout::BYTES,
            lent: true,
        }
    }

    /// The same view of chunks that are made of such elements, where their type does
    /// not say so.
    #[must_use]
    pub fn of_elements(self, element: ElementLayout) -> Self {
        Self { element, ..self }
    }

    /// Bytes in all chunks together.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Whether there is no byte at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len_bytes == 0
    }

    /// What the chunks are made of: a hint to whoever stores numbers otherwise than
    /// bytes. The bytes may be no whole number of these.
    #[must_use]
    pub fn element(&self) -> ElementLayout {
        self.element
    }

    /// Number of chunks, empty ones included.
    #[must_use]
    pub fn chunk_count(&self) -> usize {
        match &self.slices {
            Slices::List(chunks) => chunks.count(),
            Slices::Shared(chunks) => chunks.len(),
            Slices::Bytes(_) => 1,
        }
    }

    /// The bytes of chunk `index`.
    ///
    /// # Panics
    ///
    /// If there is no such chunk.
    #[must_use]
    pub fn chunk(&self, index: usize) -> &[u8] {
        match &self.slices {
            Slices::List(chunks) => chunks.at(index).content(),
            Slices::Shared(chunks) => chunks[index].bytes(),
            Slices::Bytes(bytes) => {
                assert_eq!(index, 0, "there is one chunk");
                bytes
            }
        }
    }

    /// The bytes of every chunk, in order.
    pub fn chunks(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        (0..self.chunk_count()).map(|index| self.chunk(index))
    }

    /// Empties every chunk; their capacity stays with the caller.
    pub fn clear(&mut self) {
        if self.lent {
            return;
        }
        if let Slices::List(chunks) = &mut self.slices {
            (0..chunks.count()).for_each(|index| chunks.at_mut(index).clear());
        }
        self.len_bytes = 0;
    }

    /// Moves every chunk that is not empty out, and leaves the caller empty ones
    /// without capacity. The iterator must be run to its end. Without memory for
    /// the copies of a [shared](Self::shared) payload the process aborts:
    /// [`try_take_chunks`](Self::try_take_chunks) is an error then.
    pub fn take_chunks(&mut self) -> impl Iterator<Item = OwnedChunk> {
        (0..self.chunk_count()).filter_map(|index| {
            if self.chunk(index).is_empty() {
                return None;
            }
            if self.lent {
                return Some(self.chunk(index).to_vec().into());
            }
            match &mut self.slices {
                Slices::List(chunks) => Some(chunks.at_mut(index).take()),
                Slices::Shared(_) | Slices::Bytes(_) => None,
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
            let full = self.chunks().filter(|bytes| !bytes.is_empty());
            return full.map(|bytes| copied(bytes, self.element)).collect();
        }
        Ok(self.take_chunks().collect())
    }

    /// The kind of the first chunk.
    pub(crate) fn kind(&self) -> ChunkKind {
        let first = match &self.slices {
            Slices::List(chunks) if chunks.count() > 0 => Some(chunks.at(0).kind()),
            Slices::Shared(chunks) => chunks.first().map(OwnedChunk::kind),
            Slices::List(_) | Slices::Bytes(_) => None,
        };
        first.unwrap_or(ChunkKind::Vec)
    }

    /// Whether every chunk is of this kind and may be moved out; never so for a
    /// [shared](Self::shared) payload.
    #[must_use]
    pub fn is_all(&self, kind: ChunkKind) -> bool {
        match &self.slices {
            Slices::List(chunks) if !self.lent => {
                (0..chunks.count()).all(|index| chunks.at(index).kind() == kind)
            }
            _ => false,
        }
    }

    /// The caller's chunks, if there are any.
    pub(super) fn callers(&self) -> impl Iterator<Item = &dyn Erased> {
        let list = match &self.slices {
            Slices::List(chunks) => Some(&**chunks),
            Slices::Shared(_) | Slices::Bytes(_) => None,
        };
        list.into_iter()
            .flat_map(|chunks| (0..chunks.count()).map(|index| chunks.at(index)))
    }
}

fn copied(bytes: &[u8], element: ElementLayout) -> Result<OwnedChunk> {
    let mut copy = HeapBuf::new(element);
    copy.append(bytes.len(), |window| {
        window.copy_from(bytes);
        Ok(())
    })?;
    Ok(OwnedChunk::Vec(copy))
}

impl fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload")
            .field("bytes", &self.len_bytes)
            .field("chunks", &self.chunk_count())
            .finish()
    }
}
