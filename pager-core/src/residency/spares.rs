//! [`Spares`]: a few warm, empty `Vec`s.
//!
//! A `Vec` that was paged out in the background, or that a take put aside, is
//! handed to the next caller in place of the one it gave away. So neither side
//! pays for page faults on fresh memory, and nothing is zeroed.

use crate::sync::{AtomicUsize, Mutex, Ordering, lock};

/// Vecs kept at most, so that a search is short.
const MAX_COUNT: usize = 16;

/// A bounded stock of empty `Vec`s with capacity.
#[derive(Debug)]
pub(super) struct Spares {
    stock: Mutex<Vec<Vec<u64>>>,
    /// Bytes of capacity in the stock. Relaxed: changed under the lock, read for
    /// statistics.
    held_bytes: AtomicUsize,
    limit_bytes: usize,
}

impl Spares {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self {
            stock: Mutex::new(Vec::with_capacity(MAX_COUNT)),
            held_bytes: AtomicUsize::new(0),
            limit_bytes,
        }
    }

    /// Keeps `vec` for later, or frees it when the stock is full.
    pub(super) fn put(&self, mut vec: Vec<u64>) {
        vec.clear();
        let bytes = capacity_bytes(&vec);
        if bytes == 0 {
            return;
        }
        let mut stock = lock(&self.stock);
        let held_bytes = self.held_bytes.load(Ordering::Relaxed);
        if stock.len() < MAX_COUNT && held_bytes + bytes <= self.limit_bytes {
            self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
            stock.push(vec);
            return;
        }
        // Freed outside the lock.
        drop(stock);
        drop(vec);
    }

    /// An empty `Vec` with room for `words` and at most twice as much: the one
    /// put here last.
    pub(super) fn get(&self, words: usize) -> Option<Vec<u64>> {
        let mut stock = lock(&self.stock);
        let found = stock
            .iter()
            .rposition(|vec| (words..=words.saturating_mul(2)).contains(&vec.capacity()))?;
        let vec = stock.swap_remove(found);
        self.held_bytes
            .fetch_sub(capacity_bytes(&vec), Ordering::Relaxed);
        Some(vec)
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }
}

fn capacity_bytes(vec: &Vec<u64>) -> usize {
    vec.capacity() * size_of::<u64>()
}
