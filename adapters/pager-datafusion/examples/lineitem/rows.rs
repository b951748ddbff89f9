//! The rows: made as they are wanted, the same ones each time; and what was sorted, as a sum
//! that knows the order.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Decimal128Array, Int32Array, Int64Array, RecordBatch,
    StringArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Int32Type, Int64Type, Schema, SchemaRef,
};
use datafusion_common::Result;
use datafusion_physical_plan::memory::LazyBatchGenerator;
use parking_lot::RwLock;
use tpchgen::distribution::Distributions;
use tpchgen::generators::{LineItem, LineItemGenerator, LineItemGeneratorIterator};
use tpchgen::text::TextPool;

/// Rows of a batch, as the engine likes them.
const BATCH_ROWS: usize = 8192;

/// Rows of scale factor 1.
const ROWS_OF_ONE: u64 = 6_001_215;

/// What rows are sorted by: the last two tell any two rows apart.
pub(crate) const KEY: [&str; 3] = ["l_extendedprice", "l_orderkey", "l_linenumber"];

/// What comments are cut from: 4 MiB, and not 300 as by default, for memory is short here.
static TEXT: LazyLock<TextPool> =
    LazyLock::new(|| TextPool::new(4 << 20, Distributions::static_default()));

const DECIMAL: DataType = DataType::Decimal128(15, 2);

/// The table's columns.
pub(crate) fn schema() -> SchemaRef {
    let field = |name: &str, kind| Field::new(name, kind, false);
    Arc::new(Schema::new(vec![
        field("l_orderkey", DataType::Int64),
        field("l_partkey", DataType::Int64),
        field("l_suppkey", DataType::Int64),
        field("l_linenumber", DataType::Int32),
        field("l_quantity", DECIMAL),
        field("l_extendedprice", DECIMAL),
        field("l_discount", DECIMAL),
        field("l_tax", DECIMAL),
        field("l_returnflag", DataType::Utf8),
        field("l_linestatus", DataType::Utf8),
        field("l_shipdate", DataType::Date32),
        field("l_commitdate", DataType::Date32),
        field("l_receiptdate", DataType::Date32),
        field("l_shipinstruct", DataType::Utf8),
        field("l_shipmode", DataType::Utf8),
        field("l_comment", DataType::Utf8),
    ]))
}

/// So many rows, in the order in which they are made.
pub(crate) struct Rows {
    rows: LineItemGeneratorIterator<'static>,
    row_count: u64,
    left: u64,
}

impl Rows {
    pub(crate) fn new(row_count: u64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a scale, and a little more")]
        let scale = (row_count as f64 / ROWS_OF_ONE as f64) * 1.01 + 0.001;
        Self {
            rows: LineItemGenerator::new_with_distributions_and_text_pool(
                scale,
                1,
                1,
                Distributions::static_default(),
                &TEXT,
            )
            .into_iter(),
            row_count,
            left: row_count,
        }
    }
}

impl LazyBatchGenerator for Rows {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn generate_next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let rows: Vec<_> = self.rows.by_ref().take(most.min(BATCH_ROWS)).collect();
        self.left -= rows.len() as u64;
        if rows.is_empty() {
            return Ok(None);
        }
        batch(&rows).map(Some)
    }

    fn reset_state(&self) -> Arc<RwLock<dyn LazyBatchGenerator>> {
        Arc::new(RwLock::new(Self::new(self.row_count)))
    }
}

fn batch(rows: &[LineItem<'_>]) -> Result<RecordBatch> {
    let int = |of: fn(&LineItem<'_>) -> i64| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<Int64Array>())
    };
    let decimal = |of: fn(&LineItem<'_>) -> i64| -> Result<ArrayRef> {
        let hundredths = rows.iter().map(|row| i128::from(of(row)));
        let column = Decimal128Array::from_iter_values(hundredths);
        Ok(Arc::new(column.with_precision_and_scale(15, 2)?))
    };
    let date = |of: fn(&LineItem<'_>) -> i32| -> ArrayRef {
        Arc::new(Date32Array::from_iter_values(rows.iter().map(of)))
    };
    macro_rules! text {
        ($column:ident) => {
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|row| row.$column),
            ))
        };
    }
    let numbers = rows.iter().map(|row| row.l_linenumber);
    let columns: Vec<ArrayRef> = vec![
        int(|row| row.l_orderkey),
        int(|row| row.l_partkey),
        int(|row| row.l_suppkey),
        Arc::new(numbers.collect::<Int32Array>()),
        decimal(|row| row.l_quantity * 100)?,
        decimal(|row| row.l_extendedprice.into_inner())?,
        decimal(|row| row.l_discount.into_inner())?,
        decimal(|row| row.l_tax.into_inner())?,
        text!(l_returnflag),
        text!(l_linestatus),
        date(|row| row.l_shipdate.to_unix_epoch()),
        date(|row| row.l_commitdate.to_unix_epoch()),
        date(|row| row.l_receiptdate.to_unix_epoch()),
        text!(l_shipinstruct),
        text!(l_shipmode),
        text!(l_comment),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

/// A sum of rows, in their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sum(pub(crate) u64);

impl Sum {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    /// Adds all of a batch, column by column: the same for the same batches.
    pub(crate) fn add_batch(&mut self, batch: &RecordBatch) {
        for column in batch.columns() {
            match column.data_type() {
                DataType::Int64 => {
                    let values = column.as_primitive::<Int64Type>().values();
                    values.iter().for_each(|it| self.add(it.cast_unsigned()));
                }
                DataType::Int32 => {
                    let values = column.as_primitive::<Int32Type>().values();
                    values
                        .iter()
                        .for_each(|&it| self.add(i64::from(it).cast_unsigned()));
                }
                DataType::Date32 => {
                    let values = column.as_primitive::<Date32Type>().values();
                    values
                        .iter()
                        .for_each(|&it| self.add(i64::from(it).cast_unsigned()));
                }
                DataType::Decimal128(..) => {
                    let values = column.as_primitive::<Decimal128Type>().values();
                    // Of 15 digits.
                    let words = values
                        .iter()
                        .map(|&it| i64::try_from(it).unwrap_or(i64::MIN));
                    words.for_each(|it| self.add(it.cast_unsigned()));
                }
                _ => self.add_text(column.as_string::<i32>()),
            }
        }
    }

    fn add_text(&mut self, column: &StringArray) {
        for value in column.iter().flatten() {
            for bytes in value.as_bytes().chunks(8) {
                let mut word = [0; 8];
                word[..bytes.len()].copy_from_slice(bytes);
                self.add(u64::from_le_bytes(word));
            }
            self.add(value.len() as u64);
        }
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rows of lineitem, {} to come",
            self.row_count, self.left
        )
    }
}
