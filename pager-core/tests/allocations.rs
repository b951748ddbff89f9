//! What a page-out allocates by itself: at most the handle's own entry.
//!
//! Alone in its file, because the allocator that counts is the process's.

#![allow(unsafe_code, reason = "a counting allocator is an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use pager_core::{ChunkBuf, Registry};
use pager_testkit::NullBackend;

struct Counting;

thread_local! {
    /// Allocations of this thread; the test runner's threads do not disturb.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // The thread may be on its way out, and its locals gone.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: forwards everything to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: by the caller's contract, as everywhere below.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(start, layout, len) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Rounds that are counted, after as many that are not.
const ROUNDS: u64 = if cfg!(miri) { 8 } else { 1000 };

/// Allocations of `ROUNDS` rounds, once everything has warmed up.
fn allocations(mut round: impl FnMut()) -> u64 {
    (0..ROUNDS).for_each(|_| round());
    let before = ALLOCATIONS.get();
    (0..ROUNDS).for_each(|_| round());
    ALLOCATIONS.get() - before
}

#[test]
fn a_pageout_and_a_drop_allocate_the_entry_at_most() {
    let registry = Registry::new(NullBackend);
    let mut chunks = [Vec::with_capacity(64), Vec::with_capacity(64)];
    let counted = allocations(|| {
        chunks[0].extend_from_slice(&[1; 64]);
        chunks[1].extend_from_slice(&[2u64; 64]);
        drop(registry.pageout(&mut chunks).unwrap());
    });
    assert!(counted <= ROUNDS, "{counted} allocations");
}

#[test]
fn many_live_handles_allocate_an_entry_each_at_most() {
    let registry = Registry::new(NullBackend);
    let mut chunk = vec![Vec::with_capacity(8)];
    // Far fewer than the rounds before the count, so that tables have grown.
    let most = if cfg!(miri) { 4 } else { 64 };
    let mut alive = Vec::with_capacity(most);
    let counted = allocations(|| {
        if alive.len() == most {
            alive.clear();
        }
        chunk[0].push(1u64);
        alive.push(registry.pageout(&mut chunk).unwrap());
    });
    assert!(counted <= ROUNDS, "{counted} allocations");
}

#[test]
fn reads_hints_and_takes_into_room_allocate_nothing_more() {
    let registry = Registry::new(NullBackend);
    let mut chunks = [Vec::with_capacity(600)];
    let mut destination = Vec::with_capacity(600);
    let counted = allocations(|| {
        chunks[0].resize(600, 1u64);
        let handle = registry.pageout(&mut chunks).unwrap();
        handle.prefetch();
        destination.clear();
        handle.read_at(3, 9, &mut destination).unwrap();
        handle
            .read_at_many(&[0..2, 9..11], &mut destination)
            .unwrap();
        handle.take(&mut destination).unwrap();
    });
    assert!(counted <= ROUNDS, "{counted} allocations");
}

#[test]
fn a_warm_chunk_buf_allocates_nothing() {
    let counted = allocations(|| {
        let mut buf = ChunkBuf::with_capacity(600).unwrap();
        buf.resize(600, 1).unwrap();
    });
    assert_eq!(counted, 0);
}
