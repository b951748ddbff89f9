//! [`Engine`]: what happens in the background, one step at a time.
//!
//! A step is a fetch if one waits and has room, else an eviction if more is
//! resident than the low watermark allows. Callers above the high watermark run
//! the same evictions themselves.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::fetches::Fetches;
use super::ledger::Ledger;
use super::pageable::{Eviction, Patience, WeakPageable};
use super::pool::Pool;
use super::spares::Spares;
use super::tally::Tally;
use super::victims::{Victim, Victims};
use crate::sync::{AtomicBool, Mutex, Ordering, lock};
use crate::{Error, OwnedChunk, Result};

/// How long a caller waits for room before it looks again whether it can help.
const STALL_SLICE: Duration = Duration::from_millis(1);

/// Evictions under way from which on a caller waits for one instead of adding
/// its own.
const ENOUGH_EVICTIONS: usize = 2;

/// The shared state of a residency layer.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(super) ledger: Ledger,
    pub(super) victims: Victims,
    pub(super) fetches: Fetches,
    pub(super) spares: Spares,
    pub(crate) tally: Tally,
    pool: Pool,
    /// The turns of the victims being evicted at this moment, on all threads.
    evicting: Mutex<Vec<u64>>,
    /// Set by a failed write until one succeeds. Relaxed: a statistic.
    failing: AtomicBool,
}

/// What a thread does first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preferred {
    Fetch,
    Evict,
}

/// Whether a step found anything to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Done,
    Idle,
}

impl Step {
    fn or_else(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Done => Self::Done,
            Self::Idle => other(),
        }
    }
}

impl Engine {
    pub(super) fn new(ledger: Ledger, spares: Spares, pool: Pool) -> Self {
        Self {
            ledger,
            victims: Victims::new(),
            fetches: Fetches::default(),
            spares,
            tally: Tally::default(),
            pool,
            evicting: Mutex::new(Vec::new()),
            failing: AtomicBool::new(false),
        }
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Reserves room for a payload of `bytes` under the high watermark, helping
    /// and waiting as long as it takes. `Ok(false)`: it would never fit.
    ///
    /// # Errors
    ///
    /// That of the write that would have made room.
    pub(crate) fn admit(self: &Arc<Self>, bytes: usize) -> Result<bool> {
        if self.pool.has_stopped() {
            return Err(Error::ShutDown);
        }
        let mut stalled_since = None;
        let admitted = loop {
            let high_bytes = self.ledger.high_bytes();
            if bytes > high_bytes {
                break Ok(false);
            }
            if self.ledger.try_reserve(bytes, high_bytes) {
                break Ok(true);
            }
            stalled_since.get_or_insert_with(Instant::now);
            self.pool.wake(self);
            if lock(&self.evicting).len() >= ENOUGH_EVICTIONS {
                // The device is busy with evictions: one of them ends before one
                // that would begin now.
                self.ledger.wait(STALL_SLICE);
                continue;
            }
            match self.evict_one(Patience::None) {
                Eviction::Freed => {}
                Eviction::Failed(error) => break Err(error),
                Eviction::Nothing | Eviction::Busy => self.ledger.wait(STALL_SLICE),
            }
        };
        if let Some(since) = stalled_since {
            self.tally.stalled(since.elapsed());
        }
        admitted
    }

    /// Lists a payload that has come into memory as a victim.
    pub(crate) fn list(self: &Arc<Self>, payload: WeakPageable, coldest: bool) {
        let victim = self.victims.newcomer(payload);
        if coldest {
            self.victims.push_coldest(victim);
        } else {
            self.victims.push(victim);
        }
        if self.ledger.is_above_low() {
            self.pool.wake(self);
        }
    }

    /// Counts `bytes` as gone from memory, and tells a thread if a fetch waits for
    /// room.
    pub(crate) fn release(&self, bytes: usize) {
        self.ledger.release(bytes);
        if self.fetches.len() > 0 {
            self.pool.ring();
        }
    }

    /// An empty `Vec` with room for `words`, if a warm one is to be had.
    pub(crate) fn spare(&self, words: usize) -> Option<Vec<u64>> {
        self.spares.get(words)
    }

    /// Keeps the buffer of `chunk` for reuse, in the stock or in its arena.
    pub(crate) fn keep_spare(&self, chunk: OwnedChunk) {
        if let OwnedChunk::Vec(vec) = chunk {
            self.spares.put(vec);
        }
    }

    /// Whether anything happens in the background.
    pub(crate) fn has_threads(&self) -> bool {
        self.pool.has_threads()
    }

    /// Whether `bytes` could ever be fetched in the background.
    pub(crate) fn can_fetch(&self, bytes: usize) -> bool {
        self.has_threads() && bytes <= self.ledger.budget_bytes()
    }

    /// Queues a fetch; `false` if it is refused.
    pub(crate) fn request_fetch(
        self: &Arc<Self>,
        payload: WeakPageable,
        range: Range<usize>,
    ) -> bool {
        let accepted = !self.pool.has_stopped() && self.fetches.push(payload, range);
        if accepted {
            self.pool.wake(self);
        } else {
            self.tally.prefetch_refusals.add(1);
        }
        accepted
    }

    /// Does one thing that is to be done in the background, of the kind that is
    /// preferred if there is any: reads and writes go on side by side, and neither
    /// waits until the other has nothing left to do.
    pub(super) fn step(self: &Arc<Self>, preferred: Preferred) -> Step {
        let evict_first = match preferred {
            // Read-ahead is for later; who waits for room waits now.
            Preferred::Fetch => self.ledger.has_waiters(),
            // As long as nobody is about to wait for room, callers wait for reads.
            Preferred::Evict => self.ledger.is_nearly_high(),
        };
        if evict_first {
            self.trim().or_else(|| self.fetch_one())
        } else {
            self.fetch_one().or_else(|| self.trim())
        }
    }

    /// Evicts one payload if more is resident than the low watermark allows.
    fn trim(self: &Arc<Self>) -> Step {
        if !self.ledger.is_above_low() {
            return Step::Idle;
        }
        match self.evict_one(Patience::SecondChance) {
            Eviction::Freed => Step::Done,
            // Nothing fits the moment: look again after a nap, or when woken.
            Eviction::Nothing | Eviction::Busy | Eviction::Failed(_) => Step::Idle,
        }
    }

    fn fetch_one(self: &Arc<Self>) -> Step {
        let Some(((payload, range), next)) = self.fetches.pop() else {
            return Step::Idle;
        };
        let bytes = range.len() * size_of::<u64>();
        let budget_bytes = self.ledger.budget_bytes();
        if bytes > budget_bytes {
            self.tally.prefetch_refusals.add(1);
            payload.forget_fetch();
            return Step::Done;
        }
        if !self.ledger.try_reserve(bytes, budget_bytes) {
            // No room: whoever needs it sooner reads it, and takes it from here.
            self.fetches.push_front(Arc::downgrade(&payload), range);
            return Step::Idle;
        }
        if let Some((payload, range)) = next {
            payload.announce(range);
        }
        self.tally.fetching_bytes.add(bytes);
        let weak = Arc::downgrade(&payload);
        let fetched = payload.fetch(range);
        self.tally.fetching_bytes.sub(bytes);
        if fetched {
            self.tally.fetches.add(1);
            self.list(weak, false);
        } else {
            self.ledger.release(bytes);
        }
        Step::Done
    }

    /// Moves one payload out of memory.
    ///
    /// Passes over those that are gone or busy, the whole list at most once.
    pub(super) fn evict_one(self: &Arc<Self>, patience: Patience) -> Eviction {
        let mut outcome = Eviction::Nothing;
        for _ in 0..=self.victims.len() {
            let Some(victim) = self.victims.pop() else {
                break;
            };
            match self.evict(victim, patience) {
                Eviction::Nothing => {}
                Eviction::Busy => outcome = Eviction::Busy,
                decided => return decided,
            }
        }
        outcome
    }

    /// Moves this payload out of memory, or lists it again.
    fn evict(self: &Arc<Self>, victim: Victim, patience: Patience) -> Eviction {
        let Some(payload) = victim.payload.upgrade() else {
            return Eviction::Nothing;
        };
        lock(&self.evicting).push(victim.turn);
        let eviction = Arc::clone(&payload).evict(patience);
        let turn = victim.turn;
        // Listed again before it stops counting as under way, and with its turn,
        // so that a flush misses none.
        match &eviction {
            Eviction::Busy => self.victims.push(victim),
            Eviction::Failed(error) => {
                self.failing.store(true, Ordering::Relaxed);
                self.tally.failed(error);
                self.victims.push_coldest(victim);
            }
            Eviction::Freed => self.failing.store(false, Ordering::Relaxed),
            Eviction::Nothing => {}
        }
        // If the handle is gone by now, this is what frees the payload.
        drop(payload);
        let mut evicting = lock(&self.evicting);
        if let Some(position) = evicting.iter().position(|other| *other == turn) {
            evicting.swap_remove(position);
        }
        eviction
    }

    /// Evicts until at most `limit_bytes` are resident.
    ///
    /// # Errors
    ///
    /// That of the first write that fails.
    pub(super) fn evict_down_to(self: &Arc<Self>, limit_bytes: usize) -> Result<()> {
        while self.ledger.used_bytes() > limit_bytes {
            match self.evict_one(Patience::None) {
                Eviction::Freed => {}
                Eviction::Failed(error) => return Err(error),
                Eviction::Nothing | Eviction::Busy => self.ledger.wait(STALL_SLICE),
            }
        }
        Ok(())
    }

    /// Evicts everything that became cold before this call.
    ///
    /// # Errors
    ///
    /// That of the first write that fails.
    pub(super) fn flush(self: &Arc<Self>) -> Result<()> {
        let now = self.victims.next_turn();
        loop {
            let mut older = self.victims.drain_before(now).into_iter();
            let is_last = older.len() == 0;
            while let Some(victim) = older.next() {
                if let Eviction::Failed(error) = self.evict(victim, Patience::None) {
                    older.for_each(|victim| self.victims.push(victim));
                    return Err(error);
                }
            }
            if is_last && !lock(&self.evicting).iter().any(|turn| *turn < now) {
                return Ok(());
            }
            self.ledger.wait(STALL_SLICE);
        }
    }

    /// Whether the last write failed, and none has succeeded since.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }
}
