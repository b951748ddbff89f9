//! Every system call of the swap backend and of the memory below it fails, at every
//! occurrence, in both modes, with and without a budget.
//!
//! One test, for a plan of faults is the whole process's. Without swap on the
//! machine the calls are the same; what they achieve is not looked at.

#![cfg(all(target_os = "linux", not(miri)))]

use pager_core::testkit::campaign::{Depth, every_fault};
use pager_core::testkit::scenario::Subject;
use pager_core::testkit::syscalls::Call;
use pager_core::{Arena, Result};
use pager_swap::{SeedAdvice, SwapBackend, SwapMode};

struct Swap(SwapMode);

impl Subject for Swap {
    type Backend = SwapBackend;

    fn open(&self) -> Result<SwapBackend> {
        // An arena of its own, so that memory is mapped anew each time; and next to
        // nothing may be left in memory, so that it is paged out again.
        Ok(SwapBackend::builder()
            .mode(self.0)
            .arena(Arena::new(1 << 16))
            .read_back_bytes(1 << 14)
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

fn campaigns(depth: Depth) {
    for (name, mode) in [
        ("arena", SwapMode::Arena),
        ("seed", SwapMode::Seed(SeedAdvice::Cold)),
        ("seed pageout", SwapMode::Seed(SeedAdvice::PageOut)),
    ] {
        for (budget, budget_bytes) in [("no budget", None), ("64 KiB", Some(64 << 10))] {
            let name = format!("swap {name}, {budget}");
            let tally = every_fault(&name, &Swap(mode), budget_bytes, depth);
            assert!(tally.of(Call::Madvise) > 0, "{name}: {tally:?}");
        }
    }
}

#[test]
fn whatever_call_fails_nothing_is_lost() {
    campaigns(Depth::AtMost(30));
}

#[test]
#[ignore = "takes minutes: every call at every occurrence"]
fn every_call_may_fail_at_every_occurrence_and_nothing_is_lost() {
    campaigns(Depth::Everything);
}
