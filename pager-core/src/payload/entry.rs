//! [`Entry`]: one live payload, wherever its bytes are.
//!
//! The handle owns the entry; a background thread may hold it for one operation
//! more, and whoever lets go last frees what is left. The state lock is the payload's
//! own, and held for a pointer's time.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::memory::{Memory, Resident};
use super::pieces::{PiecePlace, Pieces};
use super::state::State;
use super::waiting::Wakers;
use crate::backend::{Backend, ChunkKind};
use crate::budget::{
    Bookkeeping, Charge, Engine, Evicted, Group, Kind, Outcome, Pageable, Place, WeakPageable,
};
use crate::error::{Error, Result};
use crate::memory::{ElementLayout, HeapBuf};
use crate::observe::{About, Operation};
use crate::registry::Home;
use crate::sync::{AtomicBool, Mutex, Ordering, lock};

/// What the table of handles and a queue remember of an entry, in bytes, and what the
/// allocator adds to it, to its memory and to its bytes.
const LISTING_BYTES: usize = 176;

/// One live payload.
#[derive(Debug)]
pub(crate) struct Entry<B: Backend> {
    pub(crate) home: Arc<Home<B>>,
    pub(crate) id: u64,
    /// Which one it belongs to, if to any: its memory is counted there, too.
    pub(super) group: Option<Group>,
    pub(crate) len_bytes: usize,
    /// What it is made of.
    pub(crate) element: ElementLayout,
    /// The kind of chunk it came in, and is fetched into.
    pub(super) kind: ChunkKind,
    pub(super) state: Mutex<State>,
    /// What the backend remembers of it, from the moment it is stored until it is freed
    /// with the entry: whoever uses it holds the entry.
    pub(super) slot: OnceLock<Box<B::Slot>>,
    /// Who waits for a fetch of it.
    pub(super) wakers: Wakers,
    /// Read since it came or since it was last passed over. Relaxed: a hint.
    touched: AtomicBool,
    /// Whether the handle is gone. Relaxed: a statistic.
    abandoned: AtomicBool,
    /// What all of this takes.
    bookkeeping: Bookkeeping,
}

/// What a payload is, wherever its bytes are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PayloadForm {
    pub(crate) len_bytes: usize,
    pub(crate) element: ElementLayout,
    /// The kind of chunk it comes in.
    pub(crate) kind: ChunkKind,
}

impl<B: Backend> Entry<B> {
    /// A payload that the backend has stored.
    pub(crate) fn stored(
        home: &Arc<Home<B>>,
        form: PayloadForm,
        slot: B::Slot,
        group: Option<&Group>,
    ) -> Arc<Self> {
        let entry = Self::new(home, group, form, State::Stored(Pieces::default()));
        entry.remember(slot);
        entry
    }

    /// A payload that stays in `memory`, for which `charge` is the room; what is
    /// `is_late` goes before all that is not.
    pub(crate) fn dirty(
        home: &Arc<Home<B>>,
        form: PayloadForm,
        (memory, charge): (Memory, Charge),
        is_late: bool,
        group: Option<&Group>,
    ) -> Arc<Self> {
        let resident = Resident::new(memory, charge.of_group(group));
        let state = State::Dirty(Arc::clone(&resident));
        let entry = Self::new(home, group, form, state);
        // Whoever finds it in the queue waits until its place is noted.
        let state = lock(&entry.state);
        resident.charge().list(entry.weak(), 0, is_late);
        drop(state);
        entry
    }

    fn new(
        home: &Arc<Home<B>>,
        group: Option<&Group>,
        form: PayloadForm,
        state: State,
    ) -> Arc<Self> {
        let bytes = size_of::<Self>() + size_of::<Resident>() + LISTING_BYTES;
        Arc::new(Self {
            id: home.next_id(),
            home: Arc::clone(home),
            group: group.cloned(),
            len_bytes: form.len_bytes,
            element: form.element,
            kind: form.kind,
            state: Mutex::new(state),
            slot: OnceLock::new(),
            wakers: Wakers::default(),
            touched: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            bookkeeping: home.engine().bookkeeping(bytes),
        })
    }

    /// Keeps the slot of a payload that has just been stored, once in its life.
    pub(super) fn remember(&self, slot: B::Slot) {
        let bytes = size_of::<B::Slot>() + self.home.backend.slot_bytes(&slot);
        match self.slot.set(Box::new(slot)) {
            Ok(()) => self.bookkeeping.grow(bytes),
            // Nobody stores a payload twice; if somebody did, this one is not needed.
            Err(second) => self.home.backend.free(*second),
        }
    }

    /// What the backend remembers of the payload, if it is stored.
    pub(super) fn slot(&self) -> Result<&B::Slot> {
        self.slot
            .get()
            .map(|slot| &**slot)
            .ok_or_else(|| self.gone())
    }

    pub(super) fn engine(&self) -> &Arc<Engine> {
        self.home.engine()
    }

    /// This entry, as queues hold it.
    pub(crate) fn weak(self: &Arc<Self>) -> WeakPageable {
        let this = Arc::clone(self) as Arc<dyn Pageable>;
        Arc::downgrade(&this)
    }

    /// Marks the payload as one that is wanted again soon.
    pub(crate) fn touch(&self) {
        // Looked at first: most are touched already, and a load leaves the cache line
        // shared.
        if !self.touched.load(Ordering::Relaxed) {
            self.touched.store(true, Ordering::Relaxed);
        }
    }

    /// Notes that the handle is gone.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// What is done to it, for whoever watches.
    pub(crate) fn about(&self, operation: Operation, bytes: usize) -> About {
        self.home.about(operation, Some(self.id), bytes)
    }

    pub(super) fn count_elided(&self) {
        let tally = &self.engine().tally;
        tally.elided_writes.add(1);
        tally.elided_bytes.add(self.len_bytes);
    }

    /// Says that the payload is not there any more, which only a backend that broke
    /// its contract, or a use after a take, can bring about.
    pub(super) fn gone(&self) -> Error {
        Error::lost(self.home.backend.name())
    }
}

impl<B: Backend> Pageable for Entry<B> {
    fn is_wanted(&self) -> bool {
        // Looked at before it is swapped: most have not been touched, and a load
        // leaves their cache line shared.
        self.touched.load(Ordering::Relaxed) && self.touched.swap(false, Ordering::Relaxed)
    }

    fn element(&self) -> ElementLayout {
        self.element
    }

    fn write(self: Arc<Self>) -> Outcome {
        self.write_out()
    }

    fn evict(self: Arc<Self>, kind: Kind, piece: usize) -> Evicted {
        self.drop_copy(kind, piece)
    }

    fn list_again(self: Arc<Self>, kind: Kind, piece: usize, place: Place) {
        let owner = self.weak();
        match &mut *lock(&self.state) {
            State::Dirty(resident) => resident.charge().list_again(kind, owner, 0, place),
            State::Stored(pieces) => {
                if let Some(found) = pieces.at(piece)
                    && let PiecePlace::Here(resident) = &found.place
                {
                    resident.charge().list_again(kind, owner, piece, place);
                }
            }
            State::Leaving(_) | State::Gone => {}
        }
    }

    fn fetch(self: Arc<Self>, turn: u64, charge: Charge, buffer: Option<HeapBuf>) -> bool {
        self.bring_in(turn, charge, buffer)
    }

    fn forget_fetch(&self, turn: u64) {
        if let State::Stored(pieces) = &mut *lock(&self.state)
            && let Some(start) = pieces.queued(turn).map(|piece| piece.range.start)
        {
            pieces.remove(start);
        }
        self.wakers.wake();
    }

    fn fetch_is_stuck(&self) {
        self.wakers.give_up();
    }

    fn want(self: Arc<Self>) {
        if self.home.owner.is_current() {
            self.prefetch(0..self.len_bytes);
        } else {
            // The parent's: its locks may be held by threads that are not here.
            std::mem::forget(self);
        }
    }

    fn announce(&self, range: Range<usize>) {
        self.hint(range);
    }
}

impl<B: Backend> Drop for Entry<B> {
    fn drop(&mut self) {
        let left = match self.state.get_mut() {
            Ok(state) => state.leave(),
            Err(poisoned) => poisoned.into_inner().leave(),
        };
        match left {
            State::Dirty(_) => self.count_elided(),
            State::Stored(mut pieces) => {
                let unused = pieces.unused_count();
                self.engine().tally.prefetch_waste.add(unused);
                self.cancel(&mut pieces);
            }
            State::Leaving(_) | State::Gone => {}
        }
        if let Some(slot) = self.slot.take() {
            self.home.backend.free(*slot);
        }
    }
}
