//! What the campaigns in `tests/` have in common: which faults there are.

use pager_testkit::syscalls::{Call, Errno, Fault, Mishap, Short};

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
                    // For good, these are loops: the call is repeated.
                    let repeats = matches!(mishap, Mishap::Fails(Errno::Interrupted))
                        || matches!(mishap, Mishap::Short(_));
                    if !(for_good && repeats) {
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
