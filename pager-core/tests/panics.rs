//! A backend that panics, on the caller's thread or in the background: no lock
//! stays poisoned, and what failed leaves everything as it was.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use pager_core::{Backend, Payload, Registry, Residency, Result, Usage, Window};
use pager_testkit::{MemoryBackend, content::words};
use rstest::rstest;

/// Panics while it is told to.
#[derive(Debug, Default)]
struct Panicky {
    inner: MemoryBackend,
    /// Relaxed: a panic more or less is no matter.
    panics: AtomicBool,
}

impl Panicky {
    fn maybe(&self) {
        assert!(!self.panics.load(Ordering::Relaxed), "meant");
    }

    fn set(&self, panics: bool) {
        self.panics.store(panics, Ordering::Relaxed);
    }
}

impl Backend for Panicky {
    type Slot = <MemoryBackend as Backend>::Slot;

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn page_out(&self, payload: &mut Payload<'_>) -> Result<Self::Slot> {
        self.maybe();
        self.inner.page_out(payload)
    }

    fn read(
        &self,
        slot: &Self::Slot,
        ranges: &[Range<usize>],
        window: &mut Window<'_>,
    ) -> Result<()> {
        self.maybe();
        self.inner.read(slot, ranges, window)
    }

    fn free(&self, slot: Self::Slot) {
        self.inner.free(slot);
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }
}

#[test]
fn a_backend_that_panics_in_a_page_out_or_a_read_poisons_nothing() {
    let registry = Registry::new(Panicky::default());
    let handle = registry.pageout(&mut [words(1, 700)]).unwrap();
    registry.backend().set(true);
    let mut chunks = [words(2, 700)];
    let pageout = catch_unwind(AssertUnwindSafe(|| registry.pageout(&mut chunks).map(drop)));
    let mut found = vec![7];
    let read = catch_unwind(AssertUnwindSafe(|| handle.read_at(0, 700, &mut found)));
    assert!(pageout.is_err() && read.is_err());
    assert_eq!((&chunks[0], &found), (&words(2, 700), &vec![7]));
    registry.backend().set(false);

    handle.read_at(0, 700, &mut found).unwrap();
    assert_eq!(found[1..], words(1, 700));
    let second = registry.pageout(&mut chunks).unwrap();
    second.take(&mut found).unwrap();
    assert_eq!(found, words(2, 700));
    drop(handle);
    let stats = registry.stats();
    assert_eq!((stats.live_handles, stats.backend.logical_bytes), (0, 0));
}

#[test]
fn a_backend_that_panics_in_a_take_keeps_the_payload() {
    let registry = Registry::new(Panicky::default());
    let handle = registry.pageout(&mut [words(1, 700)]).unwrap();
    registry.backend().set(true);
    let take = catch_unwind(AssertUnwindSafe(|| handle.take(&mut Vec::new()).is_ok()));
    assert!(take.is_err());
    // The handle went with the stack, and the slot with the handle.
    let stats = registry.stats();
    assert_eq!((stats.live_handles, stats.backend.logical_bytes), (0, 0));
}

#[rstest]
fn a_backend_that_panics_while_room_is_made_stops_nobody(#[values(0, 1, 2)] io_threads: usize) {
    const LEN: usize = 1000;
    let residency = Residency::builder()
        .budget_bytes(100 << 10)
        .io_threads(io_threads)
        .build();
    let registry = Registry::with_residency(Panicky::default(), &residency);
    registry.backend().set(true);
    let mut kept = Vec::new();
    for seed in 0..20 {
        let mut chunks = [words(seed, LEN)];
        let pageout = catch_unwind(AssertUnwindSafe(|| registry.pageout(&mut chunks)));
        match pageout {
            Ok(handle) => kept.push((seed, handle.unwrap())),
            Err(_) => assert_eq!(chunks[0], words(seed, LEN), "the chunk is untouched"),
        }
        if kept.len() >= 9 {
            registry.backend().set(false);
        }
        let stats = residency.stats();
        assert!(stats.resident_bytes <= stats.budget_bytes);
    }
    registry.backend().set(false);
    residency.flush().unwrap();
    assert_eq!(residency.stats().writing_bytes, 0);
    for (seed, handle) in kept {
        let mut found = Vec::new();
        handle.prefetch();
        handle.take(&mut found).unwrap();
        assert_eq!(found, words(seed, LEN));
    }
    let stats = pager_testkit::settled_stats(&registry);
    assert_eq!((stats.live_handles, stats.backend.logical_bytes), (0, 0));
    assert_eq!(
        (stats.residency.resident_bytes, stats.residency.dirty_bytes),
        (0, 0)
    );
}

#[test]
fn a_backend_that_panics_in_a_fetch_is_counted_and_gives_the_room_back() {
    let residency = Residency::builder()
        .budget_bytes(1 << 20)
        .io_threads(1)
        .build();
    let registry = Registry::with_residency(Panicky::default(), &residency);
    let handle = registry.pageout(&mut [words(1, 700)]).unwrap();
    residency.flush().unwrap();
    registry.backend().set(true);
    handle.prefetch();
    while residency.stats().background_errors == 0 {
        std::thread::yield_now();
    }
    registry.backend().set(false);
    let stats = residency.stats();
    assert_eq!((stats.resident_bytes, stats.fetching_bytes), (0, 0));
    assert_eq!(
        stats.last_background_error.as_deref(),
        Some("a backend panicked")
    );
    // The thread lives on.
    handle.prefetch();
    while residency.stats().fetches == 0 {
        std::thread::yield_now();
    }
    let mut found = Vec::new();
    handle.take(&mut found).unwrap();
    assert_eq!(found, words(1, 700));
}
