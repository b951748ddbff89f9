//! What a failure of the backend leaves behind: nothing. And that the backends
//! that fail and wait on demand do as they are told.

use std::thread;

use pager_core::{ChunkBuf, Error, Registry};
use pager_testkit::{
    Failure, FaultyBackend, Gate, GatedBackend, KeepingBackend, MemoryBackend, Operation,
    content::words,
};
use rstest::rstest;

type Faulty = Registry<FaultyBackend<MemoryBackend>>;

fn faulty() -> Faulty {
    Registry::new(FaultyBackend::new(MemoryBackend::new()))
}

fn refuse(registry: &Faulty, operation: Operation, failure: Failure) {
    registry.backend().fail_every(operation, 1, failure);
}

#[rstest]
fn a_failed_pageout_leaves_the_chunks_untouched(
    #[values(
        Failure::OutOfSpace,
        Failure::QuotaExceeded,
        Failure::OutOfMemory,
        Failure::Corrupt,
        Failure::Io,
        Failure::Backend
    )]
    failure: Failure,
) {
    let registry = faulty();
    refuse(&registry, Operation::PageOut, failure);
    let mut chunks = vec![words(1, 700), vec![], words(2, 3)];
    let before = chunks.clone();
    let places: Vec<*const u64> = chunks.iter().map(|chunk| chunk.as_ptr()).collect();
    let error = registry.pageout(&mut chunks).unwrap_err();
    assert!(failure.matches(&error), "{error:?} is not {failure:?}");
    assert_eq!(chunks, before);
    assert!(chunks.iter().map(|chunk| chunk.as_ptr()).eq(places));

    let mut bufs = [ChunkBuf::try_from(&words(3, 513)[..]).unwrap()];
    registry.pageout(&mut bufs).unwrap_err();
    assert_eq!(*bufs[0], words(3, 513));

    let stats = registry.stats();
    assert_eq!((stats.failed_pageouts, stats.pageouts), (2, 0));
    assert_eq!((stats.live_handles, stats.backend.logical_bytes), (0, 0));
}

#[rstest]
fn a_failed_read_leaves_the_destination_untouched(
    #[values(Failure::Corrupt, Failure::Io, Failure::Backend)] failure: Failure,
) {
    let registry = faulty();
    let handle = registry.pageout(&mut [words(1, 700)]).unwrap();
    refuse(&registry, Operation::Read, failure);
    let mut found = vec![5, 6];
    let error = handle.read_at(10, 600, &mut found).unwrap_err();
    assert!(failure.matches(&error), "{error:?} is not {failure:?}");
    assert_eq!(found, [5, 6]);
    let mut found = ChunkBuf::try_from(&[5, 6][..]).unwrap();
    handle.read_at_many(&[0..9, 3..4], &mut found).unwrap_err();
    assert_eq!(*found, [5, 6]);
    assert_eq!(registry.stats().failed_reads, 2);

    registry.backend().heal(Operation::Read);
    let mut found = vec![5, 6];
    handle.read_at(10, 600, &mut found).unwrap();
    assert_eq!(found[2..], words(1, 700)[10..610]);
}

#[test]
fn a_failed_take_gives_the_handle_back() {
    let registry = faulty();
    let mut handle = registry.pageout(&mut [words(1, 700)]).unwrap();
    let id = handle.id();
    refuse(&registry, Operation::Read, Failure::Io);
    for _ in 0..3 {
        let mut destination = vec![1, 2, 3];
        let failed = handle.take(&mut destination).unwrap_err();
        assert!(matches!(failed.error(), Error::Io { .. }));
        assert_eq!(destination, [], "the destination is empty");
        handle = failed.into_handle();
        assert_eq!((handle.id(), handle.len()), (id, 700));
        assert_eq!(registry.live_handles(), 1);
    }
    registry.backend().heal(Operation::Read);
    let mut destination = Vec::new();
    handle.take(&mut destination).unwrap();
    assert_eq!(destination, words(1, 700));
    assert_eq!(registry.live_handles(), 0);
}

#[test]
fn an_error_of_a_take_that_is_not_wanted_drops_the_payload() {
    fn take(registry: &Faulty) -> pager_core::Result<()> {
        let handle = registry.pageout(&mut [words(1, 9)])?;
        Ok(handle.take(&mut Vec::new())?)
    }
    let registry = faulty();
    refuse(&registry, Operation::Read, Failure::Io);
    assert!(matches!(take(&registry), Err(Error::Io { .. })));
    assert_eq!(registry.live_handles(), 0);
    assert_eq!(registry.stats().backend.logical_bytes, 0);
}

#[test]
fn the_nth_operation_fails_once_and_every_nth_again_and_again() {
    let registry = faulty();
    let backend = registry.backend();
    let outcomes = |count: usize| -> Vec<bool> {
        (0..count)
            .map(|_| registry.pageout(&mut [vec![1u64]]).is_ok())
            .collect()
    };
    assert_eq!(outcomes(1), [true]);
    backend.fail_nth(Operation::PageOut, 2, Failure::Io);
    assert_eq!(outcomes(4), [true, false, true, true]);
    backend.fail_every(Operation::PageOut, 3, Failure::OutOfSpace);
    let twice = [true, true, false, true, true, false];
    assert_eq!(outcomes(6), twice);
    backend.heal(Operation::PageOut);
    assert_eq!(outcomes(3), [true, true, true]);
    assert_eq!(backend.calls(Operation::PageOut), 14);
    assert_eq!(backend.failures(Operation::PageOut), 3);
    assert_eq!(backend.calls(Operation::Read), 0);
    backend.fail_nth(Operation::PageOut, 0, Failure::Io);
    assert_eq!(outcomes(2), [false, true]);
}

#[test]
fn a_detached_payload_is_not_read_and_so_does_not_fail() {
    let registry = Registry::new(FaultyBackend::new(KeepingBackend::new()));
    registry
        .backend()
        .fail_every(Operation::Read, 1, Failure::Io);
    let handle = registry.pageout(&mut [words(1, 9)]).unwrap();
    let mut destination = Vec::new();
    handle.take(&mut destination).unwrap();
    assert_eq!(destination, words(1, 9));
    assert_eq!(registry.backend().calls(Operation::Read), 0);
}

#[test]
fn a_closed_gate_holds_pageouts_and_lets_reads_pass() {
    let gate = Gate::new();
    let registry = Registry::new(GatedBackend::new(MemoryBackend::new(), &gate));
    let early = registry.pageout(&mut [words(1, 9)]).unwrap();
    let held = gate.hold(Operation::PageOut);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| drop(registry.pageout(&mut [words(2, 9)]).unwrap())))
            .collect();
        gate.await_waiting(Operation::PageOut, 3);
        let mut found = Vec::new();
        early.read_at(0, 9, &mut found).unwrap();
        assert_eq!(found, words(1, 9));

        gate.release_one(Operation::PageOut);
        gate.await_passed(Operation::PageOut, 2);
        assert_eq!(gate.waiting(Operation::PageOut), 2);
        drop(held);
        for writer in writers {
            writer.join().unwrap();
        }
    });
    assert_eq!(gate.waiting(Operation::PageOut), 0);
    assert_eq!(gate.passed(Operation::PageOut), 4);
    assert_eq!(registry.live_handles(), 1);
}

#[test]
fn a_release_ahead_of_time_lets_the_next_operation_pass() {
    let gate = Gate::new();
    let registry = Registry::new(GatedBackend::new(MemoryBackend::new(), &gate));
    gate.release_one(Operation::Read); // the gate is open: nothing to release
    let held = gate.hold(Operation::Read);
    let handle = registry.pageout(&mut [words(1, 9)]).unwrap();
    gate.release_one(Operation::Read);
    handle.read_at(0, 1, &mut Vec::new()).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| handle.read_at(0, 1, &mut Vec::new()).unwrap());
        gate.await_waiting(Operation::Read, 1);
        assert_eq!(gate.passed(Operation::Read), 1);
        gate.release_all(Operation::Read);
    });
    assert_eq!(gate.passed(Operation::Read), 2);
    drop(held);
    handle.take(&mut Vec::new()).unwrap();
}
