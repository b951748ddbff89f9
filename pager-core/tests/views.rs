//! Views: what they hold, what they outlive, what does not fit; and waiting for a fetch
//! without a thread.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are tests, which clippy does not see"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use pager_core::{Backend, ChunkBuf, Error, Registry, Residency, Shared, View};
use pager_testkit::{Failure, FaultyBackend, KeepingBackend, MemoryBackend, Operation};

const LEN: usize = 10_000;
const BYTES: usize = LEN * 8;

fn under<B: Backend>(backend: B, budget_bytes: usize, io_threads: usize) -> Registry<B> {
    let residency = Residency::builder()
        .budget_bytes(budget_bytes)
        .io_threads(io_threads)
        .build();
    Registry::with_residency(backend, &residency)
}

fn column(seed: u64) -> Vec<u64> {
    pager_testkit::content::words(seed, LEN)
}

fn is_a_view<T: Clone + Send + Sync + 'static + std::ops::Deref<Target = [u64]>>(_: &T) {}

#[test]
fn a_view_of_what_is_in_memory_is_no_copy() {
    let registry = under(MemoryBackend::new(), 1 << 20, 0);
    let column = column(1);
    let place = column.as_ptr();
    let handle = registry.pageout(&mut [column.clone(), column]).unwrap();
    let view = handle.view(LEN..2 * LEN).unwrap();
    is_a_view(&view);
    assert_eq!(view.as_ptr(), place);
    assert_eq!(handle.view(LEN + 7..LEN + 9).unwrap()[0], view[7]);
    let across = handle.view(LEN - 1..LEN + 1).unwrap();
    assert_eq!(*across, [view[LEN - 1], view[0]], "across chunks: a copy");
    assert_eq!(*handle.view(5..5).unwrap(), []);
    assert!(matches!(
        handle.view(0..2 * LEN + 1),
        Err(Error::OutOfBounds { .. })
    ));
    assert_eq!(registry.stats().failed_reads, 1);
}

/// What a view shows does not change, whatever happens to the payload.
fn outlives<B: Backend>(registry: Registry<B>, chunk: impl Fn() -> ChunkBuf) {
    let expected = column(2);
    let check = |views: &[View]| {
        assert!(views.iter().all(|view| **view == expected[100..]));
    };
    // Dropped.
    let handle = registry.pageout(&mut [chunk()]).unwrap();
    let view = handle.view(100..LEN).unwrap();
    drop(handle);
    check(&[view.clone(), view]);
    // Taken: the caller's copy is another, which may change.
    let handle = registry.pageout(&mut [chunk()]).unwrap();
    let view = handle.view(100..LEN).unwrap();
    let mut taken = ChunkBuf::new();
    handle.take(&mut taken).unwrap();
    assert!(*taken == *expected);
    taken.fill(0);
    check(&[view]);
    // Flushed: it leaves when the view has gone.
    let handle = registry.pageout(&mut [chunk()]).unwrap();
    let view = handle.view(100..LEN).unwrap();
    registry.residency().flush().unwrap();
    check(std::slice::from_ref(&view));
    assert!(registry.stats().residency.resident_bytes >= BYTES as u64);
    drop(view);
    registry.residency().flush().unwrap();
    assert_eq!(registry.stats().residency.resident_bytes, 0);
    // Read back, and evicted.
    let view = handle.view(100..LEN).unwrap();
    let again = handle.view(100..LEN).unwrap();
    assert_eq!(
        view.as_ptr(),
        again.as_ptr(),
        "it was left there for others"
    );
    drop(again);
    for seed in 3..40 {
        drop(registry.pageout(&mut [column(seed)]).unwrap());
        let _kept = registry.pageout(&mut [column(seed)]).unwrap();
    }
    check(std::slice::from_ref(&view));
    // Shut down.
    let whole = handle.view(0..LEN);
    registry.residency().shutdown().unwrap();
    check(&[view]);
    drop((handle, registry));
    assert!(whole.is_ok_and(|view| *view == *expected));
}

#[test]
fn views_outlive_everything() {
    let chunk = || ChunkBuf::try_from(&column(2)[..]).unwrap();
    outlives(under(MemoryBackend::new(), 1 << 20, 0), chunk);
    outlives(under(MemoryBackend::new(), 1 << 20, 2), chunk);
    outlives(under(KeepingBackend::new(), 1 << 20, 1), chunk);
}

#[test]
#[cfg_attr(miri, ignore = "waits by the clock")]
fn what_does_not_fit_beside_other_views_is_an_error_and_nobody_waits_for_ever() {
    for io_threads in [0, 1] {
        let registry = under(MemoryBackend::new(), 1 << 20, io_threads);
        let handles: Vec<_> = (0..30)
            .map(|seed| registry.pageout(&mut [column(seed)]).unwrap())
            .collect();
        let mut views = Vec::new();
        let error = handles
            .iter()
            .find_map(|handle| handle.view(0..LEN).map(|view| views.push(view)).err())
            .unwrap();
        assert!(matches!(error, Error::NoRoom { .. }), "{error}");
        assert!(!error.is_permanent());
        assert!(views.len() >= 7, "{} views fit", views.len());
        // Page-outs, reads and takes go on beside them.
        let begun = Instant::now();
        for seed in 30..40 {
            let handle = registry.pageout(&mut [column(seed)]).unwrap();
            let mut found = Vec::new();
            handle.read_at(0, LEN, &mut found).unwrap();
            assert!(found == column(seed));
        }
        registry.residency().flush().unwrap();
        registry.residency().set_budget_bytes(100 << 10).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody waits");
        for (view, seed) in views.iter().zip(0..) {
            assert!(**view == *column(seed));
        }
        views.clear();
        registry.residency().set_budget_bytes(1 << 20).unwrap();
        assert!(handles[29].view(0..LEN).is_ok());
    }
    let nowhere = under(MemoryBackend::new(), 0, 0);
    let handle = nowhere.pageout(&mut [column(1)]).unwrap();
    let error = handle.view(0..1).unwrap_err();
    assert!(matches!(error, Error::NoRoom { .. }));
    assert!(error.is_permanent(), "there is no budget");
}

#[test]
fn a_view_that_cannot_be_read_is_the_backends_error() {
    let registry = under(FaultyBackend::new(MemoryBackend::new()), 1 << 20, 0);
    let handle = registry.pageout(&mut [column(1)]).unwrap();
    registry.residency().flush().unwrap();
    registry
        .backend()
        .fail_nth(Operation::Read, 1, Failure::Corrupt);
    assert!(matches!(handle.view(0..9), Err(Error::Corrupt { .. })));
    assert_eq!(registry.stats().residency.resident_bytes, 0);
    assert!(*handle.view(0..9).unwrap() == column(1)[..9]);
}

#[test]
fn an_element_that_would_not_be_aligned_is_copied() {
    let registry = under(MemoryBackend::new(), 1 << 20, 0);
    let owner: Arc<[u8]> = (0..=255u8).collect();
    for cut in 0..8 {
        let shared = bytes_from(&owner, cut);
        let handle = registry.pageout(&mut [shared]).unwrap();
        let words = handle.cast::<u64>().unwrap();
        let view = words.view(0..words.len()).unwrap();
        assert_eq!(view[0].to_ne_bytes(), owner[cut..cut + 8]);
    }
}

struct Part(Arc<[u8]>, usize);

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.0[self.1..self.1 + 64]
    }
}

fn bytes_from(owner: &Arc<[u8]>, start: usize) -> Shared<Part> {
    Shared::new(Part(Arc::clone(owner), start))
}

#[test]
fn threads_view_one_handle_at_once() {
    let registry = under(MemoryBackend::new(), 1 << 20, 1);
    let handle = registry.pageout(&mut [column(1)]).unwrap();
    thread::scope(|scope| {
        for thread in 0..4 {
            let (handle, registry) = (&handle, &registry);
            scope.spawn(move || {
                for round in 0..200 {
                    let start = (thread * 977 + round * 13) % LEN;
                    let view = handle.view(start..LEN).unwrap();
                    assert_eq!(view[0], pager_testkit::content::word(1, start));
                    if round % 50 == 0 {
                        registry.residency().flush().unwrap();
                    }
                }
            });
        }
    });
    registry.residency().flush().unwrap();
    assert_eq!(registry.stats().residency.resident_bytes, 0);
}

/// Counts how often it was woken.
#[derive(Default)]
struct Counted(AtomicUsize);

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls until it is ready, and sleeps until it is woken in between.
fn await_fetch<B: Backend>(handle: &pager_core::Handle<B>) {
    let counted = Arc::new(Counted::default());
    let waker = Waker::from(Arc::clone(&counted));
    let mut context = Context::from_waker(&waker);
    let begun = Instant::now();
    let mut seen = 0;
    while handle.poll_fetch(&mut context) == Poll::Pending {
        while counted.0.load(Ordering::SeqCst) == seen {
            assert!(begun.elapsed() < Duration::from_secs(20), "never woken");
            thread::yield_now();
        }
        seen = counted.0.load(Ordering::SeqCst);
    }
}

#[test]
#[cfg_attr(miri, ignore = "waits by the clock")]
fn a_task_is_woken_when_its_fetch_is_over() {
    let registry = under(FaultyBackend::new(MemoryBackend::new()), 1 << 20, 1);
    let handle = registry.pageout(&mut [column(1)]).unwrap();
    assert!(handle.is_resident(0..LEN) && handle.is_resident(0..usize::MAX));
    await_fetch(&handle);
    registry.residency().flush().unwrap();
    assert!(!handle.is_resident(0..1));
    assert!(handle.is_resident(7..7), "nothing has to be read");
    await_fetch(&handle);
    assert!(handle.is_resident(0..LEN), "it has come");
    // One that fails is over as well: the read says why.
    registry.residency().flush().unwrap();
    registry
        .backend()
        .fail_nth(Operation::Read, 1, Failure::Corrupt);
    let counted = Arc::new(Counted::default());
    let waker = Waker::from(Arc::clone(&counted));
    let first = handle.poll_fetch(&mut Context::from_waker(&waker));
    let begun = Instant::now();
    while first.is_pending() && counted.0.load(Ordering::SeqCst) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "never woken");
        thread::yield_now();
    }
    assert!(!handle.is_resident(0..LEN));
    // Nobody will bring it: a read is next.
    let nowhere = under(MemoryBackend::new(), 0, 0);
    let handle = nowhere.pageout(&mut [column(1)]).unwrap();
    await_fetch(&handle);
    assert!(!handle.is_resident(0..LEN));
}

#[test]
#[cfg_attr(miri, ignore = "waits by the clock")]
fn a_fetch_without_room_is_not_waited_for() {
    let registry = under(MemoryBackend::new(), 1 << 20, 1);
    let stored = registry.pageout(&mut [column(1)]).unwrap();
    registry.residency().flush().unwrap();
    let handles: Vec<_> = (2..11)
        .map(|seed| registry.pageout(&mut [column(seed)]).unwrap())
        .collect();
    let views: Vec<_> = handles
        .iter()
        .filter_map(|handle| handle.view(0..LEN).ok())
        .collect();
    // Also if it was asked for before, and behind another.
    let other = registry.pageout(&mut [column(20)]).unwrap();
    stored.prefetch();
    thread::sleep(Duration::from_millis(20));
    await_fetch(&stored);
    await_fetch(&stored);
    drop(other);
    let mut found = Vec::new();
    stored.read_at(0, LEN, &mut found).unwrap();
    assert!(found == column(1));
    drop(views);
}

#[test]
fn a_hint_prefetches_what_somebody_else_will_take() {
    let registry = under(MemoryBackend::new(), 1 << 20, 1);
    let handle = registry.pageout(&mut [column(1)]).unwrap();
    let hint = handle.hint();
    registry.residency().flush().unwrap();
    hint.clone().prefetch();
    let begun = Instant::now();
    while !handle.is_resident(0..LEN) {
        assert!(begun.elapsed() < Duration::from_secs(20), "it never comes");
        thread::yield_now();
    }
    let mut found = Vec::new();
    handle.take(&mut found).unwrap();
    assert!(found == column(1));
    assert_eq!(registry.stats().residency.prefetch_hits, 1);
    hint.prefetch();
    assert_eq!(registry.live_handles(), 0);
}
