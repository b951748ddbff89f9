//! Sequences of operations on a pager: both backends, flips, budgets and quotas
//! that change, read-ahead, partial reads, views, takes and drops.
//!
//! Only a quota may make an operation fail, and a full budget a view; what failed
//! changed nothing. At
//! the end nothing is held, nothing is counted, and no file is left.

use arbitrary::Arbitrary;
use pager::{BackendKind, Error, Handle, IoChoice, Pager, Preset, Reuse, ScratchProblem, View};
use pager_core::{Chunk, Pod, Result};
use pager_testkit::content::assert_bytes;
use tempfile::TempDir;

use super::input::{Length, Memory, Span, scene};
use super::table::{Entry, PageOut, Table, assert_is_soon_empty, assert_soon};

/// The most operations of one scene: what a fuzzer gets through often.
const OPERATIONS_AT_MOST: usize = 64;

#[derive(Debug, Arbitrary)]
struct Scene {
    settings: Settings,
    operations: Vec<Operation>,
}

#[derive(Debug, Arbitrary)]
struct Settings {
    is_seed: bool,
    is_buffered: bool,
    has_checksums: bool,
    io_threads: u8,
    watermarks: (u8, u8),
    budget: Option<Length>,
    quota: Option<Length>,
}

#[derive(Debug, Arbitrary)]
enum Operation {
    PageOut(Way, Memory, [Option<Length>; 3]),
    PageOutEach([Option<Length>; 3]),
    Read(u8, Span),
    ReadMany(u8, Memory, Vec<Span>),
    View(u8, Span),
    DropView(u8),
    Prefetch(u8, Span),
    PrefetchAll,
    Take(u8, Memory, Length),
    Drop(u8),
    Flip(Kind),
    Budget(Length),
    Flush,
    MoveScratch,
    Look,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Kind {
    Swap,
    File,
}

impl From<Kind> for BackendKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Swap => Self::Swap,
            Kind::File => Self::File,
        }
    }
}

/// How a payload is paged out.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Way {
    Selected,
    To(Kind),
    SoonWanted,
    LateWanted,
}

/// A pager, and the way that the next page-out goes.
struct Facade<'a>(&'a Pager, Way);

impl PageOut<Handle<u8>> for Facade<'_> {
    fn page_out<C: Chunk>(self, chunks: &mut [C]) -> Result<Handle<u8>> {
        let handle = match self.1 {
            Way::Selected => self.0.pageout(chunks),
            Way::To(kind) => return FacadeTo(self.0, kind.into()).page_out(chunks),
            Way::SoonWanted => self.0.options().reuse(Reuse::Soon).pageout(chunks),
            Way::LateWanted => self.0.options().reuse(Reuse::Late).pageout(chunks),
        };
        Ok(as_bytes(handle?))
    }
}

/// A pager, and the backend of the next page-out.
pub(super) struct FacadeTo<'a>(pub(super) &'a Pager, pub(super) BackendKind);

impl PageOut<Handle<u8>> for FacadeTo<'_> {
    fn page_out<C: Chunk>(self, chunks: &mut [C]) -> Result<Handle<u8>> {
        let handle = self.0.options().backend(self.1).pageout(chunks)?;
        Ok(as_bytes(handle))
    }
}

/// The same payload; elements of every type are bytes.
fn as_bytes<T: Pod>(handle: Handle<T>) -> Handle<u8> {
    let Ok(handle) = handle.cast() else {
        panic!("any elements are bytes")
    };
    handle
}

/// Plays one input.
///
/// # Panics
///
/// If a byte or a count differs, an operation fails that must not, or something
/// is left in the end.
pub fn run(input: &[u8]) {
    let Some(scene) = scene::<Scene>(input) else {
        return;
    };
    let root = tempfile::tempdir().expect("a temporary directory");
    let mut stage = Stage::new(&scene.settings, root);
    for operation in scene.operations.into_iter().take(OPERATIONS_AT_MOST) {
        stage.play(operation);
    }
    stage.end();
}

struct Stage {
    pager: Pager,
    table: Table<Handle<u8>>,
    /// Views, each with what it must show for as long as it lives.
    views: Vec<(View<u8>, Vec<u8>)>,
    has_quota: bool,
    root: TempDir,
    /// Scratch directories so far, by number.
    moves: usize,
}

impl Stage {
    fn new(settings: &Settings, root: TempDir) -> Self {
        let io = if settings.is_buffered {
            IoChoice::Buffered
        } else {
            IoChoice::Auto
        };
        let preset = if settings.is_seed {
            Preset::Seed
        } else {
            Preset::Fast
        };
        let (low, high) = settings.watermarks;
        let mut builder = Pager::builder()
            .preset(preset)
            .io(io)
            .checksums(settings.has_checksums)
            .io_threads((settings.io_threads % 3).into())
            .watermarks(low, high)
            .budget_bytes(settings.budget.map_or(0, |len| len.bytes()))
            .scratch_dir(root.path().join("0"))
            .allow_memory_fs(true);
        if let Some(quota) = settings.quota {
            builder = builder.quota_bytes(quota.bytes() as u64);
        }
        Self {
            pager: builder.build().expect("a pager over a fresh directory"),
            table: Table::new(),
            views: Vec::new(),
            has_quota: settings.quota.is_some(),
            root,
            moves: 0,
        }
    }

    fn play(&mut self, operation: Operation) {
        let (pager, table) = (&self.pager, &mut self.table);
        match operation {
            Operation::PageOut(way, memory, lens) => {
                let done = table.page_out(lens_of(&lens), memory, Facade(pager, way));
                self.check_write(done);
            }
            Operation::PageOutEach(lens) => {
                let done = table.page_out_each(lens_of(&lens), |chunks| {
                    pager.options().pageout_each(chunks)
                });
                self.check_write(done);
            }
            Operation::Read(which, span) => {
                if let Some(entry) = table.get(which) {
                    check(entry.read(&span.range(entry.content.len())));
                }
            }
            Operation::ReadMany(which, memory, spans) => {
                if let Some(entry) = table.get(which) {
                    let spans = spans.iter().take(40);
                    let ranges = spans.map(|span| span.range(entry.content.len()));
                    check(entry.read_many(&ranges.collect::<Vec<_>>(), memory));
                }
            }
            Operation::View(which, span) => self.view(which, span),
            Operation::DropView(which) => {
                if let Some(index) = usize::from(which).checked_rem(self.views.len()) {
                    drop(self.views.swap_remove(index));
                }
            }
            Operation::Prefetch(which, span) => {
                if let Some(entry) = table.get(which) {
                    entry.prefetch(&span.range(entry.content.len()));
                }
            }
            Operation::PrefetchAll => {
                let handles: Vec<&Handle<u8>> = table.live.iter().map(|it| &it.handle).collect();
                pager.prefetch_many(&handles);
            }
            Operation::Take(which, memory, held) => check(table.take(which, memory, held.bytes())),
            Operation::Drop(which) => drop(table.remove(which)),
            Operation::Flip(kind) => check(pager.set_backend(kind.into())),
            Operation::Budget(len) => self.check_write(pager.set_budget(len.bytes())),
            Operation::Flush => self.check_write(pager.flush()),
            Operation::MoveScratch => self.move_scratch(),
            Operation::Look => self.look(),
        }
    }

    fn view(&mut self, which: u8, span: Span) {
        let Some(entry) = self.table.get(which) else {
            return;
        };
        let range = span.range(entry.content.len());
        let expected = entry.content.get(range.clone());
        match (entry.handle.view(range), expected) {
            (Ok(view), Some(expected)) => self.views.push((view, expected.to_vec())),
            (Err(Error::OutOfBounds { .. }), None) => {}
            (Err(Error::NoRoom { .. }), Some(_)) => {}
            (outcome, expected) => panic!("{outcome:?} for {:?}", expected.map(<[u8]>::len)),
        }
    }

    /// What stores may fail for want of quota, and for no other reason.
    fn check_write(&self, done: Result<()>) {
        match done {
            Err(Error::QuotaExceeded { .. }) if self.has_quota => {}
            done => check(done),
        }
    }

    /// Another scratch directory is refused exactly while the first is in use.
    fn move_scratch(&mut self) {
        self.moves += 1;
        let moved = self
            .pager
            .set_scratch_dir(self.root.path().join(self.moves.to_string()));
        let is_file = |entry: &Entry<Handle<u8>>| entry.handle.backend() == BackendKind::File;
        if self.table.live.iter().any(is_file) {
            assert!(
                matches!(
                    moved,
                    Err(Error::ScratchUnavailable {
                        problem: ScratchProblem::InUse,
                        ..
                    })
                ),
                "{moved:?}"
            );
        } else {
            check(moved);
        }
    }

    /// The pager lists and counts what the table holds.
    fn look(&self) {
        let total = self.pager.stats().total;
        assert_eq!(total.live_handles, self.table.live.len());
        assert_eq!(total.logical_bytes, self.table.bytes() as u64);
        let mut listed: Vec<_> = self.pager.handles();
        listed.sort_by_key(|info| (info.backend, info.id));
        let held = self.table.live.iter().map(|entry| &entry.handle);
        let mut held: Vec<_> = held
            .map(|it| (it.backend().name(), it.id(), it.len()))
            .collect();
        held.sort_unstable();
        let listed: Vec<_> = listed
            .iter()
            .map(|it| (it.backend, it.id, it.len_bytes))
            .collect();
        assert_eq!(listed, held);
        for (view, expected) in &self.views {
            assert_bytes(view, expected, "a view");
        }
    }

    /// Compares everything that is left, and then nothing is.
    fn end(mut self) {
        self.look();
        for entry in &self.table.live {
            check(entry.read_all());
        }
        while self.table.live.len() > 1 {
            check(self.table.take(0, Memory::Vec, 0));
            drop(self.table.remove(0));
        }
        drop(self.table);
        for (view, expected) in self.views {
            assert_bytes(&view, &expected, "a view that outlived its handle");
        }
        let stats = || self.pager.stats();
        assert_soon("payloads are held", || {
            stats().total.backend.logical_bytes == 0
        });
        assert_soon("memory is held", || stats().residency.resident_bytes == 0);
        assert_soon("storage is held", || {
            stats()
                .file
                .is_none_or(|file| file.backend.stored_bytes == 0)
        });
        assert_eq!(stats().total.live_handles, 0);
        drop(self.pager);
        for root in self.root.path().read_dir().expect("it can be listed") {
            // A background thread may be the last to let go of a backend.
            assert_is_soon_empty(&root.expect("it can be listed").path());
        }
    }
}

fn lens_of(lens: &[Option<Length>]) -> impl Iterator<Item = usize> {
    lens.iter().flatten().map(|len| len.bytes())
}

fn check(done: Result<()>) {
    if let Err(error) = done {
        panic!("an operation failed that must not: {error}");
    }
}
