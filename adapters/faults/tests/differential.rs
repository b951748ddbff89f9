//! pager-differential with system calls that fail: what could not be stored is in memory, what
//! fails once is loaded all the same, and what fails for good ends the worker with the error.

#[path = "../../pager-differential/examples/arrange/dataflow.rs"]
mod dataflow;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use dataflow::{Arrangement, Engines, Kind, Pagers, digest, mix};
use pager_differential::{Failure, Settings, Spill};
use pager_testkit::syscalls::{Call, Fault, Injection};

/// In two epochs, so that batches are merged.
const UPDATES: u64 = 4_000;

type Own = Pagers<{ 32 << 10 }>;

/// Arranges numbers, and adds up what the trace holds.
fn arrange<K: Kind>() -> u64 {
    timely::execute_directly(|worker| {
        let mut arrangement = Arrangement::<K>::new(worker);
        for epoch in 0..2 {
            let keys = (0..UPDATES).map(|index| mix(2 * index + epoch));
            arrangement.arrange(epoch, keys.map(|key| (key, 0, epoch, 1)));
        }
        arrangement.close().read().0
    })
}

fn wanted() -> u64 {
    let all =
        (0..2).flat_map(|epoch| (0..UPDATES).map(move |index| (mix(2 * index + epoch), epoch)));
    all.fold(0, |sum, (key, epoch)| {
        sum.wrapping_add(digest(key, 0, epoch, 1))
    })
}

struct Outcome {
    /// The sum, or the failure.
    ended: Result<u64, Option<Failure>>,
    counts: Vec<(Call, usize)>,
    struck: usize,
}

/// One run with `faults`, on a pager of its own; nothing is left of it.
fn under<K: Kind>(budget_bytes: usize, faults: &[Fault]) -> Outcome {
    let (pager, scratch) = faults::file_pager(budget_bytes);
    let injection = Injection::begin(faults);
    // The worker is this thread.
    let spill = Spill::install(Arc::clone(&pager), Settings::default());
    let ended = catch_unwind(AssertUnwindSafe(arrange::<K>));
    let (struck, counts) = (injection.struck(), injection.counts());
    injection.heal();
    let outcome = Outcome {
        ended: ended.map_err(|_| spill.failure()),
        counts,
        struck,
    };
    drop(spill);
    assert_eq!(pager.stats().total.live_handles, 0, "{faults:?}");
    drop(pager);
    let left = scratch.path().read_dir().expect("it is there").count();
    assert_eq!(left, 0, "{faults:?}: files are left");
    outcome
}

/// Runs with one fault each, of those that `is_wanted` says; how many workers were told.
fn campaign<K: Kind>(is_wanted: fn(&Fault) -> bool) -> usize {
    // Its words are compared; where it came from is of no interest.
    std::panic::set_hook(Box::new(|_| {}));
    let wanted = wanted();
    let (mut struck, mut told) = (0, 0);
    for budget_bytes in [0, 128 << 10] {
        let calm = under::<K>(budget_bytes, &[]);
        assert_eq!(calm.ended.ok(), Some(wanted));
        let plans = faults::plans(&calm.counts);
        for fault in plans.into_iter().filter(is_wanted).step_by(3) {
            let outcome = under::<K>(budget_bytes, &[fault]);
            struck += usize::from(outcome.struck > 0);
            match outcome.ended {
                Ok(found) => assert_eq!(found, wanted, "{fault}"),
                Err(failure) => {
                    told += 1;
                    let failure = failure.expect("a worker that fails says why");
                    // What fails once is tried again.
                    assert!(fault.for_good, "{fault}");
                    assert!(fault.is_told_by(failure.cause()), "{fault}: {failure:?}");
                }
            }
        }
    }
    println!("{struck} faults struck; {told} workers were told, the others had everything");
    assert!(struck > 50, "{struck} faults are no campaign");
    told
}

/// One test, for a fault strikes whoever calls.
#[test]
fn chunks_come_back_or_the_worker_is_told() {
    let told = campaign::<Own>(|_| true);
    assert!(told > 0, "a device that fails for good is told of");
    // What cannot be loaded for good may end the process: the engine loads more of its own
    // chunks while the worker unwinds.
    let told = campaign::<Engines>(|fault| !(fault.call == Call::Pread && fault.for_good));
    assert_eq!(told, 0);
}
