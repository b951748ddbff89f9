//! [`Fetches`]: the read-ahead that was asked for and not begun.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::pageable::{Pageable, WeakPageable};
use crate::sync::{AtomicUsize, Mutex, Ordering, lock};

/// Hints kept at most; later ones are refused.
const MAX_COUNT: usize = 4096;

/// A bounded queue of fetches, in the order in which they were asked for. Each has
/// a turn, by which it can be found and cancelled.
#[derive(Default)]
pub(super) struct Fetches {
    queue: Mutex<Waiting>,
    /// Relaxed: a hint to skip the lock.
    len: AtomicUsize,
}

#[derive(Default)]
struct Waiting {
    next_turn: u64,
    by_turn: BTreeMap<u64, (WeakPageable, Range<usize>)>,
}

/// The next fetch to be made.
pub(super) struct Next {
    pub(super) turn: u64,
    pub(super) payload: Arc<dyn Pageable>,
    pub(super) range: Range<usize>,
}

impl Fetches {
    /// Queues a fetch of `range`, in bytes, and returns its turn; `None` if there
    /// are too many already.
    pub(super) fn push(&self, payload: WeakPageable, range: Range<usize>) -> Option<u64> {
        let mut waiting = lock(&self.queue);
        if waiting.by_turn.len() >= MAX_COUNT {
            return None;
        }
        let turn = waiting.next_turn;
        waiting.next_turn += 1;
        waiting.by_turn.insert(turn, (payload, range));
        self.len.store(waiting.by_turn.len(), Ordering::Relaxed);
        Some(turn)
    }

    /// The first fetch, which stays where it is; those whose payloads are gone are
    /// forgotten.
    pub(super) fn first(&self) -> Option<Next> {
        if self.len() == 0 {
            return None;
        }
        let mut waiting = lock(&self.queue);
        let mut found = None;
        while let Some((&turn, (payload, range))) = waiting.by_turn.first_key_value() {
            if let Some(payload) = payload.upgrade() {
                let range = range.clone();
                found = Some(Next {
                    turn,
                    payload,
                    range,
                });
                break;
            }
            waiting.by_turn.pop_first();
        }
        self.len.store(waiting.by_turn.len(), Ordering::Relaxed);
        found
    }

    /// Takes the fetch of this turn out, if it is still there, and says which one
    /// comes after it.
    pub(super) fn remove(&self, turn: u64) -> (bool, Option<Next>) {
        let mut waiting = lock(&self.queue);
        let was_there = waiting.by_turn.remove(&turn);
        self.len.store(waiting.by_turn.len(), Ordering::Relaxed);
        let next = waiting.by_turn.range(turn..).next();
        let next = next.and_then(|(&turn, (payload, range))| {
            Some(Next {
                turn,
                payload: payload.upgrade()?,
                range: range.clone(),
            })
        });
        drop(waiting);
        (was_there.is_some(), next)
    }

    /// The payloads of all fetches.
    pub(super) fn payloads(&self) -> Vec<Arc<dyn Pageable>> {
        let waiting = lock(&self.queue);
        let queued = waiting.by_turn.values();
        queued
            .filter_map(|(payload, _)| payload.upgrade())
            .collect()
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Fetches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} fetches queued", self.len())
    }
}
