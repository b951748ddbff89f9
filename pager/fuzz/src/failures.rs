//! Sequences of operations over a backend that fails on demand, with and without
//! a budget: what fails is what was asked to, and it costs nothing.

use arbitrary::Arbitrary;
use pager::{FileBackend, FileConfig, SeedAdvice, SwapBackend, SwapMode};
use pager_core::{Backend, Chunk, Error, Handle, Registry, Residency, Result};
use pager_testkit::{Failure, FaultyBackend, KeepingBackend, MemoryBackend, Operation};

use super::input::{Length, Memory, Span, scene};
use super::table::{PageOut, Table, assert_is_soon_empty, assert_soon};

/// The most steps of one scene: what a fuzzer gets through often.
const STEPS_AT_MOST: usize = 64;

#[derive(Debug, Arbitrary)]
struct Scene {
    beneath: Beneath,
    /// A budget, if bytes are to move in the background; with so many threads.
    residency: Option<(Length, u8)>,
    steps: Vec<Step>,
}

/// The backend that works when it is not told to fail.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Beneath {
    Memory,
    Keeping,
    Swap,
    SwapOfTheSeed,
    File,
}

#[derive(Debug, Arbitrary)]
enum Step {
    PageOut(Memory, [Option<Length>; 3]),
    PageOutEach([Option<Length>; 3]),
    Read(u8, Span),
    ReadMany(u8, Memory, Vec<Span>),
    Prefetch(u8, Span),
    Take(u8, Memory, u8),
    Drop(u8),
    Budget(Length),
    Flush,
    FailOnce(Which, u8, Why),
    FailEvery(Which, u8, Why),
    Heal(Which),
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Which {
    PageOut,
    Read,
}

impl From<Which> for Operation {
    fn from(which: Which) -> Self {
        match which {
            Which::PageOut => Self::PageOut,
            Which::Read => Self::Read,
        }
    }
}

#[derive(Debug, Clone, Copy, Arbitrary)]
struct Why(u8);

impl From<Why> for Failure {
    fn from(why: Why) -> Self {
        Self::ALL[usize::from(why.0) % Self::ALL.len()]
    }
}

/// Plays one input.
///
/// # Panics
///
/// If a byte or a count differs, or an operation fails that was not told to.
pub fn run(input: &[u8]) {
    let Some(scene) = scene::<Scene>(input) else {
        return;
    };
    let swap = |mode| SwapBackend::builder().mode(mode).build();
    match scene.beneath {
        Beneath::Memory => play(MemoryBackend::new(), scene),
        Beneath::Keeping => play(KeepingBackend::new(), scene),
        Beneath::Swap => play(swap(SwapMode::Arena), scene),
        Beneath::SwapOfTheSeed => play(swap(SwapMode::Seed(SeedAdvice::Cold)), scene),
        Beneath::File => {
            let root = tempfile::tempdir().expect("a temporary directory");
            let config = FileConfig::new(root.path()).allow_memory_fs(true);
            play(FileBackend::open(config).expect("it is fresh"), scene);
            // A background thread may be the last to let go of the backend.
            assert_is_soon_empty(root.path());
        }
    }
}

fn play<B: Backend>(beneath: B, scene: Scene) {
    let backend = FaultyBackend::new(beneath);
    let registry = match scene.residency {
        None => Registry::new(backend),
        Some((budget, io_threads)) => {
            let residency = Residency::builder()
                .budget_bytes(budget.bytes())
                .io_threads((io_threads % 3).into())
                .build();
            Registry::with_residency(backend, &residency)
        }
    };
    let mut stage = Stage {
        registry,
        table: Table::new(),
        may_fail: MayFail::default(),
    };
    for step in scene.steps.into_iter().take(STEPS_AT_MOST) {
        stage.play(step);
    }
    stage.end();
}

struct Stage<B: Backend> {
    registry: Registry<FaultyBackend<B>>,
    table: Table<Handle<FaultyBackend<B>, u8>>,
    may_fail: MayFail,
}

/// What has been told to fail so far. A background write that failed may be told
/// long after the backend was healed.
#[derive(Debug, Default)]
struct MayFail {
    page_outs: Vec<Failure>,
    reads: Vec<Failure>,
}

fn check(done: Result<()>, asked: &[Failure]) {
    if let Err(error) = done {
        let is_asked = asked.iter().any(|failure| failure.matches(&error));
        assert!(is_asked, "failed, and was not told to: {error}");
    }
}

struct To<'a, B: Backend>(&'a Registry<B>);

impl<B: Backend> PageOut<Handle<B, u8>> for To<'_, B> {
    fn page_out<C: Chunk>(self, chunks: &mut [C]) -> Result<Handle<B, u8>> {
        let Ok(handle) = self.0.pageout(chunks)?.cast() else {
            panic!("any elements are bytes")
        };
        Ok(handle)
    }
}

impl<B: Backend> Stage<B> {
    fn play(&mut self, step: Step) {
        let (registry, table, may_fail) = (&self.registry, &mut self.table, &self.may_fail);
        match step {
            Step::PageOut(memory, lens) => {
                let done = table.page_out(lens_of(&lens), memory, To(registry));
                check(done, &may_fail.page_outs);
            }
            Step::PageOutEach(lens) => {
                let pageout = |chunks: &mut [Vec<u8>]| registry.options().pageout_each(chunks);
                check(
                    table.page_out_each(lens_of(&lens), pageout),
                    &may_fail.page_outs,
                );
            }
            Step::Read(which, span) => {
                if let Some(entry) = table.get(which) {
                    check(
                        entry.read(&span.range(entry.content.len())),
                        &may_fail.reads,
                    );
                }
            }
            Step::ReadMany(which, memory, spans) => {
                if let Some(entry) = table.get(which) {
                    let spans = spans.iter().take(20);
                    let ranges = spans.map(|span| span.range(entry.content.len()));
                    let ranges: Vec<_> = ranges.collect();
                    check(entry.read_many(&ranges, memory), &may_fail.reads);
                }
            }
            Step::Prefetch(which, span) => {
                if let Some(entry) = table.get(which) {
                    entry.prefetch(&span.range(entry.content.len()));
                }
            }
            Step::Take(which, memory, held) => {
                check(table.take(which, memory, held.into()), &may_fail.reads);
            }
            Step::Drop(which) => drop(table.remove(which)),
            Step::Budget(len) => check(
                registry.residency().set_budget_bytes(len.bytes()),
                &may_fail.page_outs,
            ),
            Step::Flush => check(registry.residency().flush(), &may_fail.page_outs),
            Step::FailOnce(which, nth, why) => self.fail(which, nth, why, false),
            Step::FailEvery(which, nth, why) => self.fail(which, nth, why, true),
            Step::Heal(which) => registry.backend().heal(which.into()),
        }
    }

    fn fail(&mut self, which: Which, nth: u8, why: Why, is_repeated: bool) {
        let asked = match which {
            Which::PageOut => &mut self.may_fail.page_outs,
            Which::Read => &mut self.may_fail.reads,
        };
        asked.push(why.into());
        let backend = self.registry.backend();
        // Soon enough to happen within a short sequence.
        let nth = (nth % 8).into();
        if is_repeated {
            backend.fail_every(which.into(), nth, why.into());
        } else {
            backend.fail_nth(which.into(), nth, why.into());
        }
    }

    /// Once the backend is healed, everything is there and everything works.
    fn end(mut self) {
        for operation in [Operation::PageOut, Operation::Read] {
            self.registry.backend().heal(operation);
        }
        self.registry
            .residency()
            .flush()
            .expect("a healed backend stores");
        let logical_bytes = self.table.bytes() as u64;
        let stats = self.registry.stats();
        assert_eq!(stats.live_handles, self.table.live.len());
        assert_eq!(stats.logical_bytes, logical_bytes);
        for entry in &self.table.live {
            entry.read_all().expect("a healed backend reads");
        }
        while self.table.live.len() > 1 {
            let taken: Result<(), Error> = self.table.take(0, Memory::Vec, 0);
            taken.expect("a healed backend reads");
            drop(self.table.remove(0));
        }
        drop(self.table);
        let stats = || self.registry.stats();
        assert_soon("payloads are held", || stats().backend.logical_bytes == 0);
        assert_soon("memory is held", || stats().residency.resident_bytes == 0);
        assert_eq!(stats().live_handles, 0);
    }
}

fn lens_of(lens: &[Option<Length>]) -> impl Iterator<Item = usize> {
    lens.iter().flatten().map(|len| len.bytes())
}
