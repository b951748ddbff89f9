//! [`MemoryStore`]: a backend whose medium is the memory of this process.

use std::borrow::Cow;
use std::ops::Range;

use crate::sync::{AtomicU64, Ordering};
use crate::{Backend, Error, Payload, Result, Usage, Window};

/// Keeps payloads in ordinary memory: where there is no other place left, see
/// [`Overflow`](crate::Overflow), or for a program that is tried without a device.
///
/// What it keeps is counted in the memory budget, and cannot leave memory by it: as much as it
/// keeps, as much less there is for all others, and when nothing is left each page-out goes
/// through to its backend. The kernel may swap it, as it may everything.
///
/// ```
/// use pager_core::{MemoryStore, Registry};
///
/// let registry = Registry::new(MemoryStore::new());
/// let handle = registry.pageout(&mut [vec![1, 2, 3]])?;
/// let mut words = Vec::new();
/// handle.take(&mut words)?;
/// assert_eq!(words, [1, 2, 3]);
/// # Ok::<(), pager_core::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct MemoryStore {
    /// Relaxed: a statistic.
    kept_bytes: AtomicU64,
}

impl MemoryStore {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Backend for MemoryStore {
    type Slot = Box<[u8]>;

    fn name(&self) -> &'static str {
        "memory"
    }

    fn page_out(&self, payload: &mut Payload<'_>) -> Result<Box<[u8]>> {
        let needed_bytes = payload.len_bytes();
        let mut kept = Vec::new();
        kept.try_reserve_exact(needed_bytes)
            .map_err(|_| Error::OutOfMemory { needed_bytes })?;
        payload
            .chunks()
            .for_each(|chunk| kept.extend_from_slice(chunk));
        payload.clear();
        self.kept_bytes
            .fetch_add(needed_bytes as u64, Ordering::Relaxed);
        Ok(kept.into_boxed_slice())
    }

    fn read(
        &self,
        slot: &Box<[u8]>,
        ranges: &[Range<usize>],
        window: &mut Window<'_>,
    ) -> Result<()> {
        for range in ranges {
            window.copy_from(&slot[range.clone()]);
        }
        Ok(())
    }

    fn free(&self, slot: Box<[u8]>) {
        self.kept_bytes
            .fetch_sub(slot.len() as u64, Ordering::Relaxed);
    }

    fn usage(&self) -> Usage {
        let kept_bytes = self.kept_bytes.load(Ordering::Relaxed);
        Usage {
            logical_bytes: kept_bytes,
            resident_bytes: kept_bytes,
            how: Cow::Borrowed("kept in memory"),
            ..Usage::default()
        }
    }

    fn slot_bytes(&self, slot: &Box<[u8]>) -> usize {
        slot.len()
    }
}
