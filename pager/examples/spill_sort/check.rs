//! Reads the sorted table back, and frees it on the way.

use std::collections::VecDeque;

use anyhow::{Context, ensure};
use pager::{Handle, Pager};

use crate::column::PagedColumn;
use crate::digest::Digest;
use crate::plan::{Plan, buffer};
use crate::report::Progress;
use crate::runs::Run;
use crate::table::{COLUMN_COUNT, KEY_COLUMN_COUNT, KEY_COLUMNS};

/// Takes every chunk, verifies the order of the rows, and returns what they
/// contain.
pub(crate) fn read_back(
    pager: &Pager,
    plan: &Plan,
    sorted: Run,
    progress: &Progress,
) -> anyhow::Result<Digest> {
    let mut columns = sorted.map(PagedColumn::into_chunks);
    let mut digest = Digest::default();
    let mut order = OrderCheck::default();
    let mut words = buffer(plan.chunk_words)?;
    let mut row_hashes = buffer(plan.chunk_words)?;
    while !columns[0].is_empty() {
        row_hashes.clear();
        for column in 0..COLUMN_COUNT {
            take_next(pager, &mut columns[column], &mut words)?;
            announce(pager, &columns[(column + 1) % COLUMN_COUNT]);
            row_hashes.resize(words.len().max(row_hashes.len()), 0);
            ensure!(
                row_hashes.len() == words.len(),
                "check failed: columns of different lengths"
            );
            digest.add_column(column, &words, &mut row_hashes);
            order.keep(column, &mut words);
        }
        digest.add_row_hashes(&row_hashes);
        order.check()?;
        progress.add(row_hashes.len());
    }
    ensure!(
        columns.iter().all(VecDeque::is_empty),
        "check failed: columns of different lengths"
    );
    Ok(digest)
}

fn take_next(
    pager: &Pager,
    column: &mut VecDeque<Handle>,
    words: &mut Vec<u64>,
) -> anyhow::Result<()> {
    let handle = column
        .pop_front()
        .context("check failed: columns of different lengths")?;
    pager.take(handle, words).map_err(pager::Error::from)?;
    Ok(())
}

fn announce(pager: &Pager, column: &VecDeque<Handle>) {
    if let Some(handle) = column.front() {
        pager.prefetch(handle);
    }
}

/// The key columns of the present chunk, and the last key of the one before.
#[derive(Debug, Default)]
struct OrderCheck {
    keys: [Vec<u64>; KEY_COLUMN_COUNT],
    last: Option<[u64; KEY_COLUMN_COUNT]>,
    row: u64,
}

impl OrderCheck {
    /// Swaps `words` in if they are of a key column.
    fn keep(&mut self, column: usize, words: &mut Vec<u64>) {
        if let Some(position) = KEY_COLUMNS.iter().position(|&key| key == column) {
            std::mem::swap(&mut self.keys[position], words);
        }
    }

    /// Every key is greater than the one before it: there are no equal ones.
    fn check(&mut self) -> anyhow::Result<()> {
        let [prices, orders, lines] = &self.keys;
        for ((&price, &order), &line) in prices.iter().zip(orders).zip(lines) {
            let key = [price, order, line];
            ensure!(
                self.last.is_none_or(|last| last < key),
                "check failed: row {} is out of order",
                self.row
            );
            self.last = Some(key);
            self.row += 1;
        }
        Ok(())
    }
}
