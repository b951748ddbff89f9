//! The live handles, in shards that threads do not share.
//!
//! Each thread works on a shard of its own (up to [`SHARD_COUNT`] of them), so
//! registering and forgetting a handle is one uncontended lock around an insert into
//! a map, whose memory shrinks with its entries. Nothing else happens under that lock:
//! no copy, no system call.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// More than the cores that pay off here. The model checker has one: every lock
/// multiplies the schedules that it must visit.
const SHARD_COUNT: usize = if cfg!(pager_shuttle) { 1 } else { 32 };

/// A table of `T`, one entry for each live handle, by its number. The number says
/// which shard it is in.
#[derive(Debug)]
pub(crate) struct Table<T>(Box<[Shard<T>]>);

/// Aligned so that neighbours do not share a cache line (or the pair of lines
/// that x86 prefetches together).
#[derive(Debug)]
#[repr(align(128))]
struct Shard<T>(Mutex<Entries<T>>);

type Entries<T> = HashMap<u64, T, BuildHasherDefault<OfNumbers>>;

/// A map of at most this many entries is never made smaller.
const SMALL_COUNT: usize = 256;

/// Spreads numbers that are given out in order.
#[derive(Debug, Default)]
struct OfNumbers(u64);

impl Hasher for OfNumbers {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

impl<T: Copy> Table<T> {
    pub(crate) fn new() -> Self {
        Self((0..SHARD_COUNT).map(|_| Shard(Mutex::default())).collect())
    }

    /// Adds an entry. Amortised constant.
    pub(crate) fn insert(&self, id: u64, entry: T) {
        self.lock(shard_of(id)).insert(id, entry);
    }

    /// Removes an entry. Amortised constant.
    pub(crate) fn remove(&self, id: u64) {
        let mut entries = self.lock(shard_of(id));
        entries.remove(&id);
        // What is gone costs nothing; halved at most, so amortised constant too.
        if entries.capacity() > SMALL_COUNT && entries.is_empty() {
            *entries = Entries::default();
        } else if entries.capacity() > SMALL_COUNT && entries.len() < entries.capacity() / 8 {
            let twice = 2 * entries.len();
            entries.shrink_to(twice);
        }
    }

    /// All entries: those of each shard at one moment.
    pub(crate) fn list(&self) -> Vec<(u64, T)> {
        let mut listed = Vec::new();
        for shard in 0..SHARD_COUNT {
            listed.extend(self.lock(shard).iter().map(|(id, entry)| (*id, *entry)));
        }
        listed
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, Entries<T>> {
        // A map is whole between its calls.
        self.0[shard]
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn shard_of(id: u64) -> usize {
    usize::try_from(id % SHARD_COUNT as u64).unwrap_or_default()
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
