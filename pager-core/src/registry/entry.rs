//! [`Entry`]: one live payload, wherever its bytes are.
//!
//! The handle owns the entry; a background thread may hold it for one operation
//! more, and whoever lets go last frees what is left. The state lock is held for
//! reading while bytes are copied or written out, and for writing while they are
//! fetched, so that whoever wants a payload under way waits for that one transfer
//! and no other. It is the payload's own: no two payloads share a lock.

use std::ops::Range;
use std::sync::Arc;

use super::home::Home;
use super::state::{Chunks, State};
use crate::backend::{Backend, ChunkKind};
use crate::error::{Error, Result};
use crate::memory::Destination;
use crate::residency::{Engine, Pageable, Share};
use crate::sync::{AtomicBool, Ordering, RwLock, read, try_read, write};

/// A payload of at most this size is fetched whole, whatever range was hinted.
const FETCH_WHOLE_BYTES: usize = 4 << 20;

/// One live payload.
#[derive(Debug)]
pub(super) struct Entry<B: Backend> {
    pub(super) shared: Arc<Home<B>>,
    pub(super) id: u64,
    pub(super) len: usize,
    /// The kind of chunk it came in, and is fetched into.
    pub(super) kind: ChunkKind,
    pub(super) state: RwLock<State<B::Slot>>,
    /// Read since it came or since it was last passed over. Relaxed: a hint.
    pub(super) touched: AtomicBool,
    /// Holds a copy that was fetched and that nobody has used: it counts as
    /// read-ahead. Relaxed: changed under the state lock, or by the first of
    /// several readers.
    pub(super) unused_fetch: AtomicBool,
    /// Whether the handle is gone. Relaxed: a statistic.
    pub(super) abandoned: AtomicBool,
    /// Waits in the queue of fetches. Relaxed: it only keeps hints from piling up.
    pub(super) fetch_queued: AtomicBool,
}

impl<B: Backend> Entry<B> {
    /// A payload that the backend has stored.
    pub(super) fn stored(home: &Arc<Home<B>>, len: usize, kind: ChunkKind, slot: B::Slot) -> Self {
        Self::new(home, len, kind, State::Stored(slot))
    }

    /// A payload that stays in memory, for which the budget has room.
    pub(super) fn resident(
        home: &Arc<Home<B>>,
        len: usize,
        kind: ChunkKind,
        chunks: Chunks,
    ) -> Self {
        Self::new(home, len, kind, State::Resident(chunks))
    }

    fn new(home: &Arc<Home<B>>, len: usize, kind: ChunkKind, state: State<B::Slot>) -> Self {
        Self {
            id: home.next_id(),
            shared: Arc::clone(home),
            len,
            kind,
            state: RwLock::new(state),
            touched: AtomicBool::new(false),
            unused_fetch: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            fetch_queued: AtomicBool::new(false),
        }
    }

    /// Marks the payload as one that is wanted again soon.
    pub(super) fn touch(&self) {
        self.touched.store(true, Ordering::Relaxed);
    }

    /// What the payload occupies of the budget in this state, which is its own.
    pub(super) fn share(&self, state: &State<B::Slot>) -> Share {
        let bytes = state.memory_bytes();
        match state {
            State::Resident(_) => Share::Dirty(bytes),
            State::Cached { .. } if self.unused_fetch.load(Ordering::Relaxed) => {
                Share::Fetched(bytes)
            }
            _ => Share::Clean(bytes),
        }
    }

    /// Appends `words` words, those of `ranges`, to `dst`.
    pub(super) fn read_into<D: Destination>(
        self: &Arc<Self>,
        ranges: &[Range<usize>],
        words: usize,
        dst: &mut D,
    ) -> Result<()> {
        let state = read(&self.state);
        let covered = ranges.iter().all(|range| state.covers(range));
        if covered {
            self.touch();
            self.count_hit(&state);
        }
        if covered && state.has_words() {
            return dst.append(words, |window| {
                ranges.iter().for_each(|range| state.copy(range, window));
                Ok(())
            });
        }
        if !covered {
            self.tally(|engine| engine.missed());
        }
        match &*state {
            State::Stored(slot) | State::Cached { slot, .. } => dst.append(words, |window| {
                self.shared.backend.read(slot, ranges, window)
            }),
            // The handle outlives a copying take only inside `take`.
            State::Resident(_) | State::Gone => Err(Error::ForeignProcess),
        }
    }

    /// Starts bringing `range` back, in the background where there is one.
    pub(super) fn prefetch(self: &Arc<Self>, range: Range<usize>) {
        let Some(state) = try_read(&self.state) else {
            return;
        };
        if state.covers(&range) {
            // Wanted soon: what is in memory should stay there until then.
            self.touch();
            return;
        }
        let (State::Stored(slot) | State::Cached { slot, .. }) = &*state else {
            return;
        };
        if self
            .shared
            .engine()
            .is_some_and(|engine| engine.has_threads())
        {
            drop(state);
            self.request_fetch(range);
        } else {
            self.shared.backend.prefetch(slot, range);
        }
    }

    /// Queues a fetch of `range`, or of everything if that is not much more.
    pub(super) fn request_fetch(self: &Arc<Self>, range: Range<usize>) {
        let Some(engine) = self.shared.engine() else {
            return;
        };
        if self.fetch_queued.swap(true, Ordering::Relaxed) {
            return;
        }
        let len_bytes = self.len * size_of::<u64>();
        let range = if len_bytes <= FETCH_WHOLE_BYTES && engine.can_fetch(len_bytes) {
            0..self.len
        } else {
            range
        };
        let this = Arc::clone(self) as Arc<dyn Pageable>;
        if !engine.request_fetch(Arc::downgrade(&this), range) {
            self.forget_fetch();
        }
    }

    pub(super) fn count_elided(&self) {
        self.tally(|engine| {
            engine.tally.elided_writes.add(1);
            engine.tally.elided_bytes.add(self.len * size_of::<u64>());
        });
    }

    /// Counts a read that found in memory what is also stored. What was fetched
    /// has served its purpose then, and is a clean copy as any other.
    fn count_hit(self: &Arc<Self>, state: &State<B::Slot>) {
        if !matches!(state, State::Cached { .. }) {
            return;
        }
        self.tally(|engine| {
            engine.tally.cache_hits.add(1);
            if self.unused_fetch.swap(false, Ordering::Relaxed) {
                engine.tally.prefetch_hits.add(1);
                let this = Arc::clone(self) as Arc<dyn Pageable>;
                engine.used(state.memory_bytes(), Arc::downgrade(&this));
            }
        });
    }

    pub(super) fn tally(&self, count: impl FnOnce(&Arc<Engine>)) {
        if let Some(engine) = self.shared.engine() {
            count(engine);
        }
    }
}

impl<B: Backend> Drop for Entry<B> {
    fn drop(&mut self) {
        let mut state = write(&self.state);
        let share = self.share(&state);
        let left = state.leave();
        drop(state);
        if !self.shared.owner.is_current() {
            // The parent's payload: leak our copy of what is remembered of it.
            std::mem::forget(left);
            return;
        }
        match left {
            State::Resident(chunks) => {
                self.count_elided();
                self.tally(|engine| engine.keep_spares(Some(chunks)));
            }
            State::Stored(slot) => self.shared.backend.free(slot),
            State::Cached { slot, copy, .. } => {
                self.shared.backend.free(slot);
                self.tally(|engine| {
                    engine.keep_spares(copy);
                    if self.unused_fetch.load(Ordering::Relaxed) {
                        engine.tally.prefetch_waste.add(1);
                    }
                });
            }
            State::Gone => return,
        }
        self.tally(|engine| engine.release(share));
    }
}
