//! Small random reads: 4 KiB of file handles against 4 KiB of a plain file.
//!
//! Both sides read the same offsets of equally large data with direct I/O, in
//! blocks that take turns, so that a device in a mood treats both alike. The
//! order within a turn changes with every turn.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use pager::{BackendKind, Handle, Pager};
use serde::{Deserialize, Serialize};

use crate::buffer::Buffer;
use crate::data::{ChunkId, DataKind, Generator, Stream};
use crate::direct::{DirectFile, random_buffer};
use crate::measure::latency::Summary;
use crate::measure::{Host, Latencies, Operation};
use crate::verify::compare;
use crate::{CHUNK_BYTES, CHUNK_WORDS, GIB, median};

/// Words of one read.
const READ_WORDS: usize = 512;

/// Pages of a chunk.
const CHUNK_READS: u64 = (CHUNK_WORDS / READ_WORDS) as u64;

/// What to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Bytes of the handles together, and of the file.
    pub bytes: u64,
    /// Turns of either side.
    pub turns: usize,
    /// Reads of one side in one turn.
    pub reads_per_turn: usize,
}

/// How the two sides compare.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Rate of `read_at` / rate of `pread`: the median over the turns.
    pub ratio: f64,
    /// Reads per second of handles, over all turns.
    pub read_at_per_s: f64,
    /// Reads per second of the plain file, over all turns.
    pub pread_per_s: f64,
    /// `read_at`, in microseconds.
    pub read_at_us: Summary,
    /// `pread`, in microseconds.
    pub pread_us: Summary,
    /// GiB of the handles together, and of the file.
    pub gib: f64,
    /// Memory that `read_at` reads into: `vec` or `buf`.
    pub destination: String,
    /// The scratch directory.
    pub scratch: String,
    /// The machine and the program.
    #[serde(flatten)]
    pub host: Host,
}

/// Runs the comparison, `read_at` appending to a buffer of kind `C`.
///
/// # Errors
///
/// No direct I/O, no space, a failing device, or a word that differs from what
/// was paged out.
pub fn measure<C: Buffer>(scratch: &Path, config: Config) -> Result<Comparison> {
    ensure!(
        config.turns > 0 && config.reads_per_turn > 0,
        "there must be something to read"
    );
    let chunks = config.bytes.div_ceil(CHUNK_BYTES as u64).max(1);
    let file = DirectFile::create(scratch, chunks)?;
    let pager = Pager::builder()
        // Everything is stored: it is reads from the device that are compared.
        .budget_bytes(0)
        .backend(BackendKind::File)
        .scratch_dir(scratch)
        .build()
        .context("the pager could not be set up")?;
    let handles = page_out(&pager, chunks)?;
    let (mut of_handles, mut of_file) = (Latencies::default(), Latencies::default());
    let (mut dst, mut page) = (C::default(), random_buffer(0, READ_WORDS)?);
    let mut offsets = Stream::new(1);
    let (mut ratios, mut sums) = (Vec::new(), [0.0; 2]);
    for turn in 0..config.turns {
        let reads: Vec<u64> = (0..config.reads_per_turn)
            .map(|_| offsets.next_word() % (chunks * CHUNK_READS))
            .collect();
        let mut seconds = [0.0; 2];
        for side in [turn % 2, 1 - turn % 2] {
            let start = Instant::now();
            for read in &reads {
                if side == 0 {
                    of_handles.time(Operation::Read, || read_handle(&handles, *read, &mut dst))?;
                } else {
                    let offset_bytes = read * size_of_val(&page[..]) as u64;
                    of_file.time(Operation::Read, || file.read(&mut page, offset_bytes))?;
                }
            }
            seconds[side] = start.elapsed().as_secs_f64();
            sums[side] += seconds[side];
        }
        ratios.push(seconds[1] / seconds[0]);
    }
    check(&handles, &mut dst)?;
    let reads = (config.turns * config.reads_per_turn) as f64;
    Ok(Comparison {
        ratio: median(ratios),
        read_at_per_s: reads / sums[0],
        pread_per_s: reads / sums[1],
        read_at_us: of_handles.summary(Operation::Read),
        pread_us: of_file.summary(Operation::Read),
        gib: (chunks * CHUNK_BYTES as u64) as f64 / GIB,
        destination: C::NAME.to_owned(),
        scratch: scratch.display().to_string(),
        host: Host::describe(scratch),
    })
}

fn page_out(pager: &Pager, chunks: u64) -> Result<Vec<Handle>> {
    let generator = Generator::new(DataKind::Random);
    let mut chunk = Vec::new();
    (0..u32::try_from(chunks)?)
        .map(|index| {
            chunk.fill(generator.blocks(id(index)), CHUNK_WORDS)?;
            Ok(pager.pageout(std::slice::from_mut(&mut chunk))?)
        })
        .collect()
}

fn id(index: u32) -> ChunkId {
    ChunkId {
        chain: 0,
        thread: 0,
        index,
    }
}

/// Reads page `read` of all handles together.
fn read_handle<C: Buffer>(handles: &[Handle], read: u64, dst: &mut C) -> Result<()> {
    dst.forget();
    let handle = &handles[usize::try_from(read / CHUNK_READS)?];
    let offset = usize::try_from(read % CHUNK_READS)? * READ_WORDS;
    Ok(handle.read_at(offset, READ_WORDS, dst)?)
}

/// A fast wrong answer is none: the last page of every handle is looked at.
fn check<C: Buffer>(handles: &[Handle], dst: &mut C) -> Result<()> {
    let generator = Generator::new(DataKind::Random);
    let mut expected = Vec::new();
    for (index, read) in (0..u32::try_from(handles.len())?).zip((1..).map(|n| n * CHUNK_READS - 1))
    {
        expected.fill(generator.blocks(id(index)), CHUNK_WORDS)?;
        read_handle(handles, read, dst)?;
        if let Err(mismatch) = compare(&expected[CHUNK_WORDS - READ_WORDS..], dst.elements()) {
            anyhow::bail!("last page of chunk {index}: {mismatch}");
        }
    }
    Ok(())
}
