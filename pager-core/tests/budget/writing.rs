//! How payloads are written and leave memory: what goes first, what waits, and what
//! happens when a write fails.

use pager_core::Handle;
use pager_testkit::Held;

use super::*;

/// Three payloads, one of which is being written until the first result is dropped.
fn three_of_which_one_is_being_written<B: Backend>(
    registry: &Registry<B>,
    gate: &Gate,
) -> (Held, Vec<Handle<B>>) {
    let held = gate.hold(Operation::PageOut);
    let handles = (0..3)
        .map(|seed| registry.pageout(&mut [chunk(seed)]).unwrap())
        .collect();
    gate.await_waiting(Operation::PageOut, 1);
    (held, handles)
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
    let (held, handles) = three_of_which_one_is_being_written(&registry, &gate);
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
    let (held, handles) = three_of_which_one_is_being_written(&registry, &gate);
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
    let (held, handles) = three_of_which_one_is_being_written(&registry, &gate);
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
    let residency = registry.residency();
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
    registry.residency().write_back().unwrap();
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
    assert_eq!(registry.residency().stats().cache_hits, 2);
}

#[test]
fn a_buffer_that_the_backend_adopts_leaves_the_budget_with_its_write() {
    let registry = under(KeepingBackend::new(), 8 * CHUNK_BYTES);
    let residency = registry.residency();
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
    let residency = registry.residency();
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
    let residency = registry.residency();
    let mut others = Vec::new();
    for seed in 0..28 {
        others.push(registry.pageout(&mut [chunk(seed)]).unwrap());
        residency.write_back().unwrap();
    }
    let pageout_late = |seed| {
        registry
            .options()
            .reuse(Reuse::Late)
            .pageout(&mut [chunk(seed)])
            .unwrap()
    };
    let mut late: Vec<_> = (0..7).map(pageout_late).collect();
    // An eighth of the budget is free.
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(residency.stats().writes, 28);
    late.extend((7..10).map(pageout_late));
    eventually("two writes", || residency.stats().writes == 30);
    std::thread::sleep(Duration::from_millis(50));
    let stats = residency.stats();
    assert_eq!(
        (stats.writes, stats.dirty_bytes),
        (30, 8 * CHUNK_BYTES as u64)
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
        .options()
        .reuse(Reuse::Soon)
        .pageout(&mut [chunk(2)])
        .unwrap();
    let old = registry.pageout(&mut [chunk(3)]).unwrap();
    let late = registry
        .options()
        .reuse(Reuse::Late)
        .pageout(&mut [chunk(4)])
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
fn a_failed_background_write_keeps_the_payload_and_is_told_to_the_next_pageout() {
    let backend = FaultyBackend::new(MemoryBackend::new());
    backend.fail_every(Operation::PageOut, 1, Failure::OutOfSpace);
    let registry = under(backend, 4 * CHUNK_BYTES);
    let residency = registry.residency();
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
fn a_flush_stores_everything_that_was_paged_out_before_it() {
    let registry = under(MemoryBackend::new(), 64 * CHUNK_BYTES);
    let handles: Vec<_> = (0..20)
        .map(|seed| registry.pageout(&mut [chunk(seed)]).unwrap())
        .collect();
    handles[3].read_at(0, 1, &mut Vec::new()).unwrap();
    registry.residency().flush().unwrap();
    let stats = registry.stats();
    assert_eq!(stats.residency.dirty_bytes, 0);
    assert_eq!(stats.residency.resident_bytes, 0);
    assert_eq!(stats.backend.logical_bytes, 20 * CHUNK_BYTES as u64);
}
