//! [`Fetches`]: the read-ahead that was asked for and not begun.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::pageable::{Pageable, WeakPageable};
use crate::sync::{AtomicUsize, Mutex, Ordering, lock};

/// Hints kept at most; later ones are refused.
const MAX_COUNT: usize = 1024;

/// A bounded queue of fetches, in the order in which they were asked for.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    queue: Mutex<VecDeque<(WeakPageable, Range<usize>)>>,
    /// Relaxed: a hint to skip the lock.
    len: AtomicUsize,
}

impl Fetches {
    /// Queues a fetch; `false` if there are too many already.
    pub(super) fn push(&self, payload: WeakPageable, range: Range<usize>) -> bool {
        let mut queue = lock(&self.queue);
        if queue.len() >= MAX_COUNT {
            return false;
        }
        queue.push_back((payload, range));
        self.len.store(queue.len(), Ordering::Relaxed);
        true
    }

    /// Puts a fetch back that found no room.
    pub(super) fn push_front(&self, payload: WeakPageable, range: Range<usize>) {
        let mut queue = lock(&self.queue);
        queue.push_front((payload, range));
        self.len.store(queue.len(), Ordering::Relaxed);
    }

    /// The next fetch whose payload is still there, and the one after it.
    #[expect(clippy::type_complexity, reason = "a payload with its range, twice")]
    pub(super) fn pop(
        &self,
    ) -> Option<(
        (Arc<dyn Pageable>, Range<usize>),
        Option<(Arc<dyn Pageable>, Range<usize>)>,
    )> {
        if self.len() == 0 {
            return None;
        }
        let mut queue = lock(&self.queue);
        let mut found = None;
        while let Some((payload, range)) = queue.pop_front() {
            if let Some(payload) = payload.upgrade() {
                found = Some((payload, range));
                break;
            }
        }
        self.len.store(queue.len(), Ordering::Relaxed);
        let next = queue
            .front()
            .and_then(|(payload, range)| Some((payload.upgrade()?, range.clone())));
        drop(queue);
        found.map(|found| (found, next))
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }
}
