//! A stream larger than memory between two threads: one writes frames, the other reads
//! them in order, as fast as it can, and what it has read is freed.
//!
//! ```console
//! cargo run --release -p pager-out-of-core --example stream -- 4GiB 256MiB
//! ```

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, ensure};
use bytesize::ByteSize;
use clap::Parser;
use pager::{BackendKind, Pager};
use pager_tool::print;

/// A row group, a message, a batch: whatever is written and read as a whole.
const FRAME_BYTES: usize = 60_000;

/// Writes a stream on one thread and reads it on another.
#[derive(Debug, Parser)]
struct Args {
    /// How much is written.
    #[arg(default_value = "256MiB")]
    total: ByteSize,
    /// How much of it may be in memory.
    #[arg(default_value = "32MiB")]
    budget: ByteSize,
}

fn main() -> ExitCode {
    pager_tool::run(|args: Args| stream(&args).map(|()| ExitCode::SUCCESS))
}

fn stream(args: &Args) -> anyhow::Result<()> {
    let (total, budget) = (args.total, args.budget);
    let frame_count = total.as_u64() / FRAME_BYTES as u64;

    let pager = Pager::builder()
        .backend(BackendKind::File)
        .budget_bytes(usize::try_from(budget.as_u64())?)
        .build()?;
    let (mut writer, spill) = pager.spill()?;
    let mut reader = spill.into_reader()?;

    let begun = Instant::now();
    // The reader begins when half is written, so that they do not meet in memory.
    let (ready, go) = std::sync::mpsc::channel();
    let writing = std::thread::spawn(move || -> anyhow::Result<()> {
        for number in 0..frame_count {
            writer.write_frame(&frame(number))?;
            if number == frame_count / 2 {
                writer.publish();
                ready.send(())?;
            }
        }
        writer.finish()?;
        Ok(())
    });
    go.recv().context("the writer ended early")?;
    let mut count = 0;
    while let Some(found) = reader.next_frame()? {
        ensure!(found == frame(count), "frame {count} is another");
        count += 1;
    }
    writing.join().expect("the writer does not panic")?;
    ensure!(count == frame_count, "{count} of {frame_count} frames came");

    let stats = pager.stats();
    let seconds = begun.elapsed().as_secs_f64();
    print(format_args!(
        "{count} frames, {total} under a budget of {budget}: {seconds:.2} s\n\
         written to files {}, held at most {}, left {} handles",
        ByteSize(stats.residency.written_bytes),
        ByteSize(stats.residency.peak_held_bytes),
        stats.total.live_handles,
    ))?;
    Ok(())
}

/// What frame `number` holds.
fn frame(number: u64) -> Vec<u8> {
    let mut frame = vec![0; FRAME_BYTES];
    for (at, word) in frame.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&(number << 32 | at as u64).to_le_bytes());
    }
    frame
}
