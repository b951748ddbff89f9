//! [`Watch`]: what both modes know of their live payloads, and how they look.

use pager_core::PAGE_BYTES;

use crate::live::{Key, Live, Spans};
use crate::pagemap::{Pagemap, Residency, Span};
use crate::stats::Counters;

/// Page-table entries of one huge page: one `pread` for a payload of 2 MiB.
const PAYLOAD_BUFFER_BYTES: usize = PAGE_BYTES;
/// Entries for 128 MiB: few calls when all payloads are looked at.
const SURVEY_BUFFER_BYTES: usize = 256 << 10;

/// The live payloads of one backend, and the page table.
#[derive(Debug)]
pub(crate) struct Watch {
    pagemap: Option<Pagemap>,
    live: Live,
    pub(crate) counters: Counters,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self {
            pagemap: Pagemap::open(),
            live: Live::new(),
            counters: Counters::default(),
        }
    }

    /// One that cannot see, as in a container without a page map.
    #[cfg(test)]
    pub(crate) fn blind() -> Self {
        Self {
            pagemap: None,
            ..Self::new()
        }
    }

    /// Registers a payload of `len_bytes` at these addresses.
    pub(crate) fn admit(&self, spans: Spans, len_bytes: usize) -> Key {
        self.counters.logical_bytes.add(len_bytes);
        self.live.insert(spans)
    }

    /// Forgets the payload that was registered under `key`.
    pub(crate) fn release(&self, key: Key, len_bytes: usize) {
        self.live.remove(key);
        self.counters.logical_bytes.sub(len_bytes);
    }

    /// Whether it can be seen what is in memory.
    pub(crate) fn can_see(&self) -> bool {
        self.pagemap.is_some()
    }

    pub(crate) fn live_payloads(&self) -> usize {
        self.live.len()
    }

    /// Where `bytes` are, if that can be seen.
    pub(crate) fn look(&self, bytes: &[u8]) -> Option<Residency> {
        let mut buffer = [0; PAYLOAD_BUFFER_BYTES];
        self.pagemap
            .as_ref()?
            .observe(&[Span::of(bytes)], &mut buffer)
    }

    /// Whether all of `bytes` are seen to be mapped. Looking costs a tenth of what
    /// populating costs that finds nothing to do.
    pub(crate) fn is_mapped(&self, bytes: &[u8]) -> bool {
        self.look(bytes)
            .is_some_and(|seen| seen.resident_bytes == bytes.len())
    }

    /// Where all live payloads are, if that can be seen. A payload freed
    /// meanwhile may be counted by what has taken its place.
    pub(crate) fn survey(&self) -> Option<Residency> {
        let pagemap = self.pagemap.as_ref()?;
        let spans = self.live.sorted()?;
        let mut buffer = Vec::new();
        buffer.try_reserve_exact(SURVEY_BUFFER_BYTES).ok()?;
        buffer.resize(SURVEY_BUFFER_BYTES, 0);
        pagemap.observe(&spans, &mut buffer)
    }
}
