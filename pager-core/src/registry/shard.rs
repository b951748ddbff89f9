//! The live handles, in shards that threads do not share.
//!
//! Each thread works on a shard of its own (up to [`SHARD_COUNT`] of them), so
//! registering and forgetting a handle is one uncontended lock around a slab
//! insert. Nothing else happens under that lock: no copy, no system call.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use slab::Slab;

/// More than the cores that pay off here. The model checker has one: every lock
/// multiplies the schedules that it must visit.
const SHARD_COUNT: usize = if cfg!(shuttle) { 1 } else { 32 };

/// A table of `T`, one entry for each live handle.
#[derive(Debug)]
pub(crate) struct Shards<T>(Box<[Shard<T>]>);

/// Aligned so that neighbours do not share a cache line (or the pair of lines
/// that x86 prefetches together).
#[derive(Debug)]
#[repr(align(128))]
struct Shard<T>(Mutex<Slab<T>>);

/// Where an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    shard: usize,
    index: usize,
}

impl<T> Shards<T> {
    pub(crate) fn new() -> Self {
        Self((0..SHARD_COUNT).map(|_| Shard(Mutex::default())).collect())
    }

    /// Adds an entry on the calling thread's shard. Amortised constant.
    pub(crate) fn insert(&self, entry: T) -> Key {
        let shard = home_shard();
        let index = self.lock(shard).insert(entry);
        Key { shard, index }
    }

    /// Removes the entry that `insert` returned this key for.
    pub(crate) fn remove(&self, key: Key) -> Option<T> {
        self.lock(key.shard).try_remove(key.index)
    }

    /// Number of entries; each shard is exact, the sum is of nearly one moment.
    pub(crate) fn len(&self) -> usize {
        (0..SHARD_COUNT).map(|shard| self.lock(shard).len()).sum()
    }

    /// Calls `visit` with every entry, one shard at a time.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&T)) {
        for shard in 0..SHARD_COUNT {
            for (_, entry) in &*self.lock(shard) {
                visit(entry);
            }
        }
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, Slab<T>> {
        // A slab is whole between its calls, so a panic in a visitor leaves
        // nothing to repair.
        self.0[shard]
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The shard that the calling thread uses, dealt out in turn.
pub(crate) fn home_shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static HOME: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    HOME.with(|home| {
        if home.get() == usize::MAX {
            // Relaxed: any value will do, they should only differ.
            home.set(NEXT.fetch_add(1, Ordering::Relaxed) % SHARD_COUNT);
        }
        home.get()
    })
}

/// Number of shards, for tables that are sharded alike.
pub(crate) const fn shard_count() -> usize {
    SHARD_COUNT
}
