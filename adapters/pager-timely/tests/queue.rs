//! One queue of the engine, its policies, and a pager: every byte once, in order, unchanged,
//! whatever the budget is and whoever is faster.

#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pager::{BackendKind, Pager, PagerBuilder};
use pager_timely::{Settings, Spill};
use tempfile::TempDir;
use timely::bytes::arc::Bytes;
use timely::communication::allocator::zero_copy::bytes_exchange::{
    BytesPull, MergeQueue, SendEndpoint,
};
use timely::communication::allocator::zero_copy::bytes_slab::BytesRefill;
use timely::communication::buzzer::Buzzer;

type Endpoint = SendEndpoint<MergeQueue>;

fn scratch() -> TempDir {
    tempfile::tempdir_in("/var/tmp").unwrap()
}

fn pager(scratch: &TempDir, more: impl FnOnce(PagerBuilder) -> PagerBuilder) -> Arc<Pager> {
    let builder = Pager::builder().backend(BackendKind::File);
    let builder = more(builder.budget_bytes(8 << 20));
    Arc::new(builder.scratch_dir(scratch.path()).build().unwrap())
}

fn small() -> Settings {
    Settings::default()
        .threshold_bytes(256 << 10)
        .head_bytes(64 << 10)
        .batch_bytes(128 << 10)
        .ahead_bytes(1 << 20)
}

/// A queue as the engine makes it: what is written to, and what is read by this thread.
fn queue(spill: &Spill) -> (Endpoint, MergeQueue) {
    let (writer, refill, reader) = ends(spill);
    (SendEndpoint::new(writer, refill), reader)
}

/// The same before it is known which thread writes.
fn ends(spill: &Spill) -> (MergeQueue, BytesRefill, MergeQueue) {
    let hooks = spill.hooks();
    let (writer, reader) = hooks.spill.expect("it was installed")();
    let (writer, reader) = MergeQueue::new_pair(Buzzer::default(), Some(writer), Some(reader));
    (writer, hooks.refill, reader)
}

/// Message number `index`: its number in each word, 8 to some 30 thousand bytes.
fn message(index: u64) -> Vec<u8> {
    let words = 1 + (index * 7919) % 4001;
    let word = index.to_le_bytes();
    word.repeat(usize::try_from(words).unwrap())
}

fn send(endpoint: &mut Endpoint, index: u64) {
    let message = message(index);
    endpoint.reserve(message.len())[..message.len()].copy_from_slice(&message);
    endpoint.make_valid(message.len());
}

/// Reads messages, which lie one behind the other in whatever pieces the queue has.
#[derive(Default)]
struct Check {
    next: u64,
    rest: Vec<u8>,
}

impl Check {
    fn see(&mut self, pieces: &[Bytes]) {
        // Who has to wait finds an entry without bytes.
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            assert!(self.rest.is_empty(), "a message was cut");
            assert_eq!(piece.as_ptr().addr() % 8, 0, "messages lie as they did");
            self.rest.extend_from_slice(piece);
            let mut seen = 0;
            while seen < self.rest.len() {
                let wanted = message(self.next);
                assert_eq!(
                    self.rest[seen..seen + wanted.len()],
                    wanted,
                    "{}",
                    self.next
                );
                seen += wanted.len();
                self.next += 1;
            }
            self.rest.clear();
        }
    }

    /// Drains until `count` messages have come.
    fn drain(&mut self, reader: &mut MergeQueue, count: u64, pause: Duration) {
        let begun = Instant::now();
        let mut pieces = Vec::new();
        while self.next < count {
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing comes");
            reader.drain_into(&mut pieces);
            self.see(&pieces);
            if pieces.iter().all(|piece| piece.is_empty()) {
                // As a worker does that has nothing to do.
                thread::park();
            }
            pieces.clear();
            if !pause.is_zero() {
                thread::sleep(pause);
            }
        }
        assert_eq!(self.next, count, "no more than was sent");
    }
}

const COUNT: u64 = 2000;

#[test]
fn a_queue_that_was_filled_first_comes_back_in_order_and_unchanged() {
    let scratch = scratch();
    for budget in [0, 1 << 20, 4 << 20, 256 << 20] {
        let pager = pager(&scratch, |builder| builder.budget_bytes(budget));
        let spill = Spill::new(Arc::clone(&pager), small());
        let (mut endpoint, mut reader) = queue(&spill);
        (0..COUNT).for_each(|index| send(&mut endpoint, index));
        let stats = spill.stats();
        assert!(stats.spilled_bytes > 24 << 20, "{budget}: {stats:?}");
        Check::default().drain(&mut reader, COUNT, Duration::ZERO);
        assert_eq!(spill.stats().returned_bytes, stats.spilled_bytes);
        assert_eq!(pager.stats().total.live_handles, 0, "{budget}");
        assert_eq!(spill.stats().read_failures, 0);
    }
}

#[test]
fn a_reader_beside_the_writer_reads_what_was_written() {
    let scratch = scratch();
    for (budget, pause) in [(0, 0), (0, 1), (2 << 20, 0), (2 << 20, 1), (64 << 20, 1)] {
        let pager = pager(&scratch, |builder| builder.budget_bytes(budget));
        let spill = Spill::new(Arc::clone(&pager), small());
        let (writer, refill, mut reader) = ends(&spill);
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut endpoint = SendEndpoint::new(writer, refill);
                (0..COUNT).for_each(|index| send(&mut endpoint, index));
            });
            let pause = Duration::from_millis(pause);
            Check::default().drain(&mut reader, COUNT, pause);
        });
        assert!(reader.is_complete());
        assert_eq!(pager.stats().total.live_handles, 0, "{budget}");
    }
}

#[test]
fn below_the_threshold_nothing_is_spilled() {
    let scratch = scratch();
    let spill = Spill::new(pager(&scratch, |it| it), Settings::default());
    let (mut endpoint, mut reader) = queue(&spill);
    (0..200).for_each(|index| send(&mut endpoint, index));
    assert_eq!(spill.stats(), pager_timely::SpillStats::default());
    Check::default().drain(&mut reader, 200, Duration::ZERO);
}

#[test]
fn memory_stays_within_the_thresholds_and_the_budget() {
    let scratch = scratch();
    let pager = pager(&scratch, |builder| builder.budget_bytes(8 << 20));
    let spill = Spill::new(Arc::clone(&pager), small());
    let made = Arc::new(AtomicUsize::new(0));
    let mut hooks = timely::communication::Hooks::default();
    hooks.refill.logic = {
        let made = Arc::clone(&made);
        Arc::new(move |bytes| {
            made.fetch_add(bytes, Ordering::Relaxed);
            Box::new(Counted(vec![0; bytes], Arc::clone(&made)))
        })
    };
    spill.install(&mut hooks);
    let (writer, reader) = hooks.spill.expect("it was installed")();
    let (writer, mut reader) = MergeQueue::new_pair(Buzzer::default(), Some(writer), Some(reader));
    let mut endpoint = SendEndpoint::new(writer, hooks.refill);
    let mut most = 0;
    for index in 0..4 * COUNT {
        send(&mut endpoint, index);
        most = most.max(made.load(Ordering::Relaxed));
    }
    assert!(most <= 8 << 20, "{most} bytes of the engine's buffers");
    // Its own promise: the budget, and 8 MiB.
    let residency = pager.stats().residency;
    assert!(residency.peak_held_bytes <= 16 << 20, "{residency:?}");
    Check::default().drain(&mut reader, 4 * COUNT, Duration::ZERO);
}

/// A buffer of the engine, counted for as long as it is there.
struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl std::ops::Deref for Counted {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl std::ops::DerefMut for Counted {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(self.0.len(), Ordering::Relaxed);
    }
}

#[test]
fn a_full_quota_leaves_the_queue_in_memory_and_is_told() {
    let scratch = scratch();
    let told = Arc::new(AtomicUsize::new(0));
    let settings = small().on_failure({
        let told = Arc::clone(&told);
        move |error| {
            assert!(
                matches!(error, pager::Error::QuotaExceeded { .. }),
                "{error}"
            );
            told.fetch_add(1, Ordering::Relaxed);
        }
    });
    let pager = pager(&scratch, |it| it.budget_bytes(1 << 20).quota_bytes(2 << 20));
    let spill = Spill::new(Arc::clone(&pager), settings);
    let (mut endpoint, mut reader) = queue(&spill);
    (0..COUNT).for_each(|index| send(&mut endpoint, index));
    let stats = spill.stats();
    assert!(
        stats.write_failures > 0 && stats.spilled_bytes > 0,
        "{stats:?}"
    );
    assert_eq!(stats.write_failures, told.load(Ordering::Relaxed) as u64);
    let mut check = Check::default();
    check.drain(&mut reader, COUNT, Duration::ZERO);
    // What was read has made room again.
    let spilled_before = spill.stats().spilled_bytes;
    for index in COUNT..2 * COUNT {
        send(&mut endpoint, index);
    }
    assert!(spill.stats().spilled_bytes > spilled_before);
    check.drain(&mut reader, 2 * COUNT, Duration::ZERO);
}

#[test]
fn whoever_is_dropped_first_leaves_no_payload_behind() {
    let scratch = scratch();
    let pager = pager(&scratch, |builder| builder.budget_bytes(1 << 20));
    let spill = Spill::new(Arc::clone(&pager), small());
    for read in [0, 500] {
        for is_writer_first in [true, false] {
            let (mut endpoint, mut reader) = queue(&spill);
            (0..COUNT).for_each(|index| send(&mut endpoint, index));
            let mut pieces = Vec::new();
            let mut check = Check::default();
            while check.next < read {
                reader.drain_into(&mut pieces);
                check.see(&pieces);
                pieces.clear();
                thread::park_timeout(Duration::from_millis(1));
            }
            if is_writer_first {
                drop(endpoint);
                drop(reader);
            } else {
                drop(reader);
                drop(endpoint);
            }
            let begun = Instant::now();
            while pager.stats().total.live_handles > 0 {
                assert!(
                    begun.elapsed() < Duration::from_secs(20),
                    "a payload is left"
                );
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

#[test]
fn a_message_larger_than_a_batch_is_one() {
    let scratch = scratch();
    let pager = pager(&scratch, |builder| builder.budget_bytes(4 << 20));
    let spill = Spill::new(pager, small());
    let (mut endpoint, mut reader) = queue(&spill);
    let large: Vec<Vec<u8>> = (0..8u8).map(|byte| vec![byte; 6 << 20]).collect();
    for message in &large {
        endpoint.reserve(message.len())[..message.len()].copy_from_slice(message);
        endpoint.make_valid(message.len());
    }
    let mut pieces: Vec<Bytes> = Vec::new();
    let begun = Instant::now();
    while pieces.iter().map(|piece| piece.len()).sum::<usize>() < 8 * (6 << 20) {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing comes");
        reader.drain_into(&mut pieces);
        thread::park_timeout(Duration::from_millis(1));
    }
    pieces.retain(|piece| !piece.is_empty());
    assert!(
        pieces
            .iter()
            .zip(&large)
            .all(|(piece, sent)| piece[..] == sent[..])
    );
}

#[test]
fn a_consumer_that_waits_parks_and_is_woken() {
    let scratch = scratch();
    let pager = pager(&scratch, |builder| builder.budget_bytes(1 << 20));
    let spill = Spill::new(pager, small());
    let (mut endpoint, mut reader) = queue(&spill);
    (0..COUNT).for_each(|index| send(&mut endpoint, index));
    let mut check = Check::default();
    let (mut pieces, mut polls) = (Vec::new(), 0);
    while check.next < COUNT {
        reader.drain_into(&mut pieces);
        polls += 1;
        check.see(&pieces);
        if pieces.iter().all(|piece| piece.is_empty()) {
            thread::park();
        }
        pieces.clear();
    }
    let batches = spill.stats().batches;
    assert!(polls <= 4 * batches, "{polls} polls for {batches} batches");
}
