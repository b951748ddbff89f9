//! [`Registry`]: who is alive, and the operations on payloads of one backend.
//!
//! ```text
//! mod       Registry, and the questions one may ask it
//! pageout   the way in: into memory under a budget, or straight to the backend
//! pageout_with  the same of bytes that do not exist yet
//! segment   the same of buffers that spills have filled
//! handle    Handle: the caller's side of read, take, prefetch, drop
//! home      a way to the registry that threads do not share
//! table     the live handles
//! counters  totals that threads add to without meeting
//! stats     what all of this looks like from outside
//! ```

mod counters;
mod handle;
mod home;
mod pageout;
mod pageout_with;
mod segment;
mod stats;
pub(crate) mod table;
#[cfg(all(test, pager_shuttle))]
mod table_interleavings;

use std::ops::Range;
use std::sync::Arc;

use bytemuck::Pod;

use counters::{Count, Counters};
use home::Homes;
use table::Table;

pub use handle::Handle;
pub(crate) use home::Home;
pub use pageout::{PageoutOptions, Reuse};
pub(crate) use segment::{Admitted, SegmentDoor};
pub use stats::{HandleInfo, Stats};

use crate::backend::Backend;
use crate::budget::{Engine, Residency, TransferMemory};
use crate::error::{Result, TakeError};
use crate::memory::{Destination, ElementLayout, ProcessStamp};
use crate::observe::{About, Operation, Watch};
use crate::payload::Payload;

/// Pages payloads out through one backend and keeps track of their handles.
///
/// A clone is the same registry. Handles keep what they need alive: the
/// registry itself may be dropped first.
///
/// ```
/// use pager_core::Registry;
/// # mod in_memory { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/in_memory.inc")); }
/// # use in_memory::InMemory;
///
/// let registry = Registry::new(InMemory);
/// let mut column = vec![1, 2, 3, 4];
/// let handle = registry.pageout(std::slice::from_mut(&mut column))?;
/// assert!(column.is_empty());
///
/// let mut part = Vec::new();
/// registry.read_at(&handle, 2, 2, &mut part)?;
/// assert_eq!(part, [3, 4]);
///
/// registry.take(handle, &mut column)?;
/// assert_eq!(column, [1, 2, 3, 4]);
/// # Ok::<(), pager_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Registry<B: Backend> {
    shared: Arc<Shared<B>>,
    homes: Arc<Homes<B>>,
}

/// What a registry and its handles share.
#[derive(Debug)]
pub(crate) struct Shared<B> {
    pub(crate) backend: B,
    /// Bytes of each live payload and what it is made of, by the number of its handle.
    handles: Table<(usize, ElementLayout)>,
    counters: Counters,
    pub(crate) owner: ProcessStamp,
    residency: Residency,
}

impl<B> Shared<B> {
    /// The engine of its budget.
    pub(crate) fn engine(&self) -> &Arc<Engine> {
        self.residency.engine()
    }
}

impl<B: Backend> Shared<B> {
    /// What is done to a payload, which may have no handle yet, for whoever watches.
    pub(crate) fn about(&self, operation: Operation, handle: Option<u64>, bytes: usize) -> About {
        About {
            operation,
            backend: self.backend.name(),
            handle,
            bytes,
        }
    }

    /// Has the backend store a payload, and tells whoever watches.
    ///
    /// # Errors
    ///
    /// Those of the backend; the payload is as it was.
    pub(crate) fn write(&self, payload: &mut Payload<'_>, handle: Option<u64>) -> Result<B::Slot> {
        let watch = Watch::begin(self.about(Operation::Write, handle, payload.len_bytes()));
        let stored = self.backend.page_out(payload);
        watch.end(&stored, None);
        stored
    }
}

impl<B: Backend> Registry<B> {
    /// A registry over `backend` without a budget: every `pageout` stores at
    /// once, on the calling thread.
    pub fn new(backend: B) -> Self {
        Self::with_residency(backend, &Residency::none())
    }

    /// A registry over `backend` whose payloads stay in memory as far as the
    /// budget of `residency` allows, and move in the background.
    pub fn with_residency(backend: B, residency: &Residency) -> Self {
        let engine = residency.engine();
        engine.prefer(backend.preferences());
        backend.attach(&TransferMemory::new(engine));
        let shared = Arc::new(Shared {
            backend,
            handles: Table::new(),
            counters: Counters::new(),
            owner: ProcessStamp::current(),
            residency: residency.clone(),
        });
        Self {
            homes: Arc::new(Homes::new(&shared)),
            shared,
        }
    }

    /// The engine of its budget.
    pub(crate) fn engine(&self) -> &Arc<Engine> {
        self.shared.engine()
    }

    /// Whether this is the process that made it.
    pub(crate) fn is_own(&self) -> bool {
        self.shared.owner.is_current()
    }

    /// The memory budget of the registry: one of zero, unless it was given another.
    #[must_use]
    pub fn residency(&self) -> &Residency {
        &self.shared.residency
    }

    /// The backend.
    #[must_use]
    pub fn backend(&self) -> &B {
        &self.shared.backend
    }

    /// [`Handle::read_at`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn read_at<T: Pod, D: Destination<Element = T>>(
        &self,
        handle: &Handle<B, T>,
        offset: usize,
        len: usize,
        dst: &mut D,
    ) -> Result<()> {
        handle.read_at(offset, len, dst)
    }

    /// [`Handle::read_at_many`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn read_at_many<T: Pod, D: Destination<Element = T>>(
        &self,
        handle: &Handle<B, T>,
        ranges: &[Range<usize>],
        dst: &mut D,
    ) -> Result<()> {
        handle.read_at_many(ranges, dst)
    }

    /// [`Handle::prefetch`].
    pub fn prefetch<T: Pod>(&self, handle: &Handle<B, T>) {
        handle.prefetch();
    }

    /// [`Handle::prefetch_at`].
    pub fn prefetch_at<T: Pod>(&self, handle: &Handle<B, T>, offset: usize, len: usize) {
        handle.prefetch_at(offset, len);
    }

    /// Hints that all of these payloads will be taken or read soon, in this
    /// order.
    pub fn prefetch_many<T: Pod>(&self, handles: &[&Handle<B, T>]) {
        handles.iter().for_each(|handle| handle.prefetch());
    }

    /// [`Handle::take`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn take<T: Pod, D: Destination<Element = T>>(
        &self,
        handle: Handle<B, T>,
        dst: &mut D,
    ) -> Result<(), TakeError<Handle<B, T>>> {
        handle.take(dst)
    }

    /// What the registry and its backend hold and have done. All zero in a forked
    /// child, which holds nothing of it.
    ///
    /// Never stops other threads; some hundred loads, however many handles there are.
    #[must_use]
    pub fn stats(&self) -> Stats {
        if !self.shared.owner.is_current() {
            return Stats::default();
        }
        let counters = &self.shared.counters;
        let counted = |count| counters.get(count);
        Stats {
            live_handles: self.live_handles(),
            logical_bytes: counters.live_bytes(),
            backend: self.shared.backend.usage(),
            residency: self.residency().stats(),
            pageouts: counted(Count::Pageouts),
            paged_out_bytes: counted(Count::PagedOutBytes),
            failed_pageouts: counted(Count::FailedPageouts),
            reads: counted(Count::Reads),
            read_bytes: counted(Count::ReadBytes),
            takes: counted(Count::Takes),
            taken_bytes: counted(Count::TakenBytes),
            failed_reads: counted(Count::FailedReads),
            drops: counted(Count::Drops),
            prefetches: counted(Count::Prefetches),
        }
    }

    /// Number of live handles; zero in a forked child.
    #[must_use]
    pub fn live_handles(&self) -> usize {
        if !self.shared.owner.is_current() {
            return 0;
        }
        usize::try_from(self.shared.counters.live_handles()).unwrap_or(usize::MAX)
    }

    /// The live handles, in no particular order; none in a forked child.
    #[must_use]
    pub fn handles(&self) -> Vec<HandleInfo> {
        if !self.shared.owner.is_current() {
            return Vec::new();
        }
        let backend = self.shared.backend.name();
        let listed = self.shared.handles.list().into_iter();
        listed
            .map(|(id, (len_bytes, element))| HandleInfo {
                id,
                backend,
                len: len_bytes / element.bytes(),
                len_bytes,
            })
            .collect()
    }
}

impl<B: Backend> Drop for Registry<B> {
    /// The last registry whose handles are all gone waits for background threads
    /// that are in the middle of an operation on one of their payloads: when it
    /// returns the backend is gone, and with it what it kept on disk. It gives up
    /// after a second.
    fn drop(&mut self) {
        // A clone that is dropped at this very moment makes both of them wait, or
        // neither; neither harms.
        if Arc::strong_count(&self.homes) == 1 && self.shared.owner.is_current() {
            self.homes.await_idle(self.live_handles());
        }
    }
}

impl<B: Backend> Clone for Registry<B> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            homes: Arc::clone(&self.homes),
        }
    }
}
