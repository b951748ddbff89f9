//! The residency layer: the conformance suite under budgets of every kind, and
//! what the layer promises on top of a backend's guarantees.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pager_core::testkit::{
    Failure, FaultyBackend, Gate, GatedBackend, KeepingBackend, MemoryBackend, Operation, model,
};
use pager_core::{Backend, ChunkBuf, Error, Registry, Residency, Reuse};
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
    pager_core::testkit::content::words(seed as u64, CHUNK_WORDS)
}

/// Waits for something that the background is about to do.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "{what} never happened");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pager_core::conformance_tests! {
    fn ample_budget() -> Registry<MemoryBackend> {
        under(MemoryBackend::new(), 1 << 30)
    }
}

pager_core::conformance_tests! {
    fn tight_budget() -> Registry<MemoryBackend> {
        under(MemoryBackend::new(), 64 << 10)
    }
}

pager_core::conformance_tests! {
    fn tight_budget_over_keeping() -> Registry<KeepingBackend> {
        under(KeepingBackend::new(), 4 << 20)
    }
}

pager_core::conformance_tests! {
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
    let stats = registry.stats().residency;
    assert!(most.into_inner() <= budget_bytes as u64);
    assert!(stats.peak_resident_bytes <= budget_bytes as u64);
    assert!(stats.writes > 100, "many had to be written: {stats:?}");
    assert_eq!(stats.resident_bytes, 0);
}

#[test]
fn a_payload_that_is_being_written_can_be_read_and_taken_meanwhile() {
    let gate = Gate::new();
    let residency = Residency::builder()
        .budget_bytes(4 * CHUNK_BYTES)
        .io_threads(1)
        .build();
    let registry =
        Registry::with_residency(GatedBackend::new(MemoryBackend::new(), &gate), &residency);
    let held = gate.hold(Operation::PageOut);
    let handles: Vec<_> = (0..3)
        .map(|seed| registry.pageout(&mut [chunk(seed)]).unwrap())
        .collect();
    gate.await_waiting(Operation::PageOut, 1);
    let mut handles = handles.into_iter();
    let oldest = handles.next().unwrap();
    let mut words = Vec::new();
    oldest.read_at(5, 2, &mut words).unwrap();
    assert_eq!(words, chunk(0)[5..7]);
    oldest.take(&mut words).unwrap();
    assert_eq!(words, chunk(0));
    drop(held);
    drop(handles);
    eventually("the abandoned write is freed", || {
        let stats = registry.stats();
        stats.backend.logical_bytes == 0 && stats.residency.resident_bytes == 0
    });
    assert_eq!(registry.stats().residency.cancelled_writes, 1);
}

#[test]
fn dropping_a_payload_that_is_being_written_does_not_wait() {
    let gate = Gate::new();
    let registry = under(
        GatedBackend::new(MemoryBackend::new(), &gate),
        4 * CHUNK_BYTES,
    );
    let held = gate.hold(Operation::PageOut);
    let handles: Vec<_> = (0..3)
        .map(|seed| registry.pageout(&mut [chunk(seed)]).unwrap())
        .collect();
    gate.await_waiting(Operation::PageOut, 1);
    drop(handles);
    assert_eq!(registry.live_handles(), 0);
    drop(held);
    eventually("what was stored is freed", || {
        let stats = registry.stats();
        stats.backend.logical_bytes == 0 && stats.residency.resident_bytes == 0
    });
    let stats = registry.stats().residency;
    assert_eq!(stats.cancelled_writes + stats.elided_writes, 3);
    assert!(stats.cancelled_writes >= 1, "{stats:?}");
}

#[test]
fn the_last_registry_waits_for_what_the_background_is_doing() {
    let gate = Gate::new();
    let residency = budget(4 * CHUNK_BYTES);
    let registry =
        Registry::with_residency(GatedBackend::new(MemoryBackend::new(), &gate), &residency);
    let held = gate.hold(Operation::PageOut);
    let handles: Vec<_> = (0..3)
        .map(|seed| registry.pageout(&mut [chunk(seed)]).unwrap())
        .collect();
    gate.await_waiting(Operation::PageOut, 1);
    drop(handles);
    std::thread::scope(|scope| {
        let dropper = scope.spawn(move || drop(registry));
        std::thread::sleep(Duration::from_millis(20));
        assert!(
            !dropper.is_finished(),
            "a thread is in the middle of a write"
        );
        drop(held);
        dropper.join().unwrap();
    });
    assert_eq!(residency.stats().resident_bytes, 0);
}

#[test]
fn what_was_written_stays_in_memory_until_its_room_is_wanted() {
    let gate = Gate::new();
    let backend = GatedBackend::new(MemoryBackend::new(), &gate);
    let registry = under(backend, 8 * CHUNK_BYTES);
    let residency = registry.residency().unwrap();
    let mut column = chunk(1);
    let address = column.as_ptr();
    let handle = registry.pageout(std::slice::from_mut(&mut column)).unwrap();
    residency.write_back().unwrap();
    let stats = registry.stats();
    assert_eq!(stats.backend.logical_bytes, CHUNK_BYTES as u64);
    assert_eq!(stats.residency.resident_bytes, CHUNK_BYTES as u64);
    assert_eq!(stats.residency.dirty_bytes, 0);

    let held = gate.hold(Operation::Read);
    let mut words = Vec::new();
    handle.read_at(3, 4, &mut words).unwrap();
    assert_eq!(words, chunk(1)[3..7]);
    handle.take(&mut words).unwrap();
    assert_eq!((words.as_ptr(), &words), (address, &chunk(1)));
    drop(held);
    let stats = registry.stats();
    assert_eq!((stats.residency.cache_hits, stats.residency.writes), (2, 1));
    assert_eq!(stats.backend.logical_bytes, 0);
    assert_eq!(stats.residency.resident_bytes, 0);
}

#[test]
fn a_payload_of_many_chunks_is_read_and_taken_from_its_clean_copy() {
    let registry = under(MemoryBackend::new(), 8 * CHUNK_BYTES);
    let joined = [chunk(1), chunk(2)].concat();
    let handle = registry.pageout(&mut [chunk(1), vec![], chunk(2)]).unwrap();
    registry.residency().unwrap().write_back().unwrap();
    let mut words = Vec::new();
    let across = CHUNK_WORDS - 5..CHUNK_WORDS + 5;
    let ranges = [across.clone(), 0..1, 2 * CHUNK_WORDS - 1..2 * CHUNK_WORDS];
    handle.read_at_many(&ranges, &mut words).unwrap();
    let expected: Vec<u64> = ranges
        .iter()
        .flat_map(|range| joined[range.clone()].to_vec())
        .collect();
    assert_eq!(words, expected);
    handle.take(&mut words).unwrap();
    assert_eq!(words, joined);
    assert_eq!(registry.residency().unwrap().stats().cache_hits, 2);
}

#[test]
fn a_buffer_that_the_backend_adopts_leaves_the_budget_with_its_write() {
    let registry = under(KeepingBackend::new(), 8 * CHUNK_BYTES);
    let residency = registry.residency().unwrap();
    let handles: Vec<_> = (0..20)
        .map(|seed| {
            let column = ChunkBuf::try_from(&chunk(seed)[..]).unwrap();
            registry.pageout(&mut [column]).unwrap()
        })
        .collect();
    residency.write_back().unwrap();
    let stats = residency.stats();
    assert_eq!(
        (stats.writes, stats.resident_bytes, stats.dirty_bytes),
        (20, 0, 0)
    );
    for (seed, handle) in handles.into_iter().enumerate() {
        let mut back = ChunkBuf::new();
        handle.take(&mut back).unwrap();
        assert_eq!(*back, chunk(seed));
    }
}

#[test]
fn clean_copies_make_room_for_page_outs_at_once() {
    let gate = Gate::new();
    let backend = GatedBackend::new(MemoryBackend::new(), &gate);
    let registry = under(backend, 8 * CHUNK_BYTES);
    let residency = registry.residency().unwrap();
    let handles: Vec<_> = (0..8)
        .map(|seed| {
            let handle = registry.pageout(&mut [chunk(seed)]).unwrap();
            residency.write_back().unwrap();
            handle
        })
        .collect();
    assert_eq!(residency.stats().resident_bytes, 8 * CHUNK_BYTES as u64);
    handles[0].read_at(0, 1, &mut Vec::new()).unwrap();
    // No write can end, and none need to.
    let held = gate.hold(Operation::PageOut);
    let newcomers: Vec<_> = (8..12)
        .map(|seed| registry.pageout(&mut [chunk(seed)]).unwrap())
        .collect();
    let stats = residency.stats();
    assert_eq!((stats.stalls, stats.clean_evictions), (0, 4));
    assert_eq!(stats.dirty_bytes, 4 * CHUNK_BYTES as u64);
    // The coldest four but for the one that was read.
    let held_reads = gate.hold(Operation::Read);
    for (seed, handle) in handles.into_iter().enumerate() {
        if seed == 0 || seed > 4 {
            let mut words = Vec::new();
            handle.take(&mut words).unwrap();
            assert_eq!(words, chunk(seed));
        }
    }
    drop((held, held_reads, newcomers));
}

#[test]
fn all_but_the_last_few_late_are_written_before_the_budget_is_full() {
    let registry = under(MemoryBackend::new(), 40 * CHUNK_BYTES);
    let residency = registry.residency().unwrap();
    let mut others = Vec::new();
    for seed in 0..26 {
        others.push(registry.pageout(&mut [chunk(seed)]).unwrap());
        residency.write_back().unwrap();
    }
    let pageout_late = |seed| {
        registry
            .pageout_hinted(&mut [chunk(seed)], Reuse::Late)
            .unwrap()
    };
    let mut late: Vec<_> = (0..9).map(pageout_late).collect();
    // An eighth of the budget is free.
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(residency.stats().writes, 26);
    late.push(pageout_late(9));
    eventually("two writes", || residency.stats().writes == 28);
    std::thread::sleep(Duration::from_millis(50));
    let stats = residency.stats();
    assert_eq!(
        (stats.writes, stats.dirty_bytes),
        (28, 8 * CHUNK_BYTES as u64)
    );
    // The oldest: the last ones may yet be dropped.
    let elided = |handle: pager_core::Handle<_>| {
        let before = residency.stats().elided_writes;
        drop(handle);
        residency.stats().elided_writes > before
    };
    let elided: Vec<bool> = late.into_iter().map(elided).collect();
    assert_eq!(elided.iter().position(|elided| *elided), Some(2));
    drop(others);
}

/// Payloads that have been stored and have left memory.
fn stored<B: Backend>(registry: &Registry<B>, count: usize) -> Vec<pager_core::Handle<B>> {
    let handles = (0..count)
        .map(|seed| registry.pageout(&mut [chunk(seed)]).unwrap())
        .collect();
    registry.residency().unwrap().flush().unwrap();
    assert_eq!(registry.stats().residency.resident_bytes, 0);
    handles
}

#[test]
fn read_ahead_keeps_to_its_share_and_is_not_pushed_out_by_page_outs() {
    let registry = under(MemoryBackend::new(), 16 * CHUNK_BYTES);
    let residency = registry.residency().unwrap();
    let handles = stored(&registry, 12);
    registry.prefetch_many(&handles.iter().collect::<Vec<_>>());
    eventually("the share fills", || residency.stats().fetches == 4);
    let page_outs: Vec<_> = (0..40)
        .map(|seed| registry.pageout(&mut [chunk(seed)]).unwrap())
        .collect();
    let stats = residency.stats();
    assert_eq!(stats.read_ahead_bytes, 4 * CHUNK_BYTES as u64);
    assert_eq!((stats.fetches, stats.prefetch_waste), (4, 0));
    // Room that a take gives back goes to the next in the queue.
    let mut words = Vec::new();
    for (seed, handle) in handles.into_iter().enumerate() {
        eventually("the fetch", || residency.stats().fetches > seed as u64);
        handle.take(&mut words).unwrap();
        assert_eq!(words, chunk(seed));
    }
    assert_eq!(residency.stats().prefetch_hits, 12);
    drop(page_outs);
}

#[test]
fn read_ahead_that_nobody_uses_makes_way_in_the_end() {
    let registry = under(MemoryBackend::new(), 16 * CHUNK_BYTES);
    let residency = registry.residency().unwrap();
    let handles = stored(&registry, 6);
    registry.prefetch_many(&handles[..4].iter().collect::<Vec<_>>());
    eventually("the share fills", || residency.stats().fetches == 4);
    handles[4].prefetch();
    for _ in 0..200 {
        handles[5].read_at(0, 1, &mut Vec::new()).unwrap();
    }
    eventually("the fifth is fetched", || residency.stats().fetches == 5);
    let stats = residency.stats();
    assert_eq!(stats.prefetch_waste, 1);
    assert_eq!(stats.read_ahead_bytes, 4 * CHUNK_BYTES as u64);
}

#[test]
fn what_was_fetched_and_read_is_a_clean_copy_and_gives_its_share_to_others() {
    let registry = under(MemoryBackend::new(), 16 * CHUNK_BYTES);
    let residency = registry.residency().unwrap();
    let handles = stored(&registry, 8);
    for (index, handle) in handles.iter().enumerate() {
        handle.prefetch();
        eventually("the fetch", || residency.stats().fetches > index as u64);
        handle.read_at(0, 1, &mut Vec::new()).unwrap();
    }
    let stats = residency.stats();
    assert_eq!(stats.read_ahead_bytes, 0);
    assert_eq!(stats.resident_bytes, 8 * CHUNK_BYTES as u64);
    assert_eq!((stats.prefetch_hits, stats.prefetch_waste), (8, 0));
}

#[test]
fn a_take_waits_for_the_fetch_under_way_and_starts_no_second() {
    let gate = Gate::new();
    let registry = under(
        GatedBackend::new(MemoryBackend::new(), &gate),
        8 * CHUNK_BYTES,
    );
    let handle = registry.pageout(&mut [chunk(1)]).unwrap();
    registry.residency().unwrap().flush().unwrap();
    let held = gate.hold(Operation::Read);
    handle.prefetch();
    gate.await_waiting(Operation::Read, 1);
    std::thread::scope(|scope| {
        let taker = scope.spawn(|| {
            let mut words = Vec::new();
            handle.take(&mut words).unwrap();
            words
        });
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(gate.waiting(Operation::Read), 1);
        drop(held);
        assert_eq!(taker.join().unwrap(), chunk(1));
    });
    assert_eq!(gate.passed(Operation::Read), 1);
    let stats = registry.stats().residency;
    assert_eq!((stats.fetches, stats.prefetch_hits), (1, 1));
}

#[test]
fn what_was_prefetched_need_not_be_written_again() {
    let registry = under(MemoryBackend::new(), 8 * CHUNK_BYTES);
    let residency = registry.residency().unwrap();
    let handle = registry.pageout(&mut [chunk(1)]).unwrap();
    residency.flush().unwrap();
    handle.prefetch();
    eventually("the fetch", || residency.stats().fetches == 1);
    residency.flush().unwrap();
    let stats = residency.stats();
    // What was written stayed in memory until the first flush, what was fetched
    // until the second.
    assert_eq!((stats.writes, stats.clean_evictions), (1, 2));
    assert_eq!((stats.prefetch_hits, stats.prefetch_waste), (0, 1));
    let mut words = Vec::new();
    handle.take(&mut words).unwrap();
    assert_eq!(words, chunk(1));
}

#[test]
fn part_of_a_large_payload_is_fetched_and_read_from_memory() {
    let gate = Gate::new();
    let registry = under(GatedBackend::new(MemoryBackend::new(), &gate), 16 << 20);
    let residency = registry.residency().unwrap();
    let column = pager_core::testkit::content::words(9, 1 << 20);
    let handle = registry.pageout(&mut [column.clone()]).unwrap();
    residency.flush().unwrap();
    handle.prefetch_at(1000, 500);
    eventually("the fetch", || residency.stats().fetches == 1);
    let held = gate.hold(Operation::Read);
    let mut words = Vec::new();
    handle.read_at(1100, 300, &mut words).unwrap();
    assert_eq!(words, column[1100..1400]);
    drop(held);
    handle.read_at(900, 200, &mut words).unwrap();
    assert_eq!(words[300..], column[900..1100]);
    handle.take(&mut words).unwrap();
    assert_eq!(words, column);
    assert_eq!(residency.stats().resident_bytes, 0);
}

#[test]
fn a_full_budget_refuses_read_ahead_and_goes_on() {
    let gate = Gate::new();
    let registry = under(
        GatedBackend::new(MemoryBackend::new(), &gate),
        4 * CHUNK_BYTES,
    );
    let residency = registry.residency().unwrap();
    let stored: Vec<_> = (0..8)
        .map(|seed| registry.pageout(&mut [chunk(seed)]).unwrap())
        .collect();
    residency.flush().unwrap();
    registry.prefetch_many(&stored.iter().collect::<Vec<_>>());
    for (seed, handle) in stored.into_iter().enumerate().rev() {
        let mut words = Vec::new();
        handle.take(&mut words).unwrap();
        assert_eq!(words, chunk(seed));
    }
    assert!(residency.stats().peak_resident_bytes <= 4 * CHUNK_BYTES as u64);
    eventually("all room is given back", || {
        residency.stats().resident_bytes == 0
    });
}

#[test]
fn a_failed_background_write_keeps_the_payload_and_is_told_to_the_next_pageout() {
    let backend = FaultyBackend::new(MemoryBackend::new());
    backend.fail_every(Operation::PageOut, 1, Failure::OutOfSpace);
    let registry = under(backend, 4 * CHUNK_BYTES);
    let residency = registry.residency().unwrap();
    let mut handles = Vec::new();
    let mut left = chunk(0);
    let error = loop {
        match registry.pageout(std::slice::from_mut(&mut left)) {
            Ok(handle) => handles.push(handle),
            Err(error) => break error,
        }
        left = chunk(handles.len());
    };
    assert!(matches!(error, Error::OutOfSpace { .. }), "{error}");
    assert_eq!(left, chunk(handles.len()), "the chunk is untouched");
    assert!(residency.is_failing());
    let stats = residency.stats();
    assert!(stats.background_errors > 0);
    assert!(stats.last_background_error.is_some());
    let mut words = Vec::new();
    handles[0].read_at(0, CHUNK_WORDS, &mut words).unwrap();
    assert_eq!(words, chunk(0));

    registry.backend().heal(Operation::PageOut);
    eventually("writing resumes by itself", || residency.stats().writes > 0);
    handles.push(registry.pageout(std::slice::from_mut(&mut left)).unwrap());
    for (seed, handle) in handles.into_iter().enumerate() {
        handle.take(&mut words).unwrap();
        assert_eq!(words, chunk(seed));
    }
}

#[test]
fn a_failed_fetch_is_the_error_of_the_reader_and_the_handle_lives_on() {
    let registry = under(FaultyBackend::new(MemoryBackend::new()), 8 * CHUNK_BYTES);
    let residency = registry.residency().unwrap();
    let handle = registry.pageout(&mut [chunk(1)]).unwrap();
    residency.flush().unwrap();
    registry
        .backend()
        .fail_every(Operation::Read, 1, Failure::Io);
    handle.prefetch();
    eventually("the fetch fails", || {
        residency.stats().background_errors == 1
    });
    let mut words = vec![1];
    let failed = handle.take(&mut words).unwrap_err();
    assert!(matches!(failed.error(), Error::Io { .. }));
    let handle = failed.into_handle();
    registry.backend().heal(Operation::Read);
    handle.take(&mut words).unwrap();
    assert_eq!(words, chunk(1));
    assert_eq!(residency.stats().resident_bytes, 0);
}

#[test]
fn a_smaller_budget_is_in_force_at_once() {
    let registry = under(MemoryBackend::new(), 64 * CHUNK_BYTES);
    let residency = registry.residency().unwrap();
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
fn a_flush_stores_everything_that_was_paged_out_before_it() {
    let registry = under(MemoryBackend::new(), 64 * CHUNK_BYTES);
    let handles: Vec<_> = (0..20)
        .map(|seed| registry.pageout(&mut [chunk(seed)]).unwrap())
        .collect();
    handles[3].read_at(0, 1, &mut Vec::new()).unwrap();
    registry.residency().unwrap().flush().unwrap();
    let stats = registry.stats();
    assert_eq!(stats.residency.dirty_bytes, 0);
    assert_eq!(stats.residency.resident_bytes, 0);
    assert_eq!(stats.backend.logical_bytes, 20 * CHUNK_BYTES as u64);
}

#[test]
fn after_a_shutdown_handles_are_taken_and_pageouts_refused() {
    let registry = under(MemoryBackend::new(), 64 * CHUNK_BYTES);
    let handle = registry.pageout(&mut [chunk(1)]).unwrap();
    registry.residency().unwrap().shutdown().unwrap();
    let mut column = chunk(2);
    let refused = registry.pageout(std::slice::from_mut(&mut column));
    assert!(matches!(refused, Err(Error::ShutDown)));
    assert_eq!(column, chunk(2));
    handle.prefetch();
    handle.take(&mut column).unwrap();
    assert_eq!(column, chunk(1));
}

#[test]
fn the_late_go_before_the_old_and_the_soon_are_passed_over() {
    let residency = Residency::builder()
        .budget_bytes(100 * CHUNK_BYTES)
        .watermarks(1, 75)
        .io_threads(1)
        .build();
    let gate = Gate::new();
    let registry =
        Registry::with_residency(GatedBackend::new(MemoryBackend::new(), &gate), &residency);
    let held = gate.hold(Operation::PageOut);
    // The thread takes this one and waits with it.
    let decoy = registry.pageout(&mut [chunk(0), chunk(1)]).unwrap();
    gate.await_waiting(Operation::PageOut, 1);
    let soon = registry
        .pageout_hinted(&mut [chunk(2)], Reuse::Soon)
        .unwrap();
    let old = registry.pageout(&mut [chunk(3)]).unwrap();
    let late = registry
        .pageout_hinted(&mut [chunk(4)], Reuse::Late)
        .unwrap();
    let passed = gate.passed(Operation::PageOut);
    for _ in 0..2 {
        gate.release_one(Operation::PageOut);
        gate.await_waiting(Operation::PageOut, 1);
    }
    gate.await_passed(Operation::PageOut, passed + 2);
    // Written by now: the decoy and the late one. Under way: the old one.
    let elided = |handle: pager_core::Handle<_>| {
        let before = residency.stats().elided_writes;
        handle.take(&mut Vec::new()).unwrap();
        residency.stats().elided_writes > before
    };
    assert!(elided(soon));
    assert!(!elided(late));
    drop(held);
    drop((decoy, old));
}

#[test]
fn pageout_each_makes_one_handle_a_chunk() {
    for budget_bytes in [0, 64 * CHUNK_BYTES] {
        let registry = under(MemoryBackend::new(), budget_bytes);
        let mut chunks = vec![chunk(0), Vec::new(), chunk(2)];
        let handles = registry.pageout_each(&mut chunks).unwrap();
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
    let failed = registry.pageout_each(&mut chunks);
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
