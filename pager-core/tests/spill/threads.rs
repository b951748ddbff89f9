//! A writer and readers at once.

use std::io::{Read, Write};

use pager_core::SpillReader;
use pager_testkit::MemoryBackend;
use rstest::rstest;

use super::{MIB, bytes, under};

fn compare(mut reader: SpillReader<MemoryBackend>, len: usize, step: usize) {
    let expected = bytes(7, len);
    let mut done = 0;
    let mut part = vec![0; step];
    loop {
        let count = reader.read(&mut part).unwrap();
        if count == 0 {
            break;
        }
        assert!(part[..count] == expected[done..done + count]);
        done += count;
    }
    assert_eq!(done, len);
}

#[rstest]
fn readers_follow_a_writer(
    #[values(0, 200 << 10, 4 * MIB, 256 * MIB)] budget_bytes: usize,
    #[values(0, 1, 3)] more_readers: usize,
) {
    const LEN: usize = 12 * MIB + 77;
    let registry = under(MemoryBackend::new(), budget_bytes);
    let (mut writer, spill) = registry.spill();
    let readers: Vec<_> = (0..more_readers).map(|_| spill.reader().unwrap()).collect();
    let last = spill.into_reader().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let written = bytes(7, LEN);
            for (number, piece) in written.chunks(33_333).enumerate() {
                writer.write_all(piece).unwrap();
                if number % 3 == 0 {
                    writer.flush().unwrap();
                }
            }
        });
        for (number, reader) in readers.into_iter().enumerate() {
            scope.spawn(move || compare(reader, LEN, 1000 * (number + 1)));
        }
        scope.spawn(move || compare(last, LEN, 1 << 20));
    });
    assert_eq!(registry.live_handles(), 0);
    assert_eq!(registry.residency().stats().spill_bytes, 0);
}

#[test]
fn a_frame_flushed_at_a_time_reaches_a_waiting_reader() {
    let registry = under(MemoryBackend::new(), 4 * MIB);
    let (mut writer, spill) = registry.spill();
    let (mut back, answers) = registry.spill();
    let mut questions = spill.into_reader().unwrap();
    let mut answers = answers.into_reader().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while let Some(frame) = questions.next_frame().unwrap() {
                back.write_frame(frame).unwrap();
                back.publish();
            }
        });
        for number in 0..2000usize {
            let question = bytes(number as u64, number % 500);
            writer.write_frame(&question).unwrap();
            writer.publish();
            assert_eq!(answers.next_frame().unwrap().unwrap(), question);
        }
        drop(writer);
        assert_eq!(answers.next_frame().unwrap(), None);
    });
}
