//! How room is made: for a newcomer, for read-ahead, for a transfer.
//!
//! Spare buffers go first, then clean copies, then whoever needs the room helps to
//! write, or waits for a write that ends sooner than one that would begin now.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::charge::Charge;
use super::engine::Engine;
use super::kind::Kind;
use super::leave::{Unused, release};
use super::ledger::Refusal;
use super::pageable::{Outcome, Patience};
use super::spares::Fit;
use crate::memory::{ElementLayout, HeapBuf};
use crate::payload::Memory;
use crate::sync::Ordering;
use crate::{Error, Result};

/// How long a caller waits for room before it looks again whether it can help.
pub(super) const STALL_SLICE: Duration = Duration::from_millis(1);

/// Whether a page-out waits until there is room for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// It does, and helps.
    AsLongAsItTakes,
    /// It is refused instead.
    No,
}

/// Room that is wanted, and a warm buffer that fits.
struct Wanted {
    kind: Kind,
    bytes: usize,
    fit: Fit,
    found: Option<HeapBuf>,
    /// The room that the buffer came from, if it is as large as what is wanted.
    charge: Option<Charge>,
}

impl Wanted {
    fn new(kind: Kind, bytes: usize, fit: Fit) -> Self {
        Self {
            kind,
            bytes,
            fit,
            found: None,
            charge: None,
        }
    }

    /// Takes what has left memory, buffer and room, if it is what is wanted: then nothing
    /// is held that is not counted, and nobody else gets the room. It goes back to the
    /// system otherwise.
    fn offer(&mut self, memory: Memory, charge: Charge) {
        let serves = |buf: &HeapBuf| self.fit.is_served_by(buf) && charge.bytes() == self.bytes;
        match memory {
            Memory::Vec(mut buf) if self.charge.is_none() && serves(&buf) => {
                match charge.become_kind(self.kind) {
                    Ok(charge) => {
                        buf.clear();
                        self.found = Some(buf);
                        self.charge = Some(charge);
                    }
                    Err(charge) => release(Memory::Vec(buf), charge),
                }
            }
            memory => release(memory, charge),
        }
    }

    /// Reserves room, if it was not found.
    fn reserve(&mut self, engine: &Arc<Engine>) -> Result<Charge, Refusal> {
        match self.charge.take() {
            Some(charge) => Ok(charge),
            None => Charge::reserve(engine, self.kind, self.bytes),
        }
    }
}

impl Engine {
    /// Room for a dirty payload of `bytes`, and a warm buffer that fits if one came
    /// free; no room if it would never fit. Above the high watermark the caller
    /// helps or waits.
    ///
    /// # Errors
    ///
    /// That of the write that would have made room; [`Error::ShutDown`];
    /// [`Error::NoRoom`] if there is none, or will never be, and the caller does not wait.
    pub(crate) fn admit(
        self: &Arc<Self>,
        bytes: usize,
        fit: Fit,
        patience: Wait,
    ) -> Result<(Option<Charge>, Option<HeapBuf>)> {
        self.check_running()?;
        let mut wanted = Wanted::new(Kind::Dirty, bytes, fit);
        let mut stalled_since = None;
        let admitted = loop {
            if bytes > self.ledger.high_bytes().saturating_sub(self.pinned_bytes()) {
                if self.ledger.asks_again() {
                    continue;
                }
                match patience {
                    Wait::AsLongAsItTakes => break Ok(None),
                    Wait::No => return Err(self.no_room(bytes)),
                }
            }
            match wanted.reserve(self) {
                Ok(charge) => break Ok(Some(charge)),
                Err(Refusal::BudgetIsFull) if self.make_room(Unused::Goes, &mut wanted) => continue,
                Err(Refusal::BudgetIsFull | Refusal::ShareIsFull) => {}
            }
            if patience == Wait::No {
                return Err(self.no_room(bytes));
            }
            stalled_since.get_or_insert_with(Instant::now);
            if let Err(error) = self.help_or_wait() {
                break Err(error);
            }
        };
        if let Some(since) = stalled_since {
            self.tally.pageout_stalls.add(since.elapsed());
        }
        Ok((admitted?, wanted.found))
    }

    /// # Errors
    ///
    /// [`Error::ShutDown`].
    pub(crate) fn check_running(&self) -> Result<()> {
        if self.pool().has_stopped() {
            return Err(Error::ShutDown);
        }
        Ok(())
    }

    /// Says that so many bytes find no room.
    pub(crate) fn no_room(&self, bytes: usize) -> Error {
        Error::NoRoom {
            needed_bytes: bytes as u64,
            budget_bytes: self.ledger.limit_bytes() as u64,
        }
    }

    /// Room for a clean copy of `bytes`, if there is any without waiting.
    pub(crate) fn room_for_copy(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        let mut wanted = Wanted::new(Kind::Clean, bytes, Fit::NONE);
        loop {
            match wanted.reserve(self) {
                Ok(charge) => return Some(charge),
                Err(_) if bytes > self.ledger.limit_bytes() => return None,
                Err(_) if self.make_room(Unused::Stays, &mut wanted) => {}
                Err(_) => return None,
            }
        }
    }

    /// Room for a clean copy of `bytes` that nobody has asked for: nothing makes way for it.
    pub(crate) fn room_to_spare(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        Charge::reserve(self, Kind::Clean, bytes).ok()
    }

    /// Room for read-ahead of `bytes`, and a warm buffer for them if one came free.
    /// Clean copies that nobody has announced make way for it; what was fetched and
    /// not used does not, unless it is old.
    pub(super) fn room_for_fetch(
        self: &Arc<Self>,
        bytes: usize,
        element: ElementLayout,
    ) -> Option<(Charge, Option<HeapBuf>)> {
        let fit = Fit {
            len_bytes: bytes,
            element,
        };
        let mut wanted = Wanted::new(Kind::ReadAhead, bytes, fit);
        loop {
            let has_freed = match wanted.reserve(self) {
                Ok(charge) => {
                    let buffer = wanted.found.or_else(|| self.spares.get(fit));
                    return Some((charge, buffer));
                }
                Err(Refusal::BudgetIsFull) => self.make_room(Unused::Stays, &mut wanted),
                Err(Refusal::ShareIsFull) => {
                    self.evict_stale(|memory, charge| wanted.offer(memory, charge))
                }
            };
            if !has_freed {
                return None;
            }
        }
    }

    /// Room for a buffer of a spill, if spills hold less than their share. Nobody waits for
    /// it: who holds one may be the one who would wait.
    pub(crate) fn room_for_spill(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        let charge = Charge::reserve(self, Kind::Spill, bytes).ok()?;
        self.make_way();
        Some(charge)
    }

    /// Room for a small one, which is never refused: counted as bookkeeping is.
    pub(crate) fn room_for_small_spill(self: &Arc<Self>, bytes: usize) -> Charge {
        let charge = Charge::reserve(self, Kind::Bookkeeping, bytes)
            .expect("bookkeeping has neither a share nor a limit");
        self.make_way();
        charge
    }

    /// Frees what can be freed at once, if more is held than may be.
    fn make_way(self: &Arc<Self>) {
        while self.ledger.is_over_budget() && self.free_one(Unused::Goes) {}
    }

    /// Room for a buffer of a transfer, or for a workspace, if fewer are in use than may
    /// be.
    pub(super) fn room_for_transfer(self: &Arc<Self>, kind: Kind, bytes: usize) -> Option<Charge> {
        let charge = Charge::reserve(self, kind, bytes).ok()?;
        while self.ledger.is_over_budget() && self.free_one(Unused::Stays) {}
        Some(charge)
    }

    /// Frees a spare buffer or a clean copy; `false` if there is neither.
    fn make_room(self: &Arc<Self>, unused: Unused, wanted: &mut Wanted) -> bool {
        if let Some((spare, charge)) = self.spares.take_one() {
            wanted.offer(Memory::Vec(spare), charge);
            return true;
        }
        self.evict_one(unused, |memory, charge| wanted.offer(memory, charge))
    }

    /// The same where nobody has a use for the buffer.
    pub(super) fn free_one(self: &Arc<Self>, unused: Unused) -> bool {
        self.make_room(unused, &mut Wanted::new(Kind::Clean, 0, Fit::NONE))
    }

    /// Frees at least `bytes` of what is held, as far as it can be freed, and gives them
    /// back to the account if there is one; returns how many went.
    ///
    /// # Errors
    ///
    /// That of a write that failed.
    pub(super) fn reclaim(self: &Arc<Self>, bytes: usize) -> Result<usize> {
        let ledger = &self.ledger;
        let lent_or_held_bytes = || match &ledger.lender {
            Some(lender) => lender.lent_bytes(),
            None => ledger.held_bytes(),
        };
        let begun_bytes = lent_or_held_bytes();
        loop {
            let mut gone_bytes = begun_bytes.saturating_sub(lent_or_held_bytes());
            if let Some(lender) = &ledger.lender
                && gone_bytes < bytes
            {
                gone_bytes += lender.give_back(bytes - gone_bytes, || ledger.held_bytes());
            }
            if gone_bytes >= bytes {
                return Ok(gone_bytes);
            }
            if self.free_one(Unused::Goes) {
                continue;
            }
            match self.write_one(Patience::None) {
                Outcome::Written => {}
                Outcome::Failed(error) => return Err(error),
                Outcome::Nothing => match self.reclaim_one() {
                    Outcome::Written => {}
                    Outcome::Failed(error) => return Err(error),
                    Outcome::Nothing | Outcome::Busy => return Ok(gone_bytes),
                },
                Outcome::Busy => ledger.wait(STALL_SLICE),
            }
        }
    }

    /// Writes a payload, or waits for a write that ends sooner than one that would
    /// begin now.
    pub(super) fn help_or_wait(self: &Arc<Self>) -> Result<()> {
        self.pool().wake(self);
        let enough = self.writes_at_a_time.load(Ordering::Relaxed);
        if self.writes_under_way.load(Ordering::Relaxed) >= enough {
            self.ledger.wait(STALL_SLICE);
            return Ok(());
        }
        match self.write_or_reclaim() {
            Outcome::Written => {}
            Outcome::Failed(error) => return Err(error),
            Outcome::Nothing | Outcome::Busy => self.ledger.wait(STALL_SLICE),
        }
        Ok(())
    }
}
