//! Arrangements that are spilled hold what those in memory hold, whatever the budget is and
//! whatever fails.

#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

#[path = "../examples/arrange/dataflow.rs"]
mod dataflow;

use std::sync::Arc;

use dataflow::{Arrangement, Engines, Kind, Pagers, Update, digest, mix};
use differential_dataflow::consolidation::consolidate_updates;
use pager::{BackendKind, Error, Pager, PagerBuilder};
use pager_differential::{Settings, Spill, Stats};
use tempfile::TempDir;

const EPOCHS: u64 = 8;
const UPDATES: u64 = 30_000;

/// Chunks of as many updates as the engine's.
type Own = Pagers<{ 256 << 10 }>;

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
fn arrange<K: Kind>(worker: &mut timely::worker::Worker) -> (u64, u64) {
    let number = worker.index() as u64;
    let mut arrangement = Arrangement::<K>::new(worker);
    for epoch in 0..EPOCHS {
        arrangement.arrange(epoch, updates(number, epoch));
    }
    arrangement.close().read()
}

/// What the trace of a worker must hold.
fn wanted(worker: u64) -> u64 {
    let all = (0..EPOCHS).flat_map(|epoch| updates(worker, epoch));
    all.fold(0, |sum, (key, value, time, diff)| {
        sum.wrapping_add(digest(key, value, time, diff))
    })
}

/// Two workers, each of which spills if there is a pager.
fn run<K: Kind>(pager: Option<Arc<Pager>>, settings: fn() -> Settings) -> Vec<(u64, u64, Stats)> {
    let guards = timely::execute(timely::Config::process(2), move |worker| {
        let spill = pager
            .as_ref()
            .map(|pager| Spill::install(Arc::clone(pager), settings()));
        let (sum, count) = arrange::<K>(worker);
        let stats = spill.as_ref().map(Spill::stats).unwrap_or_default();
        (sum, count, stats)
    });
    let workers = guards.unwrap().join();
    workers.into_iter().map(Result::unwrap).collect()
}

#[test]
fn a_spilled_trace_holds_what_one_in_memory_holds() {
    let plain = run::<Engines>(None, Settings::default);
    for (worker, found) in plain.iter().enumerate() {
        assert_eq!(found.0, wanted(worker as u64));
    }
    let of = |found: &[(u64, u64, Stats)]| -> Vec<(u64, u64)> {
        found.iter().map(|found| (found.0, found.1)).collect()
    };
    let own = run::<Own>(None, Settings::default);
    assert_eq!(of(&own), of(&plain));
    spilled::<Engines>(&of(&plain));
    spilled::<Own>(&of(&plain));
}

fn spilled<K: Kind>(plain: &[(u64, u64)]) {
    let scratch = scratch();
    for budget_bytes in [0, 1 << 20, 256 << 20] {
        let pager = pager(&scratch, |builder| builder.budget_bytes(budget_bytes));
        let spilled = run::<K>(Some(Arc::clone(&pager)), Settings::default);
        for (plain, spilled) in plain.iter().zip(&spilled) {
            assert_eq!(*plain, (spilled.0, spilled.1), "{budget_bytes}");
            let stats = spilled.2;
            assert!(stats.stored_bytes > 4 << 20, "{stats:?}");
            assert!(stats.loaded_chunks > 0, "{stats:?}");
            assert_eq!(stats.store_failures + stats.load_failures, 0);
        }
        assert_eq!(pager.stats().total.live_handles, 0, "{budget_bytes}");
    }
}

#[test]
fn what_comes_next_is_read_ahead() {
    fn of<K: Kind>() {
        let scratch = scratch();
        let pager = pager(&scratch, |builder| builder.budget_bytes(8 << 20));
        run::<K>(Some(Arc::clone(&pager)), Settings::default);
        let residency = pager.stats().residency;
        assert!(residency.fetches > 0, "{residency:?}");
        assert!(residency.prefetch_hits > 0, "{residency:?}");
    }
    of::<Engines>();
    of::<Own>();
}

#[test]
fn what_finds_no_room_stays_in_memory_and_is_told() {
    fn settings() -> Settings {
        Settings::default().on_failure(|error| {
            assert!(matches!(error, Error::QuotaExceeded { .. }), "{error}");
        })
    }
    fn of<K: Kind>() {
        let scratch = scratch();
        let pager = pager(&scratch, |it| it.budget_bytes(1 << 20).quota_bytes(4 << 20));
        let spilled = run::<K>(Some(pager), settings);
        for (worker, (sum, _, stats)) in spilled.into_iter().enumerate() {
            assert_eq!(sum, wanted(worker as u64));
            assert!(stats.store_failures > 0, "{stats:?}");
            // The trace is gone, and with it what was kept.
            assert_eq!(stats.kept_bytes, 0);
        }
    }
    of::<Engines>();
    of::<Own>();
}

#[test]
fn a_trace_of_six_budgets_is_read_within_one() {
    const BUDGET: usize = 6 << 20;
    let scratch = scratch();
    let pager = pager(&scratch, |builder| builder.budget_bytes(BUDGET));
    let held = Arc::clone(&pager);
    timely::execute_directly(move |worker| {
        let _spill = pager_differential::install(Arc::clone(&held));
        let mut arrangement = Arrangement::<Own>::new(worker);
        for epoch in 0..24 {
            let keys = (0..50_000).map(|index| mix(epoch * 50_000 + index));
            arrangement.arrange(epoch, keys.map(|key| (key, 0, epoch, 1)));
        }
        let trace = arrangement.close();
        let stored_bytes = held.stats().total.logical_bytes;
        assert!(stored_bytes >= 6 * BUDGET as u64, "{stored_bytes}");
        assert_eq!(trace.read().1, 24 * 50_000);
    });
    // What is shown is counted. Buffers of transfers come on top of so small a budget.
    let residency = pager.stats().residency;
    let peaks = (residency.peak_resident_bytes, residency.peak_held_bytes);
    assert!(peaks.0 <= BUDGET as u64, "{residency:?}");
    assert!(peaks.1 <= (BUDGET + (8 << 20)) as u64, "{residency:?}");
    assert_eq!(pager.stats().total.live_handles, 0);
}

/// Updates over few keys, in epochs of any size, which cancel each other now and then.
fn streams(seed: u64) -> Vec<Vec<Update>> {
    let number = |at: u64| mix(seed.wrapping_mul(1 << 20) + at) >> 20;
    let epochs = 2 + number(0) % 10;
    let keys = 1 + number(1) % 3000;
    let one = |epoch: u64, at: u64| {
        let at = 2 + 3 * (epoch * 4000 + at);
        let diff = [1, 2, -1][usize::try_from(number(at + 1) % 3).unwrap()];
        (number(at) % keys, number(at + 2) % 4, epoch, diff)
    };
    (0..epochs)
        .map(|epoch| {
            (0..number(epoch + 99) % 4000)
                .map(|at| one(epoch, at))
                .collect()
        })
        .collect()
}

/// What a trace of `streams` holds, all times before `since` taken for that.
fn left<K: Kind>(streams: &[Vec<Update>], since: u64) -> Vec<((u64, u64), u64, i64)> {
    let streams = streams.to_vec();
    timely::execute_directly(move |worker| {
        let mut arrangement = Arrangement::<K>::new(worker);
        for (epoch, updates) in streams.into_iter().enumerate() {
            arrangement.compact((epoch as u64).min(since));
            arrangement.arrange(epoch as u64, updates.into_iter());
        }
        since_of(arrangement.close().updates(), since)
    })
}

fn since_of(updates: Vec<Update>, since: u64) -> Vec<((u64, u64), u64, i64)> {
    let rows = updates.into_iter();
    let mut rows = rows
        .map(|(key, value, time, diff)| ((key, value), time.max(since), diff))
        .collect();
    consolidate_updates(&mut rows);
    rows
}

#[test]
fn random_streams_leave_what_they_leave_the_engine() {
    let scratch = scratch();
    for seed in 0..9 {
        let streams = streams(seed);
        let since = seed % streams.len() as u64;
        let wanted = since_of(streams.concat(), since);
        assert_eq!(left::<Engines>(&streams, since), wanted, "{seed}");
        let budget_bytes = [0, 256 << 10, 2 << 20][usize::try_from(seed % 3).unwrap()];
        let pager = pager(&scratch, |builder| builder.budget_bytes(budget_bytes));
        let spill = pager_differential::install(Arc::clone(&pager));
        assert_eq!(
            left::<Pagers<{ 8 << 10 }>>(&streams, since),
            wanted,
            "{seed}"
        );
        assert_eq!(left::<Engines>(&streams, since), wanted, "{seed}");
        drop(spill);
        assert_eq!(pager.stats().total.live_handles, 0, "{seed}");
    }
}
