//! [`Registry`]: who is alive, and the operations on payloads of one backend.
//!
//! ```text
//! mod       Registry: page out, and the questions one may ask
//! handle    Handle: read, take, prefetch, drop
//! shard     the table of live handles
//! counters  totals that threads add to without meeting
//! stats     what all of this looks like from outside
//! ```

mod counters;
mod handle;
mod shard;
mod stats;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use counters::{Count, Counters};
use shard::Shards;

pub use handle::Handle;
pub use stats::{HandleInfo, Stats};

use crate::backend::Backend;
use crate::error::{Error, Result, TakeError};
use crate::memory::{Destination, ProcessStamp};
use crate::payload::{Chunk, Payload};

/// Pages payloads out through one backend and keeps track of their handles.
///
/// A clone is the same registry. Handles keep what they need alive: the
/// registry itself may be dropped first.
///
/// ```
/// use pager_core::Registry;
/// use pager_core::testkit::MemoryBackend;
///
/// let registry = Registry::new(MemoryBackend::new());
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
}

/// What a registry and its handles share.
#[derive(Debug)]
struct Shared<B> {
    backend: B,
    handles: Shards<HandleInfo>,
    counters: Counters,
    next_id: AtomicU64,
    owner: ProcessStamp,
}

impl<B: Backend> Shared<B> {
    fn next_id(&self) -> u64 {
        // Relaxed: numbers need only differ.
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    fn count_read(&self, read: &Result<()>, kind: Count, words: usize) {
        let bytes = match kind {
            Count::Takes => Count::TakenBytes,
            _ => Count::ReadBytes,
        };
        match read {
            Ok(()) => {
                self.counters.add(kind, 1);
                self.counters.add(bytes, words * size_of::<u64>());
            }
            Err(_) => self.counters.add(Count::FailedReads, 1),
        }
    }
}

impl<B: Backend> Registry<B> {
    /// A registry over `backend`.
    pub fn new(backend: B) -> Self {
        Self {
            shared: Arc::new(Shared {
                backend,
                handles: Shards::new(),
                counters: Counters::new(),
                next_id: AtomicU64::new(0),
                owner: ProcessStamp::current(),
            }),
        }
    }

    /// The backend.
    #[must_use]
    pub fn backend(&self) -> &B {
        &self.shared.backend
    }

    /// Pages out `chunks` as one payload: their words, joined in order.
    ///
    /// On success every chunk is empty. Chunks are `Vec<u64>`s or
    /// [`ChunkBuf`](crate::ChunkBuf)s.
    ///
    /// # Errors
    ///
    /// What the backend says; every chunk is then as it was.
    pub fn pageout<C: Chunk>(&self, chunks: &mut [C]) -> Result<Handle<B>> {
        let shared = &self.shared;
        if !shared.owner.is_current() {
            return Err(Error::ForeignProcess);
        }
        let mut payload = Payload::new(chunks);
        let len = payload.len();
        match shared.backend.page_out(&mut payload) {
            Ok(slot) => {
                shared.counters.add(Count::Pageouts, 1);
                shared
                    .counters
                    .add(Count::PagedOutBytes, len * size_of::<u64>());
                Ok(Handle::new(shared, slot, len))
            }
            Err(error) => {
                shared.counters.add(Count::FailedPageouts, 1);
                Err(error)
            }
        }
    }

    /// [`Handle::read_at`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn read_at<D: Destination>(
        &self,
        handle: &Handle<B>,
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
    pub fn read_at_many<D: Destination>(
        &self,
        handle: &Handle<B>,
        ranges: &[Range<usize>],
        dst: &mut D,
    ) -> Result<()> {
        handle.read_at_many(ranges, dst)
    }

    /// [`Handle::prefetch`].
    pub fn prefetch(&self, handle: &Handle<B>) {
        handle.prefetch();
    }

    /// [`Handle::prefetch_at`].
    pub fn prefetch_at(&self, handle: &Handle<B>, offset: usize, len: usize) {
        handle.prefetch_at(offset, len);
    }

    /// [`Handle::take`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn take<D: Destination>(
        &self,
        handle: Handle<B>,
        dst: &mut D,
    ) -> Result<(), TakeError<Handle<B>>> {
        handle.take(dst)
    }

    /// What the registry and its backend hold and have done.
    ///
    /// Never stops other threads; costs what [`Backend::usage`] costs.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let counted = |count| self.shared.counters.get(count);
        let (mut live_handles, mut logical_bytes) = (0, 0);
        self.shared.handles.for_each(|handle| {
            live_handles += 1;
            logical_bytes += (handle.len * size_of::<u64>()) as u64;
        });
        Stats {
            live_handles,
            logical_bytes,
            backend: self.shared.backend.usage(),
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

    /// Number of live handles.
    #[must_use]
    pub fn live_handles(&self) -> usize {
        self.shared.handles.len()
    }

    /// The live handles, in no particular order.
    #[must_use]
    pub fn handles(&self) -> Vec<HandleInfo> {
        let mut listed = Vec::new();
        self.shared.handles.for_each(|handle| listed.push(*handle));
        listed
    }
}

impl<B: Backend> Clone for Registry<B> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}
