//! [`Engine`]: the state that a budget's threads and callers share, and what
//! happens in the background, one step at a time.
//!
//! A step is a fetch if one waits and has room, or a write if more is dirty than
//! the low watermark allows. Callers above the high watermark write themselves.

use std::ops::Range;
use std::sync::Arc;

use super::charge::{Bookkeeping, Charge};
use super::fetches::{Fetches, Next};
use super::group::{Claim, Group, Groups};
use super::kind::Kind;
use super::leave::Unused;
use super::ledger::Ledger;
use super::pageable::{Outcome, Patience, WeakPageable};
use super::pool::Pool;
use super::queue::Queue;
use super::spares::{Fit, Spares};
use super::tally::Tally;
use super::tiers::Tiers;
use super::transfers::TransferMemory;
use crate::Result;
use crate::backend::Preferences;
use crate::memory::{HeapBuf, release_buf};
use crate::payload::{Memory, OwnedChunk};
use crate::sync::{AtomicBool, AtomicUsize, Ordering};

/// Late payloads that are left alone while nothing wants their room: the last few
/// may still be dropped, and then need not be written.
pub(super) const LATE_SLACK: usize = 8;

/// The shared state of a memory budget.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(super) ledger: Ledger,
    /// Payloads that are in memory only.
    pub(super) dirty: Queue,
    /// Copies of what is stored, each of which may leave at any time.
    pub(super) clean: Queue,
    /// Copies that read-ahead brought and nobody has used. Its turns are those of
    /// reads: they tell how long a copy has been waited with.
    pub(super) read_ahead: Queue,
    pub(super) fetches: Fetches,
    pub(super) tiers: Tiers,
    pub(super) spares: Spares,
    pub(super) groups: Groups,
    pub(crate) tally: Tally,
    pool: Pool,
    /// Writes at this moment, on all threads. Relaxed: who waits looks again soon.
    pub(super) writes_under_way: AtomicUsize,
    /// Writes from which on a caller waits for one instead of adding its own. Relaxed:
    /// a preference.
    pub(super) writes_at_a_time: AtomicUsize,
    /// What views hold. Relaxed: guards nothing but itself.
    pub(super) pinned_bytes: AtomicUsize,
    /// Whether somebody has polled since fetches were last told that they are stuck.
    /// Relaxed: set before the thread is woken that looks at it.
    is_polled: AtomicBool,
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

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Done,
    /// There is something to do that cannot be done at this moment.
    Blocked,
    /// There is nothing to do.
    Idle,
}

impl Step {
    fn or_else(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Done => Self::Done,
            Self::Idle => other(),
            Self::Blocked => match other() {
                Self::Done => Self::Done,
                Self::Blocked | Self::Idle => Self::Blocked,
            },
        }
    }
}

impl Engine {
    pub(super) fn new(ledger: Ledger, pool: Pool) -> Self {
        Self {
            ledger,
            dirty: Queue::new(),
            clean: Queue::new(),
            read_ahead: Queue::new(),
            fetches: Fetches::default(),
            spares: Spares::new(),
            groups: Groups::new(),
            tiers: Tiers::default(),
            tally: Tally::new(),
            pool,
            writes_under_way: AtomicUsize::new(0),
            writes_at_a_time: AtomicUsize::new(1),
            pinned_bytes: AtomicUsize::new(0),
            is_polled: AtomicBool::new(false),
            failing: AtomicBool::new(false),
        }
    }

    /// Whether this is the process that made it.
    pub(crate) fn is_own(&self) -> bool {
        self.pool.is_own()
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The queue of what is charged as `kind`; only payloads are listed.
    pub(super) fn queue(&self, kind: Kind) -> &Queue {
        match kind {
            Kind::Dirty => &self.dirty,
            Kind::ReadAhead => &self.read_ahead,
            _ => &self.clean,
        }
    }

    /// Called after something of `kind` was listed: wakes a thread if there is now
    /// more to write than may wait.
    pub(super) fn listed(self: &Arc<Self>, kind: Kind) {
        if kind == Kind::Dirty && (self.ledger.is_above_low() || self.has_late()) {
            self.pool.wake(self);
        }
    }

    /// Called after something has left memory or may leave it now: wakes a thread
    /// if a fetch waits for room.
    pub(super) fn has_room(&self) {
        if self.fetches.len() > 0 {
            self.pool.ring();
        }
    }

    /// Lets read-ahead grow old: somebody reads.
    pub(crate) fn read_ahead_ages(&self) {
        if self.ledger.bytes_of(Kind::ReadAhead) > 0 {
            self.read_ahead.next_turn();
            self.has_room();
        }
    }

    /// An empty buffer that fits, if a warm one is to be had.
    pub(crate) fn spare(&self, fit: Fit) -> Option<HeapBuf> {
        self.spares.get(fit)
    }

    /// Keeps a buffer that a caller has put aside for reuse, if it is a `Vec` and there
    /// is room.
    pub(crate) fn keep_spare(self: &Arc<Self>, chunk: OwnedChunk) {
        if let OwnedChunk::Vec(buf) = chunk {
            let bytes = buf.capacity_bytes();
            let hold = || Charge::reserve(self, Kind::Spare, bytes).ok();
            self.spares.put(buf, hold);
        }
    }

    /// The same of a buffer of a `Vec`, if there is one.
    pub(crate) fn keep_buffer(self: &Arc<Self>, spare: Option<HeapBuf>) {
        if let Some(buf) = spare {
            self.keep_spare(OwnedChunk::Vec(buf));
        }
    }

    /// Keeps what `memory` lay in for reuse, which `charge` was held for.
    pub(crate) fn retire(&self, memory: Memory, charge: Charge) {
        if let Memory::Vec(buf) = memory {
            self.spares
                .put(buf, || charge.become_kind(Kind::Spare).ok());
        } else {
            memory.release();
        }
    }

    /// Gives all spare buffers back to the system; returns how many bytes they were.
    pub(super) fn release_spares(&self) -> usize {
        let mut bytes = 0;
        while let Some((buf, charge)) = self.spares.take_one() {
            release_buf(buf);
            bytes += charge.bytes();
            drop(charge);
        }
        bytes
    }

    /// What is remembered of a payload, which no budget can refuse.
    pub(crate) fn bookkeeping(self: &Arc<Self>, bytes: usize) -> Bookkeeping {
        Bookkeeping::new(self, bytes)
    }

    /// Room for the buffers of a backend's transfers.
    pub(crate) fn transfer_memory(self: &Arc<Self>) -> TransferMemory {
        TransferMemory::new(self)
    }

    /// So many bytes of a group's quota, for a payload that this budget bounds.
    ///
    /// # Errors
    ///
    /// [`Error::GroupQuotaExceeded`](crate::Error::GroupQuotaExceeded).
    pub(crate) fn claim(&self, group: &Group, bytes: usize) -> Result<Claim> {
        self.groups.add(group);
        group.claim(bytes)
    }

    /// Learns how a backend likes to be used: the most patient one decides how many
    /// write at a time, the least patient how soon writing is tried again.
    pub(crate) fn prefer(&self, preferences: Preferences) {
        let Preferences {
            writes_at_a_time,
            retry_after,
        } = preferences;
        self.writes_at_a_time
            .fetch_max(writes_at_a_time, Ordering::Relaxed);
        self.pool.retry_after(retry_after);
    }

    /// Whether anything happens in the background.
    pub(crate) fn has_threads(&self) -> bool {
        self.pool.has_threads()
    }

    /// Whether `bytes` could ever be fetched in the background.
    pub(crate) fn can_fetch(&self, bytes: usize) -> bool {
        self.has_threads() && bytes <= self.ledger.limit_bytes()
    }

    /// Queues a fetch, and returns its turn; `None` if it is refused.
    pub(crate) fn request_fetch(
        self: &Arc<Self>,
        payload: WeakPageable,
        range: Range<usize>,
    ) -> Option<u64> {
        if self.pool.has_stopped() {
            return None;
        }
        let turn = self.fetches.push(payload, range);
        if turn.is_none() {
            self.tally.prefetch_refusals.add(1);
        }
        turn
    }

    /// Has a thread look for queued fetches, and tell those who poll if there is no room
    /// for the first of them.
    pub(crate) fn poll_fetches(self: &Arc<Self>) {
        self.is_polled.store(true, Ordering::Relaxed);
        self.begin_fetches();
    }

    /// Has a thread look for queued fetches.
    pub(crate) fn begin_fetches(self: &Arc<Self>) {
        self.pool.wake(self);
    }

    /// Takes a fetch back that was queued under `turn`.
    pub(crate) fn cancel_fetch(&self, turn: u64) {
        let (was_there, _) = self.fetches.remove(turn);
        self.tally.cancelled_fetches.add(usize::from(was_there));
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
        match written {
            Outcome::Written => return Step::Done,
            Outcome::Busy | Outcome::Failed(_) => return Step::Blocked,
            Outcome::Nothing => {}
        }
        if self.ledger.is_over_budget() && self.free_one(Unused::Goes) {
            return Step::Done;
        }
        Step::Idle
    }

    /// Whether late payloads are to be written though less is dirty than the low
    /// watermark allows: if newcomers would otherwise push out what is not late.
    fn has_late(&self) -> bool {
        self.dirty.late_len() > LATE_SLACK
            && self.ledger.is_nearly_full_without(self.clean.late_bytes())
    }

    fn fetch_one(self: &Arc<Self>) -> Step {
        let Some(Next {
            turn,
            payload,
            range,
        }) = self.fetches.first()
        else {
            return Step::Idle;
        };
        let bytes = range.len();
        if bytes > self.ledger.limit_bytes() {
            // The budget has become too small for it.
            self.tally.prefetch_refusals.add(1);
            payload.forget_fetch(turn);
            self.fetches.remove(turn);
            return Step::Done;
        }
        // No room: whoever needs it sooner reads it, and takes it from here. Whoever
        // makes room rings.
        let Some((charge, buffer)) = self.room_for_fetch(bytes, payload.element()) else {
            if self.is_polled.swap(false, Ordering::Relaxed) {
                // Nobody knows for how long: those who poll do not wait for that.
                let payloads = self.fetches.payloads();
                payloads.iter().for_each(|payload| payload.fetch_is_stuck());
            }
            return Step::Idle;
        };
        let (is_ours, next) = self.fetches.remove(turn);
        if !is_ours {
            return Step::Done;
        }
        if let Some(next) = next {
            self.pool.ring();
            next.payload.announce(next.range);
        }
        let under_way = self.tally.fetching_bytes.hold(bytes);
        payload.fetch(turn, charge, buffer);
        drop(under_way);
        Step::Done
    }

    /// Whether the last write failed, and none has succeeded since.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }
}
