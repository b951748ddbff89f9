//! Reading: ranges of a payload out of its extent, into a window.
//!
//! A long range goes straight into the window wherever block and memory are
//! aligned. Short ranges are gathered: the blocks they need are read once, in
//! the order of the file, one call for each run of neighbours, and the ranges
//! are then copied in the order they were asked for.

use std::ops::Range;

use pager_core::{Result, Window};

use super::super::io_mode::BLOCK_BYTES;
use super::super::staging::{STAGING_BYTES, Staging, page_offset_apart_from};
use super::{BlockIo, Blocks};
use crate::ranges::joined;

/// Ranges from here on are read by themselves.
const LONG_RANGE_BYTES: usize = 64 << 10;

/// Short ranges that are gathered at a time; their list lives on the stack.
const MAX_GATHERED: usize = 64;

impl BlockIo {
    /// Fills `window` with `ranges` of the payload that lies in
    /// `blocks`.
    ///
    /// # Errors
    ///
    /// Typed.
    pub(in super::super) fn read_ranges(
        &self,
        blocks: Blocks<'_>,
        ranges: &[Range<usize>],
        window: &mut Window<'_>,
    ) -> Result<()> {
        let mut reader = Reader {
            io: self,
            blocks,
            staging: None,
        };
        let mut gathered = Gathered::new();
        for Range { start, end } in joined(ranges) {
            let part = Part { start, end };
            if part.len() >= LONG_RANGE_BYTES {
                reader.read_gathered(&mut gathered, window)?;
                reader.read_part(part, window)?;
            } else if !gathered.push(part) {
                reader.read_gathered(&mut gathered, window)?;
                let _ = gathered.push(part);
            }
        }
        reader.read_gathered(&mut gathered, window)
    }
}

/// Bytes `start..end` of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    start: usize,
    end: usize,
}

impl Part {
    const NONE: Self = Self { start: 0, end: 0 };

    fn len(self) -> usize {
        self.end - self.start
    }

    /// The blocks it lies in.
    fn blocks(self) -> Self {
        Self {
            start: self.start - self.start % BLOCK_BYTES,
            end: self.end.next_multiple_of(BLOCK_BYTES),
        }
    }
}

/// Short parts, in the order they were asked for, whose blocks fit a staging
/// buffer together.
struct Gathered {
    parts: [Part; MAX_GATHERED],
    count: usize,
    staged_bytes: usize,
}

impl Gathered {
    fn new() -> Self {
        Self {
            parts: [Part::NONE; MAX_GATHERED],
            count: 0,
            staged_bytes: 0,
        }
    }

    /// Adds a part if there is room, which in an empty one there is.
    fn push(&mut self, part: Part) -> bool {
        let staged_bytes = self.staged_bytes + part.blocks().len();
        if self.count == MAX_GATHERED || staged_bytes > STAGING_BYTES {
            return false;
        }
        self.parts[self.count] = part;
        self.count += 1;
        self.staged_bytes = staged_bytes;
        true
    }

    fn parts(&self) -> &[Part] {
        &self.parts[..self.count]
    }

    /// Runs of blocks, ascending and apart, that cover all parts.
    fn runs(&self) -> Runs {
        let mut runs = Runs {
            runs: self.parts.map(Part::blocks),
            count: self.count,
        };
        runs.runs[..self.count].sort_unstable();
        let mut last = 0;
        for index in 1..self.count {
            let next = runs.runs[index];
            if next.start <= runs.runs[last].end {
                runs.runs[last].end = runs.runs[last].end.max(next.end);
            } else {
                last += 1;
                runs.runs[last] = next;
            }
        }
        runs.count = last + 1;
        runs
    }
}

struct Runs {
    runs: [Part; MAX_GATHERED],
    count: usize,
}

impl Runs {
    fn as_slice(&self) -> &[Part] {
        &self.runs[..self.count]
    }
}

/// One read under way.
struct Reader<'a> {
    io: &'a BlockIo,
    blocks: Blocks<'a>,
    /// Borrowed from the stock when first needed.
    staging: Option<Staging<'a>>,
}

impl<'a> Reader<'a> {
    /// Reads what was gathered, and empties it.
    fn read_gathered(&mut self, gathered: &mut Gathered, window: &mut Window<'_>) -> Result<()> {
        match *gathered.parts() {
            [] => return Ok(()),
            [part] => self.read_part(part, window)?,
            _ => self.scatter(gathered, window)?,
        }
        gathered.count = 0;
        gathered.staged_bytes = 0;
        Ok(())
    }

    /// Reads the blocks of several parts, and copies the parts in order.
    fn scatter(&mut self, gathered: &Gathered, window: &mut Window<'_>) -> Result<()> {
        let runs = gathered.runs();
        let mut staged_at = [0; MAX_GATHERED];
        let mut staged_bytes = 0;
        for (run, at) in runs.as_slice().iter().zip(&mut staged_at) {
            *at = staged_bytes;
            self.stage(staged_bytes, *run)?;
            staged_bytes += run.len();
        }
        for part in gathered.parts() {
            let index = runs.as_slice().partition_point(|run| run.end < part.end);
            let at = staged_at[index] + (part.start - runs.as_slice()[index].start);
            window.copy_from(&self.staging()?.bytes()[at..at + part.len()]);
        }
        Ok(())
    }

    /// Reads one part, straight into the window wherever that is possible.
    fn read_part(&mut self, part: Part, window: &mut Window<'_>) -> Result<()> {
        let align_bytes = self.io.mode.memory_align_bytes();
        let mut start = part.start;
        while start < part.end {
            let in_block = start % BLOCK_BYTES;
            let rest_blocks = (part.end - start) / BLOCK_BYTES * BLOCK_BYTES;
            let is_aligned = window.is_aligned_to(align_bytes);
            if in_block == 0 && rest_blocks > 0 && is_aligned {
                self.io.fill(self.blocks, start, rest_blocks, window)?;
                start += rest_blocks;
                continue;
            }
            let piece = Part {
                start,
                end: self.staged_end(start, part.end, is_aligned),
            };
            let (io, payload, blocks) = (self.io, self.blocks, piece.blocks());
            let begins_at = window.next_address().wrapping_sub(in_block);
            let page_offset = page_offset_apart_from(begins_at, align_bytes);
            let buffer = &mut self.staging()?.bytes_at(page_offset)[..blocks.len()];
            let wanted = in_block..in_block + piece.len();
            io.read_through(payload, blocks.start, buffer, wanted, window)?;
            start = piece.end;
        }
        Ok(())
    }

    /// How far a staged piece from `start` on should reach: as far as the buffer
    /// does, or only to the next block if the rest can then go straight.
    fn staged_end(&self, start: usize, end: usize, is_aligned: bool) -> usize {
        let block = start - start % BLOCK_BYTES;
        let head_end = block + BLOCK_BYTES;
        let stays_aligned = (head_end - start).is_multiple_of(self.io.mode.memory_align_bytes());
        if is_aligned && stays_aligned && head_end + BLOCK_BYTES <= end {
            head_end
        } else {
            end.min(block + STAGING_BYTES)
        }
    }

    /// Reads `blocks` to byte `at` of the staging buffer.
    fn stage(&mut self, at: usize, blocks: Part) -> Result<()> {
        let (io, payload) = (self.io, self.blocks);
        let buffer = &mut self.staging()?.bytes()[at..at + blocks.len()];
        io.read(payload, blocks.start, buffer)
    }

    fn staging(&mut self) -> Result<&mut Staging<'a>> {
        let staging = match self.staging.take() {
            Some(staging) => staging,
            None => self.io.staging.get()?,
        };
        Ok(self.staging.insert(staging))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part(start: usize, end: usize) -> Part {
        Part { start, end }
    }

    #[test]
    fn neighbouring_blocks_are_one_run() {
        let mut gathered = Gathered::new();
        for start in [9000, 100, 4000, 50_000, 4096] {
            assert!(gathered.push(part(start, start + 200)));
        }
        let runs = gathered.runs();
        assert_eq!(runs.as_slice(), [part(0, 12_288), part(49_152, 53_248)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_part_lies_in_one_run(
            parts in prop::collection::vec((0..200_000usize, 1..LONG_RANGE_BYTES), 1..MAX_GATHERED),
        ) {
            let mut gathered = Gathered::new();
            for (start, len) in parts {
                let _ = gathered.push(part(start, start + len));
            }
            let runs = gathered.runs();
            for pair in runs.as_slice().windows(2) {
                prop_assert!(pair[0].end < pair[1].start);
            }
            let total: usize = runs.as_slice().iter().map(|run| run.len()).sum();
            prop_assert!(total <= STAGING_BYTES);
            for part in gathered.parts() {
                let index = runs.as_slice().partition_point(|run| run.end < part.end);
                let run = runs.as_slice()[index];
                prop_assert!(run.start <= part.start && part.end <= run.end);
            }
        }
    }
}
