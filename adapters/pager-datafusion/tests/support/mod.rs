//! Batches, pagers, and streams that are read to their end.

#![allow(dead_code, reason = "each test uses what it needs")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Decimal128Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::{Stream, StreamExt};
use pager::{BackendKind, Pager};

pub(crate) fn pager(budget_bytes: usize) -> (Arc<Pager>, tempfile::TempDir) {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let pager = Pager::builder()
        .backend(BackendKind::File)
        .scratch_dir(scratch.path())
        .budget_bytes(budget_bytes)
        .build()
        .unwrap();
    (Arc::new(pager), scratch)
}

pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, false),
        Field::new("price", DataType::Decimal128(15, 2), false),
        Field::new("comment", DataType::Utf8, true),
    ]))
}

/// The next of a sequence that looks like chance.
pub(crate) fn mix(seed: u64) -> u64 {
    let mixed = (seed ^ (seed >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// Rows that differ from those of any other seed.
pub(crate) fn batch(seed: u64, rows: u64) -> RecordBatch {
    let keys: Vec<u64> = (0..rows).map(|row| mix(seed * 1_000_003 + row)).collect();
    let prices = keys.iter().map(|&key| i128::from(key % 100_000));
    let prices = Decimal128Array::from_iter_values(prices);
    let prices = prices.with_precision_and_scale(15, 2).unwrap();
    let comments = keys
        .iter()
        .map(|key| (key % 7 > 0).then(|| format!("row {key}")));
    RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(
                keys.iter()
                    .map(|&key| key.cast_signed())
                    .collect::<Int64Array>(),
            ),
            Arc::new(prices),
            Arc::new(comments.collect::<StringArray>()),
        ],
    )
    .unwrap()
}

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

pub(crate) async fn drain<T, E>(
    mut stream: impl Stream<Item = Result<T, E>> + Unpin,
) -> Result<Vec<T>, E> {
    let mut all = Vec::new();
    while let Some(item) = stream.next().await {
        all.push(item?);
    }
    Ok(all)
}

pub(crate) async fn drain_until_error<T, E>(
    mut stream: impl Stream<Item = Result<T, E>> + Unpin,
) -> (Vec<T>, Option<E>) {
    let mut all = Vec::new();
    while let Some(item) = stream.next().await {
        match item {
            Ok(item) => all.push(item),
            Err(error) => return (all, Some(error)),
        }
    }
    (all, None)
}

/// An error and all its causes.
pub(crate) fn text_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Nothing is left; what is being written at this moment goes when that is done.
pub(crate) fn check_empty(pager: &Pager) {
    let begun = Instant::now();
    loop {
        let stats = pager.stats();
        if stats.total.live_handles == 0 && stats.residency.resident_bytes == 0 {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{stats:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
