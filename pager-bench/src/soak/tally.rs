//! [`Tally`]: what all threads have done, and what they have found.
//!
//! Relaxed throughout: totals that order nothing, read exactly once all threads
//! have been joined.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// What a thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Operation {
    /// A payload of one to four chunks to the backend selected.
    Pageout,
    /// To the backend named.
    PageoutTo,
    /// Every chunk a payload of its own.
    PageoutEach,
    /// With a hint.
    PageoutHinted,
    /// One range.
    ReadAt,
    /// Several ranges.
    ReadAtMany,
    /// Everything, into a `Vec` or a `ChunkBuf`.
    Take,
    /// The hint for a whole payload.
    Prefetch,
    /// The hint for a part.
    PrefetchAt,
    /// The hint for several payloads.
    PrefetchMany,
    /// The end of a payload that nobody wants.
    Drop,
    /// A handle to another thread.
    HandOver,
    /// A handle of another thread.
    Accept,
    /// A range of a payload that other threads may be reading.
    ReadShared,
    /// Another backend for later page-outs.
    SetBackend,
    /// Another budget.
    SetBudget,
    /// Everything out.
    Flush,
}

/// All of them, with how often out of `WEIGHTS` each is drawn.
pub const OPERATIONS: [(Operation, &str, usize); 17] = [
    (Operation::Pageout, "pageout", 200),
    (Operation::PageoutTo, "pageout_to_backend", 60),
    (Operation::PageoutEach, "pageout_each", 40),
    (Operation::PageoutHinted, "pageout_with_reuse", 60),
    (Operation::ReadAt, "read_at", 200),
    (Operation::ReadAtMany, "read_at_many", 100),
    (Operation::Take, "take", 170),
    (Operation::Prefetch, "prefetch", 60),
    (Operation::PrefetchAt, "prefetch_at", 30),
    (Operation::PrefetchMany, "prefetch_many", 20),
    (Operation::Drop, "drop", 80),
    (Operation::HandOver, "hand_over", 20),
    (Operation::Accept, "accept", 20),
    (Operation::ReadShared, "read_shared", 40),
    (Operation::SetBackend, "set_backend", 15),
    (Operation::SetBudget, "set_budget", 5),
    (Operation::Flush, "flush", 3),
];

/// The sum of all shares.
pub(super) const WEIGHTS: usize = {
    let (mut sum, mut index) = (0, 0);
    while index < OPERATIONS.len() {
        sum += OPERATIONS[index].2;
        index += 1;
    }
    sum
};

#[derive(Debug, Default)]
pub(super) struct Tally {
    done: [AtomicU64; OPERATIONS.len()],
    compared_words: AtomicU64,
    differences: AtomicU64,
    errors: AtomicU64,
    first_difference: Mutex<Option<String>>,
    first_error: Mutex<Option<String>>,
}

impl Tally {
    pub(super) fn done(&self, operation: Operation) {
        self.done[operation as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn compared(&self, words: usize) {
        self.compared_words
            .fetch_add(words as u64, Ordering::Relaxed);
    }

    pub(super) fn differs(&self, operation: Operation, what: &str) {
        self.differences.fetch_add(1, Ordering::Relaxed);
        keep_first(&self.first_difference, || format!("{operation:?}: {what}"));
    }

    pub(super) fn failed(&self, operation: Operation, error: &pager::Error) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        keep_first(&self.first_error, || {
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
            format!("{operation:?}: {error}{}", cause.unwrap_or_default())
        });
    }

    /// How often each operation was done, by name.
    pub(super) fn by_name(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = OPERATIONS.iter().zip(&self.done);
        counts.map(|((_, name, _), done)| (*name, done.load(Ordering::Relaxed)))
    }

    pub(super) fn operations(&self) -> u64 {
        self.by_name().map(|(_, done)| done).sum()
    }

    pub(super) fn compared_words(&self) -> u64 {
        self.compared_words.load(Ordering::Relaxed)
    }

    pub(super) fn differences(&self) -> u64 {
        self.differences.load(Ordering::Relaxed)
    }

    pub(super) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    pub(super) fn first_difference(&self) -> Option<String> {
        first(&self.first_difference)
    }

    pub(super) fn first_error(&self) -> Option<String> {
        first(&self.first_error)
    }
}

fn keep_first(place: &Mutex<Option<String>>, say: impl FnOnce() -> String) {
    place
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_with(say);
}

fn first(place: &Mutex<Option<String>>) -> Option<String> {
    place.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_stands_where_it_is_counted() {
        for (index, (operation, _, weight)) in OPERATIONS.iter().enumerate() {
            assert_eq!(*operation as usize, index);
            assert!(*weight > 0);
        }
    }
}
