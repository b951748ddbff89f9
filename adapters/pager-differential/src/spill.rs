//! [`Spill`]: how the traces of one worker are spilled, and what was done.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

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
    /// Bytes after a chunk that are asked for when it is loaded. The pager reads ahead in a
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
    pub(crate) kept_bytes: Cell<u64>,
    pub(crate) store_failures: Cell<u64>,
    pub(crate) load_failures: Cell<u64>,
    pub(crate) failure: RefCell<Option<Failure>>,
}

impl Spill {
    /// Spills the traces of this worker through `pager`.
    #[must_use = "traces are spilled for as long as it is there"]
    pub fn install(pager: Arc<Pager>, settings: Settings) -> Self {
        let shared = Rc::new(Shared {
            pager,
            settings,
            order: RefCell::default(),
            kept_bytes: Cell::new(0),
            store_failures: Cell::new(0),
            load_failures: Cell::new(0),
            failure: RefCell::new(None),
        });
        let engine = Arc::new(SpillStats::default());
        // No record stays because of the engine's own budget: the pager's decides.
        let store = Box::new(Store::new(Rc::clone(&shared)));
        spill::install(0, store, Arc::clone(&engine));
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
        Stats {
            stored_chunks: engine(&self.engine.spilled_chunks),
            stored_updates: engine(&self.engine.spilled_records),
            stored_bytes: engine(&self.engine.bytes_written),
            loaded_chunks: engine(&self.engine.fetched_chunks),
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
    /// Tells of a failure that lost nothing.
    pub(crate) fn tell(&self, failures: &Cell<u64>, error: &Error) {
        failures.set(failures.get() + 1);
        if let Some(told) = &self.settings.on_failure {
            told(error);
        }
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        spill::uninstall();
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
    /// Chunks that the engine has stored.
    pub stored_chunks: u64,
    /// Updates in them.
    pub stored_updates: u64,
    /// Bytes of them. The pager writes those that its budget has no room for.
    pub stored_bytes: u64,
    /// Chunks that the engine has loaded.
    pub loaded_chunks: u64,
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
