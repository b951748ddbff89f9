//! Readers that are tasks, and frames that are kept.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use pager_core::{MemoryAccount, Registry, Residency, SpillReader, View};
use pager_testkit::{Gate, GatedBackend, MemoryBackend, Operation};

use super::{MIB, bytes, frame_now, under};

/// Wakes a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls until it is ready, and sleeps until it is woken in between.
pub(super) fn block_on<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let begun = Instant::now();
    loop {
        if let Poll::Ready(ready) = poll(&mut context) {
            return ready;
        }
        thread::park_timeout(Duration::from_secs(60));
        assert!(begun.elapsed() < Duration::from_secs(60), "never woken");
    }
}

type Gated = GatedBackend<MemoryBackend>;

fn next(reader: &mut SpillReader<Gated>) -> pager_core::Result<Option<View<u8>>> {
    block_on(|context| reader.poll_frame(context))
}

#[test]
fn a_task_leaves_its_worker_while_a_segment_is_read() {
    let gate = Gate::new();
    let registry = under(GatedBackend::new(MemoryBackend::new(), &gate), 64 * MIB);
    let (mut writer, spill) = registry.spill();
    for number in 0..100 {
        writer.write_frame(&bytes(number, 100_000)).unwrap();
    }
    writer.finish().unwrap();
    registry.residency().flush().unwrap();
    for is_last in [false, true] {
        let kept = (!is_last).then(|| spill.clone());
        let mut reader = match is_last {
            false => spill.reader().unwrap(),
            true => spill.clone().into_reader().unwrap(),
        };
        let held = gate.hold(Operation::Read);
        // The test would hang here if it waited for the backend.
        assert!(frame_now(&mut reader).is_pending());
        assert!(frame_now(&mut reader).is_pending());
        drop(held);
        for number in 0..100 {
            let frame = next(&mut reader).unwrap().unwrap();
            assert!(*frame == bytes(number, 100_000), "frame {number}");
        }
        assert!(next(&mut reader).unwrap().is_none());
        drop((reader, kept));
        registry.residency().flush().unwrap();
    }
    assert_eq!(registry.stats().residency.read_stalls, 0, "nobody waited");
}

#[test]
fn a_task_is_woken_by_the_writer() {
    let registry = under(GatedBackend::new(MemoryBackend::new(), &Gate::new()), MIB);
    let (mut writer, spill) = registry.spill();
    let mut reader = spill.into_reader().unwrap();
    assert!(frame_now(&mut reader).is_pending());
    thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..500 {
                writer.write_frame(&bytes(number, 7000)).unwrap();
                if number % 7 == 0 {
                    writer.publish();
                    thread::yield_now();
                }
            }
            writer.fail("on purpose");
        });
        // The last multiple of seven was published.
        for number in 0..498 {
            let frame = next(&mut reader).unwrap().unwrap();
            assert!(*frame == bytes(number, 7000), "frame {number}");
        }
        while let Ok(frame) = next(&mut reader) {
            assert!(frame.is_some(), "it did not finish");
        }
    });
}

#[test]
fn a_task_that_is_gone_is_woken_no_more() {
    let registry = under(GatedBackend::new(MemoryBackend::new(), &Gate::new()), MIB);
    let (mut writer, spill) = registry.spill();
    let mut gone = spill.reader().unwrap();
    let waker = Arc::new(Unpark(thread::current()));
    let task = Waker::from(Arc::clone(&waker));
    let polled = gone.poll_frame(&mut Context::from_waker(&task));
    assert!(polled.is_pending());
    drop((gone, task));
    assert_eq!(Arc::strong_count(&waker), 1);
    writer.write_frame(b"frame").unwrap();
    writer.publish();
    let frame = frame_now(&mut spill.reader().unwrap());
    assert!(matches!(frame, Poll::Ready(Ok(Some(frame))) if *frame == *b"frame"));
}

#[test]
fn frames_that_are_kept_outlive_everything() {
    for budget_bytes in [0, 4 * MIB, 64 * MIB] {
        let residency = Residency::builder().budget_bytes(budget_bytes).build();
        let registry = Registry::with_residency(MemoryBackend::new(), &residency);
        let (mut writer, spill) = registry.spill();
        let mut early = spill.reader().unwrap();
        let mut frames = Vec::new();
        for number in 0..40 {
            writer.write_frame(&bytes(number, 70_000)).unwrap();
            if number == 2 {
                // From where it is being written.
                writer.publish();
                frames.push((0, early.next_frame_view().unwrap().unwrap()));
            }
        }
        writer.finish().unwrap();
        let mut last = spill.into_reader().unwrap();
        for number in 0..40 {
            let frame = last.next_frame_view().unwrap().unwrap();
            assert!(frame.as_ptr().addr().is_multiple_of(64));
            if number % 5 == 0 {
                frames.push((number, frame.clone()));
            }
        }
        frames.push((1, early.next_frame_view().unwrap().unwrap()));
        assert!(last.next_frame_view().unwrap().is_none());
        drop((early, last));
        assert_eq!(registry.live_handles(), 0);
        residency.flush().unwrap();
        residency.shutdown().unwrap();
        drop(registry);
        let kept_bytes: u64 = frames.iter().map(|(_, frame)| frame.len() as u64).sum();
        let stats = residency.stats();
        assert!(stats.held_bytes >= kept_bytes, "what is kept is counted");
        for (number, frame) in &frames {
            assert!(**frame == bytes(*number, 70_000), "frame {number}");
        }
        let elsewhere = thread::spawn(move || drop(frames));
        elsewhere.join().unwrap();
        let stats = residency.stats();
        assert_eq!((stats.spill_bytes, stats.resident_bytes), (0, 0));
    }
}

#[cfg(feature = "bytes")]
#[test]
fn a_frame_becomes_bytes_without_a_copy() {
    let registry = under(MemoryBackend::new(), MIB);
    let (mut writer, spill) = registry.spill();
    writer.write_frame(b"a frame").unwrap();
    drop(writer);
    let mut reader = spill.into_reader().unwrap();
    let frame = reader.next_frame_view().unwrap().unwrap();
    let place = frame.as_ptr();
    let bytes = bytes::Bytes::from(frame);
    drop((reader, registry));
    assert_eq!((&bytes[..], bytes.as_ptr()), (&b"a frame"[..], place));
}

#[cfg(feature = "arrow")]
#[test]
fn a_frame_becomes_an_arrow_buffer_without_a_copy() {
    let registry = under(MemoryBackend::new(), MIB);
    let (mut writer, spill) = registry.spill();
    let message = bytes(4, 50_000);
    writer.write_frame(&message).unwrap();
    drop(writer);
    let mut reader = spill.into_reader().unwrap();
    let frame = reader.next_frame_view().unwrap().unwrap();
    let place = frame.as_ptr();
    let buffer = arrow_buffer::Buffer::from(frame);
    drop((reader, registry));
    assert!(buffer.as_slice() == message && buffer.as_ptr() == place);
    assert!(place.addr().is_multiple_of(64));
}

/// Lends so many bytes.
struct Account(AtomicUsize);

impl MemoryAccount for Account {
    fn try_grow(&self, bytes: usize) -> Result<(), Box<dyn Error + Send + Sync>> {
        let less = |left: usize| left.checked_sub(bytes);
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        taken
            .map(drop)
            .map_err(|left| format!("{left} bytes are left").into())
    }

    fn shrink(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[test]
fn a_task_that_keeps_more_than_there_is_room_for_waits_for_nobody() {
    let account = Arc::new(Account(AtomicUsize::new(64 * MIB)));
    let residency = Residency::builder().budget_bytes(64 * MIB);
    let residency = residency.account(Arc::clone(&account)).build();
    let registry = Registry::with_residency(MemoryBackend::default(), &residency);
    let (mut writer, spill) = registry.spill();
    let frames: Vec<Vec<u8>> = (0..8).map(|seed| bytes(seed, 128 << 10)).collect();
    for frame in frames.iter().cycle().take(320) {
        writer.write_frame(frame).unwrap();
    }
    writer.finish().unwrap();
    // Others want their memory back.
    residency.reclaim_bytes(56 * MIB).unwrap();
    let left = account.0.fetch_sub(56 * MIB, Ordering::Relaxed);
    assert!(left >= 56 * MIB);

    let mut reader = spill.reader().unwrap();
    let (mut kept, mut longest) = (Vec::new(), Duration::ZERO);
    let mut poll = |context: &mut Context<'_>| {
        let begun = Instant::now();
        let polled = reader.poll_frame(context);
        longest = longest.max(begun.elapsed());
        polled
    };
    while let Some(frame) = block_on(&mut poll).unwrap() {
        kept.push(frame);
    }
    // Room would be looked for in vain, for a second.
    assert!(longest < Duration::from_millis(900), "{longest:?}");
    assert_eq!(registry.stats().failed_reads, 0, "asking is not failing");
    assert_eq!(kept.len(), 320);
    for (frame, expected) in kept.iter().zip(frames.iter().cycle()) {
        assert!(**frame == **expected);
    }
}
