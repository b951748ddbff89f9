//! How bytes leave memory: dirty payloads are written, clean copies are dropped.
//!
//! Writing and dropping are two things. What was written stays readable in memory
//! until something else wants the room, and then goes without I/O.

use std::sync::Arc;

use super::engine::{Engine, LATE_SLACK, STALL_SLICE};
use super::pageable::{Outcome, Patience};
use super::victims::{Victim, Victims};
use crate::Result;
use crate::sync::{Ordering, lock};

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

/// A write under way. Ends, if only by a panic of the backend, with its victim
/// listed where it belongs.
struct Writing<'a> {
    engine: &'a Engine,
    turn: u64,
    victim: Option<Victim>,
}

impl<'a> Writing<'a> {
    fn new(engine: &'a Engine, victim: Victim) -> Self {
        let turn = victim.turn;
        lock(&engine.writing).push(turn);
        Self {
            engine,
            turn,
            victim: Some(victim),
        }
    }

    /// Lists the victim again, before it stops counting as under way, and with its
    /// turn, so that a flush misses none.
    fn end(&mut self, outcome: &Outcome) {
        let Some(victim) = self.victim.take() else {
            return;
        };
        let engine = self.engine;
        match outcome {
            Outcome::Busy => engine.dirty.push_warmest(victim),
            Outcome::Failed(error) => {
                engine.failing.store(true, Ordering::Relaxed);
                engine.tally.failed(error);
                engine.dirty.push_coldest(victim);
            }
            Outcome::Kept => {
                engine.failing.store(false, Ordering::Relaxed);
                engine.clean.push_from(victim);
                // Whoever was woken when it became clean may not have found it.
                engine.ledger.wake();
            }
            Outcome::Freed => engine.failing.store(false, Ordering::Relaxed),
            Outcome::Nothing => {}
        }
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if let Some(victim) = self.victim.take() {
            self.engine.dirty.push_warmest(victim);
        }
        let mut writing = lock(&self.engine.writing);
        if let Some(position) = writing.iter().position(|other| *other == self.turn) {
            writing.swap_remove(position);
        }
    }
}

impl Engine {
    /// Writes the coldest dirty payload.
    pub(super) fn write_one(self: &Arc<Self>, patience: Patience) -> Outcome {
        self.write_first(|| self.dirty.pop(), patience)
    }

    /// Writes a payload that is said to be wanted later than all others, or one
    /// that could not be written before.
    pub(super) fn write_late(self: &Arc<Self>) -> Outcome {
        self.write_first(|| self.dirty.pop_late(LATE_SLACK), Patience::None)
    }

    /// Writes the first that can be written of those that `pop` yields.
    ///
    /// Passes over those that are gone or busy, the whole list at most once.
    fn write_first(
        self: &Arc<Self>,
        pop: impl Fn() -> Option<Victim>,
        patience: Patience,
    ) -> Outcome {
        let mut outcome = Outcome::Nothing;
        for _ in 0..=self.dirty.len() {
            let Some(victim) = pop() else {
                break;
            };
            match self.write(victim, patience) {
                Outcome::Nothing => {}
                Outcome::Busy => outcome = Outcome::Busy,
                decided => return decided,
            }
        }
        outcome
    }

    /// Writes this payload, and lists it where it belongs then.
    fn write(self: &Arc<Self>, victim: Victim, patience: Patience) -> Outcome {
        let Some(payload) = victim.payload.upgrade() else {
            return Outcome::Nothing;
        };
        if patience == Patience::SecondChance && payload.is_wanted() {
            self.dirty.push_warmest(victim);
            return Outcome::Busy;
        }
        let mut writing = Writing::new(self, victim);
        let outcome = Arc::clone(&payload).write();
        writing.end(&outcome);
        // If the handle is gone by now, this is what frees the payload.
        drop(payload);
        outcome
    }

    /// Payloads being written at this moment, on all threads.
    pub(super) fn writes_under_way(&self) -> usize {
        lock(&self.writing).len()
    }

    /// Drops the coldest clean copy from memory; `false` if there is none that can
    /// go. No I/O.
    pub(super) fn evict_one(&self, unused: Unused) -> bool {
        // Once around for those that get a second chance, and once more.
        for _ in 0..=2 * self.clean.len() {
            let Some(victim) = self.clean.pop() else {
                break;
            };
            let Some(payload) = victim.payload.upgrade() else {
                continue;
            };
            if payload.is_unused() {
                // Fetched again since: it is listed there.
                continue;
            }
            if payload.is_wanted() {
                self.clean.push_warmest(victim);
                continue;
            }
            match payload.evict() {
                Outcome::Freed => return true,
                Outcome::Busy => self.clean.push_warmest(victim),
                _ => {}
            }
        }
        // A copy may be clean and not listed yet, or read at this moment: that one
        // is soon there, and then read-ahead need not go.
        unused == Unused::Goes && self.ledger.clean_bytes() == 0 && self.evict_fetched(u64::MAX)
    }

    /// Drops read-ahead that has waited for longer than its share of reads.
    pub(super) fn evict_stale(&self) -> bool {
        let patience = STALE_TURNS + 4 * self.fetched.len() as u64;
        let now = self.fetched.next_turn();
        self.evict_fetched(now.saturating_sub(patience))
    }

    /// Drops the oldest fetched and unused copy if it came before `turn`.
    fn evict_fetched(&self, turn: u64) -> bool {
        for _ in 0..=self.fetched.len() {
            let Some(victim) = self.fetched.pop_before(turn) else {
                return false;
            };
            let Some(payload) = victim.payload.upgrade() else {
                continue;
            };
            // Used since: it is listed among the clean ones.
            if !payload.is_unused() {
                continue;
            }
            match payload.evict() {
                Outcome::Freed => return true,
                Outcome::Busy => self.fetched.push_warmest(victim),
                _ => {}
            }
        }
        false
    }

    /// Writes and drops until at most `limit_bytes` are in memory.
    ///
    /// # Errors
    ///
    /// That of the first write that fails.
    pub(super) fn evict_down_to(self: &Arc<Self>, limit_bytes: usize) -> Result<()> {
        while self.ledger.used_bytes() > limit_bytes {
            if self.evict_one(Unused::Goes) {
                continue;
            }
            match self.write_one(Patience::None) {
                Outcome::Freed | Outcome::Kept => {}
                Outcome::Failed(error) => return Err(error),
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
            let mut older = self.dirty.drain_before(now).into_iter();
            let is_last = older.len() == 0;
            while let Some(victim) = older.next() {
                if let Outcome::Failed(error) = self.write(victim, Patience::None) {
                    older.for_each(|victim| self.dirty.push_warmest(victim));
                    return Err(error);
                }
            }
            if is_last && !lock(&self.writing).iter().any(|turn| *turn < now) {
                return Ok(());
            }
            self.ledger.wait(STALL_SLICE);
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
        self.evict_all(&self.clean);
        self.evict_all(&self.fetched);
        Ok(())
    }

    /// Drops every copy that is in `queue` now.
    fn evict_all(&self, queue: &Victims) {
        let now = queue.next_turn();
        loop {
            let older = queue.drain_before(now);
            if older.is_empty() {
                return;
            }
            let mut is_busy = false;
            for victim in older {
                let payload = victim.payload.upgrade();
                if let Some(Outcome::Busy) = payload.map(|payload| payload.evict()) {
                    is_busy = true;
                    queue.push_warmest(victim);
                }
            }
            if is_busy {
                self.ledger.wait(STALL_SLICE);
            }
        }
    }
}
