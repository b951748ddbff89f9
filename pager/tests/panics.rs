//! Callers panic while they make, read, take and drop handles: no lock stays
//! poisoned, other threads go on, and every count is exact and returns to zero.
//!
//! Handles are dropped while the stack unwinds, together with the chunks and the
//! destinations that the caller had in hand; some threads catch the panic and go
//! on, others end by it.

#![cfg(all(unix, feature = "swap", feature = "file"))]
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

mod common;
#[path = "common/kept.rs"]
mod kept;

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use common::Scratched;
use kept::{Kept, assert_nothing_is_left};
use pager::{BackendKind, ChunkBuf, Handle, Pager, Preset};
use rstest::rstest;

const WORKERS: u64 = 4;
/// Panics that each worker survives; then it ends by one more.
const PANICS: u64 = 30;

/// What the tests panic with, so that other panics are not taken for it.
struct Meant;

/// Panics of the tests print nothing; all others do.
fn quiet() {
    static ONCE: Mutex<bool> = Mutex::new(false);
    let mut done = ONCE.lock().unwrap();
    if !std::mem::replace(&mut *done, true) {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !info.payload().is::<Meant>() {
                usual(info);
            }
        }));
    }
}

#[rstest]
fn panics_of_callers_poison_nothing_and_leave_every_count_exact(
    #[values(Preset::Fast, Preset::Seed)] preset: Preset,
    #[values(0, 256 << 10)] budget_bytes: usize,
) {
    quiet();
    let Scratched { pager, root: _root } = common::scratched(BackendKind::Swap, preset);
    pager.set_budget(budget_bytes).unwrap();
    let calm = [1, 513, 9000].map(|len| Kept::new(&pager, BackendKind::File, 1, len).unwrap());
    let pageouts = AtomicU64::new(3);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (pager, pageouts) = (&pager, &pageouts);
                scope.spawn(move || {
                    for round in 0..PANICS {
                        let seed = worker << 32 | round;
                        let outcome = catch_unwind(AssertUnwindSafe(|| {
                            use_and_panic(pager, seed, pageouts);
                        }));
                        assert!(outcome.unwrap_err().is::<Meant>());
                    }
                    use_and_panic(pager, worker << 32 | 1, pageouts);
                })
            })
            .collect();
        for _ in 0..20 {
            calm.iter().for_each(|one| one.read().unwrap());
        }
        for worker in workers {
            assert!(worker.join().unwrap_err().is::<Meant>());
        }
    });
    let stats = pager.stats();
    assert_eq!(stats.total.live_handles, calm.len());
    assert_eq!(stats.total.logical_bytes, (1 + 513 + 9000) * 8);
    assert_eq!(stats.total.pageouts, pageouts.into_inner());
    assert_eq!(
        stats.total.pageouts,
        stats.total.takes + stats.total.drops + calm.len() as u64
    );
    for one in calm {
        one.read().unwrap();
        one.take().map_err(|failed| failed.0).unwrap();
    }
    pager.flush().unwrap();
    assert_nothing_is_left(&pager);
}

/// Makes handles, uses them, and panics with all of them in hand.
fn use_and_panic(pager: &Pager, seed: u64, pageouts: &AtomicU64) {
    let len = usize::try_from(seed % 17).unwrap() * 1500 + 1;
    let kinds = BackendKind::ALL;
    let keep = |kind: BackendKind, seed| {
        // Relaxed: a count that is looked at when all is over.
        pageouts.fetch_add(1, Ordering::Relaxed);
        Kept::new(pager, kind, seed, len).unwrap()
    };
    let kept: Vec<Kept> = (0..6).map(|index| keep(kinds[index % 2], seed)).collect();
    let mut destination = ChunkBuf::try_from(&[7; 100][..]).unwrap();
    kept[0].handle.read_at(0, len, &mut destination).unwrap();
    kept.iter().for_each(|one| one.handle.prefetch());
    let mut kept = kept.into_iter();
    match seed % 4 {
        0 => panic_any(Meant),
        1 => {
            let taken = kept.next().unwrap();
            let mut handle = Some(taken.handle);
            let mut unwinding = TakesWhileUnwinding(&mut handle, &mut destination);
            unwinding.reads();
            panic_any(Meant);
        }
        2 => {
            // Another thread's panic reaches this one with the handle it had.
            let joined = std::thread::scope(|scope| {
                let one = kept.next().unwrap();
                let other = scope.spawn(move || {
                    one.read().unwrap();
                    panic_any(Meant);
                });
                other.join()
            });
            std::panic::resume_unwind(joined.unwrap_err());
        }
        _ => {
            let mut chunks = [vec![seed; len], vec![seed; 3]];
            pageouts.fetch_add(1, Ordering::Relaxed);
            let _handle = pager.pageout(&mut chunks).unwrap();
            chunks[0].push(1);
            panic_any(Meant);
        }
    }
}

/// Uses the pager in the middle of unwinding.
struct TakesWhileUnwinding<'a>(&'a mut Option<Handle>, &'a mut ChunkBuf);

impl TakesWhileUnwinding<'_> {
    fn reads(&mut self) {
        let handle = self.0.as_ref().unwrap();
        handle.read_at(0, handle.len(), self.1).unwrap();
    }
}

impl Drop for TakesWhileUnwinding<'_> {
    fn drop(&mut self) {
        let handle = self.0.take().unwrap();
        let len = handle.len();
        handle.take(self.1).unwrap();
        assert_eq!(self.1.len(), len);
    }
}
