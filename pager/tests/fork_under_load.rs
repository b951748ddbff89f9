//! A process forks while its threads page out, read and take, with background
//! threads at work: whatever the child does with what it has inherited, it comes
//! to its end, and the parent loses nothing.
//!
//! The child is a copy of the one thread that forked. It must not print: another
//! thread may have held the lock of the stream.

#![cfg(all(target_os = "linux", feature = "swap", feature = "file"))]
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]
#![allow(unsafe_code, reason = "forks")]

#[path = "common/kept.rs"]
mod kept;

use std::ffi::CString;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kept::{Kept, assert_nothing_is_left};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use pager::{BackendKind, Error, Pager, Preset};
use rstest::rstest;

/// Threads that work while the process forks.
const WORKERS: u64 = 3;
/// How often each kind of child is born in each setting.
const ROUNDS: usize = 3;
/// How long a child may live: far longer than any that ends by itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a child does with its inheritance.
#[derive(Debug, Clone, Copy)]
enum Child {
    /// Drops the pager and every handle, and goes without further ado.
    Drops,
    /// Leaks them, and ends as a program does.
    Leaks,
    /// Becomes another program, which must have no descriptor of ours.
    Execs,
    /// Uses them, and is refused.
    Uses,
    /// Makes a pager of its own on the same root, and uses that.
    MakesItsOwn,
}

const CHILDREN: [Child; 5] = [
    Child::Drops,
    Child::Leaks,
    Child::Execs,
    Child::Uses,
    Child::MakesItsOwn,
];

/// A pager whose child may drop it although threads of the parent use it.
struct Shared(*mut Pager);

impl Shared {
    fn new(root: &Path, preset: Preset, budget_bytes: usize) -> Self {
        let pager = Pager::builder()
            .preset(preset)
            .budget_bytes(budget_bytes)
            .scratch_dir(root)
            .build();
        Self(Box::into_raw(Box::new(pager.unwrap())))
    }

    fn pager(&self) -> &Pager {
        // SAFETY: it lives until `drop_pager`.
        unsafe { &*self.0 }
    }

    /// Drops the pager for good.
    ///
    /// # Safety
    ///
    /// Nobody in this process uses it any more.
    unsafe fn drop_pager(&self) {
        // SAFETY: made by `Box::into_raw`, and the caller's promise.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

#[rstest]
fn whatever_a_child_does_its_parent_loses_nothing(
    #[values(Preset::Fast, Preset::Seed)] preset: Preset,
    #[values(0, 1 << 20)] budget_bytes: usize,
) {
    let _alone = alone();
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let shared = Shared::new(root.path(), preset, budget_bytes);
    let pager = shared.pager();
    let (done, operations) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let _stop = StopAtEnd(&done);
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (done, operations) = (&done, &operations);
                scope.spawn(move || work(pager, worker, done, operations))
            })
            .collect();
        let mut inherited = Some(kept_of(pager, 1000));
        for round in 0..ROUNDS {
            for child in CHILDREN {
                await_operations(&operations, 5);
                let status = in_child(|| live(child, &shared, &mut inherited, root.path()));
                assert_eq!(status, Ok(0), "{child:?} in round {round}");
                inherited
                    .iter()
                    .flatten()
                    .for_each(|one| one.read().unwrap());
            }
        }
        done.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.join().expect("a worker finds every word in place");
        }
        for one in inherited.into_iter().flatten() {
            one.take().map_err(|failed| failed.0).unwrap();
        }
    });
    assert_nothing_is_left(pager);
    pager.shutdown().unwrap();
    // SAFETY: the workers have ended.
    unsafe { shared.drop_pager() };
    let left: Vec<_> = std::fs::read_dir(root.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[rstest]
fn a_child_that_drops_a_pager_without_handles_takes_nothing_away(
    #[values(Preset::Fast, Preset::Seed)] preset: Preset,
) {
    let _alone = alone();
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    for seed in 0..10 {
        let shared = Shared::new(root.path(), preset, 1 << 20);
        let pager = shared.pager();
        // The background threads are started, by another thread, as the child is
        // born.
        std::thread::scope(|scope| {
            let busy = scope.spawn(move || {
                let one = Kept::new(pager, BackendKind::File, seed, 60_000).unwrap();
                one.take().map_err(|failed| failed.0).unwrap();
            });
            std::thread::sleep(Duration::from_micros(seed * 150));
            let status = in_child(|| {
                // SAFETY: in the child, nobody else uses it.
                unsafe { shared.drop_pager() };
                true
            });
            assert_eq!(status, Ok(0), "child {seed}");
            busy.join().unwrap();
        });
        assert!(pager.scratch_dir().unwrap().is_dir());
        kept_of(pager, seed).into_iter().for_each(|one| {
            one.read().unwrap();
            one.take().map_err(|failed| failed.0).unwrap();
        });
        assert_nothing_is_left(pager);
        // SAFETY: the other thread has ended.
        unsafe { shared.drop_pager() };
    }
}

/// The life of a child; whether all was as it should be.
fn live(child: Child, shared: &Shared, inherited: &mut Option<Vec<Kept>>, root: &Path) -> bool {
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    let alone = threads == 1;
    match child {
        Child::Drops => {
            drop(inherited.take());
            // SAFETY: the threads that use it are the parent's.
            unsafe { shared.drop_pager() };
            alone
        }
        Child::Leaks => {
            std::mem::forget(inherited.take());
            std::process::exit(i32::from(!alone))
        }
        Child::Execs => {
            let script = format!("! ls -l /proc/self/fd | grep -q {}", root.display());
            let args = ["sh", "-c", &script].map(|arg| CString::new(arg).unwrap());
            nix::unistd::execv(c"/bin/sh", &args).is_ok()
        }
        Child::Uses => alone && is_refused(shared.pager(), inherited),
        Child::MakesItsOwn => {
            let own = Pager::builder().budget_bytes(1 << 20).scratch_dir(root);
            let Ok(own) = own.build() else { return false };
            let kept = kept_of(&own, 77);
            let fine = kept.iter().all(|one| one.read().is_ok());
            drop(kept);
            // Its threads end before it does, so that they hold nothing any more.
            fine && alone && own.stats().total.live_handles == 0 && own.shutdown().is_ok()
        }
    }
}

/// Whether every operation on what a child has inherited is refused.
fn is_refused(pager: &Pager, inherited: &mut Option<Vec<Kept>>) -> bool {
    let foreign = |error: &Error| matches!(error, Error::ForeignProcess);
    let pageouts = BackendKind::ALL.iter().all(|kind| {
        let made = Kept::new(pager, *kind, 1, 100);
        made.is_err_and(|error| foreign(&error))
    });
    let each = pager.options().pageout_each(&mut [vec![1u64], vec![2]]);
    let reap = pager.reap();
    let others = [
        each.map(drop).is_err_and(|error| foreign(&error)),
        reap.map(drop).is_err_and(|error| foreign(&error)),
        pager.flush().is_err_and(|error| foreign(&error)),
        pager.set_budget(0).is_err_and(|error| foreign(&error)),
        pager.shutdown().is_err_and(|error| foreign(&error)),
        pager.stats().total.live_handles == 0,
        pager.handles().is_empty(),
    ];
    let kept = inherited.take().unwrap_or_default();
    let mut refused = pageouts && others == [true; 7] && !kept.is_empty();
    for one in kept {
        one.handle.prefetch();
        refused &= one.read().is_err_and(|error| foreign(&error));
        refused &= one.take().is_err_and(|failed| foreign(&failed.0));
    }
    refused
}

/// Some payloads of both backends.
fn kept_of(pager: &Pager, seed: u64) -> Vec<Kept> {
    [1, 513, 9_000, 40_001]
        .iter()
        .flat_map(|len| BackendKind::ALL.map(|kind| Kept::new(pager, kind, seed, *len).unwrap()))
        .collect()
}

/// Pages out, reads, prefetches, takes and drops until `done`.
fn work(pager: &Pager, worker: u64, done: &AtomicBool, operations: &AtomicU64) {
    let mut kept = std::collections::VecDeque::new();
    for round in 0.. {
        let seed = worker << 32 | round;
        let len = usize::try_from(seed.wrapping_mul(0x9e37_79b9) % 9_000).unwrap();
        let kind = BackendKind::ALL[usize::from(round % 2 == 0)];
        kept.push_back(Kept::new(pager, kind, seed, len).unwrap());
        let oldest: &Kept = &kept[0];
        oldest.handle.prefetch();
        oldest.read().unwrap();
        if kept.len() > 12 {
            let oldest = kept.pop_front().unwrap();
            if round % 3 > 0 {
                oldest.take().map_err(|failed| failed.0).unwrap();
            }
        }
        // Relaxed, both: a pace and a flag, which publish nothing.
        operations.fetch_add(1, Ordering::Relaxed);
        if done.load(Ordering::Relaxed) {
            break;
        }
    }
    for one in kept {
        one.take().map_err(|failed| failed.0).unwrap();
    }
}

/// Waits until the workers have done so much more.
fn await_operations(operations: &AtomicU64, count: u64) {
    let (before, since) = (operations.load(Ordering::Relaxed), Instant::now());
    while operations.load(Ordering::Relaxed) < before + count {
        assert!(since.elapsed() < PATIENCE, "the workers do not go on");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Lets the workers end, also when the test fails.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `child` in a forked process, and gives its exit code: 0 if it returned
/// true; one that hangs is killed.
fn in_child(child: impl FnOnce() -> bool) -> Result<i32, String> {
    // SAFETY: the child runs no code of this process but what it was given, which
    // is what is to be tested, and leaves without unwinding.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let code = i32::from(!child());
            // SAFETY: ends the child without the parent's exit handlers.
            unsafe { nix::libc::_exit(code) }
        }
        ForkResult::Parent { child } => status_of(child),
    }
}

fn status_of(child: Pid) -> Result<i32, String> {
    let since = Instant::now();
    while since.elapsed() < PATIENCE {
        match waitpid(child, Some(WaitPidFlag::WNOHANG)).unwrap() {
            WaitStatus::Exited(_, code) => return Ok(code),
            WaitStatus::StillAlive => std::thread::sleep(Duration::from_micros(500)),
            other => return Err(format!("it ended as {other:?}")),
        }
    }
    let wait = std::fs::read_to_string(format!("/proc/{child}/wchan")).unwrap_or_default();
    kill(child, Signal::SIGKILL).unwrap();
    waitpid(child, None).unwrap();
    Err(format!("it hung in {wait}"))
}

/// One test at a time: what is forked is what the test has.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
