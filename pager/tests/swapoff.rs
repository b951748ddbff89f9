//! Swap is taken away under live handles (`swapoff`): the kernel brings everything
//! back into memory, and pager goes on, with every word in place.
//!
//! Needs root, loop devices and a kernel that swaps; without, it says so and
//! passes.

#![cfg(all(target_os = "linux", feature = "swap", feature = "file"))]
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

#[path = "common/kept.rs"]
mod kept;
#[path = "common/process.rs"]
mod process;
#[path = "common/swap.rs"]
mod swap;

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kept::{Kept, assert_nothing_is_left};
use pager::diagnose::{Finding, Severity};
use pager::{BackendKind, Pager, SwapBackend};
use process::skip;
use rstest::rstest;
use swap::TestSwap;

/// Payloads of 2 MiB and a word.
const COUNT: u64 = 8;
const WORDS: usize = (1 << 18) + 1;
const TOTAL_KIB: u64 = COUNT * 2048;

/// One test at a time: each looks at the swap of the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Swap for one test, if it can be used.
fn swap() -> Option<TestSwap> {
    let swap = TestSwap::on(80)?;
    let findings = SwapBackend::diagnose();
    let blocks = |finding: &&Finding| finding.severity == Severity::Blocked;
    match findings.iter().find(blocks) {
        Some(finding) => {
            skip(&finding.to_string());
            None
        }
        None => Some(swap),
    }
}

fn pager(budget_bytes: usize) -> Pager {
    Pager::builder()
        .backend(BackendKind::Swap)
        .budget_bytes(budget_bytes)
        .build()
        .unwrap()
}

fn keep(pager: &Pager, count: u64) -> Vec<Kept> {
    let kept = (0..count).map(|seed| Kept::new(pager, BackendKind::Swap, seed, WORDS));
    kept.collect::<Result<_, _>>().unwrap()
}

/// What of this process is on swap.
fn swapped_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmSwap:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse().unwrap()
}

#[rstest]
fn what_was_on_swap_is_in_memory_and_everything_goes_on(#[values(0, 8 << 20)] budget_bytes: usize) {
    let _alone = alone();
    let Some(mut swap) = swap() else { return };
    let pager = pager(budget_bytes);
    let mut kept = keep(&pager, COUNT);
    pager.flush().unwrap();
    let before = swapped_kib();
    assert!(before > TOTAL_KIB / 2, "{before} KiB are on swap");

    swap.off();

    let after = swapped_kib();
    println!("{before} KiB on swap before, {after} KiB after");
    let others = fs::read_to_string("/proc/swaps").unwrap().lines().count() > 1;
    assert!(others || after == 0, "{after} KiB are on no swap");
    kept.iter().for_each(|one| one.read().unwrap());
    // Page-outs are as before, but for where the bytes are.
    kept.extend(keep(&pager, 4));
    pager.flush().unwrap();
    for one in kept {
        one.handle.prefetch();
        one.take().map_err(|failed| failed.0).unwrap();
    }
    pager.flush().unwrap();
    assert_eq!(pager.stats().total.live_handles, 0);
    assert_nothing_is_left(&pager);
}

#[rstest]
fn swap_may_go_while_payloads_are_read_and_taken(#[values(0, 8 << 20)] budget_bytes: usize) {
    let _alone = alone();
    let Some(mut swap) = swap() else { return };
    let pager = pager(budget_bytes);
    let still = keep(&pager, COUNT);
    pager.flush().unwrap();
    assert!(swapped_kib() > TOTAL_KIB / 2);
    let (gone, meanwhile) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for worker in 1..4 {
            let (pager, still, gone, meanwhile) = (&pager, &still, &gone, &meanwhile);
            scope.spawn(move || {
                // Once more when it is over. Relaxed: a flag and a count.
                let mut is_last = false;
                while !is_last {
                    is_last = gone.load(Ordering::Relaxed);
                    let seed = worker * 1000 + meanwhile.fetch_add(1, Ordering::Relaxed);
                    let own = Kept::new(pager, BackendKind::Swap, seed, 40_001).unwrap();
                    still[usize::try_from(seed % COUNT).unwrap()]
                        .read()
                        .unwrap();
                    own.handle.prefetch();
                    own.take().map_err(|failed| failed.0).unwrap();
                }
            });
        }
        // The workers are under way.
        while meanwhile.load(Ordering::Relaxed) < 10 {
            std::thread::yield_now();
        }
        swap.off();
        gone.store(true, Ordering::Relaxed);
    });
    println!("{meanwhile:?} rounds while swap went");
    for one in still {
        one.read().unwrap();
        one.take().map_err(|failed| failed.0).unwrap();
    }
    assert_nothing_is_left(&pager);
}
