//! [`Spans`]: disjoint parts of segment files, joined with their neighbours and handed
//! out again, largest first.
//!
//! One set holds what has no storage behind it: punched ranges and ranges whose
//! allocation failed, used before any file grows. Another holds storage that has not
//! been cut into extents, or is not any more. Seldom on the way of a chunk: only
//! growth, punching and a full medium come here.

use std::collections::{BTreeMap, BTreeSet};

use super::span::Span;

/// Disjoint spans, no two of which touch.
#[derive(Debug, Default)]
pub(super) struct Spans {
    /// Length by position.
    by_place: BTreeMap<(u32, u64), u64>,
    /// The same spans by length.
    by_len: BTreeSet<(u64, u32, u64)>,
}

impl Spans {
    /// Adds a span that overlaps none. Logarithmic.
    pub(super) fn insert(&mut self, span: Span) {
        if span.len_bytes == 0 {
            return;
        }
        let mut joined = span;
        let before = (span.segment, span.offset_bytes);
        if let Some((&(segment, offset_bytes), &len_bytes)) =
            self.by_place.range(..before).next_back()
            && segment == span.segment
            && offset_bytes + len_bytes == span.offset_bytes
        {
            self.remove(segment, offset_bytes);
            joined.offset_bytes = offset_bytes;
            joined.len_bytes += len_bytes;
        }
        if let Some(len_bytes) = self.remove(span.segment, span.end_bytes()) {
            joined.len_bytes += len_bytes;
        }
        self.by_place
            .insert((joined.segment, joined.offset_bytes), joined.len_bytes);
        self.by_len
            .insert((joined.len_bytes, joined.segment, joined.offset_bytes));
    }

    /// Takes a span of `wanted_bytes`, or of as many as the largest has if
    /// that is at least `least_bytes`. Logarithmic.
    pub(super) fn take(&mut self, least_bytes: u64, wanted_bytes: u64) -> Option<Span> {
        let &(len_bytes, segment, offset_bytes) = self.by_len.last()?;
        if len_bytes < least_bytes {
            return None;
        }
        self.remove(segment, offset_bytes);
        let whole = Span {
            segment,
            offset_bytes,
            len_bytes,
        };
        let (taken, rest) = whole.split_at(len_bytes.min(wanted_bytes.max(least_bytes)));
        self.insert(rest);
        Some(taken)
    }

    fn remove(&mut self, segment: u32, offset_bytes: u64) -> Option<u64> {
        let len_bytes = self.by_place.remove(&(segment, offset_bytes))?;
        self.by_len.remove(&(len_bytes, segment, offset_bytes));
        Some(len_bytes)
    }

    /// Whether one is at least so long.
    pub(super) fn has(&self, len_bytes: u64) -> bool {
        self.by_len
            .last()
            .is_some_and(|&(longest_bytes, ..)| longest_bytes >= len_bytes)
    }

    /// All of them, by position; none are left.
    pub(super) fn take_all(&mut self) -> Vec<Span> {
        let all = self.spans().collect();
        *self = Self::default();
        all
    }

    /// All of them, by position.
    pub(super) fn spans(&self) -> impl Iterator<Item = Span> {
        self.by_place
            .iter()
            .map(|(&(segment, offset_bytes), &len_bytes)| Span {
                segment,
                offset_bytes,
                len_bytes,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(segment: u32, offset_bytes: u64, len_bytes: u64) -> Span {
        Span {
            segment,
            offset_bytes,
            len_bytes,
        }
    }

    #[test]
    fn neighbours_join_and_strangers_do_not() {
        let mut spans = Spans::default();
        spans.insert(span(0, 0, 4));
        spans.insert(span(0, 8, 4));
        spans.insert(span(1, 12, 4));
        assert_eq!(spans.spans().count(), 3);
        spans.insert(span(0, 4, 4));
        let joined: Vec<_> = spans.spans().collect();
        assert_eq!(joined, [span(0, 0, 12), span(1, 12, 4)]);
    }

    #[test]
    fn the_largest_is_cut_first() {
        let mut spans = Spans::default();
        spans.insert(span(0, 0, 4));
        spans.insert(span(0, 8, 8));
        assert_eq!(spans.take(2, 6), Some(span(0, 8, 6)));
        assert_eq!(spans.take(3, 6), Some(span(0, 0, 4)));
        assert_eq!(spans.take(3, 6), None);
        assert_eq!(spans.take(1, 2), Some(span(0, 14, 2)));
        assert!(spans.has(0) == spans.has(1) && !spans.has(1));
        assert_eq!(spans.take(1, 1), None);
        spans.insert(span(2, 0, 8));
        assert!(spans.has(8) && !spans.has(9));
        assert_eq!(spans.take_all(), [span(2, 0, 8)]);
        assert_eq!(spans.take(1, 1), None);
    }
}
