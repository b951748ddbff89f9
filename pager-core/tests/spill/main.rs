//! Spills: what is written comes back in order, to every reader, whatever happens beneath.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faults;
mod model;
mod tasks;
mod threads;

use std::io::{BufRead, Read, Write};
use std::task::{Context, Poll, Waker};

use pager_core::{
    Backend, Error, Group, Registry, Residency, Result, Spill, SpillReader, SpillWriter, View,
};
use pager_testkit::{KeepingBackend, MemoryBackend};
use rstest::rstest;

const MIB: usize = 1 << 20;

fn under<B: Backend>(backend: B, budget_bytes: usize) -> Registry<B> {
    let residency = Residency::builder().budget_bytes(budget_bytes).build();
    Registry::with_residency(backend, &residency)
}

/// Bytes that differ for every seed and position.
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let words = pager_testkit::content::words(seed, len.div_ceil(8));
    let mut bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
    bytes.truncate(len);
    bytes
}

fn read_all<B: Backend>(reader: &mut SpillReader<B>) -> Vec<u8> {
    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    read
}

/// The next bytes, if they are there.
fn bytes_now<B: Backend>(reader: &mut SpillReader<B>) -> Poll<Result<&[u8]>> {
    reader.poll_bytes(&mut Context::from_waker(Waker::noop()))
}

/// The next frame, if it is there.
fn frame_now<B: Backend>(reader: &mut SpillReader<B>) -> Poll<Result<Option<View<u8>>>> {
    reader.poll_frame(&mut Context::from_waker(Waker::noop()))
}

/// Writes everything in pieces of this size, and finishes.
fn write_all<B: Backend>(mut writer: SpillWriter<B>, bytes: &[u8], step: usize) {
    for piece in bytes.chunks(step) {
        writer.write_all(piece).unwrap();
    }
    writer.finish().unwrap();
}

#[rstest]
fn every_byte_comes_back_once_to_every_reader(
    #[values(0, 16 << 10, MIB, 64 * MIB)] budget_bytes: usize,
    #[values(0, 1, 7, 8, 4095, 65_536, 65_537, 2 * MIB - 1, 9 * MIB + 5)] len: usize,
) {
    let registry = under(MemoryBackend::new(), budget_bytes);
    let (writer, spill) = registry.spill();
    let written = bytes(1, len);
    let mut early = spill.reader().unwrap();
    write_all(writer, &written, 100_003);
    assert_eq!(spill.len_bytes(), len as u64);
    assert!(read_all(&mut early) == written);
    assert!(read_all(&mut spill.reader().unwrap()) == written, "again");
    let mut last = spill.into_reader().unwrap();
    drop(early);
    assert!(read_all(&mut last) == written);
    assert_eq!(registry.live_handles(), 0, "what was read is freed");
    drop(last);
    assert_eq!(registry.stats().backend.logical_bytes, 0);
    assert_eq!(registry.residency().stats().spill_bytes, 0);
}

#[rstest]
fn frames_come_back_whole_and_aligned(
    #[values(0, 256 << 10, 64 * MIB)] budget_bytes: usize,
    #[values(1, 40, 5000, 600_000)] step: usize,
) {
    let registry = under(KeepingBackend::new(), budget_bytes);
    let (mut writer, spill) = registry.spill();
    let mut reader = spill.reader().unwrap();
    let frames: Vec<_> = (0..60)
        .map(|n| bytes(n as u64, n * step % (700_001)))
        .collect();
    for frame in &frames {
        let (front, back) = frame.split_at(frame.len() / 3);
        writer.write_frame_of(&[front, back]).unwrap();
    }
    writer.finish().unwrap();
    let mut last = spill.into_reader().unwrap();
    for frame in &frames {
        let found = reader.next_frame().unwrap().unwrap();
        assert!(found == frame);
        let align_bytes = if frame.len() < 4096 { 8 } else { 64 };
        assert!(found.as_ptr().addr().is_multiple_of(align_bytes));
        assert!(last.next_frame().unwrap().unwrap() == frame);
    }
    assert_eq!(reader.next_frame().unwrap(), None);
    assert!(matches!(frame_now(&mut reader), Poll::Ready(Ok(None))));
    assert_eq!(last.next_frame().unwrap(), None);
    drop((reader, last));
    assert_eq!(registry.live_handles(), 0);
}

#[test]
fn what_is_published_is_read_and_what_is_not_is_not_yet() {
    let registry = under(MemoryBackend::new(), MIB);
    let (mut writer, spill) = registry.spill();
    let mut reader = spill.into_reader().unwrap();
    assert!(bytes_now(&mut reader).is_pending());
    writer.write_all(b"early").unwrap();
    assert!(bytes_now(&mut reader).is_pending());
    writer.flush().unwrap();
    writer.write_all(b" late").unwrap();
    let seen = bytes_now(&mut reader);
    assert!(matches!(seen, Poll::Ready(Ok(b"early"))));
    reader.consume(2);
    assert_eq!(reader.fill_buf().unwrap(), b"rly");
    reader.consume(99);
    assert!(bytes_now(&mut reader).is_pending());
    drop(writer);
    assert_eq!(read_all(&mut reader), b" late");
    assert!(matches!(bytes_now(&mut reader), Poll::Ready(Ok([]))));
    assert_eq!(
        registry.stats().pageouts,
        0,
        "it was read from where it was written"
    );
}

#[test]
fn frames_and_bytes_do_not_mix() {
    let registry = under(MemoryBackend::new(), MIB);
    let is_contradiction = |error: Error| matches!(error, Error::Contradiction { .. });
    let (mut writer, spill) = registry.spill();
    let mut reader = spill.reader().unwrap();
    writer.write_frame(b"frame").unwrap();
    writer.publish();
    assert!(is_contradiction(writer.append(b"bytes").unwrap_err()));
    let polled = bytes_now(&mut reader);
    assert!(matches!(
        polled,
        Poll::Ready(Err(Error::Contradiction { .. }))
    ));
    assert!(reader.read(&mut [0; 9]).is_err());
    assert_eq!(reader.next_frame().unwrap(), Some(&b"frame"[..]));
    assert!(reader.fill_buf().is_err());

    let (mut writer, spill) = registry.spill();
    let mut reader = spill.reader().unwrap();
    writer.write_all(b"bytes that are no frame").unwrap();
    writer.publish();
    assert!(is_contradiction(writer.write_frame(b"frame").unwrap_err()));
    assert!(is_contradiction(reader.next_frame().unwrap_err()));
    let polled = frame_now(&mut reader);
    assert!(matches!(
        polled,
        Poll::Ready(Err(Error::Contradiction { .. }))
    ));
    drop(writer);
    assert_eq!(read_all(&mut reader), b"bytes that are no frame");
}

#[test]
fn a_reader_learns_that_the_writer_failed_after_what_was_published() {
    let registry = under(MemoryBackend::new(), MIB);
    let (mut writer, spill) = registry.spill();
    let mut reader = spill.reader().unwrap();
    writer.write_all(&bytes(3, 100_000)).unwrap();
    writer.flush().unwrap();
    writer.write_all(b"never").unwrap();
    writer.fail("the query was cancelled");
    let mut read = Vec::new();
    let error = reader.read_to_end(&mut read).unwrap_err();
    assert!(read == bytes(3, 100_000));
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    assert!(
        error.to_string().ends_with("the query was cancelled"),
        "{error}"
    );

    let (mut writer, spill) = registry.spill();
    let thread = std::thread::spawn(move || {
        writer.write_frame(b"one").unwrap();
        writer.publish();
        panic!("on purpose");
    });
    assert!(thread.join().is_err());
    let mut reader = spill.into_reader().unwrap();
    assert_eq!(reader.next_frame().unwrap(), Some(&b"one"[..]));
    for _ in 0..2 {
        let error = reader.next_frame().unwrap_err();
        assert!(matches!(error, Error::WriterFailed { reason } if reason == "it panicked"));
    }
}

#[test]
fn a_writer_learns_that_nobody_reads() {
    let registry = under(MemoryBackend::new(), 0);
    let (mut writer, spill) = registry.spill();
    writer.write_all(&bytes(1, 3 * MIB)).unwrap();
    let reader = spill.reader().unwrap();
    drop(spill);
    writer.write_all(&bytes(1, 3 * MIB)).unwrap();
    assert!(registry.live_handles() > 0);
    drop(reader);
    assert_eq!(registry.live_handles(), 0);
    let error = writer.append(b"more").unwrap_err();
    assert!(matches!(error, Error::NoReader) && error.is_permanent());
    let error = writer.write_all(b"more").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    writer.finish().unwrap();
    assert_eq!(registry.stats().backend.logical_bytes, 0);
}

#[test]
fn what_all_have_read_is_freed_as_they_go() {
    let registry = under(MemoryBackend::new(), 0);
    let (writer, spill) = registry.spill();
    let (mut fast, mut slow) = (spill.reader().unwrap(), spill.reader().unwrap());
    write_all(writer, &bytes(1, 16 * MIB), MIB);
    let all = registry.live_handles();
    assert!(all >= 8, "{all}");
    let mut part = vec![0; 8 * MIB];
    fast.read_exact(&mut part).unwrap();
    slow.read_exact(&mut part).unwrap();
    assert_eq!(registry.live_handles(), all, "the spill keeps everything");
    drop(spill);
    let half = registry.live_handles();
    assert!(half < all - 2, "{half} of {all}");
    read_all(&mut fast);
    assert_eq!(registry.live_handles(), half, "the slow one needs the rest");
    drop(fast);
    read_all(&mut slow);
    assert_eq!(registry.live_handles(), 0);
}

#[test]
fn a_spill_that_is_read_as_it_is_written_is_never_paged_out() {
    let registry = under(MemoryBackend::new(), 64 * MIB);
    let (mut writer, spill) = registry.spill();
    let mut reader = spill.into_reader().unwrap();
    let written = bytes(9, 64 << 10);
    let mut read = vec![0; 64 << 10];
    for _ in 0..256 {
        writer.write_all(&written).unwrap();
        writer.flush().unwrap();
        reader.read_exact(&mut read).unwrap();
        assert!(read == written);
    }
    let stats = registry.stats();
    assert!(stats.pageouts < 16, "{} page-outs", stats.pageouts);
    assert!(stats.residency.peak_held_bytes < (8 * MIB) as u64);
}

#[test]
fn segments_are_large_and_cost_no_more_than_their_bytes() {
    let registry = under(MemoryBackend::new(), 0);
    let (mut writer, _spill) = registry.spill();
    let frame = bytes(5, 1000);
    for _ in 0..32_000 {
        writer.write_frame(&frame).unwrap();
    }
    let written_bytes = writer.len_bytes();
    assert!(written_bytes < 32_000 * 1016);
    writer.finish().unwrap();
    let stats = registry.stats();
    assert!(stats.pageouts <= 20, "{} page-outs", stats.pageouts);
    assert!(stats.paged_out_bytes <= written_bytes + 8 * stats.pageouts);
}

#[test]
fn any_number_of_spills_keeps_to_the_budget() {
    let budget_bytes = 8 * MIB;
    let registry = under(MemoryBackend::new(), budget_bytes);
    let spills: Vec<(SpillWriter<_>, Spill<_>)> = (0..40).map(|_| registry.spill()).collect();
    let (mut writers, spills): (Vec<_>, Vec<_>) = spills.into_iter().unzip();
    for round in 0..40 {
        for (number, writer) in writers.iter_mut().enumerate() {
            writer
                .write_all(&bytes((number * 100 + round) as u64, 30_000))
                .unwrap();
        }
        let stats = registry.residency().stats();
        // Small ones that no budget refuses count with what is remembered of payloads.
        // What a payload came to be remembered by is covered by whoever comes next.
        let allowed_bytes = (budget_bytes + MIB + (16 << 10)) as u64;
        assert!(
            stats.held_bytes <= allowed_bytes,
            "round {round}: {stats:?}"
        );
        // A quarter, or two of any size.
        assert!(stats.spill_bytes <= (4 * MIB) as u64);
    }
    drop(writers);
    for (number, spill) in spills.into_iter().enumerate() {
        let mut reader = spill.into_reader().unwrap();
        for round in 0..40 {
            let mut read = vec![0; 30_000];
            reader.read_exact(&mut read).unwrap();
            assert!(read == bytes((number * 100 + round) as u64, 30_000));
        }
        assert!(read_all(&mut reader).is_empty());
    }
    assert_eq!(registry.live_handles(), 0);
}

#[test]
fn a_spill_belongs_to_the_group_that_its_options_say() {
    let registry = under(MemoryBackend::new(), 0);
    let group = Group::new("query 7").quota_bytes(3 * MIB as u64);
    let (mut writer, spill) = registry.options().group(&group).spill();
    let written = bytes(1, 8 * MIB);
    let mut done = 0;
    let error = loop {
        match writer.append(&written[done..]) {
            Ok(count) => done += count,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::GroupQuotaExceeded { .. }));
    assert!(group.stats().logical_bytes <= 3 * MIB as u64);
    group.set_quota_bytes(None);
    writer.write_all(&written[done..]).unwrap();
    writer.finish().unwrap();
    assert!(read_all(&mut spill.into_reader().unwrap()) == written);
    assert_eq!(group.stats().logical_bytes, 0);
}

#[test]
fn parts_may_be_dropped_in_any_order() {
    for order in 0..24usize {
        let registry = under(MemoryBackend::new(), MIB);
        let (mut writer, spill) = registry.spill();
        let reader = spill.reader().unwrap();
        writer.write_all(&bytes(order as u64, 3 * MIB)).unwrap();
        let stats = registry.residency().clone();
        let mut parts: Vec<Box<dyn std::any::Any>> = vec![
            Box::new(writer),
            Box::new(spill),
            Box::new(reader),
            Box::new(registry),
        ];
        let mut rest = order;
        while !parts.is_empty() {
            let index = rest % parts.len();
            rest /= parts.len();
            drop(parts.swap_remove(index));
        }
        let stats = stats.stats();
        assert_eq!(
            (stats.dirty_bytes, stats.spill_bytes),
            (0, 0),
            "order {order}"
        );
    }
}
