//! Measures a spill that is written and read once: in memory, beside `memcpy` twice, and
//! under pressure, beside what the device can do.

#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Parser;
use pager::{BackendKind, Pager};
use pager_bench::{GIB, ceiling, direct, median};
use pager_tool::{ensure_disk, print};

/// What a caller writes and reads at a time.
const STEP_BYTES: usize = 64 << 10;

/// A spill written and read once, in memory and under pressure.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Args {
    /// Directory to measure in [default: PAGER_SCRATCH, else /var/tmp].
    #[arg(long)]
    scratch: Option<PathBuf>,
    /// MiB that are written and read.
    #[arg(long, default_value_t = 1024)]
    mib: usize,
    /// Rounds, interleaved; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

fn main() -> ExitCode {
    pager_tool::run(|args: Args| measure(&args).map(|()| ExitCode::SUCCESS))
}

fn measure(args: &Args) -> Result<()> {
    ensure!(args.mib >= 16 && args.rounds > 0, "nothing to measure");
    let scratch = direct::scratch_or_default(args.scratch.as_deref());
    let bytes = args.mib << 20;
    ensure_disk("--mib", bytes as u64 * 2, 0, &scratch)?;
    let (mut copies, mut apart, mut following) = (Vec::new(), Vec::new(), Vec::new());
    let (mut devices, mut pressed) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        copies.push(memcpy_twice(bytes));
        apart.push(written_then_read(&scratch, bytes, 2 * bytes)?);
        following.push(one_behind_the_other(&scratch, bytes, 2 * bytes)?);
        devices.push(ceiling::measure(&scratch, bytes as u64)?.ceiling_gib_s);
        pressed.push(written_then_read(&scratch, bytes, bytes / 4)?);
    }
    let (copy, apart, following) = (median(copies), median(apart), median(following));
    print(format_args!(
        "in memory:      memcpy twice {copy:.2} GiB/s; written, then read {apart:.2} ({:.2}); one behind the other {following:.2} ({:.2})",
        apart / copy,
        following / copy,
    ))?;
    let (device, pressed) = (median(devices), median(pressed));
    print(format_args!(
        "under pressure: device {device:.3} GiB/s; budget of a quarter {pressed:.3} ({:.2})",
        pressed / device,
    ))?;
    Ok(())
}

/// GiB per second through two copies of everything, into fresh memory and out of it.
fn memcpy_twice(bytes: usize) -> f64 {
    let step = vec![7; STEP_BYTES];
    let mut out = vec![0; STEP_BYTES];
    let begun = Instant::now();
    let mut whole = Vec::with_capacity(bytes);
    while whole.len() < bytes {
        whole.extend_from_slice(&step);
    }
    for part in whole.chunks_exact(STEP_BYTES) {
        out.copy_from_slice(part);
        std::hint::black_box(&mut out);
    }
    rate(bytes, begun)
}

fn pager(scratch: &Path, budget_bytes: usize) -> Result<Pager> {
    Ok(Pager::builder()
        .backend(BackendKind::File)
        .scratch_dir(scratch)
        .allow_memory_fs(true)
        .budget_bytes(budget_bytes)
        .build()?)
}

/// GiB per second through a spill that is written whole before it is read.
fn written_then_read(scratch: &Path, bytes: usize, budget_bytes: usize) -> Result<f64> {
    let pager = pager(scratch, budget_bytes)?;
    let (mut writer, spill) = pager.spill()?;
    let mut reader = spill.into_reader()?;
    let begun = Instant::now();
    let step = vec![7; STEP_BYTES];
    for _ in 0..bytes / STEP_BYTES {
        writer.write_all(&step)?;
    }
    writer.finish()?;
    let mut out = vec![0; STEP_BYTES];
    for _ in 0..bytes / STEP_BYTES {
        reader.read_exact(&mut out)?;
        std::hint::black_box(&mut out);
    }
    Ok(rate(bytes, begun))
}

/// The same where a second thread reads what the first one writes.
fn one_behind_the_other(scratch: &Path, bytes: usize, budget_bytes: usize) -> Result<f64> {
    let pager = pager(scratch, budget_bytes)?;
    let (mut writer, spill) = pager.spill()?;
    let mut reader = spill.into_reader()?;
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || -> Result<()> {
            let step = vec![7; STEP_BYTES];
            for _ in 0..bytes / STEP_BYTES {
                writer.write_all(&step)?;
            }
            Ok(writer.finish()?)
        });
        let mut out = vec![0; STEP_BYTES];
        for _ in 0..bytes / STEP_BYTES {
            reader.read_exact(&mut out)?;
            std::hint::black_box(&mut out);
        }
        writing.join().expect("the writer does not panic")
    })?;
    Ok(rate(bytes, begun))
}

fn rate(bytes: usize, begun: Instant) -> f64 {
    bytes as f64 / GIB / begun.elapsed().as_secs_f64()
}
