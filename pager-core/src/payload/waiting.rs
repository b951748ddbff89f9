//! Waiting for a fetch without a thread: whoever polls is woken when it is over, however
//! it ends, and reads then, or looks again.

use std::ops::Range;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use super::entry::Entry;
use crate::backend::Backend;
use crate::budget::Pageable;
use crate::sync::{Mutex, lock};

/// Those who wait for fetches of one payload: a pointer, as long as nobody does.
#[derive(Debug, Default)]
pub(super) struct Wakers(Mutex<Option<Box<Waiting>>>);

#[derive(Debug, Default)]
struct Waiting {
    wakers: Vec<Waker>,
    /// The fetch that is waited for has no room: nobody knows for how long.
    is_stuck: bool,
}

impl Wakers {
    fn add(&self, waker: &Waker) {
        let mut waiting = lock(&self.0);
        let wakers = &mut waiting.get_or_insert_default().wakers;
        if !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }

    /// Wakes everybody.
    pub(super) fn wake(&self) {
        let waiting = lock(&self.0).take();
        // Outside of the lock, for it is somebody else's code.
        let wakers = waiting.into_iter().flat_map(|waiting| waiting.wakers);
        wakers.for_each(Waker::wake);
    }

    /// The same, and lets them go without what they wait for.
    pub(super) fn give_up(&self) {
        let mut waiting = lock(&self.0);
        let wakers = waiting.as_mut().map(|waiting| {
            waiting.is_stuck |= !waiting.wakers.is_empty();
            std::mem::take(&mut waiting.wakers)
        });
        drop(waiting);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Whether they were let go since this was last asked.
    fn were_let_go(&self) -> bool {
        let mut waiting = lock(&self.0);
        let waiting = waiting.as_mut();
        waiting.is_some_and(|waiting| std::mem::take(&mut waiting.is_stuck))
    }
}

impl<B: Backend> Entry<B> {
    /// Ready when `range` is in memory, or will not come there by itself; begins to fetch
    /// it otherwise, and wakes the task when that is over.
    pub(crate) fn poll_fetch(
        self: &Arc<Self>,
        range: &Range<usize>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        if self.is_resident(range) {
            return Poll::Ready(());
        }
        self.wakers.add(context.waker());
        if self.wakers.were_let_go() {
            return Poll::Ready(());
        }
        self.prefetch(range.clone());
        self.engine().poll_fetches();
        if self.is_coming(range) {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}

/// Prefetches a payload from elsewhere, if it is still there: also when its handle has
/// been given to somebody who will take it. Keeps nothing alive.
#[derive(Clone)]
pub struct Hint(Weak<dyn Pageable>);

impl Hint {
    pub(crate) fn new(payload: Weak<dyn Pageable>) -> Self {
        Self(payload)
    }

    /// Hints that the whole payload will be read or taken soon. Nothing happens if it has
    /// been, or in a forked child.
    pub fn prefetch(&self) {
        if let Some(payload) = self.0.upgrade() {
            payload.want();
        }
    }
}

impl std::fmt::Debug for Hint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("hint of a payload")
    }
}
