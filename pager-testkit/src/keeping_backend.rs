//! [`KeepingBackend`]: keeps the callers' own chunks, and gives them back.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use pager_core::{Backend, ChunkKind, InPlace, OwnedChunk, Payload, Result, Usage, Window};

/// Moves the chunks themselves in and out and copies only what is read; a
/// payload of one chunk comes back as the same allocation.
#[derive(Debug, Default)]
pub struct KeepingBackend {
    /// Relaxed throughout: a statistic.
    held_bytes: AtomicU64,
}

/// The chunks of one payload, none of them empty.
#[derive(Debug)]
pub struct KeptChunks {
    chunks: Vec<OwnedChunk>,
    /// For each chunk the bytes up to its end.
    ends: Vec<usize>,
}

impl KeptChunks {
    fn len_bytes(&self) -> u64 {
        self.ends.last().copied().unwrap_or_default() as u64
    }

    /// Copies `range` into the window, chunk after chunk.
    fn copy(&self, range: &Range<usize>, window: &mut Window<'_>) {
        let mut next = range.start;
        let mut index = self.ends.partition_point(|end| *end <= next);
        while next < range.end {
            let bytes = self.chunks[index].bytes();
            let chunk_start = self.ends[index] - bytes.len();
            let end = range.end.min(self.ends[index]);
            window.copy_from(&bytes[next - chunk_start..end - chunk_start]);
            next = end;
            index += 1;
        }
    }
}

impl KeepingBackend {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn forget(&self, slot: &KeptChunks) {
        self.held_bytes
            .fetch_sub(slot.len_bytes(), Ordering::Relaxed);
    }
}

impl Backend for KeepingBackend {
    type Slot = KeptChunks;

    fn name(&self) -> &'static str {
        "keeping"
    }

    fn page_out(&self, payload: &mut Payload<'_>) -> Result<KeptChunks> {
        let chunks = payload.try_take_chunks()?;
        let ends = chunks.iter().scan(0, |end, chunk| {
            *end += chunk.bytes().len();
            Some(*end)
        });
        let ends = ends.collect();
        let slot = KeptChunks { chunks, ends };
        self.held_bytes
            .fetch_add(slot.len_bytes(), Ordering::Relaxed);
        Ok(slot)
    }

    fn read(
        &self,
        slot: &KeptChunks,
        ranges: &[Range<usize>],
        window: &mut Window<'_>,
    ) -> Result<()> {
        for range in ranges {
            slot.copy(range, window);
        }
        Ok(())
    }

    fn free(&self, slot: KeptChunks) {
        self.forget(&slot);
    }

    fn usage(&self) -> Usage {
        let held_bytes = self.held_bytes.load(Ordering::Relaxed);
        let mut usage = Usage::default();
        usage.logical_bytes = held_bytes;
        usage.resident_bytes = held_bytes;
        usage
    }

    fn in_place(&self) -> Option<&dyn InPlace<Slot = KeptChunks>> {
        Some(self)
    }
}

impl InPlace for KeepingBackend {
    type Slot = KeptChunks;

    fn adopts(&self) -> bool {
        true
    }

    fn reads_stay(&self) -> bool {
        false
    }

    fn detach(&self, mut slot: KeptChunks, wants: ChunkKind) -> Result<OwnedChunk, KeptChunks> {
        let is_wanted = matches!(&slot.chunks[..], [only] if only.kind() == wants);
        if !is_wanted {
            return Err(slot);
        }
        let Some(chunk) = slot.chunks.pop() else {
            return Err(slot);
        };
        self.forget(&slot);
        Ok(chunk)
    }

    fn page_in(&self, _: &KeptChunks, _: Range<usize>) -> Result<bool> {
        Ok(false)
    }

    fn release(&self, _: &KeptChunks, _: Range<usize>, _: Range<usize>) {}
}
