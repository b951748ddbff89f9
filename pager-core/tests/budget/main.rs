//! The residency layer: the conformance suite under budgets of every kind, and
//! what the layer promises on top of a backend's guarantees.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod read_ahead;
mod writing;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pager_core::{Backend, ChunkBuf, Error, Registry, Residency, Reuse};
use pager_testkit::{
    Failure, FaultyBackend, Gate, GatedBackend, KeepingBackend, MemoryBackend, Operation,
    eventually, model,
};
use proptest::prelude::*;

const CHUNK_WORDS: usize = 1 << 10;
const CHUNK_BYTES: usize = CHUNK_WORDS * 8;

fn budget(bytes: usize) -> Residency {
    Residency::builder().budget_bytes(bytes).build()
}

fn under<B: Backend>(backend: B, bytes: usize) -> Registry<B> {
    Registry::with_residency(backend, &budget(bytes))
}

fn chunk(seed: usize) -> Vec<u64> {
    pager_testkit::content::words(seed as u64, CHUNK_WORDS)
}

pager_testkit::conformance_tests! {
    fn ample_budget() -> Registry<MemoryBackend> {
        under(MemoryBackend::new(), 1 << 30)
    }
}

pager_testkit::conformance_tests! {
    fn tight_budget() -> Registry<MemoryBackend> {
        under(MemoryBackend::new(), 64 << 10)
    }
}

pager_testkit::conformance_tests! {
    fn tight_budget_over_keeping() -> Registry<KeepingBackend> {
        under(KeepingBackend::new(), 4 << 20)
    }
}

pager_testkit::conformance_tests! {
    fn no_threads() -> Registry<MemoryBackend> {
        let residency = Residency::builder().budget_bytes(1 << 20).io_threads(0).build();
        Registry::with_residency(MemoryBackend::new(), &residency)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 48 }))]

    #[test]
    fn random_operations_match_the_model_under_any_budget(
        steps in model::operations(60),
        budget_kib in 0usize..2048,
        threads in 0usize..3,
    ) {
        let residency = Residency::builder()
            .budget_bytes(budget_kib << 10)
            .io_threads(threads)
            .build();
        model::run(&Registry::with_residency(MemoryBackend::new(), &residency), &steps);
        prop_assert_eq!(residency.stats().resident_bytes, 0);
    }
}

#[test]
fn below_the_budget_a_take_returns_the_same_allocation_and_nothing_is_written() {
    let registry = under(MemoryBackend::new(), 1 << 20);
    let mut column = chunk(1);
    let address = column.as_ptr();
    let handle = registry.pageout(std::slice::from_mut(&mut column)).unwrap();
    let mut back = Vec::with_capacity(5);
    handle.take(&mut back).unwrap();
    assert_eq!(back.as_ptr(), address);
    assert_eq!(back, chunk(1));
    let stats = registry.stats().residency;
    assert_eq!((stats.writes, stats.elided_writes), (0, 1));
    assert_eq!(stats.elided_bytes, CHUNK_BYTES as u64);
}

#[test]
fn a_chunk_buffer_below_the_budget_comes_back_as_it_is() {
    let registry = under(MemoryBackend::new(), 1 << 20);
    let mut column = ChunkBuf::try_from(&chunk(1)[..]).unwrap();
    let address = column.as_ptr();
    let handle = registry.pageout(std::slice::from_mut(&mut column)).unwrap();
    let mut back = ChunkBuf::new();
    handle.take(&mut back).unwrap();
    assert_eq!(back.as_ptr(), address);
}

#[test]
fn the_callers_next_chunk_is_a_warm_one() {
    let registry = under(MemoryBackend::new(), 1 << 20);
    let mut column = chunk(1);
    for round in 0..3 {
        let handle = registry.pageout(std::slice::from_mut(&mut column)).unwrap();
        assert_eq!(round > 0, column.capacity() >= CHUNK_WORDS, "round {round}");
        let mut back = vec![0; CHUNK_WORDS];
        handle.take(&mut back).unwrap();
        column = back;
    }
}

#[test]
fn the_bound_holds_under_eight_threads() {
    let budget_bytes = 40 * CHUNK_BYTES;
    let registry = under(MemoryBackend::new(), budget_bytes);
    let most = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (registry, most) = (&registry, &most);
            scope.spawn(move || {
                let mut handles = Vec::new();
                for turn in 0..60 {
                    let seed = thread * 1000 + turn;
                    handles.push((seed, registry.pageout(&mut [chunk(seed)]).unwrap()));
                    if turn % 7 == 0 {
                        handles[turn / 2].1.prefetch();
                    }
                    let resident = registry.stats().residency.resident_bytes;
                    most.fetch_max(resident, Ordering::Relaxed);
                }
                for (seed, handle) in handles {
                    let mut words = Vec::new();
                    handle.take(&mut words).unwrap();
                    assert_eq!(words, chunk(seed));
                }
            });
        }
    });
    // A fetch that found its payload taken gives its room back a moment later.
    eventually("all room is given back", || {
        registry.stats().residency.resident_bytes == 0
    });
    let stats = registry.stats().residency;
    assert!(most.into_inner() <= budget_bytes as u64);
    assert!(stats.peak_resident_bytes <= budget_bytes as u64);
    assert!(stats.writes > 100, "many had to be written: {stats:?}");
    assert_eq!(stats.resident_bytes, 0);
}

#[test]
fn a_smaller_budget_is_in_force_at_once() {
    let registry = under(MemoryBackend::new(), 64 * CHUNK_BYTES);
    let residency = registry.residency();
    let handles: Vec<_> = (0..30)
        .map(|seed| registry.pageout(&mut [chunk(seed)]).unwrap())
        .collect();
    residency.set_budget_bytes(8 * CHUNK_BYTES).unwrap();
    assert!(residency.stats().resident_bytes <= 8 * CHUNK_BYTES as u64);
    residency.set_budget_bytes(0).unwrap();
    assert_eq!(residency.stats().resident_bytes, 0);
    let direct = registry.pageout(&mut [chunk(99)]).unwrap();
    assert_eq!(
        registry.stats().backend.logical_bytes,
        31 * CHUNK_BYTES as u64
    );
    drop((handles, direct));
}

#[test]
fn after_a_shutdown_handles_are_taken_and_pageouts_refused() {
    let registry = under(MemoryBackend::new(), 64 * CHUNK_BYTES);
    let handle = registry.pageout(&mut [chunk(1)]).unwrap();
    registry.residency().shutdown().unwrap();
    let mut column = chunk(2);
    let refused = registry.pageout(std::slice::from_mut(&mut column));
    assert!(matches!(refused, Err(Error::ShutDown)));
    assert_eq!(column, chunk(2));
    let empty = registry.pageout(&mut [Vec::<u64>::new()]);
    assert!(matches!(empty, Err(Error::ShutDown)));
    assert_eq!(registry.stats().failed_pageouts, 2);
    handle.prefetch();
    handle.take(&mut column).unwrap();
    assert_eq!(column, chunk(1));
}

#[test]
fn pageout_each_makes_one_handle_a_chunk() {
    for budget_bytes in [0, 64 * CHUNK_BYTES] {
        let registry = under(MemoryBackend::new(), budget_bytes);
        let mut chunks = vec![chunk(0), Vec::new(), chunk(2)];
        let handles = registry.options().pageout_each(&mut chunks).unwrap();
        assert!(chunks.iter().all(Vec::is_empty));
        for (handle, expected) in handles.into_iter().zip([chunk(0), Vec::new(), chunk(2)]) {
            let mut words = Vec::new();
            handle.take(&mut words).unwrap();
            assert_eq!(words, expected);
        }
        assert_eq!(registry.stats().backend.logical_bytes, 0);
    }
}

#[test]
fn a_failed_pageout_each_leaves_every_chunk_and_stores_none() {
    let backend = FaultyBackend::new(MemoryBackend::new());
    backend.fail_nth(Operation::PageOut, 3, Failure::OutOfSpace);
    let registry = Registry::new(backend);
    let mut chunks: Vec<_> = (0..4).map(chunk).collect();
    let failed = registry.options().pageout_each(&mut chunks);
    assert!(matches!(failed, Err(Error::OutOfSpace { .. })));
    assert_eq!(chunks, (0..4).map(chunk).collect::<Vec<_>>());
    assert_eq!(registry.live_handles(), 0);
    assert_eq!(registry.stats().backend.logical_bytes, 0);
}

#[test]
fn one_budget_bounds_two_registries() {
    let residency = budget(16 * CHUNK_BYTES);
    let first = Registry::with_residency(MemoryBackend::new(), &residency);
    let second = Registry::with_residency(KeepingBackend::new(), &residency);
    let mut firsts = Vec::new();
    let mut seconds = Vec::new();
    for seed in 0..40 {
        firsts.push(first.pageout(&mut [chunk(seed)]).unwrap());
        seconds.push(second.pageout(&mut [chunk(seed + 100)]).unwrap());
    }
    assert!(residency.stats().peak_resident_bytes <= 16 * CHUNK_BYTES as u64);
    let mut words = Vec::new();
    for (seed, (first, second)) in firsts.into_iter().zip(seconds).enumerate() {
        first.take(&mut words).unwrap();
        assert_eq!(words, chunk(seed));
        second.take(&mut words).unwrap();
        assert_eq!(words, chunk(seed + 100));
    }
}
