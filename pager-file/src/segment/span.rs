//! [`Span`] and [`Extent`]: contiguous ranges of a segment file.
//!
//! A span is any such range; an extent is one that holds, or is about to hold,
//! one payload, and has exactly the size of its class. Both are plain numbers:
//! neither knows whether storage is behind it, which is the allocator's business.

use pager_core::SizeClass;

/// A range of one segment file, in bytes; a multiple of 4 KiB throughout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) segment: u32,
    pub(super) offset_bytes: u64,
    pub(super) len_bytes: u64,
}

impl Span {
    /// First byte behind it.
    pub(super) fn end_bytes(self) -> u64 {
        self.offset_bytes + self.len_bytes
    }

    /// The first `front_bytes` and the rest, which may be empty.
    pub(super) fn split_at(self, front_bytes: u64) -> (Self, Self) {
        debug_assert!(front_bytes <= self.len_bytes, "a span is cut within itself");
        let front = Self {
            len_bytes: front_bytes,
            ..self
        };
        let rest = Self {
            offset_bytes: self.offset_bytes + front_bytes,
            len_bytes: self.len_bytes - front_bytes,
            ..self
        };
        (front, rest)
    }

    /// Sorts `spans` and joins those that touch.
    pub(super) fn merge(spans: &mut Vec<Self>) {
        spans.sort_unstable();
        spans.dedup_by(|next, last| {
            let touches = last.segment == next.segment && last.end_bytes() == next.offset_bytes;
            if touches {
                last.len_bytes += next.len_bytes;
            }
            touches
        });
    }
}

/// A range of one segment file for one payload. Not `Copy`: it is handed out
/// once and given back once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Extent {
    segment: u32,
    class: SizeClass,
    offset_bytes: u64,
}

impl Extent {
    /// The extent over all of `span`, which has exactly the size of `class`.
    pub(super) fn over(span: Span, class: SizeClass) -> Self {
        debug_assert_eq!(
            span.len_bytes,
            class.bytes() as u64,
            "an extent has the size of its class"
        );
        Self {
            segment: span.segment,
            class,
            offset_bytes: span.offset_bytes,
        }
    }

    pub(super) fn segment(&self) -> u32 {
        self.segment
    }

    pub(super) fn class(&self) -> SizeClass {
        self.class
    }

    pub(super) fn offset_bytes(&self) -> u64 {
        self.offset_bytes
    }

    pub(super) fn len_bytes(&self) -> u64 {
        self.class.bytes() as u64
    }

    pub(super) fn span(&self) -> Span {
        Span {
            segment: self.segment,
            offset_bytes: self.offset_bytes,
            len_bytes: self.len_bytes(),
        }
    }
}
