//! A forked child finds its parent's registry foreign, and does it no harm.
//!
//! The tests fork; each of them runs alone, because a child is a copy of the
//! one thread that forked, whatever locks the others held.

#![cfg(all(unix, not(miri)))]
#![allow(unsafe_code, reason = "forks")]

use std::process;
use std::sync::{Mutex, PoisonError};

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use pager_core::{Arena, ChunkBuf, Error, ProcessStamp, Registry, Residency};
use pager_testkit::{KeepingBackend, MemoryBackend, content::words};

/// Runs `child` in a forked child, and says whether it returned true.
fn holds_in_a_child(child: impl FnOnce() -> bool) -> bool {
    // SAFETY: nothing but the caller's few checks runs in the child, on memory
    // that no other thread of these tests had locked, and it leaves by `_exit`.
    match unsafe { fork() }.expect("a test must be able to fork") {
        ForkResult::Child => {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
            let code = i32::from(!matches!(outcome, Ok(true)));
            // SAFETY: ends the child at once, without the parent's exit handlers.
            unsafe { nix::libc::_exit(code) }
        }
        ForkResult::Parent { child } => {
            matches!(
                waitpid(child, None).expect("the child is ours"),
                WaitStatus::Exited(_, 0)
            )
        }
    }
}

/// One test at a time.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_child_finds_the_stamp_foreign_and_gets_its_own() {
    let _alone = alone();
    let mine = ProcessStamp::current();
    assert!(holds_in_a_child(|| {
        let own = ProcessStamp::current();
        !mine.is_current() && own.is_current() && own != mine
    }));
    assert!(mine.is_current());
    assert_ne!(process::id(), 0);
}

#[test]
fn a_grandchild_is_foreign_to_both() {
    let _alone = alone();
    let mine = ProcessStamp::current();
    assert!(holds_in_a_child(|| {
        let childs = ProcessStamp::current();
        holds_in_a_child(|| !mine.is_current() && !childs.is_current())
    }));
}

#[test]
fn every_operation_in_a_child_says_that_the_pager_is_foreign() {
    let _alone = alone();
    let registry = Registry::new(MemoryBackend::new());
    let handle = registry.pageout(&mut [words(1, 700)]).unwrap();
    let second = registry.pageout(&mut [words(2, 700)]).unwrap();
    let mut taken = Some(second);
    assert!(holds_in_a_child(|| {
        let foreign = |error: &Error| matches!(error, Error::ForeignProcess);
        let mut chunks = [vec![1, 2, 3]];
        let pageout = registry.pageout(&mut chunks).map(drop).unwrap_err();
        let mut found = vec![4];
        let read = handle.read_at(0, 1, &mut found).unwrap_err();
        handle.prefetch();
        let failed = taken.take().unwrap().take(&mut Vec::new()).unwrap_err();
        let take = foreign(failed.error());
        drop(failed.into_handle());
        foreign(&pageout) && foreign(&read) && take && chunks[0] == [1, 2, 3] && found == [4]
    }));
    let mut found = Vec::new();
    handle.take(&mut found).unwrap();
    assert_eq!(found, words(1, 700));
    taken.take().unwrap().take(&mut found).unwrap();
    assert_eq!(found, words(2, 700));
    assert_eq!(registry.stats().backend.logical_bytes, 0);
}

#[test]
fn a_child_is_refused_its_parents_budget_and_told_nothing() {
    let _alone = alone();
    let residency = Residency::builder().budget_bytes(1 << 20).build();
    let registry = Registry::with_residency(MemoryBackend::new(), &residency);
    let handle = registry.pageout(&mut [words(1, 700)]).unwrap();
    assert!(holds_in_a_child(|| {
        let refused = [
            residency.flush(),
            residency.write_back(),
            residency.set_budget_bytes(0),
            residency.shutdown(),
        ];
        let all = refused
            .iter()
            .all(|said| matches!(said, Err(Error::ForeignProcess)));
        all && registry.live_handles() == 0
            && registry.handles().is_empty()
            && registry.stats().pageouts == 0
            && residency.stats().resident_bytes == 0
    }));
    assert_eq!(registry.stats().residency.resident_bytes, 5600);
    let mut found = Vec::new();
    handle.take(&mut found).unwrap();
    assert_eq!(found, words(1, 700));
}

#[test]
fn what_a_child_drops_stays_with_the_parent() {
    let _alone = alone();
    let registry = Registry::new(KeepingBackend::new());
    let arena = Arena::new(1 << 20);
    let bufs = [ChunkBuf::copy_of(&arena, &words(1, 9000)).unwrap()];
    let mut kept = Some(bufs);
    let mut paged_out = [ChunkBuf::copy_of(&arena, &words(2, 9000)).unwrap()];
    let mut handle = Some(registry.pageout(&mut paged_out).unwrap());
    let before = arena.usage();
    assert!(holds_in_a_child(|| {
        drop(kept.take());
        drop(handle.take());
        // Neither was given back to an arena that is not the child's.
        arena.usage() == before
    }));
    assert_eq!(arena.usage(), before);
    assert_eq!(*kept.as_ref().unwrap()[0], words(1, 9000));
    let mut found = ChunkBuf::new();
    handle.take().unwrap().take(&mut found).unwrap();
    assert_eq!(*found, words(2, 9000));
}

#[test]
fn a_child_works_with_a_registry_and_a_shared_arena_of_its_own() {
    let _alone = alone();
    let parents = ChunkBuf::try_from(&words(1, 700)[..]).unwrap();
    let shared_before = Arena::shared().usage();
    assert!(holds_in_a_child(|| {
        let registry = Registry::new(MemoryBackend::new());
        let mut bufs = [ChunkBuf::try_from(&words(3, 700)[..]).unwrap()];
        let handle = registry.pageout(&mut bufs).unwrap();
        let mut found = ChunkBuf::new();
        handle.take(&mut found).unwrap();
        found[..] == words(3, 700) && registry.live_handles() == 0
    }));
    assert_eq!(*parents, words(1, 700));
    assert_eq!(Arena::shared().usage(), shared_before);
}

#[test]
#[cfg(target_os = "linux")]
fn a_child_cannot_see_nor_change_what_is_in_its_parents_arena() {
    let _alone = alone();
    let arena = Arena::new(0);
    let mut buf = ChunkBuf::copy_of(&arena, &words(1, 700)).unwrap();
    assert!(holds_in_a_child(|| {
        let wiped = buf.iter().all(|word| *word == 0);
        buf.fill(u64::MAX);
        wiped
    }));
    assert_eq!(*buf, words(1, 700));
}
