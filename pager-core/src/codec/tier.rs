//! [`Tier`]: encoded portions that stay in memory, between the plain part of the budget
//! and the backend beneath.
//!
//! What is written out goes here first, at its encoded size, and to the backend when the
//! share of the tier is full: the oldest that nobody has read since. So coming back is a
//! decode, and what is dropped before its turn was never written. Memory is that of the
//! budget: each portion has a charge of its own, and whoever must make room, flushes or
//! lowers the budget has the tier [give way](Reclaim).
//!
//! A portion goes once, from here to the backend, and never back. Its lock is held to
//! look and to move a pointer, never while bytes move.
//!
//! Backends whose payloads stay in memory of their own have none: what the kernel swaps
//! would be held twice.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock, Weak};

use super::meter::Meter;
use super::stats::TierCounters;
use crate::budget::tiers::Reclaim;
use crate::budget::{Bookkeeping, Outcome};
use crate::memory::ChunkBuf;
use crate::sync::{Mutex, lock};
use crate::{
    Arena, Backend, Error, Payload, Result, SizeClass, TransferCharge, TransferMemory, Window,
};

/// How many of the oldest portions make way for one newcomer at most.
const MOST_MOVES: usize = 4;

/// Portions kept from one look at the share to the next.
const ADAPT_PERIOD: u64 = 32;

/// What a read of the tier costs, in nanoseconds to a stored byte: that it is decoded.
const DECODE_NANOS: usize = 1;

/// Encoded portions in memory.
pub(super) struct Tier<B: Backend> {
    inner: Arc<B>,
    /// Learns what the device takes: what stays in memory tells nothing of it.
    meter: Arc<Meter>,
    /// None until the backend has a registry: then nothing is kept.
    memory: OnceLock<TransferMemory>,
    /// Oldest first; those that are gone are passed over.
    kept: Mutex<VecDeque<Weak<Cell<B::Slot>>>>,
    pub(super) counters: TierCounters,
}

/// One stored portion, wherever it is.
#[derive(Debug)]
pub(super) enum TierSlot<S> {
    /// Handed to the backend at once.
    Stored(S),
    /// In memory, or there once.
    Kept(Arc<Cell<S>>),
}

/// A portion that is in memory until it is moved on.
pub(super) struct Cell<S> {
    len: usize,
    state: Mutex<State<S>>,
}

struct State<S> {
    place: Place<S>,
    /// Read since it came or since it was passed over.
    touched: bool,
    /// Somebody is moving it on.
    moving: bool,
}

enum Place<S> {
    Here(Arc<Held>),
    Moved {
        slot: Arc<S>,
        /// What the backend remembers of it.
        _charge: Option<Bookkeeping>,
    },
    /// The payload is gone.
    Freed,
}

/// Memory and its room.
struct Held {
    bytes: ChunkBuf<u8>,
    _charge: TransferCharge,
}

impl<B: Backend> Tier<B> {
    pub(super) fn new(inner: Arc<B>, meter: Arc<Meter>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            meter,
            memory: OnceLock::new(),
            kept: Mutex::default(),
            counters: TierCounters::default(),
        })
    }

    /// Has the tier use the budget of a registry, and give way where that is wanted.
    pub(super) fn attach(self: &Arc<Self>, memory: &TransferMemory) {
        if self.inner.in_place().is_none() && self.memory.set(memory.clone()).is_ok() {
            let this: Arc<dyn Reclaim> = Arc::clone(self) as _;
            memory.has_tier(&Arc::downgrade(&this));
        }
    }

    /// Keeps `stored` in memory if there is room, or makes some; else stores it.
    ///
    /// # Errors
    ///
    /// Those of the backend; nothing is left.
    pub(super) fn page_out(&self, stored: &[u8]) -> Result<TierSlot<B::Slot>> {
        for _ in 0..MOST_MOVES {
            if let Some(held) = self.hold(stored) {
                return Ok(self.keep(held, stored.len()));
            }
            let is_open = self
                .memory
                .get()
                .is_some_and(TransferMemory::has_tier_share);
            if !is_open || !matches!(self.move_oldest(), Outcome::Written) {
                break;
            }
        }
        self.store(stored).map(TierSlot::Stored)
    }

    fn store(&self, stored: &[u8]) -> Result<B::Slot> {
        let transfer = self.meter.writes.begin();
        let slot = self.inner.page_out(&mut Payload::of_bytes(stored))?;
        transfer.done(stored.len());
        Ok(slot)
    }

    /// A copy in memory, if there is room for it.
    fn hold(&self, stored: &[u8]) -> Option<Held> {
        let memory = self.memory.get()?;
        let charge = memory.try_keep_encoded(SizeClass::for_bytes(stored.len()).bytes())?;
        let mut bytes = ChunkBuf::with_capacity_in(&Arena::shared(), stored.len()).ok()?;
        bytes.extend_from_slice(stored).ok()?;
        Some(Held {
            bytes,
            _charge: charge,
        })
    }

    fn keep(&self, held: Held, len: usize) -> TierSlot<B::Slot> {
        let cell = Arc::new(Cell {
            len,
            state: Mutex::new(State {
                place: Place::Here(Arc::new(held)),
                touched: false,
                moving: false,
            }),
        });
        let counters = &self.counters;
        counters.kept_bytes.add(len);
        counters.came_bytes.add(len);
        lock(&self.kept).push_back(Arc::downgrade(&cell));
        if counters.came.add_one() % ADAPT_PERIOD == ADAPT_PERIOD - 1 {
            self.adapt();
        }
        TierSlot::Kept(cell)
    }

    /// Gives the tier more of the budget if reads of what has left it cost more than
    /// decoding what is in it, and less otherwise.
    fn adapt(&self) {
        let missed = self.counters.missed_nanos.take();
        let hit = self.counters.hit_nanos.take();
        if let Some(memory) = self.memory.get()
            && missed != hit
        {
            memory.shift_tier_share(missed > hit);
        }
    }

    /// Reads `ranges` of a portion.
    ///
    /// # Errors
    ///
    /// Those of the backend.
    pub(super) fn read(
        &self,
        slot: &TierSlot<B::Slot>,
        ranges: &[Range<usize>],
        window: &mut Window<'_>,
    ) -> Result<()> {
        let cell = match slot {
            TierSlot::Stored(slot) => return self.read_stored(slot, ranges, window),
            TierSlot::Kept(cell) => cell,
        };
        let (held, moved) = {
            let mut state = lock(&cell.state);
            state.touched = true;
            match &state.place {
                Place::Here(held) => (Some(Arc::clone(held)), None),
                Place::Moved { slot, .. } => (None, Some(Arc::clone(slot))),
                Place::Freed => (None, None),
            }
        };
        if let Some(held) = held {
            let mut len = 0;
            for range in ranges {
                window.copy_from(&held.bytes[range.clone()]);
                len += range.len();
            }
            self.counters.hit_bytes.add(len);
            self.counters.hit_nanos.add(len * DECODE_NANOS);
            return Ok(());
        }
        let slot = moved.ok_or_else(|| Error::lost(self.inner.name()))?;
        self.read_stored(&slot, ranges, window)
    }

    fn read_stored(
        &self,
        slot: &B::Slot,
        ranges: &[Range<usize>],
        window: &mut Window<'_>,
    ) -> Result<()> {
        let before = window.remaining_bytes();
        let transfer = self.meter.reads.begin();
        self.inner.read(slot, ranges, window)?;
        let bytes = before - window.remaining_bytes();
        let time = transfer.done(bytes);
        self.counters.missed_bytes.add(bytes);
        self.counters.missed_nanos.add_time(time);
        Ok(())
    }

    /// Calls `act` with what the backend remembers of a portion, if it is there.
    pub(super) fn on_stored<T>(
        &self,
        slot: &TierSlot<B::Slot>,
        act: impl FnOnce(&B::Slot) -> T,
    ) -> Option<T> {
        match slot {
            TierSlot::Stored(slot) => Some(act(slot)),
            TierSlot::Kept(cell) => {
                let moved = match &lock(&cell.state).place {
                    Place::Moved { slot, .. } => Some(Arc::clone(slot)),
                    Place::Here(_) | Place::Freed => None,
                };
                moved.map(|slot| act(&slot))
            }
        }
    }

    /// Bytes of memory that a portion takes besides its slot, when it is new.
    pub(super) fn slot_bytes(&self, slot: &TierSlot<B::Slot>) -> usize {
        match slot {
            TierSlot::Stored(slot) => self.inner.slot_bytes(slot),
            TierSlot::Kept(_) => size_of::<Cell<B::Slot>>() + size_of::<Held>(),
        }
    }

    /// Gives a portion's storage back, in memory or beneath; returns the bytes that the
    /// backend had been given.
    pub(super) fn free(&self, slot: TierSlot<B::Slot>, len: usize) {
        let cell = match slot {
            TierSlot::Stored(slot) => return self.inner.free(slot),
            TierSlot::Kept(cell) => cell,
        };
        let place = std::mem::replace(&mut lock(&cell.state).place, Place::Freed);
        match place {
            Place::Here(_) => self.counters.kept_bytes.subtract(len),
            Place::Moved { slot, .. } => {
                // Whoever reads holds the payload, so nobody does.
                if let Some(slot) = Arc::into_inner(slot) {
                    self.inner.free(slot);
                }
            }
            Place::Freed => {}
        }
    }

    /// Moves the oldest portion that nobody has read since to the backend.
    fn move_oldest(&self) -> Outcome {
        let count = lock(&self.kept).len();
        // Once around for those that get a second chance, and once more.
        for _ in 0..=2 * count {
            let Some(oldest) = lock(&self.kept).pop_front() else {
                break;
            };
            let Some(cell) = oldest.upgrade() else {
                continue;
            };
            let held = {
                let mut state = lock(&cell.state);
                if std::mem::take(&mut state.touched) && !state.moving {
                    drop(state);
                    lock(&self.kept).push_back(oldest);
                    continue;
                }
                match &state.place {
                    Place::Here(held) if !state.moving => {
                        let held = Arc::clone(held);
                        state.moving = true;
                        held
                    }
                    _ => continue,
                }
            };
            return self.move_on(&cell, &held);
        }
        Outcome::Nothing
    }

    fn move_on(&self, cell: &Arc<Cell<B::Slot>>, held: &Held) -> Outcome {
        let moving = Moving { tier: self, cell };
        match self.store(&held.bytes) {
            Ok(slot) => {
                let bytes = size_of::<B::Slot>() + self.inner.slot_bytes(&slot);
                let charge = self.memory.get().map(|memory| memory.remember(bytes));
                let mut state = lock(&cell.state);
                if matches!(state.place, Place::Freed) {
                    drop(state);
                    self.inner.free(slot);
                } else {
                    state.place = Place::Moved {
                        slot: Arc::new(slot),
                        _charge: charge,
                    };
                    drop(state);
                    self.counters.kept_bytes.subtract(cell.len);
                    self.counters.moved_bytes.add(cell.len);
                }
                drop(moving);
                Outcome::Written
            }
            Err(error) => Outcome::Failed(error),
        }
    }
}

/// A portion on its way; where it is still in memory when this ends, be it by a panic of
/// the backend, it is the first to be tried again.
struct Moving<'a, B: Backend> {
    tier: &'a Tier<B>,
    cell: &'a Arc<Cell<B::Slot>>,
}

impl<B: Backend> Drop for Moving<'_, B> {
    fn drop(&mut self) {
        let mut state = lock(&self.cell.state);
        state.moving = false;
        let is_here = matches!(state.place, Place::Here(_));
        drop(state);
        if is_here {
            lock(&self.tier.kept).push_front(Arc::downgrade(self.cell));
        }
    }
}

impl<B: Backend> Reclaim for Tier<B> {
    fn reclaim_one(&self) -> Outcome {
        self.move_oldest()
    }

    fn count(&self) -> usize {
        lock(&self.kept).len()
    }
}

impl<S> fmt::Debug for Cell<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cell")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl<B: Backend> fmt::Debug for Tier<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tier")
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}
