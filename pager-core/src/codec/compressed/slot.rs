//! [`CodecSlot`]: what a [`Compressed`](super::Compressed) backend remembers of a
//! payload: whether it is encoded, and where each block of it ends.
//!
//! The index is four bytes a block, kept in memory. What the medium says of a block is
//! compared with it.

use std::ops::Range;

use crate::codec::Scheme;
use crate::codec::tier::TierSlot;
use crate::codec::workspace::PORTION_BYTES;

/// Bytes of a block of the device: encoded blocks are read from one to another, so
/// that they come straight into memory that is aligned.
pub(super) const DEVICE_BYTES: usize = 4096;

/// What a [`Compressed`](super::Compressed) backend remembers of one payload.
#[derive(Debug)]
pub struct CodecSlot<S>(pub(super) Form<S>);

/// How a payload is stored.
#[derive(Debug)]
pub(super) enum Form<S> {
    /// As it is.
    Plain(S),
    /// Smaller. Most backends have small slots, and most payloads one portion.
    Encoded(Box<Encoded<S>>),
}

/// An encoded payload.
#[derive(Debug)]
pub(super) struct Encoded<S> {
    pub(super) scheme: Scheme,
    pub(super) len_bytes: usize,
    /// One for every [`PORTION_BYTES`], the last one shorter.
    pub(super) portions: Box<[Portion<S>]>,
}

/// What was encoded and stored together.
#[derive(Debug)]
pub(super) struct Portion<S> {
    pub(super) slot: TierSlot<S>,
    /// Bytes of it.
    pub(super) stored_bytes: usize,
    /// The byte at which each block, which is whole words, ends; empty for a portion that
    /// is stored as it is.
    pub(super) ends: Box<[u32]>,
}

impl<S> Encoded<S> {
    /// Bytes to a block.
    pub(super) fn block_bytes(&self) -> usize {
        self.scheme.block_bytes()
    }

    /// The parts of the portions that make bytes `range` of the payload: each the number
    /// of a portion, and bytes of it.
    pub(super) fn portions_of(
        &self,
        range: &Range<usize>,
    ) -> impl Iterator<Item = (usize, Range<usize>)> + use<S> {
        parts(range.clone(), PORTION_BYTES)
    }

    /// Bytes that portion `index` decodes to.
    pub(super) fn portion_len(&self, index: usize) -> usize {
        (self.len_bytes - index * PORTION_BYTES).min(PORTION_BYTES)
    }

    /// Bytes that this block of this portion decodes to.
    pub(super) fn block_len(&self, portion: usize, block: usize) -> usize {
        let start = block * self.block_bytes();
        (self.portion_len(portion) - start).min(self.block_bytes())
    }

    /// Memory that it takes besides the slots.
    pub(super) fn memory_bytes(&self) -> usize {
        let ends = |portion: &Portion<S>| size_of_val(&portion.ends[..]);
        size_of::<Self>()
            + size_of_val(&self.portions[..])
            + self.portions.iter().map(ends).sum::<usize>()
    }

    /// Bytes that the backend beneath was given.
    pub(super) fn stored_bytes(&self) -> usize {
        self.portions
            .iter()
            .map(|portion| portion.stored_bytes)
            .sum()
    }
}

impl<S> Portion<S> {
    /// Whether it is stored as it is.
    pub(super) fn is_plain(&self) -> bool {
        self.ends.is_empty()
    }

    /// The stored bytes of block `index`.
    pub(super) fn block(&self, index: usize) -> Range<usize> {
        let start = match index.checked_sub(1) {
            Some(before) => self.ends[before] as usize,
            None => 0,
        };
        start..self.ends[index] as usize
    }

    /// The stored bytes of block `index`, with what lies beside them in the blocks of
    /// the device.
    pub(super) fn device_blocks(&self, index: usize) -> Range<usize> {
        let block = self.block(index);
        let start = block.start - block.start % DEVICE_BYTES;
        let end = block.end.next_multiple_of(DEVICE_BYTES);
        start..end.min(self.stored_bytes)
    }

    /// The stored bytes of what decodes to bytes `range`.
    pub(super) fn stored_of(&self, range: &Range<usize>, block_bytes: usize) -> Range<usize> {
        if self.is_plain() {
            return range.clone();
        }
        if range.is_empty() {
            return 0..0;
        }
        let first = self.block(range.start / block_bytes);
        let last = self.block((range.end - 1) / block_bytes);
        first.start..last.end
    }
}

/// Cuts `range` at every multiple of `unit`: the number of the unit, and the part of it.
pub(super) fn parts(
    range: Range<usize>,
    unit: usize,
) -> impl Iterator<Item = (usize, Range<usize>)> {
    let mut start = range.start;
    std::iter::from_fn(move || {
        if start >= range.end {
            return None;
        }
        let index = start / unit;
        let end = ((index + 1) * unit).min(range.end);
        let part = start - index * unit..end - index * unit;
        start = end;
        Some((index, part))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_at_its_units() {
        let cut: Vec<_> = parts(5..25, 10).collect();
        assert_eq!(cut, [(0, 5..10), (1, 0..10), (2, 0..5)]);
        assert_eq!(parts(7..7, 10).count(), 0);
        assert_eq!(parts(10..20, 10).collect::<Vec<_>>(), [(1, 0..10)]);
    }

    #[test]
    fn blocks_are_read_from_one_device_block_to_another() {
        let portion = Portion {
            slot: TierSlot::Stored(()),
            stored_bytes: 8800,
            ends: Box::new([4000, 4800, 8800]),
        };
        assert_eq!(portion.block(0), 0..4000);
        assert_eq!(portion.block(2), 4800..8800);
        assert_eq!(portion.device_blocks(1), 0..8192);
        assert_eq!(portion.device_blocks(2), 4096..8800);
        assert_eq!(portion.stored_of(&(0..1), 100), 0..4000);
        assert_eq!(portion.stored_of(&(99..250), 100), 0..8800);
    }
}
