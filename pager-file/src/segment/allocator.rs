//! [`Allocator`]: which bytes of which segment file belong to whom.
//!
//! Pure bookkeeping, without a system call, so that its lock is held for
//! nanoseconds. Every byte of address space below a segment's tail is in
//! exactly one of these places, and moves only along the arrows:
//!
//! ```text
//!            claim                commit                 take
//!   hole ───────────▶ (in flight) ──────▶ fresh ──────┐ ┌────▶ live
//!    ▲  ▲                  │                 rejoin ▲ ├─┘       │
//!    │  └──── abandon ─────┘          freed ─────────┘┼◀────────┘ release
//!    │                                  │             │
//!    └── abandon ── (being punched) ◀───┴── surplus ──┘
//! ```
//!
//! *Fresh* and *freed* bytes have storage behind them that the file system has
//! promised; a *hole* has none. Freed extents are reused last in, first out,
//! by size class: what was freed last is what the device has mapped most
//! recently, and a rewrite costs less than a first write.

use std::collections::VecDeque;

use pager_core::SizeClass;

use super::span::{Extent, Span};
use super::spans::Spans;

/// Storage asked of the file system at a time, once a store is large.
const MAX_STEP_BYTES: u64 = 64 << 20;
/// And while it is small, so that one small payload does not cost 64 MiB.
const MIN_STEP_BYTES: u64 = 4 << 20;

/// Where everything is. See the module for the states.
#[derive(Debug)]
pub(super) struct Allocator {
    /// Freed extents by class; the youngest at the back.
    freed: Box<[VecDeque<Span>]>,
    /// Storage that has not been cut into extents yet, or was joined again.
    fresh: Spans,
    holes: Spans,
    /// Address space of a segment, unless one extent needs more.
    segment_bytes: u64,
    segment_limit: u32,
    /// The segment that grows, and what is taken and left of its address space.
    tail: Span,
    tail_left_bytes: u64,
    bytes: Bytes,
}

/// How many bytes are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Bytes {
    /// In extents that somebody holds.
    pub(super) live: u64,
    /// In freed extents with storage behind them.
    pub(super) freed: u64,
    /// With storage behind them, and in no extent.
    pub(super) fresh: u64,
}

impl Allocator {
    /// An allocator without a segment. Segments are numbered from zero, and
    /// there are never more than `segment_limit`.
    pub(super) fn new(segment_bytes: u64, segment_limit: u32) -> Self {
        Self {
            freed: (0..SizeClass::COUNT).map(|_| VecDeque::new()).collect(),
            fresh: Spans::default(),
            holes: Spans::default(),
            segment_bytes,
            segment_limit,
            tail: Span {
                segment: 0,
                offset_bytes: 0,
                len_bytes: 0,
            },
            tail_left_bytes: segment_bytes,
            bytes: Bytes::default(),
        }
    }

    pub(super) fn bytes(&self) -> Bytes {
        self.bytes
    }

    /// An extent that has storage behind it, if there is one. Constant time.
    pub(super) fn take(&mut self, class: SizeClass) -> Option<Extent> {
        let len_bytes = class.bytes() as u64;
        let span = if let Some(span) = self.freed[class.index()].pop_back() {
            self.bytes.freed -= len_bytes;
            span
        } else {
            self.cut_fresh(len_bytes)?
        };
        self.bytes.live += len_bytes;
        Some(Extent::over(span, class))
    }

    /// Address space without storage, for at least one extent of this class, or
    /// `None` if the segments are used up. The caller has storage put behind
    /// it, and then calls [`commit`](Self::commit), or else
    /// [`abandon`](Self::abandon) or [`retire`](Self::retire).
    pub(super) fn claim(&mut self, class: SizeClass) -> Option<Span> {
        let least_bytes = class.bytes() as u64;
        let wanted_bytes = self.step_bytes().max(least_bytes);
        if let Some(span) = self.holes.take(least_bytes, wanted_bytes) {
            return Some(span);
        }
        if self.tail_left_bytes < least_bytes {
            self.start_segment(least_bytes)?;
        }
        let len_bytes = wanted_bytes.min(self.tail_left_bytes);
        let claimed = Span {
            segment: self.tail.segment,
            offset_bytes: self.tail.end_bytes(),
            len_bytes,
        };
        self.tail.len_bytes += len_bytes;
        self.tail_left_bytes -= len_bytes;
        Some(claimed)
    }

    /// Counts `span` as storage, and cuts an extent from its front.
    pub(super) fn commit(&mut self, span: Span, class: SizeClass) -> Extent {
        let (front, rest) = span.split_at(class.bytes() as u64);
        self.bytes.live += front.len_bytes;
        self.add_storage(rest);
        Extent::over(front, class)
    }

    /// Takes back a span that has storage behind it and holds nothing.
    pub(super) fn add_storage(&mut self, span: Span) {
        if span.len_bytes > 0 {
            self.bytes.fresh += span.len_bytes;
            self.fresh.insert(span);
        }
    }

    /// Takes back a span that has no storage behind it.
    pub(super) fn abandon(&mut self, span: Span) {
        self.holes.insert(span);
    }

    /// Forgets a span that the file system does not reach; its segment grows no
    /// further.
    pub(super) fn retire(&mut self, span: Span) {
        if span.segment == self.tail.segment {
            self.tail_left_bytes = 0;
        }
    }

    /// Takes an extent back for reuse. Amortised constant.
    pub(super) fn release(&mut self, extent: Extent) {
        self.count_released(&extent);
        self.freed[extent.class().index()].push_back(extent.span());
    }

    /// As [`release`](Self::release), for an extent that could not be written:
    /// it is reused after all others of its class.
    pub(super) fn release_last(&mut self, extent: Extent) {
        self.count_released(&extent);
        self.freed[extent.class().index()].push_front(extent.span());
    }

    /// Joins freed extents with their neighbours, to be cut anew for any class, and
    /// returns their bytes. For a medium that is full: other sizes are wanted than
    /// were freed.
    pub(super) fn rejoin(&mut self) -> u64 {
        let mut freed = Vec::new();
        self.surplus(0, u64::MAX, &mut freed);
        let bytes = freed.iter().map(|span| span.len_bytes).sum();
        freed.into_iter().for_each(|span| self.add_storage(span));
        bytes
    }

    /// Whether an extent of this class can be cut from fresh storage.
    pub(super) fn has_fresh(&self, class: SizeClass) -> bool {
        self.fresh.has(class.bytes() as u64)
    }

    /// Forgets an extent whose storage has been given back: a hole is there now.
    pub(super) fn withdraw(&mut self, extent: &Extent) {
        self.bytes.live -= extent.len_bytes();
        self.abandon(extent.span());
    }

    /// Moves freed extents, the oldest of the largest classes first, to
    /// `surplus` until at most `keep_bytes` are left, or `limit_bytes` moved.
    pub(super) fn surplus(&mut self, keep_bytes: u64, limit_bytes: u64, surplus: &mut Vec<Span>) {
        let mut moved_bytes = 0;
        for freed in self.freed.iter_mut().rev() {
            while self.bytes.freed > keep_bytes && moved_bytes < limit_bytes {
                let Some(span) = freed.pop_front() else { break };
                self.bytes.freed -= span.len_bytes;
                moved_bytes += span.len_bytes;
                surplus.push(span);
            }
        }
    }

    /// Moves everything to `surplus` that has storage behind it and is not live.
    pub(super) fn surplus_all(&mut self, surplus: &mut Vec<Span>) {
        self.surplus(0, u64::MAX, surplus);
        self.bytes.fresh = 0;
        surplus.append(&mut self.fresh.take_all());
    }

    /// Segments begun so far.
    pub(super) fn segment_count(&self) -> u32 {
        if self.has_begun() {
            self.tail.segment + 1
        } else {
            0
        }
    }

    fn has_begun(&self) -> bool {
        self.tail.segment > 0 || self.tail.len_bytes > 0
    }

    fn count_released(&mut self, extent: &Extent) {
        self.bytes.live -= extent.len_bytes();
        self.bytes.freed += extent.len_bytes();
    }

    /// The front of the largest fresh span, if that is long enough. Logarithmic.
    fn cut_fresh(&mut self, len_bytes: u64) -> Option<Span> {
        let front = self.fresh.take(len_bytes, len_bytes)?;
        self.bytes.fresh -= len_bytes;
        Some(front)
    }

    fn start_segment(&mut self, least_bytes: u64) -> Option<()> {
        let next = self.segment_count();
        if next >= self.segment_limit {
            return None;
        }
        if self.has_begun() {
            self.holes.insert(Span {
                segment: self.tail.segment,
                offset_bytes: self.tail.end_bytes(),
                len_bytes: self.tail_left_bytes,
            });
        }
        self.tail = Span {
            segment: next,
            offset_bytes: 0,
            len_bytes: 0,
        };
        self.tail_left_bytes = self.segment_bytes.max(least_bytes);
        Some(())
    }

    /// Half of what there is, within bounds: the store never holds much more
    /// storage than it has needed.
    fn step_bytes(&self) -> u64 {
        let held_bytes = self.bytes.live + self.bytes.freed + self.bytes.fresh;
        (held_bytes / 2)
            .clamp(MIN_STEP_BYTES, MAX_STEP_BYTES)
            .next_multiple_of(MIN_STEP_BYTES)
    }
}

#[cfg(test)]
#[path = "allocator_tests.rs"]
mod tests;
