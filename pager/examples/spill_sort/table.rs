//! The columns of `lineitem`, encoded as words.
//!
//! Keys and quantities are themselves; decimals are hundredths; dates are days
//! since 1970. Text of at most eight bytes is its bytes; longer text (some
//! shipping instructions, the comment) is a 64-bit FNV-1a hash, since nothing is
//! sorted by it.

use tpchgen::generators::LineItem;

/// Columns of the table.
pub(crate) const COLUMN_COUNT: usize = 16;
/// Bytes of a row.
pub(crate) const ROW_BYTES: u64 = (COLUMN_COUNT * size_of::<u64>()) as u64;
/// Columns of the sort key.
pub(crate) const KEY_COLUMN_COUNT: usize = 3;

/// Names, in order, for messages.
pub(crate) const COLUMN_NAMES: [&str; COLUMN_COUNT] = [
    "l_orderkey",
    "l_partkey",
    "l_suppkey",
    "l_linenumber",
    "l_quantity",
    "l_extendedprice",
    "l_discount",
    "l_tax",
    "l_returnflag",
    "l_linestatus",
    "l_shipdate",
    "l_commitdate",
    "l_receiptdate",
    "l_shipinstruct",
    "l_shipmode",
    "l_comment",
];

/// The sort key: `l_extendedprice`, `l_orderkey`, `l_linenumber`. The last two
/// are the primary key, so no two rows compare equal.
pub(crate) const KEY_COLUMNS: [usize; KEY_COLUMN_COUNT] = [5, 0, 3];

/// One row.
pub(crate) type Row = [u64; COLUMN_COUNT];

/// Rows at this scale factor, for the progress bar; the generator decides.
pub(crate) fn expected_rows(scale: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate for a progress bar"
    )]
    let rows = (6_001_215.0 * scale) as u64;
    rows
}

/// The row as words.
pub(crate) fn encode(item: &LineItem<'_>) -> Row {
    [
        item.l_orderkey.cast_unsigned(),
        item.l_partkey.cast_unsigned(),
        item.l_suppkey.cast_unsigned(),
        i64::from(item.l_linenumber).cast_unsigned(),
        item.l_quantity.cast_unsigned(),
        item.l_extendedprice.into_inner().cast_unsigned(),
        item.l_discount.into_inner().cast_unsigned(),
        item.l_tax.into_inner().cast_unsigned(),
        text(item.l_returnflag),
        text(item.l_linestatus),
        i64::from(item.l_shipdate.to_unix_epoch()).cast_unsigned(),
        i64::from(item.l_commitdate.to_unix_epoch()).cast_unsigned(),
        i64::from(item.l_receiptdate.to_unix_epoch()).cast_unsigned(),
        text(item.l_shipinstruct),
        text(item.l_shipmode),
        text(item.l_comment),
    ]
}

/// The bytes themselves, first one highest, or their hash.
fn text(text: &str) -> u64 {
    let bytes = text.as_bytes();
    if bytes.len() <= size_of::<u64>() {
        return bytes
            .iter()
            .fold(0, |word, &byte| word << 8 | u64::from(byte));
    }
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
