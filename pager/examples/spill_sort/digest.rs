//! [`Digest`]: checksums that do not depend on the order of rows.
//!
//! Each column's checksum is the wrapping sum of its words, each hashed first, so
//! that lost, doubled and altered words show. The rows' checksum does the same
//! with whole rows, so that columns which slipped against one another show too.

use std::fmt;

use anyhow::ensure;

use crate::table::{COLUMN_COUNT, COLUMN_NAMES, Row};

/// What a table contains, in any order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Digest {
    pub(crate) rows: u64,
    columns: [u64; COLUMN_COUNT],
    whole_rows: u64,
}

impl Digest {
    /// Adds one row.
    pub(crate) fn add_row(&mut self, row: &Row) {
        self.rows += 1;
        for (sum, &word) in self.columns.iter_mut().zip(row) {
            *sum = sum.wrapping_add(mix(word));
        }
        let hash = row.iter().fold(0, |hash, &word| chain(hash, word));
        self.whole_rows = self.whole_rows.wrapping_add(hash);
    }

    /// Adds part of one column, and links its words to the hashes of their rows.
    pub(crate) fn add_column(&mut self, column: usize, words: &[u64], row_hashes: &mut [u64]) {
        for (&word, hash) in words.iter().zip(row_hashes) {
            self.columns[column] = self.columns[column].wrapping_add(mix(word));
            *hash = chain(*hash, word);
        }
    }

    /// Adds rows whose every column has been linked to their hashes.
    pub(crate) fn add_row_hashes(&mut self, row_hashes: &[u64]) {
        self.rows += row_hashes.len() as u64;
        for &hash in row_hashes {
            self.whole_rows = self.whole_rows.wrapping_add(hash);
        }
    }

    /// Says in what `self` differs from `input`.
    pub(crate) fn compare(&self, input: &Self) -> anyhow::Result<()> {
        ensure!(
            self.rows == input.rows,
            "check failed: {} rows came back of {}",
            self.rows,
            input.rows
        );
        for (column, name) in COLUMN_NAMES.iter().enumerate() {
            ensure!(
                self.columns[column] == input.columns[column],
                "check failed: column {name} does not contain what it contained"
            );
        }
        ensure!(
            self.whole_rows == input.whole_rows,
            "check failed: the columns of some rows have slipped"
        );
        Ok(())
    }
}

/// One word for all: the checksum of whole rows.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.whole_rows)
    }
}

/// Hash of a row one word longer.
fn chain(hash: u64, word: u64) -> u64 {
    mix(hash.rotate_left(23) ^ word)
}

/// Spreads every bit over the whole word; not zero for zero.
fn mix(word: u64) -> u64 {
    let mut x = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    x = (x ^ x >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    x ^ x >> 32
}
