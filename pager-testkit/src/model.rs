//! Random operations against an in-memory model: every byte that comes back is
//! compared with the byte that went out.
//!
//! [`operations`] makes sequences for proptest, [`run`] executes one on a
//! registry, and [`run_with_failures`] does so on a backend that may fail, and
//! then checks that the failure cost nothing.
//!
//! ```
//! use pager_core::Registry;
//! use pager_testkit::{MemoryBackend, model};
//! use proptest::prelude::*;
//!
//! proptest!(|(operations in model::operations(20))| {
//!     model::run(&Registry::new(MemoryBackend::new()), &operations);
//! });
//! ```

use std::ops::Range;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};

use super::content::{assert_bytes, bytes};
use super::model_checks::{check_chunks, check_read};
use super::sample::Sample;
use super::settled_stats;
use pager_core::{Backend, ChunkBuf, Error, Handle, Pod, Registry};

/// One operation of a sequence.
///
/// Handles are named by a number, taken modulo the live ones; an operation on a
/// handle does nothing while there is none.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Step {
    /// Pages chunks of these lengths out.
    PageOut {
        /// What the bytes are made from.
        seed: u64,
        /// Bytes of each chunk; of words, those that fill whole ones.
        lens: Vec<usize>,
        /// Which kind of memory they are in.
        memory: Memory,
    },
    /// `read_at`, appended to a destination that holds something.
    ReadAt(usize, Span),
    /// `read_at_many`.
    ReadAtMany(usize, Vec<Span>, Memory),
    /// `take` into a destination that holds that many bytes.
    Take(usize, Memory, usize),
    /// `prefetch_at`.
    Prefetch(usize, Span),
    /// Drops the handle.
    Drop(usize),
}

/// A kind of memory that bytes are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// `Vec<u8>`s.
    Bytes,
    /// `Vec<u64>`s. A payload that is no whole number of words is read as bytes.
    Words,
    /// [`ChunkBuf`]s of bytes.
    Buf,
}

/// A range of a payload whose length is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Between these two shares of the payload, in 65,536ths, in either order.
    Between(u16, u16),
    /// That many elements from that one on, in bounds or not.
    At(usize, usize),
}

impl Span {
    fn range(self, len: usize) -> Range<usize> {
        let share = |part: u16| len * usize::from(part) / usize::from(u16::MAX);
        match self {
            Self::Between(a, b) => share(a.min(b))..share(a.max(b)),
            Self::At(offset, len) => offset..offset.saturating_add(len),
        }
    }
}

/// Sequences of up to `max` operations.
pub fn operations(max: usize) -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 0..=max)
}

fn step() -> impl Strategy<Value = Step> {
    let handle = any::<usize>;
    let page_out = (any::<u64>(), vec(chunk_len(), 0..=5), memory())
        .prop_map(|(seed, lens, memory)| Step::PageOut { seed, lens, memory });
    prop_oneof![
        4 => page_out,
        3 => (handle(), span()).prop_map(|(at, span)| Step::ReadAt(at, span)),
        2 => (handle(), vec(span(), 0..9), memory())
            .prop_map(|(at, spans, memory)| Step::ReadAtMany(at, spans, memory)),
        2 => (handle(), memory(), chunk_len())
            .prop_map(|(at, memory, held)| Step::Take(at, memory, held)),
        1 => (handle(), span()).prop_map(|(at, span)| Step::Prefetch(at, span)),
        1 => handle().prop_map(Step::Drop),
    ]
}

fn memory() -> impl Strategy<Value = Memory> {
    prop_oneof![2 => Just(Memory::Bytes), 2 => Just(Memory::Words), 1 => Just(Memory::Buf)]
}

/// Nothing, a few bytes, around a page, many pages.
fn chunk_len() -> impl Strategy<Value = usize> {
    const LARGE: usize = if cfg!(miri) { 9600 } else { 96_000 };
    prop_oneof![
        1 => Just(0),
        3 => 1..512usize,
        3 => 4090..4105usize,
        2 => 512..LARGE,
    ]
}

fn span() -> impl Strategy<Value = Span> {
    prop_oneof![
        8 => any::<(u16, u16)>().prop_map(|(a, b)| Span::Between(a, b)),
        4 => (0..4800usize, 0..70usize).prop_map(|(offset, len)| Span::At(offset, len)),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(offset, len)| Span::At(offset, len)),
    ]
}

/// Runs `steps` on `registry`, which holds nothing yet, and compares every
/// result, byte for byte; at last everything that is left.
///
/// # Panics
///
/// If a result differs from the model's, or an operation fails that must not.
pub fn run<B: Backend>(registry: &Registry<B>, steps: &[Step]) {
    let failures = run_with_failures(registry, steps, || {});
    assert_eq!(failures, 0, "operations that failed");
}

/// As [`run`], on a backend that may fail: checks that a failed page-out left
/// its chunks, a failed read its destination, and a failed take its handle, as
/// they were. `heal` must make everything succeed again; it is called before
/// what is left in the end is compared. Returns how many operations failed.
///
/// # Panics
///
/// If a result differs from the model's.
pub fn run_with_failures<B: Backend>(
    registry: &Registry<B>,
    steps: &[Step],
    heal: impl FnOnce(),
) -> usize {
    let mut model = Model {
        registry,
        alive: Vec::new(),
        failures: 0,
        refusals: 0,
    };
    for step in steps {
        model.step(step);
    }
    heal();
    model.finish()
}

struct Model<'a, B: Backend> {
    registry: &'a Registry<B>,
    alive: Vec<Entry<B>>,
    /// Operations that failed because the backend did.
    failures: usize,
    /// Reads that were refused because they were out of bounds.
    refusals: usize,
}

struct Entry<B: Backend> {
    content: Vec<u8>,
    handle: Handle<B, u8>,
}

impl<B: Backend> Model<'_, B> {
    fn step(&mut self, step: &Step) {
        match step {
            Step::PageOut { seed, lens, memory } => match memory {
                Memory::Bytes => self.page_out::<Vec<u8>>(*seed, lens),
                Memory::Words => self.page_out::<Vec<u64>>(*seed, lens),
                Memory::Buf => self.page_out::<ChunkBuf<u8>>(*seed, lens),
            },
            Step::ReadAt(at, span) => self.read_at(*at, *span),
            Step::ReadAtMany(at, spans, memory) => {
                if let Some(entry) = self.remove(*at) {
                    let entry = match memory {
                        Memory::Bytes => self.read_at_many::<Vec<u8>>(entry, spans),
                        Memory::Words => self.read_at_many::<Vec<u64>>(entry, spans),
                        Memory::Buf => self.read_at_many::<ChunkBuf<u8>>(entry, spans),
                    };
                    self.alive.push(entry);
                }
            }
            Step::Take(at, memory, held) => {
                if let Some(entry) = self.remove(*at) {
                    match memory {
                        Memory::Bytes => self.take::<Vec<u8>>(entry, *held),
                        Memory::Words => self.take::<Vec<u64>>(entry, *held),
                        Memory::Buf => self.take::<ChunkBuf<u8>>(entry, *held),
                    }
                }
            }
            Step::Prefetch(at, span) => {
                if let Some(entry) = self.entry(*at) {
                    let range = span.range(entry.content.len());
                    entry.handle.prefetch_at(range.start, range.len());
                }
            }
            Step::Drop(at) => drop(self.remove(*at)),
        }
        assert_eq!(self.registry.live_handles(), self.alive.len());
    }

    fn page_out<C: Sample>(&mut self, seed: u64, lens: &[usize]) {
        let whole = |len: &usize| len - len % size_of::<C::Of>();
        let lens: Vec<usize> = lens.iter().map(whole).collect();
        let content = bytes(seed, lens.iter().sum());
        let mut start = 0;
        let chunks = lens.iter().map(|len| {
            start += len;
            C::of(&content[start - len..start])
        });
        let mut chunks: Vec<C> = chunks.collect();
        let outcome = self.registry.pageout(&mut chunks);
        check_chunks(outcome.is_ok(), &chunks, &lens, &content);
        match outcome {
            Ok(handle) => {
                assert_eq!(handle.len_bytes(), content.len(), "bytes of the handle");
                let handle = as_bytes(handle);
                self.alive.push(Entry { content, handle });
            }
            Err(error) => self.count(&error),
        }
    }

    fn read_at(&mut self, at: usize, span: Span) {
        let Some(entry) = self.entry(at) else { return };
        let range = span.range(entry.content.len());
        let mut found = vec![7, 8];
        let outcome = entry.handle.read_at(range.start, range.len(), &mut found);
        let expected = entry.content.get(range).map(<[u8]>::to_vec);
        let is_refused = expected.is_none();
        let failed = check_read(outcome, &found, &[7, 8], expected);
        self.failures += usize::from(failed);
        self.refusals += usize::from(is_refused);
    }

    /// Reads as what `D` holds, if the payload is made of these, and as bytes otherwise.
    fn read_at_many<D: Sample>(&mut self, entry: Entry<B>, spans: &[Span]) -> Entry<B> {
        let Entry { content, handle } = entry;
        let handle = match handle.cast::<D::Of>() {
            Ok(handle) => handle,
            Err(handle) => {
                return self.read_at_many::<Vec<u8>>(Entry { content, handle }, spans);
            }
        };
        let each = size_of::<D::Of>();
        let ranges: Vec<Range<usize>> = spans.iter().map(|span| span.range(handle.len())).collect();
        let parts = ranges.iter().map(|range| {
            let end = range.end.checked_mul(each)?;
            content.get(range.start * each..end)
        });
        let expected: Option<Vec<&[u8]>> = parts.collect();
        let is_refused = expected.is_none();
        let mut found = D::of(&[9; 8]);
        let outcome = handle.read_at_many(&ranges, &mut found);
        let failed = check_read(
            outcome,
            found.bytes(),
            &[9; 8],
            expected.map(|parts| parts.concat()),
        );
        self.failures += usize::from(failed);
        self.refusals += usize::from(is_refused);
        let handle = as_bytes(handle);
        Entry { content, handle }
    }

    /// Takes it as what `D` holds, if the payload is made of these, and as bytes otherwise.
    fn take<D: Sample>(&mut self, entry: Entry<B>, held: usize) {
        let Entry { content, handle } = entry;
        let handle = match handle.cast::<D::Of>() {
            Ok(handle) => handle,
            Err(handle) => return self.take::<Vec<u8>>(Entry { content, handle }, held),
        };
        let mut found = D::of(&bytes(1, held - held % size_of::<D::Of>()));
        match handle.take(&mut found) {
            Ok(()) => assert_bytes(found.bytes(), &content, "a take"),
            Err(failed) => {
                assert_bytes(found.bytes(), &[], "the destination of a failed take");
                let (error, handle) = failed.into_parts();
                self.count(&error);
                let handle = as_bytes(handle);
                self.alive.push(Entry { content, handle });
            }
        }
    }

    /// Compares everything that is left, half by reading and half by taking.
    fn finish(mut self) -> usize {
        let lens = self.alive.iter().map(|entry| entry.content.len());
        let logical_bytes = lens.sum::<usize>() as u64;
        let stats = settled_stats(self.registry);
        assert_eq!(
            stats.failed_pageouts + stats.failed_reads,
            (self.failures + self.refusals) as u64,
            "every error that was returned is counted"
        );
        assert_eq!(stats.live_handles, self.alive.len());
        assert_eq!(stats.logical_bytes, logical_bytes);
        assert_eq!(stats.backend.logical_bytes, logical_bytes);
        for (index, Entry { content, handle }) in self.alive.drain(..).enumerate() {
            let mut found = Vec::new();
            handle
                .read_at(0, content.len(), &mut found)
                .expect("a read must succeed");
            assert_bytes(&found, &content, "a payload in the end");
            if index % 2 == 0 {
                handle.take(&mut found).expect("a take must succeed");
                assert_bytes(&found, &content, "a take in the end");
            }
        }
        assert_eq!(self.registry.live_handles(), 0);
        assert_eq!(settled_stats(self.registry).backend.logical_bytes, 0);
        self.failures
    }

    fn entry(&self, at: usize) -> Option<&Entry<B>> {
        self.alive.get(at.checked_rem(self.alive.len())?)
    }

    fn remove(&mut self, at: usize) -> Option<Entry<B>> {
        let index = at.checked_rem(self.alive.len())?;
        Some(self.alive.swap_remove(index))
    }

    fn count(&mut self, error: &Error) {
        assert!(
            !matches!(error, Error::OutOfBounds { .. }),
            "nothing was out of bounds: {error}"
        );
        self.failures += 1;
    }
}

/// The same payload; elements of every type are bytes.
fn as_bytes<B: Backend, T: Pod>(handle: Handle<B, T>) -> Handle<B, u8> {
    let Ok(handle) = handle.cast() else {
        panic!("any elements are bytes")
    };
    handle
}
