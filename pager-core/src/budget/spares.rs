//! [`Spares`]: a few warm, empty `Vec`s, within the budget.
//!
//! A `Vec` that was paged out in the background, or that a take put aside, is
//! handed to the next caller in place of the one it gave away. So neither side
//! pays for page faults on fresh memory, and nothing is zeroed.

use super::charge::Charge;
use crate::memory::{PAGE_BYTES, release_vec};
use crate::sync::{Mutex, lock};

/// Vecs kept at most, so that a search is short.
const MAX_COUNT: usize = 16;

/// Smaller ones are not worth keeping: the allocator has them warm.
const MIN_BYTES: usize = 8 << 10;

/// A bounded stock of empty `Vec`s with capacity.
#[derive(Debug)]
pub(super) struct Spares {
    stock: Mutex<Vec<(Vec<u64>, Charge)>>,
}

impl Spares {
    pub(super) fn new() -> Self {
        Self {
            stock: Mutex::new(Vec::new()),
        }
    }

    /// Keeps `vec` for later, with a charge of its own or with the one that `hold`
    /// gets for it; gives it back to the system if there is none, or the stock is full.
    pub(super) fn put(&self, mut vec: Vec<u64>, hold: impl FnOnce() -> Option<Charge>) {
        vec.clear();
        let charge = if is_worth_keeping(&vec) { hold() } else { None };
        if let Some(charge) = charge {
            let mut stock = lock(&self.stock);
            if stock.len() < MAX_COUNT {
                stock.push((vec, charge));
                return;
            }
        }
        // Freed outside the lock.
        release_vec(vec);
    }

    /// An empty `Vec` with room for `words` and little more: the one put here last.
    pub(super) fn get(&self, words: usize) -> Option<Vec<u64>> {
        let mut stock = lock(&self.stock);
        let found = stock.iter().rposition(|(vec, _)| serves(vec, words))?;
        let (vec, charge) = stock.swap_remove(found);
        drop(stock);
        drop(charge);
        Some(vec)
    }

    /// Takes one `Vec` out, whatever its size: its room is wanted.
    pub(super) fn take_one(&self) -> Option<(Vec<u64>, Charge)> {
        lock(&self.stock).pop()
    }
}

fn is_worth_keeping(vec: &Vec<u64>) -> bool {
    vec.capacity() * size_of::<u64>() >= MIN_BYTES
}

/// Whether `vec` has room for `words` and at most a page more: what is held is what
/// is charged.
pub(super) fn serves(vec: &Vec<u64>, words: usize) -> bool {
    const SLACK_WORDS: usize = PAGE_BYTES / size_of::<u64>();
    (words..=words.saturating_add(SLACK_WORDS)).contains(&vec.capacity())
}
