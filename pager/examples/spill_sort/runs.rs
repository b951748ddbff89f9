//! Generate, sort, page out: sorted runs as large as the budget allows.

use std::array;

use pager::Pager;
use tpchgen::distribution::Distributions;
use tpchgen::generators::LineItemGenerator;
use tpchgen::text::TextPool;

use crate::column::PagedColumn;
use crate::digest::Digest;
use crate::plan::{Plan, buffer};
use crate::report::Progress;
use crate::table::{COLUMN_COUNT, KEY_COLUMNS, Row, encode};

/// The sorted runs, and what is in them.
#[derive(Debug)]
pub(crate) struct Runs {
    pub(crate) runs: Vec<Run>,
    pub(crate) digest: Digest,
}

/// The columns of one sorted run.
pub(crate) type Run = [PagedColumn; COLUMN_COUNT];

/// What a row is sorted by, and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SortKey {
    extended_price: u64,
    order_key: u64,
    /// Four bytes are enough for both: an order has at most seven lines.
    line_number: u32,
    row: u32,
}

/// Generates the table and pages it out in sorted runs.
pub(crate) fn build(
    pager: &Pager,
    plan: &Plan,
    scale: f64,
    progress: &Progress,
) -> anyhow::Result<Runs> {
    let distributions = Distributions::static_default();
    let text_pool = TextPool::new(i32::try_from(plan.text_bytes)?, distributions);
    let generator = LineItemGenerator::new_with_distributions_and_text_pool(
        scale,
        1,
        1,
        distributions,
        &text_pool,
    );
    let mut rows = RowBuffer::new(plan)?;
    let mut built = Runs {
        runs: Vec::new(),
        digest: Digest::default(),
    };
    for item in generator.iter() {
        let row = encode(&item);
        built.digest.add_row(&row);
        rows.push(&row)?;
        if rows.is_full() {
            progress.add(rows.len());
            built.runs.push(rows.page_out_sorted(pager)?);
        }
    }
    if rows.len() > 0 {
        progress.add(rows.len());
        built.runs.push(rows.page_out_sorted(pager)?);
    }
    Ok(built)
}

/// The rows of the run that is being gathered.
#[derive(Debug)]
struct RowBuffer {
    columns: [Vec<u64>; COLUMN_COUNT],
    keys: Vec<SortKey>,
    chunk: Vec<u64>,
    chunk_words: usize,
    capacity_rows: usize,
}

impl RowBuffer {
    fn new(plan: &Plan) -> pager::Result<Self> {
        let mut columns: [Vec<u64>; COLUMN_COUNT] = array::from_fn(|_| Vec::new());
        for column in &mut columns {
            *column = buffer(plan.run_rows)?;
        }
        Ok(Self {
            columns,
            keys: buffer(plan.run_rows)?,
            chunk: buffer(plan.chunk_words)?,
            chunk_words: plan.chunk_words,
            capacity_rows: plan.run_rows,
        })
    }

    fn len(&self) -> usize {
        self.keys.len()
    }

    fn is_full(&self) -> bool {
        self.len() == self.capacity_rows
    }

    fn push(&mut self, row: &Row) -> anyhow::Result<()> {
        let [extended_price, order_key, line_number] = KEY_COLUMNS.map(|column| row[column]);
        self.keys.push(SortKey {
            extended_price,
            order_key,
            line_number: u32::try_from(line_number)?,
            row: u32::try_from(self.keys.len())?,
        });
        for (column, &word) in self.columns.iter_mut().zip(row) {
            column.push(word);
        }
        Ok(())
    }

    /// Sorts the rows, pages their columns out one by one, and empties itself.
    fn page_out_sorted(&mut self, pager: &Pager) -> pager::Result<Run> {
        self.keys.sort_unstable();
        let mut run = array::from_fn(|_| PagedColumn::new(self.chunk_words));
        for (column, paged) in self.columns.iter_mut().zip(&mut run) {
            for keys in self.keys.chunks(self.chunk_words) {
                self.chunk
                    .extend(keys.iter().map(|key| column[key.row as usize]));
                paged.push(pager, &mut self.chunk)?;
            }
            column.clear();
        }
        self.keys.clear();
        Ok(run)
    }
}
