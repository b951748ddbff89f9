//! [`ReadBack`]: bounds what reads bring back into memory.
//!
//! A page that was read is in memory again. Paging it out after each read would
//! fetch it anew for the next word; leaving it for ever would undo the page-out
//! piece by piece. So payloads that were read wait in a queue, and once they
//! hold more than a limit together, those read first are paged out again. Their
//! pages are unchanged, so the kernel seldom has to write them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Queue length from which entries of dead payloads are swept out.
const SWEEP_LEN: usize = 64;

/// A payload that can be brought back by reads.
pub(crate) trait Readable {
    /// Bytes that reads brought back since it was last paged out.
    fn read_back_bytes(&self) -> &AtomicUsize;
    /// Its length: no read brings back more.
    fn len_bytes(&self) -> usize;
}

/// Payloads that reads brought back, first read first.
#[derive(Debug)]
pub(crate) struct ReadBack<P> {
    limit_bytes: usize,
    /// Sum over all payloads. Relaxed throughout, as for each payload's own
    /// count: bytes are moved between counts by swap, so each is subtracted
    /// once; a sum that is early or late only shifts when to page out. Signed,
    /// since a subtraction may overtake its addition.
    held_bytes: AtomicIsize,
    queue: Mutex<Queue<P>>,
}

#[derive(Debug)]
struct Queue<P> {
    waiting: VecDeque<Weak<P>>,
    sweep_len: usize,
}

impl<P: Readable> ReadBack<P> {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            held_bytes: AtomicIsize::new(0),
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                sweep_len: SWEEP_LEN,
            }),
        }
    }

    /// Bytes that reads brought back and that are not paged out yet.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
            .load(Ordering::Relaxed)
            .max(0)
            .cast_unsigned()
    }

    /// Counts `bytes` of `payload` that a read brought back, and says whether
    /// they are the first.
    pub(crate) fn note(&self, payload: &Arc<P>, bytes: usize) -> bool {
        let count = payload.read_back_bytes();
        let add = |before: usize| Some((before + bytes).min(payload.len_bytes()));
        // The closure always answers, so this cannot fail.
        let before = count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .unwrap_or_else(|before| before);
        let added = (before + bytes).min(payload.len_bytes()) - before;
        self.held_bytes
            .fetch_add(added.cast_signed(), Ordering::Relaxed);
        let is_first = before == 0 && added > 0;
        if is_first {
            self.lock().push(Arc::downgrade(payload));
        }
        is_first
    }

    /// Forgets what reads brought back of `payload`: it has been paged out, or
    /// is about to go.
    pub(crate) fn settle(&self, payload: &P) {
        let bytes = payload.read_back_bytes().swap(0, Ordering::Relaxed);
        self.held_bytes
            .fetch_sub(bytes.cast_signed(), Ordering::Relaxed);
    }

    /// The payload to page out next, if more than the limit has come back.
    pub(crate) fn overdue(&self) -> Option<Arc<P>> {
        while self.held_bytes() > self.limit_bytes {
            let first = self.lock().waiting.pop_front()?;
            if let Some(payload) = first.upgrade() {
                return Some(payload);
            }
        }
        None
    }

    /// Puts a payload that is not to be paged out now at the end of the queue.
    pub(crate) fn defer(&self, payload: &Arc<P>) {
        self.lock().push(Arc::downgrade(payload));
    }

    fn lock(&self) -> MutexGuard<'_, Queue<P>> {
        // The queue is whole after every statement.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P> Queue<P> {
    /// Appends, and now and then drops what has died: constant on average.
    fn push(&mut self, payload: Weak<P>) {
        if self.waiting.len() >= self.sweep_len {
            self.waiting.retain(|waiting| waiting.strong_count() > 0);
            self.sweep_len = (2 * self.waiting.len()).max(SWEEP_LEN);
        }
        self.waiting.push_back(payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake(AtomicUsize);

    impl Readable for Fake {
        fn read_back_bytes(&self) -> &AtomicUsize {
            &self.0
        }
        fn len_bytes(&self) -> usize {
            100
        }
    }

    fn fake() -> Arc<Fake> {
        Arc::new(Fake(AtomicUsize::new(0)))
    }

    #[test]
    fn the_payload_read_first_is_overdue_first() {
        let back = ReadBack::new(100);
        let (first, second) = (fake(), fake());
        back.note(&first, 60);
        assert!(back.overdue().is_none(), "under the limit");
        back.note(&second, 60);
        let overdue = back.overdue().unwrap();
        assert!(Arc::ptr_eq(&overdue, &first));
        back.settle(&overdue);
        assert_eq!(back.held_bytes(), 60);
        assert!(back.overdue().is_none());
    }

    #[test]
    fn reading_the_same_words_again_counts_no_more_than_the_payload() {
        let back = ReadBack::new(1000);
        let payload = fake();
        assert!(back.note(&payload, 60));
        (0..10).for_each(|_| assert!(!back.note(&payload, 60)));
        assert_eq!(back.held_bytes(), 100);
        assert_eq!(back.lock().waiting.len(), 1);
        back.settle(&payload);
        assert_eq!(back.held_bytes(), 0);
    }

    #[test]
    fn dead_payloads_do_not_fill_the_queue() {
        let back = ReadBack::new(1000);
        let alive = fake();
        back.note(&alive, 10);
        let rounds = if cfg!(miri) { 3 * SWEEP_LEN } else { 10_000 };
        for _ in 0..rounds {
            let payload = fake();
            back.note(&payload, 100);
            back.settle(&payload);
        }
        assert!(back.lock().waiting.len() <= SWEEP_LEN);
        assert_eq!(back.held_bytes(), 10);
    }
}
