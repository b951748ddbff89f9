//! An async program with one worker that pager never blocks: tasks read streams and look at
//! columns, which together are larger than memory, and a clock shows that the worker is free.
//!
//!     cargo run --release -p pager-out-of-core --example tasks
//!
//! No runtime is required: `poll_fetch` and `poll_frame` wake whatever polls them. They fetch
//! within the share of the budget that read-ahead has, some 10 MiB for each stream here; with
//! less, a reader reads by itself. Page-outs may wait for a device, so they are for threads
//! that may be blocked.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use pager::{BackendKind, Handle, Pager, SpillReader, SpillWriter};

const STREAMS: u64 = 2;
const FRAMES: u64 = 1000;
const FRAME_BYTES: usize = 100_000;
const COLUMNS: u64 = 12;
const LEN: u64 = 1 << 18;

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()?;
    let longest = runtime.block_on(async { tokio::spawn(tasks()).await })??;
    println!("the worker did something else for {longest:?} at most");
    Ok(())
}

async fn tasks() -> anyhow::Result<Duration> {
    let pager = Pager::builder()
        .backend(BackendKind::File)
        .budget_bytes(96 << 20)
        .build()?;
    let pager = Arc::new(pager);
    let maker = Arc::clone(&pager);
    let columns = tokio::task::spawn_blocking(move || columns(&maker)).await??;

    let done = Arc::new(AtomicBool::new(false));
    let clock = tokio::spawn(longest_pause(Arc::clone(&done)));
    let mut streams = Vec::new();
    for number in 0..STREAMS {
        let (writer, spill) = pager.spill()?;
        let reader = spill.into_reader()?;
        let writing = tokio::task::spawn_blocking(move || write(writer, number));
        streams.push((tokio::spawn(read(reader, number)), writing));
    }
    let total = tokio::spawn(sum(columns)).await??;
    for (reading, writing) in streams {
        writing.await??;
        ensure!(reading.await?? == FRAMES, "a stream is not whole");
    }
    done.store(true, Ordering::Relaxed);

    let expected: u64 = (0..COLUMNS).flat_map(|seed| seed..seed + LEN).sum();
    ensure!(total == expected, "the columns sum up to {total}");
    let stats = pager.stats().residency;
    println!(
        "fetched {} times; reads that waited: {}",
        stats.fetches, stats.read_stalls
    );
    Ok(clock.await?)
}

fn columns(pager: &Pager) -> Result<Vec<Handle>, pager::Error> {
    (0..COLUMNS)
        .map(|seed| pager.pageout(&mut [(seed..seed + LEN).collect::<Vec<u64>>()]))
        .collect()
}

/// Waits until each column has come; then the view does not wait. A column that is there
/// already costs no turn of the worker.
async fn sum(columns: Vec<Handle>) -> Result<u64, pager::Error> {
    let mut total = 0;
    for column in columns {
        if !column.is_resident(0..column.len()) {
            poll_fn(|context| column.poll_fetch(context)).await;
        }
        let view = column.view(0..column.len())?;
        total += view.iter().sum::<u64>();
    }
    Ok(total)
}

fn write(mut writer: SpillWriter, number: u64) -> Result<(), pager::Error> {
    for frame in 0..FRAMES {
        writer.write_frame(&[fill(number, frame); FRAME_BYTES])?;
        writer.publish();
    }
    writer.finish()
}

/// How many frames came, each of which holds what it should.
async fn read(mut reader: SpillReader, number: u64) -> anyhow::Result<u64> {
    let mut count = 0;
    while let Some(frame) = poll_fn(|context| reader.poll_frame(context)).await? {
        let expected = fill(number, count);
        ensure!(frame.iter().all(|byte| *byte == expected), "another frame");
        count += 1;
        // A stream that is always ahead leaves others their turn.
        tokio::task::yield_now().await;
    }
    Ok(count)
}

fn fill(number: u64, frame: u64) -> u8 {
    u8::try_from((number * 7 + frame) % 251).unwrap_or_default()
}

/// The longest time for which the worker did something else than this.
async fn longest_pause(done: Arc<AtomicBool>) -> Duration {
    let (mut longest, mut last) = (Duration::ZERO, Instant::now());
    while !done.load(Ordering::Relaxed) {
        tokio::task::yield_now().await;
        let now = Instant::now();
        longest = longest.max(now - last);
        last = now;
    }
    longest
}
