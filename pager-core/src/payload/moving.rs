//! How chunks become memory of pager's: moved, or copied where their buffers are much
//! larger than what is in them.

use super::chunks::{OwnedChunk, Payload, Slices};
use super::memory::Memory;
use crate::Result;
use crate::backend::ChunkKind;
use crate::memory::{ChunkBuf, PAGE_BYTES, SizeClass, try_reserve};

impl Payload<'_> {
    /// Bytes of the buffers of all chunks that are not empty.
    fn capacity_bytes(&self) -> usize {
        let full = |words: &[u64]| !words.is_empty();
        match &self.slices {
            Slices::Vecs(chunks) => chunks
                .iter()
                .filter(|chunk| full(chunk))
                .map(|chunk| chunk.capacity() * size_of::<u64>())
                .sum(),
            Slices::Bufs(chunks) => chunks
                .iter()
                .filter(|chunk| full(chunk))
                .map(ChunkBuf::capacity_bytes)
                .sum(),
            Slices::Owned(_) | Slices::Shared(_) | Slices::Words(_) => self.len_bytes(),
        }
    }

    /// Whether the buffers are more than twice as large as what is in them. The words
    /// are then copied into one that fits, and the buffers stay with their owner: a
    /// budget pays for what is held, and not for what was once there.
    fn is_roomy(&self) -> bool {
        let capacity_bytes = self.capacity_bytes();
        capacity_bytes / 2 > self.len_bytes() && capacity_bytes > PAGE_BYTES
    }

    /// Bytes that pager will hold if it keeps the payload in memory.
    pub(crate) fn held_bytes(&self) -> usize {
        match (self.is_roomy(), self.kind()) {
            (false, _) => self.capacity_bytes(),
            (true, ChunkKind::Vec) => self.len_bytes(),
            (true, ChunkKind::Buf) => SizeClass::for_bytes(self.len_bytes()).bytes(),
        }
    }

    /// A copy of all words in one buffer that fits, if the chunks' own are too large.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`](crate::Error::OutOfMemory)(crate::Error::OutOfMemory).
    pub(crate) fn compacted(&self) -> Result<Option<OwnedChunk>> {
        if self.is_empty() || !self.is_roomy() {
            return Ok(None);
        }
        let mut copy = match self.kind() {
            ChunkKind::Vec => {
                let mut vec = Vec::new();
                try_reserve(&mut vec, self.len(), Vec::try_reserve_exact)?;
                OwnedChunk::Vec(vec)
            }
            ChunkKind::Buf => OwnedChunk::Buf(ChunkBuf::new()),
        };
        copy.append(self.len(), |window| {
            self.chunks().for_each(|words| window.copy_from(words));
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
        matches!(&self.slices, Slices::Vecs([_])) && !self.is_roomy()
    }

    /// Gives a caller of one `Vec` that has no buffer any more this one, if there is
    /// one; returns it otherwise.
    pub(crate) fn refill(&mut self, spare: Option<Vec<u64>>) -> Option<Vec<u64>> {
        match (&mut self.slices, spare) {
            (Slices::Vecs([chunk]), Some(spare)) if chunk.capacity() == 0 => {
                *chunk = spare;
                None
            }
            (_, spare) => spare,
        }
    }
}
