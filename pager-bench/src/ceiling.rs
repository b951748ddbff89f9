//! What the device can do: 2 MiB direct reads and writes, half and half.
//!
//! The merge cannot be faster than this: for every GiB that goes through, the
//! device reads one and writes one. So the ceiling is half of the raw rate, at
//! the best of several queue depths.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::direct::{DirectFile, random_buffer};
use crate::measure::{Host, Latencies, Operation, Summary};
use crate::{CHUNK_BYTES, CHUNK_WORDS, GIB};

/// Transfers in flight that are tried: one thread each.
pub const DEPTHS: [u64; 4] = [1, 2, 4, 8];

/// The rate at one queue depth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AtDepth {
    /// Transfers in flight.
    pub queue_depth: u64,
    /// Wall time.
    pub wall_s: f64,
    /// GiB read, and as many written, per second.
    pub through_gib_s: f64,
    /// GiB moved per second.
    pub raw_gib_s: f64,
    /// How long each write took: what no pager can wait less for.
    pub write_us: Summary,
    /// How long each read took.
    pub read_us: Summary,
}

/// The device's rates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ceiling {
    /// GiB that could go through per second at the best queue depth.
    pub ceiling_gib_s: f64,
    /// GiB moved per second at that depth.
    pub raw_gib_s: f64,
    /// GiB read, and as many written, per queue depth.
    pub gib: f64,
    /// The scratch directory.
    pub scratch: String,
    /// Every queue depth.
    pub depths: Vec<AtDepth>,
    /// The machine and the program.
    #[serde(flatten)]
    pub host: Host,
}

/// Reads `bytes` and writes as much, at each queue depth.
///
/// # Errors
///
/// No direct I/O, no space (twice `bytes`), or a failing device.
pub fn measure(scratch: &Path, bytes: u64) -> Result<Ceiling> {
    let pairs = bytes.div_ceil(CHUNK_BYTES as u64).max(1);
    let file = DirectFile::create(scratch, 2 * pairs)?;
    let gib = (pairs * CHUNK_BYTES as u64) as f64 / GIB;
    let mut depths = Vec::new();
    for queue_depth in DEPTHS {
        let (wall_s, latencies) = time_at(&file, pairs, queue_depth)?;
        depths.push(AtDepth {
            write_us: latencies.summary(Operation::Pageout),
            read_us: latencies.summary(Operation::Take),
            queue_depth,
            wall_s,
            through_gib_s: gib / wall_s,
            raw_gib_s: 2.0 * gib / wall_s,
        });
    }
    let best = |rate: fn(&AtDepth) -> f64| depths.iter().map(rate).fold(0.0, f64::max);
    Ok(Ceiling {
        ceiling_gib_s: best(|depth| depth.through_gib_s),
        raw_gib_s: best(|depth| depth.raw_gib_s),
        gib,
        scratch: scratch.display().to_string(),
        host: Host::describe(scratch),
        depths,
    })
}

/// Seconds that `queue_depth` threads need to read every chunk of the first half
/// of the file and write every chunk of the second half, in turn; and how long each
/// transfer took.
fn time_at(file: &DirectFile, pairs: u64, queue_depth: u64) -> Result<(f64, Latencies)> {
    // Buffers are made before the clock runs: their first touch is not I/O.
    let buffers = (0..queue_depth)
        .map(|thread| {
            Ok([
                random_buffer(thread, CHUNK_WORDS)?,
                random_buffer(!thread, CHUNK_WORDS)?,
            ])
        })
        .collect::<Result<Vec<_>>>()?;
    let next = AtomicU64::new(0);
    let mut latencies = Latencies::default();
    let start = Instant::now();
    thread::scope(|scope| {
        let threads: Vec<_> = buffers
            .into_iter()
            .zip(0..)
            .map(|([read, written], thread)| {
                let next = &next;
                scope.spawn(move || transfer(file, pairs, next, thread, [read, written]))
            })
            .collect();
        threads.into_iter().try_for_each(|thread| {
            let ended = thread.join();
            latencies.add(&ended.unwrap_or_else(|cause| std::panic::resume_unwind(cause))?);
            anyhow::Ok(())
        })
    })?;
    Ok((start.elapsed().as_secs_f64(), latencies))
}

/// One thread's share: takes transfers off the common list until it is done.
fn transfer(
    file: &DirectFile,
    pairs: u64,
    next: &AtomicU64,
    thread: u64,
    [mut read, mut written]: [pager_core::ChunkBuf; 2],
) -> Result<Latencies> {
    let mut latencies = Latencies::default();
    loop {
        // Relaxed: the numbers need only differ.
        let transfer = next.fetch_add(1, Ordering::Relaxed);
        let (pair, is_write) = (transfer / 2, transfer % 2 == 1);
        if pair >= pairs {
            return Ok(latencies);
        }
        let offset_bytes = |chunk: u64| chunk * CHUNK_BYTES as u64;
        if is_write {
            // Never the same bytes twice, in case the device looks.
            written[0] = transfer ^ thread << 32;
            latencies.time(Operation::Pageout, || {
                file.write(&written, offset_bytes(pairs + pair))
            })?;
        } else {
            latencies.time(Operation::Take, || file.read(&mut read, offset_bytes(pair)))?;
        }
    }
}
