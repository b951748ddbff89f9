//! [`MemoryBackend`]: the reference backend, which keeps payloads where they are.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use pager_core::{Backend, Payload, Result, Usage, Window};

/// Keeps every payload in one `Vec` of bytes. Obviously right, and the model that other
/// backends are compared with.
#[derive(Debug, Default)]
pub struct MemoryBackend {
    /// Relaxed throughout: a statistic.
    held_bytes: AtomicU64,
}

impl MemoryBackend {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Backend for MemoryBackend {
    type Slot = Vec<u8>;

    fn name(&self) -> &'static str {
        "memory"
    }

    fn page_out(&self, payload: &mut Payload<'_>) -> Result<Vec<u8>> {
        let slot: Vec<u8> = payload.chunks().flatten().copied().collect();
        payload.clear();
        self.held_bytes
            .fetch_add(slot.len() as u64, Ordering::Relaxed);
        Ok(slot)
    }

    fn read(&self, slot: &Vec<u8>, ranges: &[Range<usize>], window: &mut Window<'_>) -> Result<()> {
        for range in ranges {
            window.copy_from(&slot[range.clone()]);
        }
        Ok(())
    }

    fn free(&self, slot: Vec<u8>) {
        self.held_bytes
            .fetch_sub(slot.len() as u64, Ordering::Relaxed);
    }

    fn usage(&self) -> Usage {
        let held_bytes = self.held_bytes.load(Ordering::Relaxed);
        let mut usage = Usage::default();
        usage.logical_bytes = held_bytes;
        usage.resident_bytes = held_bytes;
        usage
    }
}
