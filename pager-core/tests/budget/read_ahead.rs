//! How payloads come back before they are wanted.

use super::*;

/// Payloads that have been stored and have left memory.
fn stored<B: Backend>(registry: &Registry<B>, count: usize) -> Vec<pager_core::Handle<B>> {
    let handles = (0..count)
        .map(|seed| registry.pageout(&mut [chunk(seed)]).unwrap())
        .collect();
    registry.residency().flush().unwrap();
    assert_eq!(registry.stats().residency.resident_bytes, 0);
    handles
}

#[test]
fn read_ahead_keeps_to_its_share_and_is_not_pushed_out_by_page_outs() {
    let registry = under(MemoryBackend::new(), 16 * CHUNK_BYTES);
    let residency = registry.residency();
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
    let residency = registry.residency();
    let handles = stored(&registry, 6);
    registry.prefetch_many(&handles[..4].iter().collect::<Vec<_>>());
    eventually("the share fills", || residency.stats().fetches == 4);
    handles[4].prefetch();
    for _ in 0..200 {
        handles[5].read_at(0, 1, &mut Vec::new()).unwrap();
    }
    eventually("the fifth is fetched", || residency.stats().fetches == 5);
    let stats = residency.stats();
    // Two threads that look at the same moment may each let one go.
    assert!((1..=2).contains(&stats.prefetch_waste), "{stats:?}");
    let left = 5 - stats.prefetch_waste;
    assert_eq!(stats.read_ahead_bytes, left * CHUNK_BYTES as u64);
}

#[test]
fn what_was_fetched_and_read_is_a_clean_copy_and_gives_its_share_to_others() {
    let registry = under(MemoryBackend::new(), 16 * CHUNK_BYTES);
    let residency = registry.residency();
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
    registry.residency().flush().unwrap();
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
    let residency = registry.residency();
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
    let residency = registry.residency();
    let column = pager_testkit::content::words(9, 1 << 20);
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
    let residency = registry.residency();
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
fn a_failed_fetch_is_the_error_of_the_reader_and_the_handle_lives_on() {
    let registry = under(FaultyBackend::new(MemoryBackend::new()), 8 * CHUNK_BYTES);
    let residency = registry.residency();
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

/// Notes the hints that reach the backend.
#[derive(Debug)]
struct Hinted {
    inner: MemoryBackend,
    hints: std::sync::Mutex<Vec<std::ops::Range<usize>>>,
}

impl Hinted {
    fn new() -> Self {
        Self {
            inner: MemoryBackend::new(),
            hints: std::sync::Mutex::default(),
        }
    }

    fn hints(&self) -> Vec<std::ops::Range<usize>> {
        self.hints.lock().unwrap().clone()
    }
}

impl Backend for Hinted {
    type Slot = <MemoryBackend as Backend>::Slot;

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn page_out(&self, payload: &mut pager_core::Payload<'_>) -> pager_core::Result<Self::Slot> {
        self.inner.page_out(payload)
    }

    fn read(
        &self,
        slot: &Self::Slot,
        ranges: &[std::ops::Range<usize>],
        window: &mut pager_core::Window<'_>,
    ) -> pager_core::Result<()> {
        self.inner.read(slot, ranges, window)
    }

    fn prefetch(&self, _: &Self::Slot, range: std::ops::Range<usize>) {
        self.hints.lock().unwrap().push(range);
    }

    fn free(&self, slot: Self::Slot) {
        self.inner.free(slot);
    }

    fn usage(&self) -> pager_core::Usage {
        self.inner.usage()
    }
}

#[test]
fn a_hint_that_no_budget_can_hold_reaches_the_backend() {
    for budget_bytes in [0, CHUNK_BYTES / 2] {
        let registry = under(Hinted::new(), budget_bytes);
        let handle = registry.pageout(&mut [chunk(1)]).unwrap();
        handle.prefetch();
        handle.prefetch_at(7, 100);
        let hints = registry.backend().hints();
        match budget_bytes {
            0 => assert_eq!(hints, [0..CHUNK_BYTES, 56..856]),
            // What is hinted of it fits, and is fetched.
            _ => {
                assert_eq!(hints[0], 0..CHUNK_BYTES);
                eventually("the fetch", || registry.stats().residency.fetches == 1);
            }
        }
        assert_eq!(registry.stats().residency.prefetch_refusals, 0);
    }
}

#[test]
fn a_second_range_is_queued_beside_the_first_and_what_is_there_is_not_fetched_twice() {
    let gate = Gate::new();
    let registry = under(GatedBackend::new(MemoryBackend::new(), &gate), 64 << 20);
    let column = pager_testkit::content::words(9, 1 << 20);
    let handle = registry
        .pageout(std::slice::from_mut(&mut column.clone()))
        .unwrap();
    registry.residency().flush().unwrap();
    let held = gate.hold(Operation::Read);
    handle.prefetch_at(0, 100);
    gate.await_waiting(Operation::Read, 1);
    handle.prefetch_at(1000, 100);
    handle.prefetch_at(50, 100);
    drop(held);
    eventually("three fetches", || registry.stats().residency.fetches == 3);
    let held = gate.hold(Operation::Read);
    for range in [0..150, 1000..1100, 20..140] {
        let mut words = Vec::new();
        handle
            .read_at(range.start, range.len(), &mut words)
            .unwrap();
        assert_eq!(words, column[range]);
    }
    drop(held);
    assert_eq!(registry.stats().residency.prefetch_hits, 3);
}

#[test]
fn a_read_of_one_window_does_not_wait_for_the_fetch_of_the_next() {
    let gate = Gate::new();
    let registry = under(GatedBackend::new(MemoryBackend::new(), &gate), 64 << 20);
    let column = pager_testkit::content::words(5, 1 << 20);
    let handle = registry
        .pageout(std::slice::from_mut(&mut column.clone()))
        .unwrap();
    registry.residency().flush().unwrap();
    handle.prefetch_at(0, 1000);
    eventually("the fetch", || registry.stats().residency.fetches == 1);
    let held = gate.hold(Operation::Read);
    handle.prefetch_at(1000, 1000);
    gate.await_waiting(Operation::Read, 1);
    let mut words = Vec::new();
    handle.read_at(0, 1000, &mut words).unwrap();
    assert_eq!(words, column[..1000]);
    drop(held);
}
