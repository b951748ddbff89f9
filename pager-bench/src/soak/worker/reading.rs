//! The reads of a worker, and the comparison of every word that comes back.

use std::ops::Range;
use std::sync::PoisonError;

use pager::{Error, Handle};
use pager_core::Destination;

use super::super::payload::Content;
use super::super::tally::Operation;
use super::{MAX_PREFIX, MAX_RANGES, Worker};

impl Worker<'_> {
    pub(super) fn read_own(&mut self, operation: Operation) {
        if self.kept.is_empty() {
            return;
        }
        let index = self.dice.below(self.kept.len());
        let ranges = self.draw_ranges(operation, self.kept[index].content.len);
        let kept = &self.kept[index];
        let (handle, content) = (&kept.handle, kept.content);
        let prefix = self.dice.below(MAX_PREFIX);
        if self.dice.once_in(2) {
            self.vec.clear();
            self.vec.resize(prefix, u64::MAX);
            let read = read(handle, &ranges, &mut self.vec);
            self.appended(operation, &content, &self.vec, prefix, &ranges, read);
        } else {
            self.buf.clear();
            let read = self
                .buf
                .resize(prefix, u64::MAX)
                .and_then(|()| read(handle, &ranges, &mut self.buf));
            self.appended(operation, &content, &self.buf, prefix, &ranges, read);
        }
    }

    fn draw_ranges(&mut self, operation: Operation, len: usize) -> Vec<Range<usize>> {
        let count = match operation {
            Operation::ReadAtMany => self.dice.below(MAX_RANGES + 1),
            _ => 1,
        };
        let mut ranges = Vec::with_capacity(count);
        for _ in 0..count {
            let start = self.dice.between(0, len);
            let longest = match self.dice.below(4) {
                0 => len - start,
                1 => (len - start).min(4096),
                _ => (len - start).min(512),
            };
            ranges.push(start..start + self.dice.between(0, longest));
        }
        ranges
    }

    fn appended(
        &self,
        operation: Operation,
        content: &Content,
        words: &[u64],
        prefix: usize,
        ranges: &[Range<usize>],
        read: Result<(), Error>,
    ) {
        let expected = if read.is_ok() { ranges } else { &[] };
        self.settle(operation, read);
        let (before, after) = words.split_at(prefix.min(words.len()));
        if before.len() != prefix || before.iter().any(|word| *word != u64::MAX) {
            let what = "what the destination held before has changed";
            self.shared.tally.differs(operation, what);
        }
        self.compared(operation, content, after, expected);
    }

    pub(super) fn compared(
        &self,
        operation: Operation,
        content: &Content,
        words: &[u64],
        ranges: &[Range<usize>],
    ) {
        self.shared.tally.compared(words.len());
        if let Err(difference) = content.compare(words, ranges) {
            self.shared.tally.differs(operation, &difference.0);
        }
    }

    pub(super) fn read_shared(&mut self) {
        // A lock for reading: the others read meanwhile.
        let gallery = self
            .shared
            .gallery
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if gallery.is_empty() {
            return;
        }
        let kept = &gallery[self.dice.below(gallery.len())];
        let ranges = self.draw_ranges(Operation::ReadAt, kept.content.len);
        self.vec.clear();
        let read = read(&kept.handle, &ranges, &mut self.vec);
        let operation = Operation::ReadShared;
        self.appended(operation, &kept.content, &self.vec, 0, &ranges, read);
    }
}

fn read<D: Destination<Element = u64>>(
    handle: &Handle,
    ranges: &[Range<usize>],
    dst: &mut D,
) -> Result<(), Error> {
    match ranges {
        [range] => handle.read_at(range.start, range.len(), dst),
        ranges => handle.read_at_many(ranges, dst),
    }
}
