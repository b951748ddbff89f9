//! The rows that are sorted: those of the example `spill_sort`, in its words.

use anyhow::Result;
use tpchgen::distribution::Distributions;
use tpchgen::generators::LineItemGenerator;
use tpchgen::text::TextPool;

use crate::table::{KEY_COLUMNS, Row, encode};

/// Text that comments are cut from, as the example has it in a budget of 64 MiB and more; its
/// hashes are part of the rows.
const TEXT_BYTES: i32 = 4 << 20;

/// Bytes of a row.
pub(crate) const ROW_BYTES: usize = size_of::<Row>();

/// Hands out every row, in the order of the generator.
///
/// # Errors
///
/// That of `take`.
pub(crate) fn each(scale: f64, mut take: impl FnMut(&Row) -> Result<()>) -> Result<()> {
    let distributions = Distributions::static_default();
    let text_pool = TextPool::new(TEXT_BYTES, distributions);
    let generator = LineItemGenerator::new_with_distributions_and_text_pool(
        scale,
        1,
        1,
        distributions,
        &text_pool,
    );
    for item in generator.iter() {
        take(&encode(&item))?;
    }
    Ok(())
}

/// What a row is sorted by: no two rows are alike in it.
pub(crate) fn key(row: &Row) -> [u64; KEY_COLUMNS.len()] {
    KEY_COLUMNS.map(|column| row[column])
}
