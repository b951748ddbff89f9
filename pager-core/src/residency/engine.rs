//! [`Engine`]: what happens in the background, one step at a time.
//!
//! A step is a fetch if one waits and has room, or a write if more is dirty than
//! the low watermark allows. Callers above the high watermark write themselves.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::evict::Unused;
use super::fetches::Fetches;
use super::ledger::{Ledger, Room, Share};
use super::pageable::{Outcome, Patience, WeakPageable};
use super::pool::Pool;
use super::spares::Spares;
use super::tally::Tally;
use super::victims::Victims;
use crate::sync::{AtomicBool, Mutex, Ordering};
use crate::{Error, OwnedChunk, Result};

/// How long a caller waits for room before it looks again whether it can help.
pub(super) const STALL_SLICE: Duration = Duration::from_millis(1);

/// Writes under way from which on a caller waits for one instead of adding its
/// own.
const ENOUGH_WRITES: usize = 2;

/// Late payloads that are left alone while nothing wants their room: the last few
/// may still be dropped, and then need not be written.
pub(super) const LATE_SLACK: usize = 8;

/// The shared state of a residency layer.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(super) ledger: Ledger,
    /// Payloads that are in memory only.
    pub(super) dirty: Victims,
    /// Copies of what is stored, each of which may leave at any time.
    pub(super) clean: Victims,
    /// Copies that read-ahead brought and nobody has used. Its turns are those of
    /// reads: they tell how long a copy has been waited with.
    pub(super) fetched: Victims,
    pub(super) fetches: Fetches,
    pub(super) spares: Spares,
    pub(crate) tally: Tally,
    pool: Pool,
    /// The turns of the payloads being written at this moment, on all threads.
    pub(super) writing: Mutex<Vec<u64>>,
    /// Set by a failed write until one succeeds. Relaxed: a statistic.
    pub(super) failing: AtomicBool,
}

/// What a thread does first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preferred {
    Fetch,
    Write,
    /// Whichever lags behind.
    Either,
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

/// Room that is given back, if only by a panic of the backend, unless it is used.
struct Reserved<'a>(Option<(&'a Ledger, Share)>);

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if let Some((ledger, share)) = self.0 {
            ledger.release(share);
        }
    }
}

impl Engine {
    pub(super) fn new(ledger: Ledger, spares: Spares, pool: Pool) -> Self {
        Self {
            ledger,
            dirty: Victims::new(),
            clean: Victims::new(),
            fetched: Victims::new(),
            fetches: Fetches::default(),
            spares,
            tally: Tally::default(),
            pool,
            writing: Mutex::new(Vec::new()),
            failing: AtomicBool::new(false),
        }
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Reserves room for a dirty payload of `bytes`: clean copies leave at once,
    /// and above the high watermark the caller helps or waits. `Ok(false)`: it
    /// would never fit.
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
            if bytes > self.ledger.high_bytes() {
                break Ok(false);
            }
            match self.ledger.reserve_dirty(bytes) {
                Room::Reserved => break Ok(true),
                Room::BudgetIsFull if self.evict_one(Unused::Goes) => continue,
                Room::BudgetIsFull | Room::ShareIsFull => {}
            }
            stalled_since.get_or_insert_with(Instant::now);
            if let Err(error) = self.help_or_wait() {
                break Err(error);
            }
        };
        if let Some(since) = stalled_since {
            self.tally.stalled(since.elapsed());
        }
        admitted
    }

    /// Writes a payload, or waits for a write that ends sooner than one that would
    /// begin now.
    fn help_or_wait(self: &Arc<Self>) -> Result<()> {
        self.pool.wake(self);
        if self.writes_under_way() >= ENOUGH_WRITES {
            self.ledger.wait(STALL_SLICE);
            return Ok(());
        }
        match self.write_one(Patience::None) {
            Outcome::Freed | Outcome::Kept => {}
            Outcome::Failed(error) => return Err(error),
            Outcome::Nothing | Outcome::Busy => self.ledger.wait(STALL_SLICE),
        }
        Ok(())
    }

    /// Lists a payload that has come into memory, dirty, as one to be written.
    pub(crate) fn list(self: &Arc<Self>, payload: WeakPageable, bytes: usize, is_late: bool) {
        self.dirty.push_new(payload, bytes, is_late);
        if self.ledger.is_above_low() || self.has_late() {
            self.pool.wake(self);
        }
    }

    /// Counts what a payload occupied as gone from memory, and tells a thread if a
    /// fetch waits for room.
    pub(crate) fn release(&self, share: Share) {
        if share.bytes() == 0 {
            return;
        }
        self.ledger.release(share);
        if matches!(share, Share::Fetched(_)) {
            self.fetched.next_turn();
        }
        if self.fetches.len() > 0 {
            self.pool.ring();
        }
    }

    /// Counts a payload that was written as clean.
    pub(crate) fn cleaned(&self, bytes: usize) {
        self.ledger.clean(Share::Dirty(bytes));
    }

    /// Counts a copy that read-ahead brought, and that now was used, as a clean
    /// copy like any other.
    pub(crate) fn used(&self, bytes: usize, payload: WeakPageable) {
        self.ledger.clean(Share::Fetched(bytes));
        self.fetched.next_turn();
        self.clean.push_new(payload, bytes, false);
        if self.fetches.len() > 0 {
            self.pool.ring();
        }
    }

    /// Lets read-ahead grow old: somebody reads, and finds nothing of it.
    pub(crate) fn missed(&self) {
        if self.ledger.fetched_bytes() > 0 {
            self.fetched.next_turn();
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

    /// Keeps the buffers of a copy that is not needed any more, if there is one.
    pub(crate) fn keep_spares(&self, copy: Option<impl IntoIterator<Item = OwnedChunk>>) {
        for chunk in copy.into_iter().flatten() {
            self.keep_spare(chunk);
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
        let write_first = match preferred {
            // Read-ahead is for later; who waits for room waits now.
            Preferred::Fetch => self.ledger.has_waiters(),
            Preferred::Either => self.ledger.is_nearly_high(),
            // As long as nobody is about to wait for room, callers wait for reads;
            // but what is late should not push out what is not.
            Preferred::Write => self.ledger.is_nearly_high() || self.has_late(),
        };
        if write_first {
            self.trim().or_else(|| self.fetch_one())
        } else {
            self.fetch_one().or_else(|| self.trim())
        }
    }

    /// Writes one payload if more is dirty than the low watermark allows, or if
    /// one is said to be wanted later than all others; drops one if the budget has
    /// become smaller.
    fn trim(self: &Arc<Self>) -> Step {
        let written = if self.ledger.is_above_low() {
            self.write_one(Patience::SecondChance)
        } else if self.has_late() {
            self.write_late()
        } else {
            Outcome::Nothing
        };
        if matches!(written, Outcome::Freed | Outcome::Kept) {
            return Step::Done;
        }
        if self.ledger.is_over_budget() && self.evict_one(Unused::Goes) {
            return Step::Done;
        }
        // Nothing fits the moment: look again after a nap, or when woken.
        Step::Idle
    }

    /// Whether late payloads are to be written though less is dirty than the low
    /// watermark allows: if newcomers would otherwise push out what is not late.
    fn has_late(&self) -> bool {
        self.dirty.late_len() > LATE_SLACK
            && self.ledger.is_nearly_full_without(self.clean.late_bytes())
    }

    fn fetch_one(self: &Arc<Self>) -> Step {
        let Some(((payload, range), next)) = self.fetches.pop() else {
            return Step::Idle;
        };
        let bytes = range.len() * size_of::<u64>();
        if bytes > self.ledger.budget_bytes() {
            self.tally.prefetch_refusals.add(1);
            payload.forget_fetch();
            return Step::Done;
        }
        if !self.make_room_for_fetch(bytes) {
            // No room: whoever needs it sooner reads it, and takes it from here.
            self.fetches.push_front(Arc::downgrade(&payload), range);
            return Step::Idle;
        }
        if let Some((payload, range)) = next {
            payload.announce(range);
        }
        let under_way = self.tally.fetching_bytes.hold(bytes);
        let mut reserved = Reserved(Some((&self.ledger, Share::Fetched(bytes))));
        let weak = Arc::downgrade(&payload);
        if payload.fetch(range) {
            reserved.0 = None;
            self.fetched.push_new(weak, bytes, false);
        }
        drop((reserved, under_way));
        Step::Done
    }

    /// Reserves room for read-ahead. Clean copies that nobody has announced make
    /// way for it; what was fetched and not used does not, unless it is old.
    fn make_room_for_fetch(&self, bytes: usize) -> bool {
        loop {
            let has_freed = match self.ledger.reserve_fetched(bytes) {
                Room::Reserved => return true,
                Room::BudgetIsFull => self.evict_one(Unused::Stays),
                Room::ShareIsFull => self.evict_stale(),
            };
            if !has_freed {
                return false;
            }
        }
    }

    /// Whether the last write failed, and none has succeeded since.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }
}
