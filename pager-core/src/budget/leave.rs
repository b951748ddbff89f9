//! How bytes leave memory: dirty payloads are written, clean copies are dropped.
//!
//! Writing and dropping are two things. What was written stays readable in memory
//! until something else wants the room, and then goes without I/O.

use std::sync::Arc;

use super::charge::Charge;
use super::engine::{Engine, LATE_SLACK};
use super::kind::Kind;
use super::pageable::{Evicted, Outcome, Pageable, Patience, Place};
use super::queue::Taken;
use super::room::STALL_SLICE;
use crate::Result;
use crate::payload::Memory;
use crate::sync::{AtomicUsize, Ordering};

/// Reads after which read-ahead that was not used makes way for other, apart from
/// four for each copy that waits with it.
const STALE_TURNS: u64 = 64;

/// What happens to copies that read-ahead brought and that nobody has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unused {
    /// They stay.
    Stays,
    /// They go when there is nothing else to drop.
    Goes,
}

/// Counts one more until it is dropped, if only by a panic of the backend.
struct UnderWay<'a>(&'a AtomicUsize);

impl<'a> UnderWay<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Engine {
    /// Writes the coldest dirty payload.
    pub(super) fn write_one(self: &Arc<Self>, patience: Patience) -> Outcome {
        self.write_first(|| self.dirty.take(), patience)
    }

    /// Writes the coldest dirty payload, or stores an encoded one if none can be written.
    pub(super) fn write_or_reclaim(self: &Arc<Self>) -> Outcome {
        match self.write_one(Patience::None) {
            Outcome::Nothing | Outcome::Busy => self.reclaim_one(),
            decided => decided,
        }
    }

    /// Writes a payload that is said to be wanted later than all others.
    pub(super) fn write_late(self: &Arc<Self>) -> Outcome {
        self.write_first(|| self.dirty.take_late(LATE_SLACK), Patience::None)
    }

    /// Writes the first that can be written of those that `take` yields.
    ///
    /// Passes over those that are gone or busy, the whole list at most once.
    fn write_first<'a>(
        &'a self,
        take: impl Fn() -> Option<Taken<'a>>,
        patience: Patience,
    ) -> Outcome {
        let mut outcome = Outcome::Nothing;
        for _ in 0..=self.dirty.len() {
            let Some(taken) = take() else {
                break;
            };
            if self.dirty.len() > 0 && self.ledger.is_above_low() {
                // Another thread may write another meanwhile.
                self.pool().ring();
            }
            match self.write(taken, patience) {
                Outcome::Nothing => {}
                Outcome::Busy => outcome = Outcome::Busy,
                decided => return decided,
            }
        }
        outcome
    }

    /// Writes this payload. Where it belongs then, it has been listed before `taken`
    /// ends, so that a flush misses none.
    fn write(&self, taken: Taken<'_>, patience: Patience) -> Outcome {
        let Some((payload, piece)) = taken.piece() else {
            return Outcome::Nothing;
        };
        if patience == Patience::SecondChance && payload.is_wanted() {
            payload.list_again(Kind::Dirty, piece, Place::Warmest);
            return Outcome::Busy;
        }
        let mut listed = ListedAgain {
            payload: Arc::clone(&payload),
            piece,
            place: Place::Warmest,
        };
        let under_way = UnderWay::new(&self.writes_under_way);
        let outcome = Arc::clone(&payload).write();
        drop(under_way);
        match &outcome {
            Outcome::Failed(error) => {
                self.failing.store(true, Ordering::Relaxed);
                self.tally.failed(error);
                listed.place = Place::AsBefore;
            }
            Outcome::Written => self.failing.store(false, Ordering::Relaxed),
            Outcome::Nothing | Outcome::Busy => {}
        }
        // What was written is listed elsewhere, and what is gone is nowhere: then this
        // does nothing.
        drop(listed);
        outcome
    }

    /// Drops the coldest clean copy from memory, and gives the buffer that it lay in
    /// and its room to `offer`; `false` if there is none that can go. No I/O.
    pub(super) fn evict_one(&self, unused: Unused, mut offer: impl FnMut(Memory, Charge)) -> bool {
        // Once around for those that get a second chance, and once more.
        for _ in 0..=2 * self.clean.len() {
            let Some(taken) = self.clean.take() else {
                break;
            };
            if evict(&taken, Kind::Clean, &mut offer) == Some(true) {
                return true;
            }
        }
        // A copy may be clean and not listed yet, or read at this moment: that one
        // is soon there, and then read-ahead need not go.
        unused == Unused::Goes
            && self.ledger.bytes_of(Kind::Clean) == 0
            && self.evict_read_ahead(u64::MAX, offer)
    }

    /// Drops read-ahead that has waited for longer than its share of reads.
    pub(super) fn evict_stale(&self, offer: impl FnMut(Memory, Charge)) -> bool {
        let patience = STALE_TURNS + 4 * self.read_ahead.len() as u64;
        let now = self.read_ahead.next_turn();
        self.evict_read_ahead(now.saturating_sub(patience), offer)
    }

    /// Drops the oldest fetched and unused copy if it came before `turn`.
    fn evict_read_ahead(&self, turn: u64, mut offer: impl FnMut(Memory, Charge)) -> bool {
        for _ in 0..=self.read_ahead.len() {
            let Some(taken) = self.read_ahead.take_before(turn) else {
                return false;
            };
            if evict(&taken, Kind::ReadAhead, &mut offer) == Some(true) {
                return true;
            }
        }
        false
    }

    /// Writes and drops until no more is held than the budget allows, whatever
    /// others set it to meanwhile.
    ///
    /// # Errors
    ///
    /// That of the first write that fails.
    pub(super) fn keep_within_budget(self: &Arc<Self>) -> Result<()> {
        self.shrink_while(|| true)
    }

    /// The same for as long as `go_on` says so.
    ///
    /// # Errors
    ///
    /// As there.
    pub(super) fn shrink_while(self: &Arc<Self>, go_on: impl Fn() -> bool) -> Result<()> {
        while self.ledger.is_over_budget() && go_on() {
            if self.free_one(Unused::Goes) {
                continue;
            }
            match self.write_or_reclaim() {
                Outcome::Written => {}
                Outcome::Failed(error) => return Err(error),
                // What views hold goes when they do.
                Outcome::Nothing | Outcome::Busy if self.pinned_bytes() > 0 => return Ok(()),
                Outcome::Nothing | Outcome::Busy => self.ledger.wait(STALL_SLICE),
            }
        }
        Ok(())
    }

    /// Writes everything that became cold before this call.
    ///
    /// # Errors
    ///
    /// That of the first write that fails.
    pub(super) fn write_back(self: &Arc<Self>) -> Result<()> {
        let now = self.dirty.next_turn();
        loop {
            let older = self.dirty.older_than(now);
            let found_none = older.is_empty();
            for (rank, is_late) in older {
                let Some(taken) = self.dirty.take_at(rank, is_late) else {
                    continue;
                };
                if let Outcome::Failed(error) = self.write(taken, Patience::None) {
                    return Err(error);
                }
            }
            // In this order: what is taken when this is asked was listed when the
            // list was made, or is listed again by now.
            if found_none
                && !self.dirty.is_taken_before(now)
                && self.dirty.older_than(now).is_empty()
            {
                return self.reclaim_all();
            }
            if found_none {
                self.ledger.wait(STALL_SLICE);
            }
        }
    }

    /// Writes everything that became cold before this call, and drops it from
    /// memory.
    ///
    /// # Errors
    ///
    /// That of the first write that fails.
    pub(super) fn flush(self: &Arc<Self>) -> Result<()> {
        self.write_back()?;
        self.evict_all(Kind::Clean);
        self.evict_all(Kind::ReadAhead);
        Ok(())
    }

    /// Drops every copy of `kind` that there is now.
    fn evict_all(&self, kind: Kind) {
        let queue = self.queue(kind);
        let now = queue.next_turn();
        loop {
            let older = queue.older_than(now);
            if older.is_empty() {
                return;
            }
            let (mut is_busy, mut has_freed) = (false, false);
            for (rank, is_late) in older {
                let Some(taken) = queue.take_at(rank, is_late) else {
                    // Somebody else is at it.
                    is_busy = true;
                    continue;
                };
                let evicted = evict_now(&taken, kind, &mut release);
                is_busy |= evicted == Some(false);
                has_freed |= evicted == Some(true);
            }
            if !is_busy && !has_freed {
                // What is left is held by views, and goes when they do.
                return;
            }
            if is_busy {
                self.ledger.wait(STALL_SLICE);
            }
        }
    }
}

/// Lists a payload again when it is dropped, if only by a panic of the backend.
struct ListedAgain {
    payload: Arc<dyn Pageable>,
    piece: usize,
    place: Place,
}

impl Drop for ListedAgain {
    fn drop(&mut self) {
        Arc::clone(&self.payload).list_again(Kind::Dirty, self.piece, self.place);
    }
}

/// Drops this copy from memory unless it deserves a second chance; as
/// [`evict_now`] otherwise.
fn evict(taken: &Taken<'_>, kind: Kind, offer: &mut impl FnMut(Memory, Charge)) -> Option<bool> {
    let (payload, piece) = taken.piece()?;
    if kind == Kind::Clean && payload.is_wanted() {
        payload.list_again(kind, piece, Place::Warmest);
        return Some(false);
    }
    evict_now(taken, kind, offer)
}

/// Drops this copy from memory: whether it is gone, or nothing if it was gone
/// already.
fn evict_now(
    taken: &Taken<'_>,
    kind: Kind,
    offer: &mut impl FnMut(Memory, Charge),
) -> Option<bool> {
    let (payload, piece) = taken.piece()?;
    match Arc::clone(&payload).evict(kind, piece) {
        Evicted::Freed(memory, charge) => {
            offer(memory, charge);
            Some(true)
        }
        Evicted::Busy => {
            payload.list_again(kind, piece, Place::Warmest);
            Some(false)
        }
        Evicted::Pinned => {
            payload.list_again(kind, piece, Place::Warmest);
            None
        }
        Evicted::Nothing => None,
    }
}

/// Gives memory back to the system, and then its room to whoever wants it.
pub(super) fn release(memory: Memory, charge: Charge) {
    memory.release();
    drop(charge);
}
