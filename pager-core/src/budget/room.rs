//! How room is made: for a newcomer, for read-ahead, for a transfer.
//!
//! Spare buffers go first, then clean copies, then whoever needs the room helps to
//! write, or waits for a write that ends sooner than one that would begin now.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::charge::Charge;
use super::engine::Engine;
use super::leave::Unused;
use super::ledger::{Kind, Refusal};
use super::pageable::{Outcome, Patience};
use super::spares::serves;
use crate::memory::release_vec;
use crate::payload::{Memory, OwnedChunk};
use crate::sync::Ordering;
use crate::{Error, Result};

/// How long a caller waits for room before it looks again whether it can help.
pub(super) const STALL_SLICE: Duration = Duration::from_millis(1);

/// A warm buffer that is wanted for so many words.
struct Wanted {
    words: usize,
    found: Option<Vec<u64>>,
}

impl Wanted {
    /// Keeps the buffer of what has left memory if it serves; it goes back to the
    /// system otherwise.
    fn offer(&mut self, memory: Memory) {
        for mut vec in memory.into_vecs() {
            vec.clear();
            if self.found.is_none() && serves(&vec, self.words) {
                self.found = Some(vec);
            } else {
                release_vec(vec);
            }
        }
    }
}

impl Engine {
    /// Room for a dirty payload of `bytes`, and a warm buffer for `words` if one came
    /// free; no room if it would never fit. Above the high watermark the caller
    /// helps or waits.
    ///
    /// # Errors
    ///
    /// That of the write that would have made room; [`Error::ShutDown`].
    pub(crate) fn admit(
        self: &Arc<Self>,
        bytes: usize,
        words: usize,
    ) -> Result<(Option<Charge>, Option<Vec<u64>>)> {
        self.check_running()?;
        let mut wanted = Wanted { words, found: None };
        let mut stalled_since = None;
        let admitted = loop {
            if bytes > self.ledger.high_bytes() {
                break Ok(None);
            }
            match Charge::reserve(self, Kind::Dirty, bytes) {
                Ok(charge) => break Ok(Some(charge)),
                Err(Refusal::BudgetIsFull) if self.make_room(Unused::Goes, &mut wanted) => continue,
                Err(Refusal::BudgetIsFull | Refusal::ShareIsFull) => {}
            }
            stalled_since.get_or_insert_with(Instant::now);
            if let Err(error) = self.help_or_wait() {
                break Err(error);
            }
        };
        if let Some(since) = stalled_since {
            self.tally.pageout_stalls.add(since.elapsed());
        }
        match admitted {
            Ok(charge) => Ok((charge, wanted.found)),
            Err(error) => {
                wanted.found.into_iter().for_each(release_vec);
                Err(error)
            }
        }
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

    /// Room for a clean copy of `bytes`, if there is any without waiting.
    pub(crate) fn room_for_copy(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        let mut wanted = Wanted {
            words: 0,
            found: None,
        };
        loop {
            match Charge::reserve(self, Kind::Clean, bytes) {
                Ok(charge) => return Some(charge),
                Err(_) if bytes > self.ledger.limit_bytes() => return None,
                Err(_) if self.make_room(Unused::Stays, &mut wanted) => {}
                Err(_) => return None,
            }
        }
    }

    /// Room for read-ahead of `bytes`, and a warm buffer for `words` if one came free.
    /// Clean copies that nobody has announced make way for it; what was fetched and
    /// not used does not, unless it is old.
    pub(super) fn room_for_fetch(
        self: &Arc<Self>,
        bytes: usize,
        words: usize,
    ) -> Option<(Charge, Option<Vec<u64>>)> {
        let mut wanted = Wanted { words, found: None };
        loop {
            let has_freed = match Charge::reserve(self, Kind::ReadAhead, bytes) {
                Ok(charge) => return Some((charge, wanted.found)),
                Err(Refusal::BudgetIsFull) => self.make_room(Unused::Stays, &mut wanted),
                Err(Refusal::ShareIsFull) => self.evict_stale(|memory| wanted.offer(memory)),
            };
            if !has_freed {
                // Nobody waits: it is worth keeping for the one who tries next.
                if let Some(vec) = wanted.found {
                    self.keep_spare(OwnedChunk::Vec(vec));
                }
                return None;
            }
        }
    }

    /// Room for a buffer of a transfer, if fewer are in use than may be.
    pub(super) fn room_for_transfer(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        let charge = Charge::reserve(self, Kind::Transfer, bytes).ok()?;
        while self.ledger.is_over_budget() && self.free_one(Unused::Stays) {}
        Some(charge)
    }

    /// Frees a spare buffer or a clean copy; `false` if there is neither.
    fn make_room(self: &Arc<Self>, unused: Unused, wanted: &mut Wanted) -> bool {
        if let Some(spare) = self.spares.take_one() {
            wanted.offer(Memory::Vec(spare));
            return true;
        }
        self.evict_one(unused, |memory| wanted.offer(memory))
    }

    /// The same where nobody has a use for the buffer.
    pub(super) fn free_one(self: &Arc<Self>, unused: Unused) -> bool {
        let mut wanted = Wanted {
            words: usize::MAX,
            found: None,
        };
        self.make_room(unused, &mut wanted)
    }

    /// Writes a payload, or waits for a write that ends sooner than one that would
    /// begin now.
    fn help_or_wait(self: &Arc<Self>) -> Result<()> {
        self.pool().wake(self);
        let enough = self.writes_at_a_time.load(Ordering::Relaxed);
        if self.writes_under_way.load(Ordering::Relaxed) >= enough {
            self.ledger.wait(STALL_SLICE);
            return Ok(());
        }
        match self.write_one(Patience::None) {
            Outcome::Written => {}
            Outcome::Failed(error) => return Err(error),
            Outcome::Nothing | Outcome::Busy => self.ledger.wait(STALL_SLICE),
        }
        Ok(())
    }
}
