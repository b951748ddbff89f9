//! The merge workload: what a spilling sort or join does to memory.
//!
//! Two chains of 2 MiB chunks are built, each chunk paged out when full. Then
//! they are merged: `a[i]` and `b[i]` are taken, every word of both is read, and
//! two chunks that depend on all of them are written and paged out in turn. The
//! work on a word is a few vector instructions and buffers are reused, so what
//! is left to be measured is paging.
//!
//! ```text
//! config   what to run
//! combine  what is made of a pair of chunks
//! worker   one thread's share: build, merge, check
//! mod      all threads, phase by phase, with the figures
//! ```

mod combine;
mod config;
mod worker;

use std::panic;
use std::thread;

pub use combine::combine;
pub use config::{Config, doomed_below, is_doomed};
pub use worker::Wrong;

use pager::{CodecStats, ResidencyStats};

use crate::CHUNK_BYTES;
use crate::buffer::Buffer;
use crate::data::Generator;
use crate::measure::{Cost, Latencies, Mark, Sampler, Watched, proc};
use crate::store::Store;
use worker::Worker;

/// What a run has shown.
#[derive(Debug)]
pub struct Outcome {
    /// The cost of building both chains.
    pub build: Cost,
    /// Seconds from the beginning of the build until all of it was stored.
    pub build_stored_s: f64,
    /// The cost of the merge.
    pub merge: Cost,
    /// Seconds from the beginning of the merge until all of it was stored.
    pub merge_stored_s: f64,
    /// Bytes of input that the merge read.
    pub merged_bytes: u64,
    /// Bytes paged out, inputs and outputs; 0 where chunks stay where they are.
    pub paged_out_bytes: u64,
    /// The most memory of the process up to the end of the merge.
    pub peak_rss_bytes: u64,
    /// Memory during build and merge.
    pub memory: Watched,
    /// How long each operation took.
    pub latencies: Latencies,
    /// What the residency layer had done when the merge was over.
    pub residency: ResidencyStats,
    /// What the codec had done by then.
    pub codec: CodecStats,
    /// The output chains were read back and found right; `None` if they were
    /// not read back.
    pub verdict: Option<Result<(), Wrong>>,
}

/// Runs the workload once, its chunks held in buffers of kind `C`.
///
/// # Errors
///
/// What the store says.
pub fn run<C: Buffer>(config: &Config, store: &Store) -> pager_core::Result<Outcome> {
    let generator = Generator::new(config.data);
    let mut workers: Vec<Worker<'_, C>> = (0..config.threads)
        .map(|thread| Worker::new(thread, config, &generator, store))
        .collect();
    let (phases, memory) = Sampler::watch(|| {
        let build = phase(&mut workers, store, Worker::build)?;
        let merge = phase(&mut workers, store, Worker::merge)?;
        Ok::<_, pager_core::Error>((build, merge))
    });
    let ((build, build_stored_s), (merge, merge_stored_s)) = phases?;
    let peak_rss_bytes = proc::peak_rss_bytes();
    let residency = store.residency();
    let codec = store.codec();
    let verdict = if config.verify {
        on_each(&mut workers, Worker::verify)?;
        let wrong = workers.iter().find_map(|worker| worker.wrong());
        Some(wrong.map_or(Ok(()), Err))
    } else {
        None
    };
    let mut latencies = Latencies::default();
    for worker in &workers {
        latencies.add(worker.latencies());
    }
    let bytes = |chunks: u64| chunks * CHUNK_BYTES as u64;
    let put: u64 = workers.iter().map(Worker::put_count).sum();
    Ok(Outcome {
        build,
        build_stored_s,
        merge,
        merge_stored_s,
        merged_bytes: bytes(workers.iter().map(Worker::merged_count).sum()),
        paged_out_bytes: match store {
            Store::None => 0,
            Store::Pager(_) | Store::Peer(..) => bytes(put),
        },
        peak_rss_bytes,
        memory,
        latencies,
        residency,
        codec,
        verdict,
    })
}

/// Runs `work` on every worker at once; says what that cost, and after how many
/// seconds the pager had stored what the work left in memory. No phase begins
/// before that. What the page cache has still to write is left out: it is the
/// published strategies' advantage.
fn phase<'a, C: Buffer>(
    workers: &mut [Worker<'a, C>],
    store: &Store,
    work: impl Fn(&mut Worker<'a, C>) -> pager_core::Result<()> + Sync,
) -> pager_core::Result<(Cost, f64)> {
    let mark = Mark::now();
    on_each(workers, work)?;
    let cost = mark.elapsed();
    store.write_back()?;
    Ok((cost, mark.elapsed().wall_s))
}

/// Runs `work` on every worker, each on a thread of its own.
fn on_each<'a, C: Buffer>(
    workers: &mut [Worker<'a, C>],
    work: impl Fn(&mut Worker<'a, C>) -> pager_core::Result<()> + Sync,
) -> pager_core::Result<()> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = workers
            .iter_mut()
            .map(|worker| scope.spawn(move || work(worker)))
            .collect();
        let ends: Vec<_> = threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|cause| panic::resume_unwind(cause))
            })
            .collect();
        ends.into_iter().collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::DataKind;
    use pager_core::ChunkBuf;

    fn config(threads: u32, die_young: f64) -> Config {
        Config {
            chain_chunks: 5,
            threads,
            data: DataKind::Random,
            lookahead: 2,
            hints: true,
            die_young,
            verify: true,
        }
    }

    #[test]
    fn a_merge_without_a_pager_is_right_in_both_kinds_of_memory() {
        for threads in [1, 3] {
            for outcome in [
                run::<Vec<u64>>(&config(threads, 0.0), &Store::None).unwrap(),
                run::<ChunkBuf>(&config(threads, 0.0), &Store::None).unwrap(),
            ] {
                assert_eq!(outcome.verdict, Some(Ok(())));
                assert_eq!(outcome.merged_bytes, 10 * CHUNK_BYTES as u64);
                assert_eq!(outcome.paged_out_bytes, 0);
            }
        }
    }

    #[test]
    fn chunks_that_die_young_are_not_merged() {
        let outcome = run::<Vec<u64>>(&config(1, 0.4), &Store::None).unwrap();
        assert_eq!(outcome.verdict, Some(Ok(())));
        assert_eq!(outcome.merged_bytes, 6 * CHUNK_BYTES as u64);
    }
}
