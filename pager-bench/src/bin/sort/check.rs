//! [`Check`]: what came out of a sort.

use anyhow::{Result, ensure};

use crate::digest::Digest;
use crate::rows;
use crate::table::{KEY_COLUMN_COUNT, Row};

/// Rows that came out, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Check {
    digest: Digest,
    last: Option<[u64; KEY_COLUMN_COUNT]>,
}

impl Check {
    /// Of rows that nobody has sorted.
    pub(crate) fn of_unsorted(input: &Digest) -> Self {
        Self {
            digest: input.clone(),
            last: None,
        }
    }

    /// The next row.
    ///
    /// # Errors
    ///
    /// When it does not come after the one before it.
    pub(crate) fn add(&mut self, row: &Row) -> Result<()> {
        let key = rows::key(row);
        ensure!(
            self.last.is_none_or(|last| last < key),
            "check failed: row {} is out of order",
            self.digest.rows
        );
        self.last = Some(key);
        self.digest.add_row(row);
        Ok(())
    }

    /// Says whether these were the rows that went in.
    ///
    /// # Errors
    ///
    /// In what they differ.
    pub(crate) fn compare(&self, input: &Digest) -> Result<()> {
        self.digest.compare(input)
    }
}

#[cfg(test)]
mod tests {
    use super::Check;
    use crate::digest::Digest;
    use crate::rows;

    #[test]
    fn rows_that_are_missing_altered_or_out_of_order_are_found() {
        let mut all = Vec::new();
        rows::each(0.001, |row| {
            all.push(*row);
            Ok(())
        })
        .unwrap();
        let mut input = Digest::default();
        all.iter().for_each(|row| input.add_row(row));
        all.sort_unstable_by_key(rows::key);
        let check = |rows: &[crate::table::Row]| {
            let mut check = Check::default();
            rows.iter().try_for_each(|row| check.add(row))?;
            check.compare(&input)
        };
        check(&all).unwrap();
        assert!(check(&all[1..]).is_err());
        let mut altered = all.clone();
        altered[7][15] ^= 1;
        assert!(check(&altered).is_err());
        all.swap(3, 4);
        assert!(check(&all).unwrap_err().to_string().contains("order"));
    }
}
