//! A medium that fails beneath a spill: nothing is lost, and nothing is read wrong.

use std::io::{BufRead, Read, Write};

use pager_core::{Registry, Residency, SpillReader};
use pager_testkit::{Failure, FaultyBackend, MemoryBackend, Operation};
use rstest::rstest;

use super::{MIB, bytes, read_all};

type Faulty = FaultyBackend<MemoryBackend>;

fn faulty(budget_bytes: usize) -> Registry<Faulty> {
    let residency = Residency::builder()
        .budget_bytes(budget_bytes)
        .io_threads(0)
        .build();
    Registry::with_residency(FaultyBackend::new(MemoryBackend::new()), &residency)
}

/// Reads everything, and goes on after errors; how many there were.
fn read_on(reader: &mut SpillReader<Faulty>) -> (Vec<u8>, usize) {
    let (mut read, mut failures) = (Vec::new(), 0);
    loop {
        match reader.fill_buf() {
            Ok([]) => return (read, failures),
            Ok(found) => {
                let count = found.len();
                read.extend_from_slice(found);
                reader.consume(count);
            }
            Err(_) => failures += 1,
        }
    }
}

#[rstest]
fn a_write_that_fails_loses_nothing_and_may_be_repeated(
    #[values(0, 512 << 10)] budget_bytes: usize,
    #[values(1, 2, 3)] every: u64,
) {
    let registry = faulty(budget_bytes);
    let (mut writer, spill) = registry.spill();
    let mut reader = spill.reader().unwrap();
    let written = bytes(1, 6 * MIB);
    registry
        .backend()
        .fail_every(Operation::PageOut, every, Failure::OutOfSpace);
    let (mut done, mut failures) = (0, 0);
    while done < written.len() {
        match writer.append(&written[done..(done + 50_000).min(written.len())]) {
            Ok(count) => done += count,
            Err(error) => {
                assert!(error.is_out_of_space(), "{error}");
                // What was published before can be read all the same.
                writer.publish();
                let seen = reader.fill_buf().unwrap();
                assert!(!seen.is_empty());
                failures += 1;
                if failures > 20 {
                    registry.backend().heal(Operation::PageOut);
                }
            }
        }
    }
    assert!(failures > 0);
    registry.backend().heal(Operation::PageOut);
    writer.finish().unwrap();
    assert!(read_all(&mut reader) == written);
    assert!(read_all(&mut spill.into_reader().unwrap()) == written);
    drop(reader);
    assert_eq!(registry.live_handles(), 0);
}

#[test]
fn a_last_segment_that_cannot_be_stored_is_read_from_where_it_was_written() {
    let registry = faulty(0);
    let (mut writer, spill) = registry.spill();
    writer.write_all(&bytes(1, 50_000)).unwrap();
    registry
        .backend()
        .fail_every(Operation::PageOut, 1, Failure::OutOfSpace);
    writer.finish().unwrap();
    assert_eq!(registry.live_handles(), 0);
    assert!(read_all(&mut spill.reader().unwrap()) == bytes(1, 50_000));
    assert_eq!(spill.len_bytes(), 50_000);
}

#[rstest]
fn a_read_that_fails_may_be_repeated(
    #[values(0, 512 << 10, 64 * MIB)] budget_bytes: usize,
    #[values(true, false)] is_last: bool,
    #[values(1, 2, 5)] nth: u64,
) {
    let registry = faulty(budget_bytes);
    let (mut writer, spill) = registry.spill();
    let written = bytes(1, 6 * MIB);
    writer.write_all(&written).unwrap();
    writer.finish().unwrap();
    registry.residency().flush().unwrap();
    registry
        .backend()
        .fail_nth(Operation::Read, nth, Failure::Io);
    let kept = (!is_last).then(|| spill.clone());
    let mut reader = spill.into_reader().unwrap();
    let (read, failures) = read_on(&mut reader);
    assert!(read == written);
    assert_eq!(failures, 1);
    drop((reader, kept));
    assert_eq!(registry.live_handles(), 0);
}

#[test]
fn frames_survive_reads_that_fail() {
    let registry = faulty(0);
    let (mut writer, spill) = registry.spill();
    for number in 0..300 {
        writer.write_frame(&bytes(number, 20_000)).unwrap();
    }
    writer.finish().unwrap();
    registry
        .backend()
        .fail_every(Operation::Read, 3, Failure::Io);
    let mut reader = spill.into_reader().unwrap();
    let mut failures = 0;
    for number in 0..300 {
        let frame = loop {
            match reader.next_frame() {
                Ok(frame) => break frame.unwrap().to_vec(),
                Err(_) => failures += 1,
            }
        };
        assert!(frame == bytes(number, 20_000), "frame {number}");
    }
    assert!(failures > 0);
    let mut rest = [0; 1];
    assert!(reader.next_frame().unwrap().is_none());
    assert!(reader.read(&mut rest).is_err(), "it was a spill of frames");
}
