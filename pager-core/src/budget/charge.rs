//! [`Charge`]: memory that is held, as a value.
//!
//! Whoever holds memory holds its charge beside it. A charge is counted in the
//! ledger from the moment it exists, changes its kind by its methods, and gives
//! itself back when it is dropped, if only by a panic. It also knows its place in
//! the queue of what may leave memory, and leaves that queue with it.

use std::fmt;
use std::sync::Arc;

use super::engine::Engine;
use super::group::Group;
use super::kind::Kind;
use super::ledger::Refusal;
use super::pageable::{Place, WeakPageable};
use super::queue::{Listing, Rank};
use crate::sync::{AtomicU64, AtomicUsize, Ordering};

/// So many bytes of one kind, held.
pub(crate) struct Charge {
    engine: Arc<Engine>,
    /// Whose payload it is held for, if that belongs to one.
    group: Option<Group>,
    /// Relaxed, as the seat is.
    bytes: AtomicUsize,
    /// Kind and place. Relaxed: changed under the lock of the payload that holds
    /// the charge, by one thread at a time.
    seat: AtomicU64,
}

/// Kind in the lowest bits, then whether it is late, then its rank; no rank, not
/// listed.
#[derive(Clone, Copy)]
struct Seat(u64);

const KIND_BITS: u32 = 4;
const LATE_BIT: u64 = 1 << KIND_BITS;
const RANK_SHIFT: u32 = KIND_BITS + 1;

impl Seat {
    fn new(kind: Kind, is_late: bool, rank: Option<Rank>) -> Self {
        let rank = rank.map_or(0, Rank::number) << RANK_SHIFT;
        Self(kind as u64 | if is_late { LATE_BIT } else { 0 } | rank)
    }

    fn kind(self) -> Kind {
        Kind::of_number(self.0 & (LATE_BIT - 1))
    }

    fn is_late(self) -> bool {
        self.0 & LATE_BIT != 0
    }

    fn rank(self) -> Option<Rank> {
        Rank::of_number(self.0 >> RANK_SHIFT)
    }

    fn is_listed_late(self) -> bool {
        self.is_late() && self.rank().is_some()
    }
}

impl Charge {
    /// Holds `bytes` of `kind`, if there is room.
    pub(super) fn reserve(engine: &Arc<Engine>, kind: Kind, bytes: usize) -> Result<Self, Refusal> {
        engine.ledger.reserve(kind, bytes)?;
        Ok(Self {
            engine: Arc::clone(engine),
            group: None,
            bytes: AtomicUsize::new(bytes),
            seat: AtomicU64::new(Seat::new(kind, false, None).0),
        })
    }

    /// Takes `bytes` of it off, as a charge of its own. It must not be listed.
    pub(crate) fn split(&mut self, bytes: usize) -> Self {
        debug_assert!(self.seat().rank().is_none(), "what is listed is whole");
        let whole = self.bytes.get_mut();
        let bytes = bytes.min(*whole);
        *whole -= bytes;
        Self {
            engine: Arc::clone(&self.engine),
            // Their bytes are counted there already.
            group: self.group.clone(),
            bytes: AtomicUsize::new(bytes),
            seat: AtomicU64::new(Seat::new(self.kind(), false, None).0),
        }
    }

    /// The same, held for a payload of `group` from now on, if it is one's.
    pub(crate) fn of_group(mut self, group: Option<&Group>) -> Self {
        self.leave_group();
        if let Some(group) = group {
            group.add_resident(self.bytes());
            self.group = Some(group.clone());
        }
        self
    }

    fn leave_group(&mut self) {
        if let Some(group) = self.group.take() {
            group.sub_resident(self.bytes());
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// What it is held for.
    pub(crate) fn kind(&self) -> Kind {
        self.seat().kind()
    }

    fn seat(&self) -> Seat {
        Seat(self.seat.load(Ordering::Relaxed))
    }

    fn set_seat(&self, kind: Kind, is_late: bool, rank: Option<Rank>) {
        let (before, seat) = (self.seat(), Seat::new(kind, is_late, rank));
        if seat.is_listed_late() {
            self.engine.queue(kind).add_late(self.bytes());
        }
        if before.is_listed_late() {
            self.engine.queue(before.kind()).sub_late(self.bytes());
        }
        self.seat.store(seat.0, Ordering::Relaxed);
    }

    /// Lists what begins at byte `piece` of `owner` as the newest that may leave
    /// memory; what is `is_late` goes before all that is not.
    pub(crate) fn list(&self, owner: WeakPageable, piece: usize, is_late: bool) {
        self.unlist();
        let kind = self.kind();
        let listing = Listing { owner, piece };
        let rank = self.engine.queue(kind).push_new(listing, is_late);
        self.set_seat(kind, is_late, Some(rank));
        self.engine.listed(kind);
    }

    /// Lists it again after it was taken out to be looked at, in the queue of `kind`;
    /// does nothing if it has become another kind since.
    pub(crate) fn list_again(&self, kind: Kind, owner: WeakPageable, piece: usize, place: Place) {
        let seat = self.seat();
        if seat.kind() != kind {
            return;
        }
        let Some(rank) = seat.rank() else {
            return;
        };
        let is_late = seat.is_late() && place == Place::AsBefore;
        let listing = Listing { owner, piece };
        let queue = self.engine.queue(seat.kind());
        let rank = queue.push_again(listing, rank, is_late, place);
        self.set_seat(seat.kind(), is_late, Some(rank));
    }

    /// Counts it as `kind` from now on, and lists it there as the newest.
    pub(crate) fn turn(&self, kind: Kind, owner: WeakPageable, piece: usize) {
        self.unlist();
        let seat = self.seat();
        self.engine.ledger.turn(seat.kind(), kind, self.bytes());
        self.set_seat(kind, seat.is_late(), None);
        self.list(owner, piece, seat.is_late() && kind == Kind::Clean);
        self.engine.has_room();
    }

    /// The same bytes held for something else, if there may be more of that. What was
    /// in the one's room is gone, or is what the other is.
    ///
    /// # Errors
    ///
    /// The charge as it was.
    pub(super) fn become_kind(mut self, kind: Kind) -> Result<Self, Self> {
        let before = self.kind();
        if self.engine.ledger.try_turn(before, kind, self.bytes()) {
            self.unlist();
            self.set_seat(kind, false, None);
            self.leave_group();
            Ok(self)
        } else {
            Err(self)
        }
    }

    /// The buffer of a transfer from now on waits for the next one, if one more may.
    pub(super) fn try_rest(&self) -> bool {
        self.try_turn_buffer(Kind::Transfer, Kind::Idle)
    }

    /// It is in use again, if one more may be.
    pub(super) fn try_resume(&self) -> bool {
        self.try_turn_buffer(Kind::Idle, Kind::Transfer)
    }

    fn try_turn_buffer(&self, from: Kind, to: Kind) -> bool {
        let may = self.engine.ledger.try_turn(from, to, self.bytes());
        if may {
            self.set_seat(to, false, None);
        }
        may
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    fn unlist(&self) {
        let seat = self.seat();
        if let Some(rank) = seat.rank() {
            self.engine.queue(seat.kind()).remove(rank, seat.is_late());
            self.set_seat(seat.kind(), seat.is_late(), None);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.unlist();
        self.leave_group();
        self.engine.ledger.give_back(self.kind(), self.bytes());
        self.engine.has_room();
    }
}

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, {:?}", self.bytes(), self.kind())
    }
}

/// What is remembered of a payload, held: the charge that no budget refuses, and that is
/// in no queue.
#[derive(Debug)]
pub(crate) struct Bookkeeping {
    engine: Arc<Engine>,
    /// Relaxed: whoever holds it grows it.
    bytes: AtomicUsize,
}

impl Bookkeeping {
    pub(super) fn new(engine: &Arc<Engine>, bytes: usize) -> Self {
        let bookkeeping = Self {
            engine: Arc::clone(engine),
            bytes: AtomicUsize::new(0),
        };
        bookkeeping.grow(bytes);
        bookkeeping
    }

    /// Counts `bytes` more.
    pub(crate) fn grow(&self, bytes: usize) {
        let ledger = &self.engine.ledger;
        ledger
            .reserve(Kind::Bookkeeping, bytes)
            .expect("bookkeeping has neither a share nor a limit");
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Bookkeeping {
    fn drop(&mut self) {
        let ledger = &self.engine.ledger;
        ledger.give_back(Kind::Bookkeeping, *self.bytes.get_mut());
        self.engine.has_room();
    }
}
