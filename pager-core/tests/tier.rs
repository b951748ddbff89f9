//! Encoded payloads that stay in memory before they go to the device: within the budget,
//! out of the way when that is wanted, and none of them lost.

#![cfg(feature = "codec")]
#![cfg(not(miri))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicBool, Ordering};

use pager_core::codec::{Codec, Compressed, Scheme};
use pager_core::{Backend, Handle, Registry, Residency};
use pager_testkit::MemoryBackend;

const PACKED: Codec = Codec::Always(Scheme::Pack);
const CHUNK_WORDS: usize = 1 << 17;
const CHUNK_BYTES: u64 = 1 << 20;

type Tiered = Registry<Compressed<MemoryBackend>>;

fn open(budget_bytes: usize) -> (Tiered, Residency) {
    let residency = Residency::builder().budget_bytes(budget_bytes).build();
    let backend = Compressed::new(MemoryBackend::new(), PACKED);
    (Registry::with_residency(backend, &residency), residency)
}

/// A mebibyte that shrinks to a seventh.
fn column(seed: u64) -> Vec<u64> {
    (0..CHUNK_WORDS as u64)
        .map(|at| (seed << 20) | ((at * 7919 + seed) % 400))
        .collect()
}

fn page_out<B: Backend>(registry: &Registry<B>, count: u64) -> Vec<Handle<B>> {
    (0..count)
        .map(|seed| registry.pageout(&mut [column(seed)]).unwrap())
        .collect()
}

fn take_all<B: Backend>(handles: Vec<Handle<B>>) {
    for (seed, handle) in (0..).zip(handles) {
        let mut words = Vec::new();
        handle.take(&mut words).unwrap();
        assert!(words == column(seed), "payload {seed}");
    }
}

fn device_bytes(registry: &Tiered) -> u64 {
    Backend::usage(registry.backend().inner()).logical_bytes
}

#[test]
fn what_shrinks_stays_in_memory_and_comes_back_without_a_device() {
    // More than twice the budget, and less than half of it encoded.
    let (registry, residency) = open(16 << 20);
    let handles = page_out(&registry, 36);
    let stats = registry.backend().codec_stats();
    assert!(stats.came_bytes > 0, "{stats}");
    assert_eq!(stats.moved_bytes, 0, "{stats}");
    // But for what found no workspace in time.
    assert_eq!(device_bytes(&registry), stats.passed_bytes);
    let held = residency.stats();
    assert!(held.resident_bytes <= held.budget_bytes, "{held:?}");
    assert!(
        held.peak_held_bytes <= held.budget_bytes + (1 << 20),
        "{held:?}"
    );
    let mut words = Vec::new();
    handles[0].read_at(1000, 3, &mut words).unwrap();
    assert_eq!(words, column(0)[1000..1003]);
    take_all(handles);
    let stats = registry.backend().codec_stats();
    assert_eq!(stats.stored_read_bytes, 0, "{stats}");
    assert!(stats.kept_read_bytes > 0, "{stats}");
    assert_eq!(stats.kept_bytes, 0, "{stats}");
}

#[test]
fn the_oldest_go_on_when_the_share_is_full() {
    let (registry, residency) = open(4 << 20);
    let handles = page_out(&registry, 48);
    let stats = registry.backend().codec_stats();
    assert!(stats.moved_bytes > 0 && stats.kept_bytes > 0, "{stats}");
    assert!(device_bytes(&registry) > 0);
    let held = residency.stats();
    assert!(held.held_bytes <= held.budget_bytes + (8 << 20), "{held:?}");
    take_all(handles);
    let stats = registry.backend().codec_stats();
    assert!(stats.stored_read_bytes > 0, "{stats}");
    assert_eq!((stats.kept_bytes, device_bytes(&registry)), (0, 0));
}

#[test]
fn a_flush_and_a_smaller_budget_leave_nothing_encoded_in_memory() {
    for flush in [false, true] {
        let (registry, residency) = open(16 << 20);
        let handles = page_out(&registry, 48);
        if flush {
            residency.flush().unwrap();
        } else {
            residency.set_budget_bytes(0).unwrap();
        }
        let stats = registry.backend().codec_stats();
        assert_eq!(stats.kept_bytes, 0, "{stats}");
        assert!(device_bytes(&registry) > 48 * CHUNK_BYTES / 16);
        assert_eq!(residency.stats().resident_bytes, 0);
        take_all(handles);
        assert_eq!(device_bytes(&registry), 0);
    }
}

#[test]
fn without_a_budget_nothing_is_kept() {
    let registry = Registry::new(Compressed::new(MemoryBackend::new(), PACKED));
    let handles = page_out(&registry, 4);
    assert_eq!(registry.backend().codec_stats().came_bytes, 0);
    assert!(device_bytes(&registry) > 0);
    take_all(handles);
}

#[test]
fn what_is_dropped_from_the_tier_was_never_written() {
    let (registry, _residency) = open(16 << 20);
    let handles = page_out(&registry, 36);
    drop(handles);
    let _ = pager_testkit::settled_stats(&registry);
    let stats = registry.backend().codec_stats();
    assert_eq!((stats.kept_bytes, stats.moved_bytes), (0, 0), "{stats}");
}

#[test]
fn threads_that_read_take_and_drop_while_others_move_on_lose_nothing() {
    let (registry, residency) = open(6 << 20);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let shrinker = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                for mib in [2, 6, 4] {
                    residency.set_budget_bytes(mib << 20).unwrap();
                    residency.write_back().unwrap();
                }
            }
        });
        let workers: Vec<_> = (0..3u64)
            .map(|thread| {
                let registry = &registry;
                scope.spawn(move || {
                    for round in 0..6 {
                        let base = (thread * 10 + round) * 100;
                        let handles: Vec<_> = (0..8)
                            .map(|at| registry.pageout(&mut [column(base + at)]).unwrap())
                            .collect();
                        for (at, handle) in (0..).zip(&handles) {
                            let mut words = Vec::new();
                            handle.read_at(70_000, 100, &mut words).unwrap();
                            assert_eq!(words, column(base + at)[70_000..70_100]);
                        }
                        for (at, handle) in (0..).zip(handles) {
                            if at % 3 == 0 {
                                continue;
                            }
                            let mut words = Vec::new();
                            handle.take(&mut words).unwrap();
                            assert!(words == column(base + at));
                        }
                    }
                })
            })
            .collect();
        workers.into_iter().for_each(|it| it.join().unwrap());
        is_over.store(true, Ordering::Relaxed);
        shrinker.join().unwrap();
    });
    let _ = pager_testkit::settled_stats(&registry);
    assert_eq!(registry.backend().codec_stats().kept_bytes, 0);
    assert_eq!(device_bytes(&registry), 0);
}
