//! By the crate `ext-sort`: items that compare, in chunks of as many as the limit has room for.
//!
//! Its own serialisation is MessagePack; as its documentation advises where that is too slow, rows
//! are written as the bytes that they are.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Take, Write};
use std::sync::mpsc;
use std::time::Instant;

use anyhow::{Context, Result};
use ext_sort::{ExternalChunk, ExternalSorter, ExternalSorterBuilder, LimitedBufferBuilder};

use crate::check::Check;
use crate::digest::Digest;
use crate::table::Row;
use crate::{Job, Sorted, private_directory, rows};

/// Rows that wait between the generator and the sort.
const WAITING: usize = 1024;

/// A row that compares by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Keyed(Row);

impl Ord for Keyed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        rows::key(&self.0).cmp(&rows::key(&other.0))
    }
}

impl PartialOrd for Keyed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Rows as bytes, in a file.
#[derive(Debug)]
struct Bytes(Take<BufReader<File>>);

impl ExternalChunk<Keyed> for Bytes {
    type SerializationError = io::Error;
    type DeserializationError = io::Error;

    fn new(reader: Take<BufReader<File>>) -> Self {
        Self(reader)
    }

    fn dump(
        writer: &mut BufWriter<File>,
        items: impl IntoIterator<Item = Keyed>,
    ) -> io::Result<()> {
        items
            .into_iter()
            .try_for_each(|row| writer.write_all(bytemuck::cast_slice(&row.0)))
    }
}

impl Iterator for Bytes {
    type Item = io::Result<Keyed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.limit() == 0 {
            return None;
        }
        let mut row = Row::default();
        let read = self.0.read_exact(bytemuck::cast_slice_mut(&mut row));
        Some(read.map(|()| Keyed(row)))
    }
}

/// Sorts.
///
/// # Errors
///
/// What the crate says.
pub(crate) fn sort(job: &Job) -> Result<Sorted> {
    let directory = private_directory(&job.scratch)?;
    let begun = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // A sort that keeps the order of equals takes half as much again.
    let rows_at_a_time = (job.limit_bytes / rows::ROW_BYTES * 2 / 3).max(1);
    let sorter: ExternalSorter<Keyed, Infallible, LimitedBufferBuilder, Bytes> =
        ExternalSorterBuilder::new()
            .with_threads_number(threads)
            .with_tmp_dir(directory.path())
            .with_buffer(LimitedBufferBuilder::new(rows_at_a_time, true))
            .build()
            .context("the sorter could not be set up")?;
    let (out, waiting) = mpsc::sync_channel(WAITING);
    let scale = job.scale;
    // The crate asks for items; the generator hands them out.
    let generator = std::thread::spawn(move || {
        let mut input = Digest::default();
        let made = rows::each(scale, |row| {
            input.add_row(row);
            Ok(out.send(Ok(Keyed(*row)))?)
        });
        made.map(|()| input)
    });
    let sorted = sorter.sort(waiting).context("ext-sort failed")?;
    let mut output = Check::default();
    for row in sorted {
        output.add(&row.context("ext-sort failed")?.0)?;
    }
    let input = generator.join().ok().context("the generator panicked")??;
    Ok(Sorted {
        sort_s: begun.elapsed().as_secs_f64(),
        input,
        output,
        ..Sorted::default()
    })
}
