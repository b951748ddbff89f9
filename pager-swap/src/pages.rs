//! Which pages some bytes lie in, huge ones and others.

use std::ops::Range;

use pager_core::{ChunkBuf, HUGE_PAGE_BYTES};

use crate::advise::{Rounding, page_bytes};
use crate::pagemap::Span;

/// The first `len` bytes of a slot, cut at the borders of huge pages.
pub(crate) fn huge_pages(
    slot: &ChunkBuf<u8>,
    len: usize,
) -> impl Iterator<Item = Range<usize>> + use<> {
    let head_bytes = slot.as_ptr().addr() % HUGE_PAGE_BYTES;
    let mut start = 0;
    std::iter::from_fn(move || {
        let border = (start + head_bytes) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES + HUGE_PAGE_BYTES;
        let piece = start..(border - head_bytes).min(len);
        start = piece.end;
        (!piece.is_empty()).then_some(piece)
    })
}

/// The bytes of the slot on the huge pages that `range` touches.
pub(crate) fn whole_huge_pages(slot: &[u8], range: Range<usize>) -> Range<usize> {
    let head_bytes = slot.as_ptr().addr() % HUGE_PAGE_BYTES;
    let start = (head_bytes + range.start) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
    let end = (head_bytes + range.end).next_multiple_of(HUGE_PAGE_BYTES);
    start.saturating_sub(head_bytes)..(end - head_bytes).min(slot.len())
}

/// Bytes of the pages that `bytes` lie in.
pub(crate) fn pages_bytes(bytes: &[u8]) -> usize {
    Span::of(bytes).pages(Rounding::Outward).len() * page_bytes()
}
