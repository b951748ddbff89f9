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
use pager_core::{Arena, ArenaUsage, ChunkBuf, Error, ProcessStamp, Registry, Residency, Secret};
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
fn a_child_finds_no_secret() {
    let _alone = alone();
    let secret = Secret::new(|| Ok([7u64; 64])).unwrap();
    let place = secret.get().unwrap().as_ptr();
    assert!(holds_in_a_child(|| {
        // SAFETY: the pages are mapped in the child as well, and hold words or zeros.
        let inherited = unsafe { place.read_volatile() };
        let is_wiped = !secret.guards().wiped || inherited == 0;
        let is_hidden = secret.get().is_none();
        drop(secret);
        is_wiped && is_hidden
    }));
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
        let mut chunks = [vec![1u64, 2, 3]];
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
        arena.usage() == ArenaUsage::default() && arena.trim() == 0
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
fn a_child_finds_in_its_parents_buffers_what_was_there_and_changes_only_its_own() {
    let _alone = alone();
    let arena = Arena::new(0);
    let mut buf = ChunkBuf::copy_of(&arena, &words(1, 700)).unwrap();
    let mut shared = ChunkBuf::try_from(&words(2, 700)[..]).unwrap();
    assert!(holds_in_a_child(|| {
        let is_as_it_was = buf[..] == words(1, 700) && shared[..] == words(2, 700);
        buf.fill(u64::MAX);
        shared.sort_unstable();
        is_as_it_was && buf.iter().all(|word| *word == u64::MAX) && shared.is_sorted()
    }));
    assert_eq!(*buf, words(1, 700));
    assert_eq!(*shared, words(2, 700));
}

#[test]
fn a_buffer_that_grows_in_a_child_moves_to_memory_of_the_childs_own() {
    let _alone = alone();
    let arena = Arena::new(1 << 20);
    let mut buf = ChunkBuf::copy_of(&arena, &words(1, 512)).unwrap();
    let before = arena.usage();
    assert!(holds_in_a_child(|| {
        buf.push(7).unwrap();
        buf.resize(9000, 8).unwrap();
        buf[..512] == words(1, 512)
            && buf[512] == 7
            && buf[513..].iter().all(|word| *word == 8)
            && Arena::shared().usage().used_bytes == buf.capacity_bytes()
    }));
    assert_eq!(*buf, words(1, 512));
    assert_eq!(arena.usage(), before);
}

#[test]
fn an_inherited_arena_hands_nothing_out() {
    let _alone = alone();
    let arena = Arena::new(1 << 20);
    drop(ChunkBuf::<u64>::with_capacity_in(&arena, 700).unwrap());
    assert!(holds_in_a_child(|| {
        let refused = [
            ChunkBuf::with_capacity_in(&arena, 1),
            ChunkBuf::copy_of(&arena, &[1, 2]),
            ChunkBuf::copy_of(&arena.clone(), &[]),
        ];
        refused
            .iter()
            .all(|said| matches!(said, Err(Error::ForeignProcess)))
            && format!("{arena:?}") == format!("{:?}", ArenaUsage::default())
    }));
    assert_eq!(arena.usage().warm_bytes, 8192);
}

#[test]
#[cfg(target_os = "linux")]
fn what_a_child_drops_is_its_own_copy_and_its_memory_is_free() {
    let _alone = alone();
    const WORDS: usize = 4 << 20;
    let mut buf = Some(ChunkBuf::with_capacity_in(&Arena::new(0), WORDS).unwrap());
    buf.as_mut().unwrap().resize(WORDS, 3u64).unwrap();
    assert!(holds_in_a_child(|| {
        let mut own = buf.take().unwrap();
        own.fill(4);
        let with_it = rss_anon_bytes();
        drop(own);
        rss_anon_bytes() + WORDS * 8 * 3 / 4 < with_it
    }));
    assert!(buf.unwrap().iter().all(|word| *word == 3));
}

/// Anonymous memory of this process.
#[cfg(target_os = "linux")]
fn rss_anon_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
    kib.expect("the kernel says how much there is") << 10
}
