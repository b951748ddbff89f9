//! Merges the runs: first which run each row comes from, then column by column.
//!
//! For a batch of rows the keys alone decide the order; what is remembered of it
//! is one run number per row. From that it is known which range of each run the
//! batch takes, so every column is gathered by one read per run, large and exact,
//! and the ranges of the next column are announced before the present one is
//! gathered. The key columns are read twice for it.

use std::array;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::ops::Range;

use pager::Pager;

use crate::column::PagedColumn;
use crate::plan::{MergePlan, buffer};
use crate::report::Progress;
use crate::runs::Run;
use crate::table::{COLUMN_COUNT, KEY_COLUMN_COUNT, KEY_COLUMNS};

/// What rows are compared by.
type Key = [u64; KEY_COLUMN_COUNT];

/// Merges `runs` into one, and lets go of their chunks on the way.
pub(crate) fn merge(
    pager: &Pager,
    plan: &MergePlan,
    mut runs: Vec<Run>,
    progress: &Progress,
) -> anyhow::Result<Run> {
    let mut output: Run = array::from_fn(|_| PagedColumn::new(plan.chunk_words));
    let mut order = Order::new(pager, plan, &runs)?;
    let mut gather = Gather::new(plan)?;
    let mut sources = buffer(plan.batch_rows)?;
    let mut merged = vec![0; runs.len()];
    loop {
        sources.clear();
        order.next_batch(pager, &runs, plan.batch_rows, &mut sources)?;
        if sources.is_empty() {
            return Ok(output);
        }
        let mut ranges: Vec<Range<usize>> = merged.iter().map(|&row| row..row).collect();
        for &run in &sources {
            ranges[run as usize].end += 1;
        }
        for column in 0..COLUMN_COUNT {
            if column + 1 < COLUMN_COUNT {
                for (run, range) in runs.iter().zip(&ranges) {
                    run[column + 1].prefetch(pager, range.clone());
                }
            }
            let paged = runs.iter().map(|run| &run[column]);
            gather.column(pager, paged, &ranges, &sources, &mut output[column])?;
        }
        for ((run, range), merged) in runs.iter_mut().zip(&ranges).zip(&mut merged) {
            *merged = range.end;
            // Keys have been read at least as far, so nobody comes back for more.
            for paged in run {
                paged.release_before(range.end);
            }
        }
        progress.add(sources.len());
    }
}

/// Which run has the smallest key next.
#[derive(Debug)]
struct Order {
    heads: BinaryHeap<Reverse<(Key, u32)>>,
    streams: Vec<KeyStream>,
}

impl Order {
    fn new(pager: &Pager, plan: &MergePlan, runs: &[Run]) -> anyhow::Result<Self> {
        let mut heads = BinaryHeap::with_capacity(runs.len());
        let mut streams = Vec::with_capacity(runs.len());
        for (number, run) in runs.iter().enumerate() {
            let mut stream = KeyStream::new(plan.key_block_words)?;
            if let Some(key) = stream.next(pager, run)? {
                heads.push(Reverse((key, u32::try_from(number)?)));
            }
            streams.push(stream);
        }
        Ok(Self { heads, streams })
    }

    /// Appends the run numbers of the next `rows` rows, of fewer at the end.
    fn next_batch(
        &mut self,
        pager: &Pager,
        runs: &[Run],
        rows: usize,
        sources: &mut Vec<u32>,
    ) -> pager::Result<()> {
        while sources.len() < rows {
            let Some(mut head) = self.heads.peek_mut() else {
                return Ok(());
            };
            let run = head.0.1;
            sources.push(run);
            match self.streams[run as usize].next(pager, &runs[run as usize])? {
                Some(key) => head.0.0 = key,
                None => {
                    PeekMut::pop(head);
                }
            }
        }
        Ok(())
    }
}

/// The keys of one run, a block at a time.
#[derive(Debug)]
struct KeyStream {
    blocks: [Vec<u64>; KEY_COLUMN_COUNT],
    block_words: usize,
    /// Position in the block.
    next: usize,
    /// Row behind the block.
    end_row: usize,
}

impl KeyStream {
    fn new(block_words: usize) -> pager::Result<Self> {
        let mut blocks: [Vec<u64>; KEY_COLUMN_COUNT] = array::from_fn(|_| Vec::new());
        for block in &mut blocks {
            *block = buffer(block_words)?;
        }
        Ok(Self {
            blocks,
            block_words,
            next: 0,
            end_row: 0,
        })
    }

    /// The next key of `run`, unless that was all.
    fn next(&mut self, pager: &Pager, run: &Run) -> pager::Result<Option<Key>> {
        if self.next == self.blocks[0].len() && !self.refill(pager, run)? {
            return Ok(None);
        }
        let key = array::from_fn(|column| self.blocks[column][self.next]);
        self.next += 1;
        Ok(Some(key))
    }

    /// Reads the next block, and announces the one after it.
    fn refill(&mut self, pager: &Pager, run: &Run) -> pager::Result<bool> {
        let rows = run[0].len();
        let block = self.end_row..rows.min(self.end_row + self.block_words);
        let following = block.end..rows.min(block.end + self.block_words);
        for (words, column) in self.blocks.iter_mut().zip(KEY_COLUMNS) {
            words.clear();
            run[column].read(pager, block.clone(), words)?;
            run[column].prefetch(pager, following.clone());
        }
        self.next = 0;
        self.end_row = block.end;
        Ok(!block.is_empty())
    }
}

/// Buffers for gathering one column of one batch.
#[derive(Debug)]
struct Gather {
    /// The ranges of all runs, one after the other.
    input: Vec<u64>,
    chunk: Vec<u64>,
    chunk_words: usize,
}

impl Gather {
    fn new(plan: &MergePlan) -> pager::Result<Self> {
        Ok(Self {
            input: buffer(plan.batch_rows)?,
            chunk: buffer(plan.chunk_words)?,
            chunk_words: plan.chunk_words,
        })
    }

    /// Reads `ranges[r]` of the column of every run `r`, and pages its words out
    /// in the order of `sources`.
    fn column<'a>(
        &mut self,
        pager: &Pager,
        runs: impl Iterator<Item = &'a PagedColumn>,
        ranges: &[Range<usize>],
        sources: &[u32],
        output: &mut PagedColumn,
    ) -> pager::Result<()> {
        self.input.clear();
        let mut cursors = Vec::with_capacity(ranges.len());
        for (paged, range) in runs.zip(ranges) {
            cursors.push(self.input.len());
            paged.read(pager, range.clone(), &mut self.input)?;
        }
        for sources in sources.chunks(self.chunk_words) {
            self.chunk.extend(sources.iter().map(|&run| {
                let cursor = &mut cursors[run as usize];
                let word = self.input[*cursor];
                *cursor += 1;
                word
            }));
            output.push(pager, &mut self.chunk)?;
        }
        Ok(())
    }
}
