//! How the budget is divided between the buffers of each phase.
//!
//! Everything that grows with the data is counted here: row buffers, sort keys,
//! the generator's text pool, key blocks, merge batches and chunks.

use anyhow::{Context, ensure};

use crate::table::{COLUMN_COUNT, KEY_COLUMN_COUNT};

/// Words of a full chunk: 2 MiB.
const CHUNK_WORDS: u64 = 1 << 18;
const WORD_BYTES: u64 = size_of::<u64>() as u64;
const MIN_BUDGET_BYTES: u64 = 4 << 20;
/// Text that the comments are cut from. The generator's own pool has 300 MiB.
const MAX_TEXT_BYTES: u64 = 4 << 20;

/// Bytes that one row takes while its run is built: its words and its sort key.
const BUILD_ROW_BYTES: u64 =
    COLUMN_COUNT as u64 * WORD_BYTES + size_of::<crate::runs::SortKey>() as u64;
/// Bytes that one row takes in a merge batch: which run it comes from, and one
/// column of it.
const BATCH_ROW_BYTES: u64 = size_of::<u32>() as u64 + WORD_BYTES;

/// Sizes of the buffers in every phase but the merge.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What may be used in all.
    pub(crate) budget_bytes: u64,
    /// What of it is the pager's, to hold chunks until they are written.
    pub(crate) pager_bytes: u64,
    /// Size of the text pool.
    pub(crate) text_bytes: u64,
    /// Words of a chunk: 2 MiB, less if the budget is small.
    pub(crate) chunk_words: usize,
    /// Rows of a run.
    pub(crate) run_rows: usize,
}

/// Sizes of the buffers of the merge.
#[derive(Debug)]
pub(crate) struct MergePlan {
    pub(crate) chunk_words: usize,
    /// Words of each key column that are in memory for each run.
    pub(crate) key_block_words: usize,
    /// Rows that are merged at once; whole chunks.
    pub(crate) batch_rows: usize,
    run_count: usize,
}

impl Plan {
    /// Divides `budget_bytes`; a run is never planned for more rows than the whole
    /// table is expected to have, whatever the budget allows.
    pub(crate) fn new(budget_bytes: u64, expected_rows: u64) -> anyhow::Result<Self> {
        ensure!(
            budget_bytes >= MIN_BUDGET_BYTES,
            "--budget must be at least 4MiB"
        );
        let pager_bytes = budget_bytes / 4;
        let own_bytes = budget_bytes - pager_bytes;
        // The check holds a few chunks at once, and the merge wants batches of
        // several.
        let chunk_words = largest_power_of_two(own_bytes / 16 / WORD_BYTES).min(CHUNK_WORDS);
        let text_bytes = (own_bytes / 8).min(MAX_TEXT_BYTES);
        let run_bytes = own_bytes - text_bytes - chunk_words * WORD_BYTES;
        // The table may be a little longer than expected; then there is one run more.
        let table_rows = expected_rows.saturating_add(expected_rows / 64 + 1024);
        let run_rows = (run_bytes / BUILD_ROW_BYTES).min(table_rows);
        Ok(Self {
            budget_bytes,
            pager_bytes,
            text_bytes,
            chunk_words: usize::try_from(chunk_words)?,
            // The sort keys number the rows of a run in 32 bits.
            run_rows: usize::try_from(run_rows.min(u32::MAX.into()))?,
        })
    }

    /// Bytes of all buffers while runs are built, the phase that needs most.
    pub(crate) fn buffer_bytes(&self) -> u64 {
        self.text_bytes
            + self.chunk_words as u64 * WORD_BYTES
            + self.run_rows as u64 * BUILD_ROW_BYTES
    }

    /// Divides our part of the budget for a merge of `run_count` runs with `rows` rows in all:
    /// half for the keys, half for the batch.
    pub(crate) fn for_merge(&self, run_count: usize, rows: u64) -> anyhow::Result<MergePlan> {
        let chunk_words = self.chunk_words as u64;
        let own_bytes = self.budget_bytes - self.pager_bytes;
        let half_bytes = (own_bytes - chunk_words * WORD_BYTES) / 2;
        let key_bytes = WORD_BYTES * KEY_COLUMN_COUNT as u64 * (run_count as u64).max(1);
        let key_block_words = (half_bytes / key_bytes).min(chunk_words);
        ensure!(
            key_block_words >= 64,
            "{run_count} runs are too many to merge in this budget: raise --budget"
        );
        let batch_rows = half_bytes / BATCH_ROW_BYTES / chunk_words * chunk_words;
        let all_rows = rows.next_multiple_of(chunk_words).max(chunk_words);
        Ok(MergePlan {
            chunk_words: self.chunk_words,
            key_block_words: usize::try_from(key_block_words)?,
            batch_rows: usize::try_from(batch_rows.min(all_rows)).context("too many rows")?,
            run_count,
        })
    }
}

impl MergePlan {
    /// Bytes of all buffers of the merge.
    pub(crate) fn buffer_bytes(&self) -> u64 {
        let key_words = self.key_block_words * KEY_COLUMN_COUNT * self.run_count;
        (key_words + self.chunk_words) as u64 * WORD_BYTES
            + self.batch_rows as u64 * BATCH_ROW_BYTES
    }
}

/// A buffer of `len` items, or the error that there is no memory for it.
pub(crate) fn buffer<T>(len: usize) -> pager::Result<Vec<T>> {
    let mut buffer = Vec::new();
    buffer
        .try_reserve_exact(len)
        .map_err(|_| pager::Error::OutOfMemory {
            needed_bytes: len.saturating_mul(size_of::<T>()),
        })?;
    Ok(buffer)
}

/// The largest power of two that is not above `limit`, which is not zero.
fn largest_power_of_two(limit: u64) -> u64 {
    1 << limit.ilog2()
}
