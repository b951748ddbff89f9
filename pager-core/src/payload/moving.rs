//! How chunks become memory of pager's: moved, or copied where their buffers are much
//! larger than what is in them.

use super::chunks::OwnedChunk;
use super::joined::{Payload, Slices};
use super::memory::Memory;
use crate::Result;
use crate::backend::ChunkKind;
use crate::memory::{HeapBuf, PAGE_BYTES, SizeClass};

impl Payload<'_> {
    /// Whether the buffers are more than twice as large as what is in them. The bytes
    /// are then copied into one that fits, and the buffers stay with their owner: a
    /// budget pays for what is held, and not for what was once there.
    fn is_roomy(&self) -> bool {
        let capacity_bytes = self.capacity_bytes;
        capacity_bytes / 2 > self.len_bytes() && capacity_bytes > PAGE_BYTES
    }

    /// Bytes that pager will hold if it keeps the payload in memory.
    pub(crate) fn held_bytes(&self) -> usize {
        match (self.is_roomy(), self.kind()) {
            (false, _) => self.capacity_bytes,
            (true, ChunkKind::Vec) => self.len_bytes(),
            (true, ChunkKind::Buf | ChunkKind::Shared) => {
                SizeClass::for_bytes(self.len_bytes()).bytes()
            }
        }
    }

    /// A copy of all bytes in one buffer that fits, if the chunks' own are too large.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`](crate::Error::OutOfMemory)(crate::Error::OutOfMemory).
    pub(crate) fn compacted(&self) -> Result<Option<OwnedChunk>> {
        if self.is_empty() || !self.is_roomy() {
            return Ok(None);
        }
        let mut copy = OwnedChunk::empty(self.kind(), self.element());
        copy.append(self.len_bytes(), |window| {
            self.chunks().for_each(|bytes| window.copy_from(bytes));
            Ok(())
        })?;
        Ok(Some(copy))
    }

    /// The chunks, or the `copy` that was [made](Self::compacted) of them, as memory of
    /// pager's; every chunk is empty then.
    pub(crate) fn moved(&mut self, copy: Option<OwnedChunk>) -> Memory {
        match copy {
            Some(copy) => {
                self.clear();
                Memory::of_chunk(copy)
            }
            None => Memory::of_chunks(self.take_chunks().collect()),
        }
    }

    /// All of it as memory of pager's.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`](crate::Error::OutOfMemory)(crate::Error::OutOfMemory); every chunk is then as it was.
    pub(crate) fn move_out(&mut self) -> Result<Memory> {
        let copy = self.compacted()?;
        Ok(self.moved(copy))
    }

    /// Whether the caller is left without a buffer when this has been moved.
    pub(crate) fn wants_refill(&self) -> bool {
        let mut chunks = self.callers();
        let is_vec = chunks
            .next()
            .is_some_and(|chunk| chunk.kind() == ChunkKind::Vec);
        is_vec && chunks.next().is_none() && !self.is_roomy()
    }

    /// Gives a caller of one `Vec` that has no buffer any more this one, if there is
    /// one and it is of the right type; returns it otherwise.
    pub(crate) fn refill(&mut self, spare: Option<HeapBuf>) -> Option<HeapBuf> {
        match (&mut self.slices, spare) {
            (Slices::List(chunks), Some(spare)) if chunks.count() == 1 => {
                chunks.at_mut(0).refill(spare)
            }
            (_, spare) => spare,
        }
    }
}
