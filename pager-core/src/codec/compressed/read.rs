//! The way back: ranges of an encoded payload, block by block.
//!
//! What is wanted of one portion is read in one call: the blocks that it touches, once
//! each, from one block of the device to another. Then the parts are decoded in the
//! order in which they were asked for, straight into the window.

use std::ops::Range;
use std::time::Instant;

use super::Compressed;
use super::slot::{Encoded, Portion, parts};
use crate::codec::block::{Damaged, decode};
use crate::codec::workspace::{Lent, Workspace};
use crate::memory::Adopt;
use crate::{Backend, Error, Result, Window};

/// Bytes of stored blocks from which on it pays to have a large workspace.
const LARGE_FROM_BYTES: usize = 64 << 10;

/// A part of a block that is wanted.
#[derive(Debug, Clone)]
struct Part {
    block: usize,
    /// Bytes of what it decodes to.
    bytes: Range<usize>,
}

/// Parts of one portion that are read in one call.
#[derive(Debug, Default)]
struct Batch {
    portion: usize,
    parts: Vec<Part>,
    /// The blocks of the parts, each once, in order once it is [sorted](Self::sort).
    blocks: Vec<usize>,
}

impl Batch {
    fn clear(&mut self) {
        self.parts.clear();
        self.blocks.clear();
    }

    /// The bytes to read, in order and joined.
    fn stored<S>(&mut self, portion: &Portion<S>) -> Vec<Range<usize>> {
        self.blocks.sort_unstable();
        self.blocks.dedup();
        let mut stored: Vec<Range<usize>> = Vec::new();
        for &block in &self.blocks {
            let wanted = portion.device_blocks(block);
            match stored.last_mut() {
                Some(last) if wanted.start <= last.end => last.end = wanted.end,
                _ => stored.push(wanted),
            }
        }
        stored
    }
}

impl<B: Backend> Compressed<B> {
    pub(super) fn read_encoded(
        &self,
        encoded: &Encoded<B::Slot>,
        ranges: &[Range<usize>],
        window: &mut Window<'_>,
    ) -> Result<()> {
        let mut workspace = self.reading_workspace(encoded, ranges)?;
        let room = workspace.stored.capacity();
        let mut batch = Batch::default();
        let mut batch_bytes = 0;
        for range in ranges {
            for (index, bytes) in encoded.portions_of(range) {
                let portion = &encoded.portions[index];
                if portion.is_plain() {
                    self.read_batch(encoded, &mut batch, &mut workspace, window)?;
                    self.read_plain(portion, &bytes, window)?;
                    continue;
                }
                for (block, bytes) in parts(bytes, encoded.block_bytes()) {
                    let is_new = batch.blocks.last() != Some(&block);
                    let stored_bytes = portion.device_blocks(block).len();
                    let is_full = is_new && batch_bytes + stored_bytes > room;
                    if batch.portion != index || is_full || batch.parts.is_empty() {
                        self.read_batch(encoded, &mut batch, &mut workspace, window)?;
                        batch.portion = index;
                        batch_bytes = 0;
                    }
                    if batch.blocks.last() != Some(&block) {
                        batch.blocks.push(block);
                        batch_bytes += stored_bytes;
                    }
                    batch.parts.push(Part { block, bytes });
                }
            }
        }
        self.read_batch(encoded, &mut batch, &mut workspace, window)
    }

    /// A large workspace for a large read, if one is to be had.
    fn reading_workspace(
        &self,
        encoded: &Encoded<B::Slot>,
        ranges: &[Range<usize>],
    ) -> Result<Lent<'_>> {
        let bytes: usize = ranges.iter().map(ExactSizeIterator::len).sum();
        let is_large = bytes.min(encoded.len_bytes) > LARGE_FROM_BYTES;
        if is_large && let Some(workspace) = self.workspaces.large()? {
            return Ok(workspace);
        }
        self.workspaces.small()
    }

    fn read_plain(
        &self,
        portion: &Portion<B::Slot>,
        bytes: &Range<usize>,
        window: &mut Window<'_>,
    ) -> Result<()> {
        window.fill_part(bytes.len(), |part| {
            self.tier
                .read(&portion.slot, std::slice::from_ref(bytes), part)
        })
    }

    /// Reads what is in the batch and decodes it into the window; leaves it empty.
    fn read_batch(
        &self,
        encoded: &Encoded<B::Slot>,
        batch: &mut Batch,
        workspace: &mut Workspace,
        window: &mut Window<'_>,
    ) -> Result<()> {
        if batch.parts.is_empty() {
            return Ok(());
        }
        let portion = &encoded.portions[batch.portion];
        let ranges = batch.stored(portion);
        let bytes = ranges.iter().map(ExactSizeIterator::len).sum();
        let Workspace {
            stored, scratch, ..
        } = workspace;
        stored.clear();
        Adopt::append(stored, bytes, |window| {
            self.tier.read(&portion.slot, &ranges, window)
        })?;
        let start = Instant::now();
        let mut decoded_bytes = 0;
        for part in &batch.parts {
            // Whole words at a multiple of a word, in memory that begins at a page.
            let block = bytemuck::cast_slice(&stored[find(&ranges, portion.block(part.block))]);
            let len = encoded.block_len(batch.portion, part.block);
            let bytes = part.bytes.clone();
            decode(block, len, bytes, scratch, &mut |bytes| {
                window.copy_from(bytes);
            })
            .map_err(|damaged| self.corrupt(encoded, batch.portion, part.block, block, damaged))?;
            decoded_bytes += part.bytes.len();
        }
        let time = start.elapsed();
        self.meter.decoded(encoded.scheme, decoded_bytes, time);
        let of = self.counters.of(encoded.scheme);
        of.decoded_bytes.add(decoded_bytes);
        of.decode_nanos.add_time(time);
        batch.clear();
        Ok(())
    }

    fn corrupt(
        &self,
        encoded: &Encoded<B::Slot>,
        portion: usize,
        block: usize,
        stored: &[u64],
        _: Damaged,
    ) -> Error {
        let offset = portion * super::PORTION_BYTES + block * encoded.block_bytes();
        Error::Corrupt {
            backend: self.inner.name(),
            handle: None,
            offset_bytes: offset as u64,
            expected: 0,
            found: stored.first().copied().unwrap_or(0),
            path: None,
        }
    }
}

/// Where bytes `wanted` lie when `ranges` have been read behind one another.
fn find(ranges: &[Range<usize>], wanted: Range<usize>) -> Range<usize> {
    let mut before = 0;
    for range in ranges {
        if wanted.start < range.end {
            let start = before + (wanted.start - range.start);
            return start..start + wanted.len();
        }
        before += range.len();
    }
    unreachable!("every block of a batch is read")
}
