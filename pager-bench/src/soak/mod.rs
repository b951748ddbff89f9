//! The soak: random operations on many threads, for as long as one likes, with
//! every word compared with a model.
//!
//! Guarantees that whatever comes back is looked at whole, and that at the end
//! every handle is dropped and every count is back at zero. Refuses nothing but
//! settings that make no sense: what goes wrong on the way is counted, told, and
//! does not stop it.
//!
//! ```text
//! worker   one thread: draws an operation, does it, compares
//! payload  what a payload contains, and what it must come back as
//! dice     choices from a seed
//! tally    what all threads have done and found
//! report   all of it as one line of JSON, or a few for people
//! ```

mod dice;
mod payload;
mod report;
mod tally;
mod worker;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use pager::Pager;

use payload::Kept;
pub use payload::MAX_CHUNKS;
pub use report::{Left, Report};
use tally::Tally;
pub use tally::{OPERATIONS, Operation};
use worker::Worker;

/// How often progress is told, and how soon the end of the workers is seen.
const TICK: Duration = Duration::from_millis(200);

/// How long the background may take to let go of what was dropped.
const SETTLE: Duration = Duration::from_secs(30);

/// What a soak is to do.
#[derive(Debug, Clone)]
pub struct Config {
    /// How long the threads work.
    pub duration: Duration,
    /// Number of threads.
    pub threads: u32,
    /// Budget of the pager at the beginning; it changes between zero and twice
    /// as much.
    pub budget_bytes: usize,
    /// Bytes that live payloads may have together.
    pub live_limit_bytes: u64,
    /// The largest chunk.
    pub max_chunk_bytes: usize,
    /// All choices and all content follow from it, but for how threads meet.
    pub seed: u64,
}

/// How far a soak is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Time since the beginning.
    pub elapsed: Duration,
    /// Operations done.
    pub operations: u64,
    /// Bytes of live payloads.
    pub live_bytes: u64,
    /// Differences found.
    pub differences: u64,
    /// Operations that failed.
    pub errors: u64,
}

/// What the threads of one soak share.
struct Shared<'a> {
    pager: &'a Pager,
    config: &'a Config,
    deadline: Instant,
    tally: Tally,
    /// Bytes of live payloads, those about to be made included. Relaxed: a bound
    /// that orders nothing.
    live_bytes: AtomicU64,
    /// Handles on their way from one thread to another. Read by several threads
    /// at once meanwhile, so that one payload has several readers.
    gallery: RwLock<Vec<Kept>>,
}

impl Shared<'_> {
    fn progress(&self, since: Instant) -> Progress {
        Progress {
            elapsed: since.elapsed(),
            operations: self.tally.operations(),
            live_bytes: self.live_bytes.load(Ordering::Relaxed),
            differences: self.tally.differences(),
            errors: self.tally.errors(),
        }
    }

    /// Counts `bytes` as live, if there is room for them.
    fn reserve(&self, bytes: u64) -> bool {
        let before = self.live_bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = before + bytes <= self.config.live_limit_bytes;
        if !fits {
            self.release(bytes);
        }
        fits
    }

    fn release(&self, bytes: u64) {
        self.live_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Runs a soak on `pager`, which must have no handles, and calls `tell` several
/// times a second meanwhile.
///
/// # Errors
///
/// If the settings make no sense. What goes wrong on the way is in the report.
///
/// # Panics
///
/// If a thread did: a bug, in the pager or here.
pub fn run(pager: &Pager, config: &Config, mut tell: impl FnMut(Progress)) -> Result<Report> {
    ensure!(config.threads > 0, "a soak needs a thread");
    ensure!(
        config.max_chunk_bytes >= size_of::<u64>(),
        "a chunk has at least one word"
    );
    ensure!(
        config.live_limit_bytes
            >= (config.max_chunk_bytes as u64).saturating_mul(2 * MAX_CHUNKS as u64),
        "the live limit must have room for two payloads of the largest size"
    );
    let since = Instant::now();
    let deadline = since.checked_add(config.duration);
    let shared = Shared {
        pager,
        config,
        deadline: deadline.context("the clock does not go so far")?,
        tally: Tally::default(),
        live_bytes: AtomicU64::new(0),
        gallery: RwLock::default(),
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..config.threads)
            .map(|number| {
                let shared = &shared;
                scope.spawn(move || Worker::new(shared, number).run())
            })
            .collect();
        while !workers
            .iter()
            .all(std::thread::ScopedJoinHandle::is_finished)
        {
            std::thread::sleep(TICK.min(config.duration));
            tell(shared.progress(since));
        }
    });
    let kept = std::mem::take(
        &mut *shared
            .gallery
            .write()
            .unwrap_or_else(PoisonError::into_inner),
    );
    drop(kept);
    if let Err(error) = pager.flush() {
        shared.tally.failed(Operation::Flush, &error);
    }
    let left = settle(pager);
    Ok(Report::new(
        config,
        &shared.tally,
        since.elapsed(),
        pager,
        left,
    ))
}

/// Waits until nothing is left, or long enough.
fn settle(pager: &Pager) -> Left {
    let since = Instant::now();
    loop {
        let left = Left::of(pager);
        if left.is_nothing() || since.elapsed() > SETTLE {
            return left;
        }
        // A background thread may hold a payload for one operation more.
        std::thread::sleep(Duration::from_millis(5));
    }
}
