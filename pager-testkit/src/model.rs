//! Random operations against an in-memory model: every word that comes back is
//! compared with the word that went out.
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

use super::content::{assert_words, words};
use super::model_checks::{check_chunks, check_read};
use super::settled_stats;
use pager_core::{Backend, ChunkBuf, Destination, Error, Handle, Registry};

/// One operation of a sequence.
///
/// Handles are named by a number, taken modulo the live ones; an operation on a
/// handle does nothing while there is none.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Step {
    /// Pages chunks of these lengths out.
    PageOut {
        /// What the words are made from.
        seed: u64,
        /// Words of each chunk.
        lens: Vec<usize>,
        /// Which kind of memory they are in.
        memory: Memory,
    },
    /// `read_at`, appended to a destination that holds something.
    ReadAt(usize, Span),
    /// `read_at_many`.
    ReadAtMany(usize, Vec<Span>, Memory),
    /// `take` into a destination that holds that many words.
    Take(usize, Memory, usize),
    /// `prefetch_at`.
    Prefetch(usize, Span),
    /// Drops the handle.
    Drop(usize),
}

/// A kind of memory that words are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// `Vec<u64>`s.
    Vec,
    /// [`ChunkBuf`]s.
    Buf,
}

/// A range of a payload whose length is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Between these two shares of the payload, in 65,536ths, in either order.
    Between(u16, u16),
    /// That many words from that word on, in bounds or not.
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
    prop_oneof![2 => Just(Memory::Vec), 1 => Just(Memory::Buf)]
}

/// Nothing, a few words, around a page, many pages.
fn chunk_len() -> impl Strategy<Value = usize> {
    const LARGE: usize = if cfg!(miri) { 1200 } else { 12_000 };
    prop_oneof![
        1 => Just(0),
        3 => 1..64usize,
        3 => 510..515usize,
        2 => 64..LARGE,
    ]
}

fn span() -> impl Strategy<Value = Span> {
    prop_oneof![
        8 => any::<(u16, u16)>().prop_map(|(a, b)| Span::Between(a, b)),
        4 => (0..600usize, 0..9usize).prop_map(|(offset, len)| Span::At(offset, len)),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(offset, len)| Span::At(offset, len)),
    ]
}

/// Runs `steps` on `registry`, which holds nothing yet, and compares every
/// result, word for word; at last everything that is left.
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
    content: Vec<u64>,
    handle: Handle<B>,
}

impl<B: Backend> Model<'_, B> {
    fn step(&mut self, step: &Step) {
        match step {
            Step::PageOut { seed, lens, memory } => self.page_out(*seed, lens, *memory),
            Step::ReadAt(at, span) => self.read_at(*at, *span),
            Step::ReadAtMany(at, spans, Memory::Vec) => {
                self.read_at_many::<Vec<u64>>(*at, spans);
            }
            Step::ReadAtMany(at, spans, Memory::Buf) => {
                self.read_at_many::<ChunkBuf>(*at, spans);
            }
            Step::Take(at, Memory::Vec, held) => self.take::<Vec<u64>>(*at, *held),
            Step::Take(at, Memory::Buf, held) => self.take::<ChunkBuf>(*at, *held),
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

    fn page_out(&mut self, seed: u64, lens: &[usize], memory: Memory) {
        let content = words(seed, lens.iter().sum());
        let mut start = 0;
        let chunks = lens.iter().map(|len| {
            start += len;
            content[start - len..start].to_vec()
        });
        let mut vecs: Vec<Vec<u64>> = chunks.collect();
        let outcome = match memory {
            Memory::Vec => {
                let outcome = self.registry.pageout(&mut vecs);
                check_chunks(outcome.is_ok(), &vecs, lens, &content);
                outcome
            }
            Memory::Buf => {
                let bufs = vecs.iter().map(|chunk| filled(chunk));
                let mut bufs: Vec<ChunkBuf> = bufs.collect();
                let outcome = self.registry.pageout(&mut bufs);
                check_chunks(outcome.is_ok(), &bufs, lens, &content);
                outcome
            }
        };
        match outcome {
            Ok(handle) => {
                assert_eq!(handle.len(), content.len(), "words of the handle");
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
        let expected = entry.content.get(range).map(<[u64]>::to_vec);
        let is_refused = expected.is_none();
        let failed = check_read(outcome, &found, &[7, 8], expected);
        self.failures += usize::from(failed);
        self.refusals += usize::from(is_refused);
    }

    fn read_at_many<D: Sample>(&mut self, at: usize, spans: &[Span]) {
        let Some(entry) = self.entry(at) else { return };
        let content = &entry.content;
        let ranges: Vec<Range<usize>> =
            spans.iter().map(|span| span.range(content.len())).collect();
        let parts = ranges.iter().map(|range| content.get(range.clone()));
        let expected: Option<Vec<&[u64]>> = parts.collect();
        let is_refused = expected.is_none();
        let mut found = D::of(&[9]);
        let outcome = entry.handle.read_at_many(&ranges, &mut found);
        let failed = check_read(
            outcome,
            found.words(),
            &[9],
            expected.map(|parts| parts.concat()),
        );
        self.failures += usize::from(failed);
        self.refusals += usize::from(is_refused);
    }

    fn take<D: Sample>(&mut self, at: usize, held: usize) {
        let Some(Entry { content, handle }) = self.remove(at) else {
            return;
        };
        let mut found = D::of(&words(1, held));
        match handle.take(&mut found) {
            Ok(()) => assert_words(found.words(), &content, "a take"),
            Err(failed) => {
                assert_words(found.words(), &[], "the destination of a failed take");
                let (error, handle) = failed.into_parts();
                self.count(&error);
                self.alive.push(Entry { content, handle });
            }
        }
    }

    /// Compares everything that is left, half by reading and half by taking.
    fn finish(mut self) -> usize {
        let logical_words: usize = self.alive.iter().map(|entry| entry.content.len()).sum();
        let stats = settled_stats(self.registry);
        assert_eq!(
            stats.failed_pageouts + stats.failed_reads,
            (self.failures + self.refusals) as u64,
            "every error that was returned is counted"
        );
        assert_eq!(stats.live_handles, self.alive.len());
        assert_eq!(stats.logical_bytes, logical_words as u64 * 8);
        assert_eq!(stats.backend.logical_bytes, logical_words as u64 * 8);
        for (index, Entry { content, handle }) in self.alive.drain(..).enumerate() {
            let mut found = Vec::new();
            handle
                .read_at(0, content.len(), &mut found)
                .expect("a read must succeed");
            assert_words(&found, &content, "a payload in the end");
            if index % 2 == 0 {
                handle.take(&mut found).expect("a take must succeed");
                assert_words(&found, &content, "a take in the end");
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

/// A destination that the model can fill and look into.
trait Sample: Destination<Element = u64> {
    fn of(words: &[u64]) -> Self;
    fn words(&self) -> &[u64];
}

impl Sample for Vec<u64> {
    fn of(words: &[u64]) -> Self {
        words.to_vec()
    }

    fn words(&self) -> &[u64] {
        self
    }
}

impl Sample for ChunkBuf {
    fn of(words: &[u64]) -> Self {
        filled(words)
    }

    fn words(&self) -> &[u64] {
        self
    }
}

fn filled(words: &[u64]) -> ChunkBuf {
    ChunkBuf::try_from(words).expect("memory for a test")
}
