//! Random operations on a spill, compared byte for byte with a plain vector.

use std::io::{BufRead, Write};
use std::task::Poll;
use std::time::{Duration, Instant};

use pager_core::{Registry, Spill, SpillReader, SpillWriter};
use pager_testkit::MemoryBackend;
use proptest::prelude::*;

use super::tasks::block_on;
use super::{bytes, bytes_now, frame_now, under};

#[derive(Debug, Clone)]
enum Step {
    Write(usize),
    Flush,
    Finish,
    Open,
    /// Reader, and how much it reads.
    Read(usize, usize),
    CloseReader(usize),
    CloseSpill,
    Flushed,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0usize..300_000).prop_map(Step::Write),
        3 => (0usize..40).prop_map(Step::Write),
        3 => Just(Step::Flush),
        1 => Just(Step::Finish),
        2 => Just(Step::Open),
        8 => (any::<usize>(), 0usize..400_000).prop_map(|(reader, len)| Step::Read(reader, len)),
        1 => any::<usize>().prop_map(Step::CloseReader),
        1 => Just(Step::CloseSpill),
        1 => Just(Step::Flushed),
    ]
}

/// What must be seen.
struct Model {
    registry: Registry<MemoryBackend>,
    writer: Option<SpillWriter<MemoryBackend>>,
    spill: Option<Spill<MemoryBackend>>,
    readers: Vec<(SpillReader<MemoryBackend>, usize)>,
    written: Vec<u8>,
    /// Bytes that every reader must be able to see.
    published: usize,
}

impl Model {
    fn new(budget_bytes: usize) -> Self {
        let registry = under(MemoryBackend::new(), budget_bytes);
        let (writer, spill) = registry.spill();
        Self {
            registry,
            writer: Some(writer),
            spill: Some(spill),
            readers: Vec::new(),
            written: Vec::new(),
            published: 0,
        }
    }

    fn play(&mut self, step: Step) {
        match step {
            Step::Write(len) => {
                let Some(writer) = &mut self.writer else {
                    return;
                };
                let more = bytes(self.written.len() as u64, len);
                let is_read = self.spill.is_some() || !self.readers.is_empty();
                match writer.write_all(&more) {
                    Ok(()) => {
                        assert!(is_read || len == 0);
                        self.written.extend(more);
                    }
                    Err(error) => assert!(!is_read, "{error}"),
                }
            }
            Step::Flush => {
                if let Some(writer) = &mut self.writer {
                    writer.flush().unwrap();
                    self.published = self.written.len();
                }
            }
            Step::Finish => {
                if let Some(writer) = self.writer.take() {
                    writer.finish().unwrap();
                    self.published = self.written.len();
                }
            }
            Step::Open => {
                if let Some(spill) = &self.spill
                    && self.readers.len() < 4
                {
                    self.readers.push((spill.reader().unwrap(), 0));
                }
            }
            Step::Read(reader, len) => self.read(reader, len),
            Step::CloseReader(reader) => {
                if !self.readers.is_empty() {
                    let reader = reader % self.readers.len();
                    self.readers.swap_remove(reader);
                }
            }
            Step::CloseSpill => {
                // Somebody must be there to read on.
                if !self.readers.is_empty() {
                    self.spill = None;
                }
            }
            Step::Flushed => self.registry.residency().flush().unwrap(),
        }
    }

    fn read(&mut self, reader: usize, len: usize) {
        let published = self.published;
        if self.readers.is_empty() {
            return;
        }
        let reader = reader % self.readers.len();
        let (reader, at) = &mut self.readers[reader];
        let mut left = len;
        while left > 0 {
            let is_there = *at < published;
            let seen = match bytes_now(reader) {
                Poll::Ready(seen) => seen,
                // It is stored, and being fetched.
                Poll::Pending if is_there => {
                    block_on(|context| reader.poll_bytes(context).map(drop));
                    continue;
                }
                Poll::Pending => {
                    assert!(self.writer.is_some());
                    return;
                }
            };
            let seen = seen.unwrap();
            if seen.is_empty() {
                assert!(self.writer.is_none());
                assert_eq!(*at, self.written.len());
                return;
            }
            let count = seen.len().min(left);
            assert!(count > 0 && seen[..count] == self.written[*at..*at + count]);
            reader.consume(count);
            *at += count;
            left -= count;
        }
    }

    fn end(mut self) {
        self.play(Step::Finish);
        for reader in 0..self.readers.len() {
            self.read(reader, usize::MAX);
            assert_eq!(self.readers[reader].1, self.written.len());
        }
        self.readers.clear();
        drop(self.spill.take());
        assert_eq!(self.registry.live_handles(), 0);
        // A fetch may be under way still.
        let begun = Instant::now();
        let held_bytes = || {
            let stats = self.registry.residency().stats();
            stats.spill_bytes + stats.resident_bytes
        };
        while held_bytes() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(60), "never let go");
            std::thread::yield_now();
        }
    }
}

/// Mostly small: bytes are made one by one here.
fn frame_len() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0usize..100,
        2 => 4090usize..4100,
        6 => 0usize..70_000,
        1 => 0usize..3_000_000,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn readers_see_what_was_written(
        budget_bytes in prop_oneof![Just(0), Just(40 << 10), Just(1 << 20), Just(64 << 20)],
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut model = Model::new(budget_bytes);
        for step in steps {
            model.play(step);
        }
        model.end();
    }

    #[test]
    fn frames_of_any_size_come_back_whole(
        budget_bytes in prop_oneof![Just(0), Just(300 << 10), Just(64 << 20)],
        lens in prop::collection::vec(frame_len(), 1..30),
        flushes in any::<u64>(),
    ) {
        let registry = under(MemoryBackend::new(), budget_bytes);
        let (mut writer, spill) = registry.spill();
        let mut reader = spill.reader().unwrap();
        let mut read = 0;
        for (number, len) in lens.iter().enumerate() {
            writer.write_frame(&bytes(number as u64, *len)).unwrap();
            if flushes >> (number % 64) & 1 == 1 {
                writer.publish();
                while read <= number {
                    let frame = block_on(|context| reader.poll_frame(context)).unwrap();
                    prop_assert!(*frame.unwrap() == bytes(read as u64, lens[read]));
                    read += 1;
                }
                prop_assert!(frame_now(&mut reader).is_pending());
            }
        }
        writer.finish().unwrap();
        let mut last = spill.into_reader().unwrap();
        for (number, len) in lens.iter().enumerate().skip(read) {
            prop_assert!(reader.next_frame().unwrap().unwrap() == bytes(number as u64, *len));
        }
        prop_assert_eq!(reader.next_frame().unwrap(), None);
        drop(reader);
        for (number, len) in lens.iter().enumerate() {
            prop_assert!(last.next_frame().unwrap().unwrap() == bytes(number as u64, *len));
        }
        prop_assert_eq!(last.next_frame().unwrap(), None);
        prop_assert_eq!(registry.live_handles(), 0);
    }
}
