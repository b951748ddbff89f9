//! A backend, and a last resort for what it has no room for.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use pager_core::{Backend, Error, MemoryStore, Overflow, Registry, Residency};
use pager_testkit::{Failure, FaultyBackend, MemoryBackend, Operation, model};
use proptest::prelude::*;

type Full = FaultyBackend<MemoryBackend>;

/// A backend of which every n-th page-out finds it full; with a zero, none.
fn full(every: u64) -> Full {
    let backend = FaultyBackend::new(MemoryBackend::new());
    if every > 0 {
        backend.fail_every(Operation::PageOut, every, Failure::OutOfSpace);
    }
    backend
}

fn over<R: Backend>(every: u64, last: Option<R>) -> Registry<Overflow<Full, R>> {
    Registry::new(Overflow::new(full(every), last))
}

pager_testkit::conformance_tests! {
    fn memory_alone() -> Registry<MemoryStore> {
        Registry::new(MemoryStore::new())
    }
}

pager_testkit::conformance_tests! {
    fn without_a_last_resort() -> Registry<Overflow<Full, MemoryStore>> {
        over(0, None)
    }
}

pager_testkit::conformance_tests! {
    fn always_full() -> Registry<Overflow<Full, MemoryStore>> {
        over(1, Some(MemoryStore::new()))
    }
}

pager_testkit::conformance_tests! {
    fn full_now_and_then() -> Registry<Overflow<Full, MemoryStore>> {
        over(2, Some(MemoryStore::new()))
    }
}

pager_testkit::conformance_tests! {
    fn full_under_a_budget() -> Registry<Overflow<Full, MemoryStore>> {
        let residency = Residency::builder().budget_bytes(1 << 20).build();
        let backend = Overflow::new(full(2), Some(MemoryStore::new()));
        Registry::with_residency(backend, &residency)
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { 48 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_is_full_it_agrees_with_the_model(
        steps in model::operations(60),
        every in 0..4u64,
        last_every in 0..4u64,
    ) {
        let registry = over(every, Some(full(last_every)));
        let failures = model::run_with_failures(&registry, &steps, || {});
        let stats = registry.backend().stats().unwrap();
        prop_assert_eq!(stats.refusals, failures as u64);
        prop_assert_eq!((stats.live_payloads, stats.live_bytes), (0, 0));
        prop_assert_eq!(registry.backend().usage().logical_bytes, 0);
    }
}

#[test]
fn what_there_was_no_room_for_is_in_the_last_resort_and_said_to_be() {
    let registry = over(1, Some(MemoryStore::new()));
    let handle = registry.pageout(&mut [vec![7u64; 1000]]).unwrap();
    let stats = registry.backend().stats().unwrap();
    assert_eq!((stats.backend, stats.live_payloads), ("memory", 1));
    assert_eq!((stats.live_bytes, stats.pageouts), (8000, 1));
    assert_eq!(registry.backend().usage().resident_bytes, 8000);
    assert_eq!(
        stats.to_string(),
        "last resort: 1 payloads of 8000 bytes in memory; 1 have gone there"
    );
    // There is room again: what comes now is stored where it belongs.
    registry.backend().first().heal(Operation::PageOut);
    let other = registry.pageout(&mut [vec![8u64; 1000]]).unwrap();
    assert_eq!(registry.backend().stats().unwrap().live_payloads, 1);
    let mut words = Vec::new();
    handle.take(&mut words).unwrap();
    assert_eq!(words, [7; 1000]);
    other.take(&mut words).unwrap();
    assert_eq!(words, [8; 1000]);
    assert_eq!(registry.backend().stats().unwrap().live_bytes, 0);
}

#[test]
fn only_want_of_room_is_a_reason_and_where_nothing_helps_it_is_the_error() {
    let registry = over(1, Some(full(1)));
    let mut chunks = [vec![7u64; 10]];
    let error = registry.pageout(&mut chunks).unwrap_err();
    assert!(matches!(error, Error::OutOfSpace { .. }), "{error}");
    assert_eq!(chunks[0], [7; 10]);
    let stats = registry.backend().stats().unwrap();
    assert_eq!((stats.live_payloads, stats.refusals), (0, 1));
    assert!(stats.to_string().ends_with("1 found no room there either"));

    let broken = FaultyBackend::new(MemoryBackend::new());
    broken.fail_every(Operation::PageOut, 1, Failure::Io);
    let registry = Registry::new(Overflow::new(broken, Some(MemoryStore::new())));
    let error = registry.pageout(&mut chunks).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert_eq!(chunks[0], [7; 10]);
    assert_eq!(registry.backend().stats().unwrap().pageouts, 0);
}

#[test]
fn what_memory_keeps_is_counted_and_more_than_the_budget_still_works() {
    const BUDGET_BYTES: usize = 4 << 20;
    const CHUNK: usize = 1 << 16;
    let residency = Residency::builder().budget_bytes(BUDGET_BYTES).build();
    let backend = Overflow::new(full(1), Some(MemoryStore::new()));
    let registry = Registry::with_residency(backend, &residency);
    let handles: Vec<_> = (0..40u64)
        .map(|seed| registry.pageout(&mut [vec![seed; CHUNK]]).unwrap())
        .collect();
    residency.flush().unwrap();
    let kept = registry.backend().stats().unwrap().live_bytes;
    assert_eq!(kept, 40 * CHUNK as u64 * 8);
    let stats = residency.stats();
    assert!(stats.held_bytes >= kept, "{} of {kept}", stats.held_bytes);
    assert!(stats.held_bytes < kept + (1 << 20) + stats.resident_bytes);
    let mut words = Vec::new();
    for (seed, handle) in (0..).zip(handles) {
        handle.take(&mut words).unwrap();
        assert!(words == vec![seed; CHUNK], "payload {seed}");
    }
    assert_eq!(registry.backend().stats().unwrap().live_bytes, 0);
}
