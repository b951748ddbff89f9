//! [`Lineitem`]: real columns, without a real table's size.
//!
//! As many rows of TPC-H `lineitem` as one chunk has words are generated once
//! and kept as 32-bit values (14 MiB). A chunk is one column, read cyclically
//! from a row of its own and widened to words; the chunk's number is added to
//! every value. So a chunk keeps the character of its column (order, range,
//! number of distinct values), no chunk repeats itself inside, and no two chunks
//! are equal.

use tpchgen::dates::TPCHDate;
use tpchgen::distribution::Distributions;
use tpchgen::generators::{LineItem, LineItemGenerator};
use tpchgen::text::TextPool;

use super::{BLOCK_WORDS, Block, ChunkId};
use crate::CHUNK_WORDS;

/// Rows that are kept.
const ROWS: usize = CHUNK_WORDS;

/// Columns that are kept: all but the comment and the ship instruction.
const COLUMNS: usize = 14;

/// Scale at which `lineitem` has a few more than [`ROWS`] rows.
const SCALE_FACTOR: f64 = 0.05;

/// Bytes of random prose to cut comments from. Nobody reads them here, and the
/// default is 300 MiB, which would drown every figure of memory.
const TEXT_POOL_BYTES: i32 = 1 << 20;

/// Columns of the first rows of `lineitem`.
#[derive(Debug)]
pub struct Lineitem {
    columns: Vec<Vec<u32>>,
}

impl Lineitem {
    /// Generates the rows; takes a fraction of a second.
    #[must_use]
    pub fn generate() -> Self {
        let distributions = Distributions::static_default();
        let text_pool = TextPool::new(TEXT_POOL_BYTES, distributions);
        let generator = LineItemGenerator::new_with_distributions_and_text_pool(
            SCALE_FACTOR,
            1,
            1,
            distributions,
            &text_pool,
        );
        let mut columns: Vec<_> = (0..COLUMNS).map(|_| Vec::with_capacity(ROWS)).collect();
        for row in generator.iter().take(ROWS) {
            for (column, value) in columns.iter_mut().zip(encode(&row)) {
                column.push(value);
            }
        }
        Self { columns }
    }

    /// The words of chunk `id`.
    pub(super) fn cursor(&self, id: ChunkId) -> Cursor<'_> {
        // Neighbours are different columns, as when the columns of a table are
        // spilled in turn.
        let index = id.index as usize;
        let column = &self.columns[index % COLUMNS];
        let blocks = column.len() / BLOCK_WORDS;
        Cursor {
            column,
            // 97 is coprime to the number of blocks: every start comes up.
            next_row: index.wrapping_mul(97) % blocks * BLOCK_WORDS,
            // As small as a number that no other chunk has can be.
            salt: u64::from(id.index) << 16 | id.key() >> 32,
        }
    }
}

/// A place in a column.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    column: &'a [u32],
    next_row: usize,
    salt: u64,
}

impl Cursor<'_> {
    pub(super) fn next_into(&mut self, block: &mut Block) {
        let rows = &self.column[self.next_row..self.next_row + BLOCK_WORDS];
        for (word, value) in block.iter_mut().zip(rows) {
            *word = u64::from(*value) + self.salt;
        }
        self.next_row += BLOCK_WORDS;
        if self.next_row + BLOCK_WORDS > self.column.len() {
            self.next_row = 0;
        }
    }
}

/// One row as unsigned numbers: keys as they are, money in cents, dates in days,
/// words as the number of their first letters.
fn encode(row: &LineItem<'_>) -> [u32; COLUMNS] {
    [
        number(row.l_orderkey),
        number(row.l_partkey),
        number(row.l_suppkey),
        number(i64::from(row.l_linenumber)),
        number(row.l_quantity),
        number(row.l_extendedprice.into_inner()),
        number(row.l_discount.into_inner()),
        number(row.l_tax.into_inner()),
        letters(row.l_returnflag),
        letters(row.l_linestatus),
        days(row.l_shipdate),
        days(row.l_commitdate),
        days(row.l_receiptdate),
        letters(row.l_shipmode),
    ]
}

/// At this scale every number of the table fits; a larger one would be cut.
fn number(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn days(date: TPCHDate) -> u32 {
    number(i64::from(date.into_inner()))
}

fn letters(text: &str) -> u32 {
    text.bytes()
        .take(4)
        .fold(0, |code, letter| code << 8 | u32::from(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_are_those_of_the_table() {
        let lineitem = Lineitem::generate();
        assert!(lineitem.columns.iter().all(|column| column.len() == ROWS));
        // The first row of the specification's sample.
        let first: Vec<u32> = lineitem.columns.iter().map(|column| column[0]).collect();
        assert_eq!(first[0], 1);
        assert_eq!(first[3..5], [1, 17]);
        assert_eq!(first[6..9], [4, 2, u32::from(b'N')]);
        assert!(lineitem.columns[0].is_sorted(), "order keys ascend");
        assert!(
            lineitem
                .columns
                .iter()
                .flatten()
                .all(|value| *value < u32::MAX)
        );
    }
}
