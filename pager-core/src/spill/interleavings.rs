//! Interleavings of a spill's writer and its readers. Segments are small here, so that a
//! few frames seal some; there are too many schedules to visit, so they are drawn.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use shuttle::thread;

use super::{SpillReader, SpillWriter};
use crate::payload::interleavings::{Yielding, draw};
use crate::{Error, Registry, Residency};

/// Two to a segment.
const FRAME_BYTES: usize = 1500;

fn registry(budget_bytes: usize) -> Registry<Yielding> {
    let residency = Residency::builder()
        .budget_bytes(budget_bytes)
        .io_threads(0)
        .build();
    Registry::with_residency(Yielding::default(), &residency)
}

fn frame(number: u8) -> Vec<u8> {
    vec![number; FRAME_BYTES + usize::from(number)]
}

fn write(mut writer: SpillWriter<Yielding>, count: u8) {
    for number in 0..count {
        writer.write_frame(&frame(number)).expect("there is room");
        if number % 2 == 0 {
            writer.publish();
        }
    }
}

fn read(mut reader: SpillReader<Yielding>, count: u8) {
    for number in 0..count {
        let found = reader.next_frame().expect("it can be read");
        assert_eq!(found, Some(&*frame(number)));
    }
    assert_eq!(reader.next_frame().expect("it ends"), None);
}

/// A writer, a reader beside it, and the last reader, at once; nothing is left.
fn race(budget_bytes: usize) {
    draw(move || {
        let registry = registry(budget_bytes);
        let (writer, spill) = registry.spill();
        let early = spill.reader().expect("it is our own");
        let writing = thread::spawn(move || write(writer, 6));
        let reading = thread::spawn(move || read(early, 6));
        read(spill.into_reader().expect("it is our own"), 6);
        writing.join().expect("no panic");
        reading.join().expect("no panic");
        assert_eq!(registry.live_handles(), 0);
        let stats = registry.residency().stats();
        assert_eq!((stats.spill_bytes, stats.resident_bytes), (0, 0));
    });
}

#[test]
fn readers_race_a_writer_whose_segments_are_stored_at_once() {
    race(0);
}

#[test]
fn readers_race_a_writer_whose_segments_stay_in_memory() {
    race(1 << 20);
}

#[test]
fn readers_that_go_race_a_writer_and_leave_nothing() {
    draw(|| {
        let registry = registry(1 << 20);
        let (mut writer, spill) = registry.spill();
        let mut early = spill.reader().expect("it is our own");
        let reading = thread::spawn(move || {
            let mut context = Context::from_waker(Waker::noop());
            if let Poll::Ready(found) = early.poll_frame(&mut context) {
                let found = found.expect("it can be read").expect("it goes on");
                assert_eq!(*found, frame(0));
            }
        });
        let closing = thread::spawn(move || drop(spill));
        for number in 0..6 {
            match writer.write_frame(&frame(number)) {
                Ok(()) => writer.publish(),
                Err(error) => assert!(matches!(error, Error::NoReader), "{error}"),
            }
        }
        reading.join().expect("no panic");
        closing.join().expect("no panic");
        drop(writer);
        assert_eq!(registry.live_handles(), 0);
        let stats = registry.residency().stats();
        assert_eq!((stats.spill_bytes, stats.resident_bytes), (0, 0));
    });
}

#[test]
fn a_reader_that_waits_learns_that_the_writer_failed() {
    draw(|| {
        let registry = registry(1 << 20);
        let (mut writer, spill) = registry.spill();
        let mut reader = spill.into_reader().expect("it is our own");
        let failing = thread::spawn(move || {
            writer.write_frame(&frame(0)).expect("there is room");
            writer.publish();
            writer.write_frame(&frame(1)).expect("there is room");
            writer.fail("on purpose");
        });
        let found = reader.next_frame().expect("it was published");
        assert_eq!(found, Some(&*frame(0)));
        let error = reader.next_frame().expect_err("it was not");
        assert!(matches!(error, Error::WriterFailed { reason } if reason == "on purpose"));
        failing.join().expect("no panic");
    });
}

#[test]
fn flushes_race_the_writer_and_its_last_reader() {
    draw(|| {
        let registry = registry(1 << 20);
        let residency = Arc::new(registry.residency().clone());
        let (writer, spill) = registry.spill();
        let reader = spill.into_reader().expect("it is our own");
        let writing = thread::spawn(move || write(writer, 6));
        let flushing = thread::spawn(move || {
            residency.write_one();
            residency.drop_one();
            residency.write_one();
        });
        read(reader, 6);
        writing.join().expect("no panic");
        flushing.join().expect("no panic");
        assert_eq!(registry.live_handles(), 0);
    });
}
