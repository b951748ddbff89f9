//! By the crate `spillsort`: bytes of a key and of a row are pushed, and come back merged.

use std::time::Instant;

use anyhow::{Context, Result};
use spillsort::{Config, Sorter};

use crate::check::Check;
use crate::digest::Digest;
use crate::table::{KEY_COLUMN_COUNT, Row};
use crate::{Job, Sorted, private_directory, rows};

/// Sorts.
///
/// # Errors
///
/// What the crate says.
pub(crate) fn sort(job: &Job) -> Result<Sorted> {
    let directory = private_directory(&job.scratch)?;
    let begun = Instant::now();
    let mut input = Digest::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let config = Config::default()
        .max_bytes(job.limit_bytes)
        .tmp_dir(directory.path())
        .threads(threads);
    let mut sorter = Sorter::new(config)?;
    rows::each(job.scale, |row| {
        input.add_row(row);
        // Words whose bytes compare as they do.
        let mut key = [0; KEY_COLUMN_COUNT * size_of::<u64>()];
        for (bytes, word) in key.chunks_exact_mut(size_of::<u64>()).zip(rows::key(row)) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        Ok(sorter.push(&key, bytemuck::cast_slice(row))?)
    })?;
    let mut merged = sorter.finish()?;
    let mut output = Check::default();
    while let Some((_, value)) = merged.next_record()? {
        let row: Row = bytemuck::try_pod_read_unaligned(value)
            .ok()
            .context("check failed: a row has another length")?;
        output.add(&row)?;
    }
    Ok(Sorted {
        sort_s: begun.elapsed().as_secs_f64(),
        input,
        output,
        ..Sorted::default()
    })
}
