//! What a live payload of 64 bytes costs, by the count of the allocator: entry, table,
//! queue and the bytes themselves.
//!
//! Alone in its file, because the allocator that counts is the process's.

#![allow(unsafe_code, reason = "a counting allocator is an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use pager_core::{Registry, Residency};
use pager_testkit::NullBackend;

struct Counting;

/// Bytes that are allocated, each block as the allocator of glibc rounds it.
static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

fn block_bytes(len: usize) -> usize {
    (len + 8).next_multiple_of(16).max(32)
}

// SAFETY: forwards everything to the system's allocator unchanged; what is not forwarded
// comes to these two by its default.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(block_bytes(layout.size()), Ordering::Relaxed);
        // SAFETY: by the caller's contract, as below.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(block_bytes(layout.size()), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What one costs with its bytes, which are a block of 80 by themselves.
const MOST_BYTES: usize = 450;

#[test]
fn a_live_payload_of_64_bytes_costs_little_and_the_budget_counts_it() {
    const COUNT: usize = if cfg!(miri) { 200 } else { 100_000 };
    let residency = Residency::builder().budget_bytes(1 << 30).build();
    let registry = Registry::with_residency(NullBackend, &residency);
    let mut handles = Vec::with_capacity(COUNT);
    // What the first one brings with it counts for none.
    drop(registry.pageout(&mut [vec![1u64; 8]]));
    let held = || usize::try_from(residency.stats().held_bytes).unwrap();
    let (before, counted_before) = (ALLOCATED.load(Ordering::Relaxed), held());
    for word in 0..COUNT as u64 {
        handles.push(registry.pageout(&mut [vec![word; 8]]).unwrap());
    }
    let each = (ALLOCATED.load(Ordering::Relaxed) - before) / COUNT;
    let counted = (held() - counted_before) / COUNT;
    println!("{each} bytes each, {counted} counted");
    assert!(each <= MOST_BYTES, "{each}");
    // The map of handles doubles now and then.
    assert!(counted.abs_diff(each) <= each / 8, "{counted} of {each}");
}
