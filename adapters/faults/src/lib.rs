//! What the campaigns in `tests/` have in common: which faults there are, and under what.

use std::sync::Arc;

use pager::{BackendKind, Pager};
use pager_testkit::syscalls::{Call, Errno, Fault, Mishap, Short};

/// A pager that spills to a directory of its own, which goes with the second.
///
/// # Panics
///
/// If there can be none.
#[must_use]
pub fn file_pager(budget_bytes: usize) -> (Arc<Pager>, tempfile::TempDir) {
    let scratch = tempfile::tempdir_in("/var/tmp").expect("a directory");
    let pager = Pager::builder()
        .backend(BackendKind::File)
        .scratch_dir(scratch.path())
        .budget_bytes(budget_bytes)
        .build()
        .expect("a pager");
    (Arc::new(pager), scratch)
}

/// Up to two places of each call, with each mishap, once and for good.
#[must_use]
pub fn plans(counts: &[(Call, usize)]) -> Vec<Fault> {
    let mut plans = Vec::new();
    for &(call, count) in counts {
        for nth in (1..=count).step_by(count.div_ceil(2).max(1)) {
            let fails = Errno::ALL.map(Mishap::Fails);
            let shorts = Short::ALL.map(Mishap::Short);
            for mishap in fails.into_iter().chain(shorts) {
                for for_good in [false, true] {
                    if !(for_good && repeats(mishap)) {
                        plans.push(Fault {
                            call,
                            nth,
                            mishap,
                            for_good,
                        });
                    }
                }
            }
        }
    }
    plans
}

/// Faults that a seed decides on: one or two, most of them reads and writes that fail, of any
/// call now and then.
#[must_use]
pub fn by_seed(seed: u64) -> Vec<Fault> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = |end: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap_or_default() % end
    };
    let mut one = || {
        let call = match below(10) {
            0..5 => Call::Pread,
            5..8 => [Call::Pwrite, Call::Pwritev, Call::Pwritev2][below(3)],
            _ => Call::ALL[below(Call::ALL.len())],
        };
        let mishap = match below(3) {
            0 => Mishap::Short(Short::ALL[below(Short::ALL.len())]),
            _ => Mishap::Fails(Errno::ALL[below(Errno::ALL.len())]),
        };
        Fault {
            call,
            nth: 1 + below(20),
            mishap,
            for_good: below(2) == 0 && !repeats(mishap),
        }
    };
    let first = one();
    let second = one();
    if seed.is_multiple_of(2) {
        vec![first]
    } else {
        vec![first, second]
    }
}

/// Whether the call is repeated after it: for good, that would be a loop.
fn repeats(mishap: Mishap) -> bool {
    matches!(mishap, Mishap::Fails(Errno::Interrupted) | Mishap::Short(_))
}
