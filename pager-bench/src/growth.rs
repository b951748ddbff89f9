//! What a payload costs as the set, the number of handles, the payloads or the threads grow.
//!
//! So many payloads of one size are paged out, in order, and taken back in the same order with
//! some announced ahead; every word is compared. What is counted is wall time, the time inside the
//! calls, and what is remembered of each payload.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use pager::{BackendKind, Handle, Pager};
use serde::{Deserialize, Serialize};

use crate::GIB;
use crate::measure::{Mark, proc};

/// Bytes of payloads that are made, or compared, at a time.
const BATCH_BYTES: usize = 8 << 20;

/// Payloads of a batch at most.
const BATCH_PAYLOADS: usize = 256;

/// What to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Bytes of each payload: whole words.
    pub payload_bytes: usize,
    /// Payloads in all.
    pub handles: usize,
    /// Threads, each with its share of the payloads.
    pub threads: usize,
    /// Bytes of payloads that are announced ahead of the one that is taken, by each thread.
    pub ahead_bytes: usize,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Growth {
    /// `swap` or `file`.
    pub backend: String,
    /// Bytes that the pager may hold in memory.
    pub budget_bytes: u64,
    /// Bytes of each payload.
    pub payload_bytes: u64,
    /// Payloads.
    pub handles: u64,
    /// Threads.
    pub threads: u64,
    /// Bytes of all payloads.
    pub set_bytes: u64,
    /// Wall time of paging all out, with the time to make them.
    pub out_s: f64,
    /// Wall time of taking all back, with the time to compare them.
    pub back_s: f64,
    /// Time inside the page-outs, over all threads.
    pub out_calls_s: f64,
    /// Time inside the takes and hints, over all threads.
    pub back_calls_s: f64,
    /// Seconds of CPU outside the kernel, all threads.
    pub user_s: f64,
    /// Seconds of CPU in the kernel, all threads.
    pub sys_s: f64,
    /// Page faults served without I/O.
    pub minor_faults: u64,
    /// Page faults that waited for I/O.
    pub major_faults: u64,
    /// Bytes that were written because the budget wanted their room.
    pub written_bytes: u64,
    /// What was remembered of the payloads when all were out.
    pub bookkeeping_bytes: u64,
    /// The most that the pager held.
    pub peak_held_bytes: u64,
    /// The most memory of the process.
    pub peak_rss_bytes: u64,
    /// Wall seconds for a GiB out and back.
    pub seconds_per_gib: f64,
    /// Microseconds in calls for a payload out and back.
    pub micros_per_handle: f64,
}

/// Runs it once.
///
/// # Errors
///
/// What the pager says; a word that came back as another.
pub fn measure(pager: &Pager, kind: BackendKind, config: &Config) -> Result<Growth> {
    ensure!(
        config.payload_bytes >= size_of::<u64>()
            && config.payload_bytes.is_multiple_of(size_of::<u64>()),
        "a payload is whole words, one at least"
    );
    let shares = shares(config);
    let mark = Mark::now();
    let out = Instant::now();
    let put = on_each(&shares, |share| page_out(pager, config, share))?;
    let out_s = out.elapsed().as_secs_f64();
    let held = pager.residency().stats();
    let (handles, out_calls): (Vec<_>, Vec<_>) = put.into_iter().unzip();
    let back = Instant::now();
    let work = shares.iter().zip(handles).collect::<Vec<_>>();
    let took = on_each_owned(work, |(share, handles)| {
        take_back(pager, config, share, handles)
    })?;
    let back_s = back.elapsed().as_secs_f64();
    let cost = mark.elapsed();
    let stats = pager.residency().stats();
    let seconds = |times: &[Duration]| times.iter().sum::<Duration>().as_secs_f64();
    let (out_calls_s, back_calls_s) = (seconds(&out_calls), seconds(&took));
    let set_bytes = config.payload_bytes as u64 * config.handles as u64;
    Ok(Growth {
        backend: kind.name().to_owned(),
        budget_bytes: stats.budget_bytes,
        payload_bytes: config.payload_bytes as u64,
        handles: config.handles as u64,
        threads: config.threads as u64,
        set_bytes,
        out_s,
        back_s,
        out_calls_s,
        back_calls_s,
        user_s: cost.user_s,
        sys_s: cost.sys_s,
        minor_faults: cost.minor_faults,
        major_faults: cost.major_faults,
        written_bytes: stats.written_bytes,
        bookkeeping_bytes: held.bookkeeping_bytes,
        peak_held_bytes: stats.peak_held_bytes,
        peak_rss_bytes: proc::peak_rss_bytes(),
        seconds_per_gib: (out_s + back_s) / (set_bytes as f64 / GIB),
        micros_per_handle: (out_calls_s + back_calls_s) * 1e6 / config.handles as f64,
    })
}

/// The payloads of each thread, by number.
fn shares(config: &Config) -> Vec<std::ops::Range<u64>> {
    let (handles, threads) = (config.handles as u64, config.threads as u64);
    let end = |thread: u64| handles * thread / threads;
    (0..threads)
        .map(|thread| end(thread)..end(thread + 1))
        .collect()
}

fn batch_payloads(config: &Config) -> usize {
    (BATCH_BYTES / config.payload_bytes).clamp(1, BATCH_PAYLOADS)
}

fn page_out(
    pager: &Pager,
    config: &Config,
    share: &std::ops::Range<u64>,
) -> Result<(Vec<Handle>, Duration)> {
    let words = config.payload_bytes / size_of::<u64>();
    let mut handles = Vec::with_capacity(usize::try_from(share.end - share.start)?);
    let mut chunks: Vec<Vec<u64>> = vec![Vec::new(); batch_payloads(config)];
    let mut inside = Duration::ZERO;
    let mut next = share.start;
    while next < share.end {
        let mut count = 0;
        for (chunk, key) in chunks.iter_mut().zip(next..share.end) {
            chunk.reserve_exact(words);
            chunk.extend((0..words as u64).map(|place| word(key, place)));
            count += 1;
        }
        let begun = Instant::now();
        for chunk in &mut chunks[..count] {
            handles.push(pager.pageout(std::slice::from_mut(chunk))?);
        }
        inside += begun.elapsed();
        next += count as u64;
    }
    Ok((handles, inside))
}

fn take_back(
    pager: &Pager,
    config: &Config,
    share: &std::ops::Range<u64>,
    handles: Vec<Handle>,
) -> Result<Duration> {
    let words = config.payload_bytes / size_of::<u64>();
    let ahead = config.ahead_bytes / config.payload_bytes;
    let batch = batch_payloads(config);
    let mut chunks: Vec<Vec<u64>> = vec![Vec::new(); batch];
    let mut inside = Duration::ZERO;
    let mut next = share.start;
    let mut handles = std::collections::VecDeque::from(handles);
    let mut announced = 0_usize;
    while !handles.is_empty() {
        let begun = Instant::now();
        let mut count = 0;
        for chunk in &mut chunks {
            while announced < handles.len().min(1 + ahead) && ahead > 0 {
                pager.prefetch(&handles[announced]);
                announced += 1;
            }
            let Some(handle) = handles.pop_front() else {
                break;
            };
            announced = announced.saturating_sub(1);
            pager.take(handle, chunk).map_err(pager::Error::from)?;
            count += 1;
        }
        inside += begun.elapsed();
        for (chunk, key) in chunks[..count].iter().zip(next..) {
            ensure!(chunk.len() == words, "payload {key} has another length");
            let is_right = |(place, &found): (u64, &u64)| found == word(key, place);
            ensure!(
                (0..).zip(chunk).all(is_right),
                "payload {key} came back as something else"
            );
        }
        next += count as u64;
    }
    Ok(inside)
}

/// The word at a place of a payload: no two payloads are alike, and none shrinks much.
fn word(key: u64, place: u64) -> u64 {
    let mixed = (key << 24 ^ place).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 29
}

fn on_each<S: Sync, T: Send>(
    shares: &[S],
    work: impl Fn(&S) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    on_each_owned(shares.iter().collect(), work)
}

/// Runs `work` for each share on a thread of its own.
fn on_each_owned<S: Send, T: Send>(
    shares: Vec<S>,
    work: impl Fn(S) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = shares
            .into_iter()
            .map(|share| scope.spawn(move || work(share)))
            .collect();
        let ends = threads
            .into_iter()
            .map(|thread| thread.join().ok().context("a thread has panicked")?);
        ends.collect()
    })
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} payloads of {} bytes on {} thread(s), {} MiB in a budget of {} MiB",
            self.backend,
            self.handles,
            self.payload_bytes,
            self.threads,
            self.set_bytes >> 20,
            self.budget_bytes >> 20
        )?;
        writeln!(
            f,
            "out {:.3} s, back {:.3} s: {:.3} s per GiB; {:.3} us in calls per payload",
            self.out_s, self.back_s, self.seconds_per_gib, self.micros_per_handle
        )?;
        write!(
            f,
            "written {} MiB; {} bytes remembered per payload; held {} MiB at most, the process {} MiB",
            self.written_bytes >> 20,
            self.bookkeeping_bytes / self.handles.max(1),
            self.peak_held_bytes >> 20,
            self.peak_rss_bytes >> 20
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, measure, shares};
    use pager::{BackendKind, Pager};

    const CONFIG: Config = Config {
        payload_bytes: 4096,
        handles: 1001,
        threads: 3,
        ahead_bytes: 16384,
    };

    #[test]
    fn every_payload_comes_back_and_is_counted_once() {
        let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
        for kind in [BackendKind::Swap, BackendKind::File] {
            let pager = Pager::builder()
                .backend(kind)
                .scratch_dir(scratch.path())
                .budget_bytes(1 << 20)
                .build()
                .unwrap();
            let growth = measure(&pager, kind, &CONFIG).unwrap();
            assert_eq!(growth.set_bytes, 1001 * 4096);
            assert!(growth.written_bytes > 0, "{growth}");
            assert!(growth.bookkeeping_bytes > 0 && growth.seconds_per_gib > 0.0);
            assert!(growth.out_calls_s > 0.0 && growth.back_calls_s > 0.0);
            assert_eq!(pager.stats().total.live_handles, 0);
        }
    }

    #[test]
    fn shares_are_all_of_it_and_nearly_alike() {
        let shares = shares(&CONFIG);
        assert_eq!((shares[0].start, shares[2].end), (0, 1001));
        assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert!(
            shares
                .iter()
                .all(|it| (333..=334).contains(&(it.end - it.start)))
        );
    }

    #[test]
    fn a_payload_of_no_word_is_refused() {
        let pager = Pager::new();
        for payload_bytes in [0, 7, 12] {
            let config = Config {
                payload_bytes,
                ..CONFIG
            };
            assert!(measure(&pager, BackendKind::Swap, &config).is_err());
        }
    }
}
