//! Arrangements that are spilled hold what those in memory hold, whatever the budget is and
//! whatever fails.

#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

#[path = "../examples/arrange/dataflow.rs"]
mod dataflow;

use std::sync::Arc;

use dataflow::{Arrangement, Update, digest, mix};
use pager::{BackendKind, Error, Pager, PagerBuilder};
use pager_differential::{Settings, Spill, Stats};
use tempfile::TempDir;

const EPOCHS: u64 = 12;
const UPDATES: u64 = 40_000;

fn scratch() -> TempDir {
    tempfile::tempdir_in("/var/tmp").unwrap()
}

fn pager(scratch: &TempDir, more: impl FnOnce(PagerBuilder) -> PagerBuilder) -> Arc<Pager> {
    let builder = Pager::builder().backend(BackendKind::File);
    let builder = more(builder.budget_bytes(4 << 20));
    Arc::new(builder.scratch_dir(scratch.path()).build().unwrap())
}

/// Updates of one epoch on one worker; every third takes one of the last epoch back.
fn updates(worker: u64, epoch: u64) -> impl Iterator<Item = Update> {
    (0..UPDATES).map(move |index| {
        let key = mix(worker + 8 * (index + UPDATES * (epoch / 2)));
        let diff = if index % 3 == 0 && epoch % 2 == 1 {
            -1
        } else {
            1
        };
        (key, index % 5, epoch, diff)
    })
}

/// What a worker's trace holds: a digest, and how many updates.
fn arrange(worker: &mut timely::worker::Worker) -> (u64, u64) {
    let number = worker.index() as u64;
    let mut arrangement = Arrangement::new(worker);
    for epoch in 0..EPOCHS {
        arrangement.arrange(epoch, updates(number, epoch));
    }
    arrangement.read_last()
}

/// What the trace of a worker must hold.
fn wanted(worker: u64) -> u64 {
    let all = (0..EPOCHS).flat_map(|epoch| updates(worker, epoch));
    all.fold(0, |sum, (key, value, time, diff)| {
        sum.wrapping_add(digest(key, value, time, diff))
    })
}

/// Two workers, each of which spills if there is a pager.
fn run(pager: Option<Arc<Pager>>, settings: fn() -> Settings) -> Vec<(u64, u64, Stats)> {
    let guards = timely::execute(timely::Config::process(2), move |worker| {
        let spill = pager
            .as_ref()
            .map(|pager| Spill::install(Arc::clone(pager), settings()));
        let (sum, count) = arrange(worker);
        let stats = spill.as_ref().map(Spill::stats).unwrap_or_default();
        (sum, count, stats)
    });
    let workers = guards.unwrap().join();
    workers.into_iter().map(Result::unwrap).collect()
}

#[test]
fn a_spilled_trace_holds_what_one_in_memory_holds() {
    let scratch = scratch();
    let plain = run(None, Settings::default);
    for (worker, found) in plain.iter().enumerate() {
        assert_eq!(found.0, wanted(worker as u64));
    }
    for budget_bytes in [0, 1 << 20, 256 << 20] {
        let pager = pager(&scratch, |builder| builder.budget_bytes(budget_bytes));
        let spilled = run(Some(Arc::clone(&pager)), Settings::default);
        for (plain, spilled) in plain.iter().zip(&spilled) {
            assert_eq!((plain.0, plain.1), (spilled.0, spilled.1), "{budget_bytes}");
            let stats = spilled.2;
            assert!(stats.stored_bytes > 16 << 20, "{stats:?}");
            assert!(stats.loaded_chunks > 0, "{stats:?}");
            assert_eq!(stats.store_failures + stats.load_failures, 0);
        }
        assert_eq!(pager.stats().total.live_handles, 0, "{budget_bytes}");
    }
}

#[test]
fn what_comes_next_is_read_ahead() {
    let scratch = scratch();
    let pager = pager(&scratch, |builder| builder.budget_bytes(8 << 20));
    run(Some(Arc::clone(&pager)), Settings::default);
    let residency = pager.stats().residency;
    assert!(residency.fetches > 0, "{residency:?}");
    assert!(residency.prefetch_hits > 0, "{residency:?}");
}

#[test]
fn what_finds_no_room_stays_in_memory_and_is_told() {
    fn settings() -> Settings {
        Settings::default().on_failure(|error| {
            assert!(matches!(error, Error::QuotaExceeded { .. }), "{error}");
        })
    }
    let scratch = scratch();
    let pager = pager(&scratch, |it| it.budget_bytes(1 << 20).quota_bytes(4 << 20));
    let spilled = run(Some(pager), settings);
    for (worker, (sum, _, stats)) in spilled.into_iter().enumerate() {
        assert_eq!(sum, wanted(worker as u64));
        assert!(stats.store_failures > 0, "{stats:?}");
        // The trace is gone, and with it what was kept.
        assert_eq!(stats.kept_bytes, 0);
    }
}
