//! [`Spill`]: how the traces of one worker are spilled, and what was done.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use differential_dataflow::columnar::trace::spill::{self, SpillStats};
use pager::{Error, Pager};

use crate::order::Order;
use crate::store::Store;

/// How traces are spilled.
#[derive(Clone)]
#[must_use]
pub struct Settings {
    pub(crate) ahead_bytes: usize,
    pub(crate) on_failure: Option<OnFailure>,
}

pub(crate) type OnFailure = Arc<dyn Fn(&Error)>;

impl Default for Settings {
    fn default() -> Self {
        Self {
            ahead_bytes: 4 << 20,
            on_failure: None,
        }
    }
}

impl Settings {
    /// Bytes after a chunk that are asked for when it is read. The pager reads ahead in a
    /// quarter of its budget, for all workers together. Default: 4 MiB.
    pub fn ahead_bytes(mut self, bytes: usize) -> Self {
        self.ahead_bytes = bytes;
        self
    }

    /// Called with each failed store or load, on the worker's thread: what was to be stored
    /// is in memory, and what was to be loaded is tried again.
    pub fn on_failure(mut self, told: impl Fn(&Error) + 'static) -> Self {
        self.on_failure = Some(Arc::new(told));
        self
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("ahead_bytes", &self.ahead_bytes)
            .finish_non_exhaustive()
    }
}

/// The traces of a worker are spilled for as long as this is there. It stays on its thread.
pub struct Spill {
    shared: Rc<Shared>,
    engine: Arc<SpillStats>,
    _stays: PhantomData<*const ()>,
}

/// What the chunks of a worker share.
pub(crate) struct Shared {
    pub(crate) pager: Arc<Pager>,
    pub(crate) settings: Settings,
    pub(crate) order: RefCell<Order>,
    stored_chunks: Cell<u64>,
    stored_updates: Cell<u64>,
    stored_bytes: Cell<u64>,
    loaded_chunks: Cell<u64>,
    taken_chunks: Cell<u64>,
    kept_bytes: Cell<u64>,
    pub(crate) store_failures: Cell<u64>,
    load_failures: Cell<u64>,
    failure: RefCell<Option<Failure>>,
}

thread_local! {
    /// What this worker's chunks are paged out with.
    static INSTALLED: RefCell<Option<Rc<Shared>>> = const { RefCell::new(None) };
}

/// Times that a load is tried, in all.
const TRIES: u32 = 5;

/// How long after the first failure; twice as long after each further one.
const PAUSE: Duration = Duration::from_millis(10);

impl Spill {
    /// Spills the traces of this worker through `pager`.
    #[must_use = "traces are spilled for as long as it is there"]
    pub fn install(pager: Arc<Pager>, settings: Settings) -> Self {
        let shared = Rc::new(Shared {
            pager,
            settings,
            order: RefCell::default(),
            stored_chunks: Cell::default(),
            stored_updates: Cell::default(),
            stored_bytes: Cell::default(),
            loaded_chunks: Cell::default(),
            taken_chunks: Cell::default(),
            kept_bytes: Cell::default(),
            store_failures: Cell::default(),
            load_failures: Cell::default(),
            failure: RefCell::default(),
        });
        let engine = Arc::new(SpillStats::default());
        // No record stays because of the engine's own budget: the pager's decides.
        let store = Box::new(Store::new(Rc::clone(&shared)));
        spill::install(0, store, Arc::clone(&engine));
        INSTALLED.set(Some(Rc::clone(&shared)));
        Self {
            shared,
            engine,
            _stays: PhantomData,
        }
    }

    /// What was done so far, for this worker.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let engine = |counter: &std::sync::atomic::AtomicUsize| {
            // Relaxed: each is read by itself.
            counter.load(Ordering::Relaxed) as u64
        };
        let shared = &self.shared;
        Stats {
            stored_chunks: engine(&self.engine.spilled_chunks) + shared.stored_chunks.get(),
            stored_updates: engine(&self.engine.spilled_records) + shared.stored_updates.get(),
            stored_bytes: engine(&self.engine.bytes_written) + shared.stored_bytes.get(),
            loaded_chunks: engine(&self.engine.fetched_chunks) + shared.loaded_chunks.get(),
            taken_chunks: shared.taken_chunks.get(),
            kept_bytes: self.shared.kept_bytes.get(),
            store_failures: self.shared.store_failures.get(),
            load_failures: self.shared.load_failures.get(),
        }
    }

    /// Why the worker failed, if it did: what could not be loaded.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        self.shared.failure.borrow().clone()
    }
}

impl Shared {
    /// What is installed on this thread.
    pub(crate) fn installed() -> Option<Rc<Self>> {
        INSTALLED.with_borrow(Clone::clone)
    }

    /// Counts a chunk that was stored.
    pub(crate) fn stored(&self, updates: usize, bytes: usize) {
        add(&self.stored_chunks, 1);
        add(&self.stored_updates, updates as u64);
        add(&self.stored_bytes, bytes as u64);
    }

    /// Counts a chunk that was read where it lies.
    pub(crate) fn loaded(&self) {
        add(&self.loaded_chunks, 1);
    }

    /// Counts a chunk that was read for good.
    pub(crate) fn taken(&self) {
        add(&self.taken_chunks, 1);
    }

    /// What `load` gives, which is tried again where it fails.
    ///
    /// # Panics
    ///
    /// If it fails time and again, and ever after; why is kept.
    pub(crate) fn persist<T>(&self, mut load: impl FnMut() -> pager::Result<T>) -> T {
        if let Some(failure) = self.failure.borrow().clone() {
            panic!("{failure}: {}", failure.cause());
        }
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match load() {
                Ok(loaded) => return loaded,
                Err(error) => self.tell(&self.load_failures, &error),
            }
            thread::sleep(pause);
            pause *= 2;
        }
        load().unwrap_or_else(|error| {
            self.tell(&self.load_failures, &error);
            let failure = Failure::new(error);
            *self.failure.borrow_mut() = Some(failure.clone());
            panic!("{failure}: {}", failure.cause());
        })
    }

    /// Tells of a failure that lost nothing.
    pub(crate) fn tell(&self, failures: &Cell<u64>, error: &Error) {
        add(failures, 1);
        if let Some(told) = &self.settings.on_failure {
            told(error);
        }
    }
}

fn add(counter: &Cell<u64>, count: u64) {
    counter.set(counter.get() + count);
}

/// Bytes that are counted as kept for as long as this is there.
pub(crate) struct Kept {
    shared: Rc<Shared>,
    bytes: u64,
}

impl Kept {
    pub(crate) fn new(shared: &Rc<Shared>, bytes: usize) -> Self {
        let bytes = bytes as u64;
        add(&shared.kept_bytes, bytes);
        Self {
            shared: Rc::clone(shared),
            bytes,
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let kept = &self.shared.kept_bytes;
        kept.set(kept.get() - self.bytes);
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        // Unless another has taken its place.
        let is_installed = Shared::installed().is_some_and(|it| Rc::ptr_eq(&it, &self.shared));
        if is_installed {
            spill::uninstall();
            INSTALLED.set(None);
        }
    }
}

impl fmt::Debug for Spill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spill")
            .field("settings", &self.shared.settings)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// What has been done for one worker so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Chunks that were stored.
    pub stored_chunks: u64,
    /// Updates in them.
    pub stored_updates: u64,
    /// Bytes of them. The pager writes those that its budget has no room for.
    pub stored_bytes: u64,
    /// Chunks that were loaded: those of the engine copied, others shown where they lie.
    pub loaded_chunks: u64,
    /// Chunks that nobody else held, and that came back for good.
    pub taken_chunks: u64,
    /// Bytes that are in memory because they could not be stored.
    pub kept_bytes: u64,
    /// Stores that failed.
    pub store_failures: u64,
    /// Loads that failed, and were tried again.
    pub load_failures: u64,
}

/// Why a worker failed: a chunk could not be loaded. The worker's panic says the same.
#[derive(Debug, Clone, thiserror::Error)]
#[error("a spilled chunk could not be loaded")]
pub struct Failure {
    source: Arc<Error>,
}

impl Failure {
    pub(crate) fn new(source: Error) -> Self {
        Self {
            source: Arc::new(source),
        }
    }

    /// What the pager said, the last time.
    #[must_use]
    pub fn cause(&self) -> &Error {
        &self.source
    }
}
