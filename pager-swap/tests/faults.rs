//! Every system call of the swap backend and of the memory below it fails, at every
//! occurrence, in both modes, with and without a budget.
//!
//! Alone in its binary, for a plan of faults is the whole process's; the tests of
//! this file take turns. Without swap on the
//! machine the calls are the same; what they achieve is not looked at.

#![cfg(all(target_os = "linux", not(miri)))]

use std::ops::Range;

use pager_core::{Arena, Backend, Destination, InPlace, Payload, Result, Window};
use pager_swap::{SeedAdvice, SwapBackend, SwapMode, SwapSlot};
use pager_testkit::campaign::{Depth, every_fault};
use pager_testkit::scenario::Subject;
use pager_testkit::syscalls::{Call, Injection};
use rstest::rstest;

struct Swap(SwapMode);

impl Subject for Swap {
    type Backend = SwapBackend;

    fn open(&self) -> Result<SwapBackend> {
        // An arena of its own, so that memory is mapped anew each time; and next to
        // nothing may be left in memory, so that it is paged out again.
        Ok(SwapBackend::builder()
            .mode(self.0)
            .arena(Arena::new(1 << 16))
            .build())
    }

    fn held(&self, backend: &SwapBackend) -> Vec<(&'static str, u64)> {
        let stats = backend.stats();
        vec![
            ("live payloads", stats.live_payloads),
            ("bytes read back", stats.read_back_bytes),
            ("unreclaimable bytes", stats.unreclaimable_bytes),
        ]
    }
}

fn campaign(mode: SwapMode, budget_bytes: Option<usize>, depth: Depth) {
    let budget = budget_bytes.map_or("no budget", |_| "small budget");
    let name = format!("swap {mode}, {budget}");
    let tally = every_fault(&name, &Swap(mode), budget_bytes, depth);
    for call in [Call::Mmap, Call::Madvise, Call::Openat, Call::Pread] {
        assert!(tally.of(call) > 0, "{name}: no {call:?} in {tally:?}");
    }
}

const NO_BUDGET: Option<usize> = None;
const SMALL_BUDGET: Option<usize> = Some(64 << 10);

#[rstest]
fn whatever_call_fails_nothing_is_lost(
    #[values(
        SwapMode::Arena,
        SwapMode::Seed(SeedAdvice::Cold),
        SwapMode::Seed(SeedAdvice::PageOut)
    )]
    mode: SwapMode,
    #[values(NO_BUDGET, SMALL_BUDGET)] budget_bytes: Option<usize>,
) {
    campaign(mode, budget_bytes, Depth::AtMost(10));
}

fn read(backend: &SwapBackend, slot: &SwapSlot, range: Range<usize>) -> Vec<u64> {
    fn append<D: Destination>(
        dst: &mut D,
        len: usize,
        fill: impl FnOnce(&mut Window<'_>) -> Result<()>,
    ) {
        dst.append(len, fill).expect("swap can be read");
    }
    let mut words = Vec::new();
    append(&mut words, range.len(), |window| {
        backend.read(slot, &[range], window)
    });
    words
}

/// A payload that was paged in is read without a call: asking the kernel to map what
/// is mapped costs as much as the copy.
#[test]
fn what_was_paged_in_is_not_populated_again() {
    let backend = SwapBackend::new();
    if !backend.stats().observed {
        println!("skipped: /proc/self/pagemap cannot be read");
        return;
    }
    let words: Vec<u64> = (0..1 << 18).collect();
    let slot = backend
        .page_out(&mut Payload::new(&mut [words.clone()]))
        .unwrap();
    let whole = 0..words.len() * 8;
    let injection = Injection::begin(&[]);
    let madvise_calls = || {
        let counts = injection.counts();
        counts
            .iter()
            .find(|(call, _)| *call == Call::Madvise)
            .unwrap()
            .1
    };
    InPlace::page_in(&backend, &slot, whole.clone()).unwrap();
    let calls = madvise_calls();
    assert!(calls > 0, "paging in asks the kernel");
    let found = read(&backend, &slot, whole);
    assert!(found == words);
    assert_eq!(madvise_calls(), calls);
    drop(injection);
    backend.free(slot);
}

#[rstest]
#[ignore = "takes minutes: every call at every occurrence"]
fn every_call_may_fail_at_every_occurrence_and_nothing_is_lost(
    #[values(
        SwapMode::Arena,
        SwapMode::Seed(SeedAdvice::Cold),
        SwapMode::Seed(SeedAdvice::PageOut)
    )]
    mode: SwapMode,
    #[values(NO_BUDGET, SMALL_BUDGET)] budget_bytes: Option<usize>,
) {
    campaign(mode, budget_bytes, Depth::Everything);
}
