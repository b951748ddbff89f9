//! [`Ledger`]: how many bytes pager holds in memory, of which kind, and how many it
//! may hold.
//!
//! 1. `used` counts payloads and spare buffers. It never passes the limit, which is
//!    the budget less the most that transfers have held (a quarter of the budget at
//!    most) and less what bookkeeping takes beyond its first mebibyte.
//! 2. Dirty bytes, those that are not stored, never pass the high watermark.
//! 3. Read-ahead that nobody has used never passes what lies between the high
//!    watermark and the budget, or one payload.
//!
//! 4. What is encoded and not stored yet never passes its share of the limit, and what it
//!    has is not there for the others' shares.
//!
//! Clean copies and spare buffers are the rest. They go at once when a page-out or
//! read-ahead wants their room, so neither can starve the other.
//!
//! 4. Where the memory is somebody's [account](super::account::MemoryAccount), all that
//!    is held is within what it has lent, but for the first two transfers and for
//!    bookkeeping.
//!
//! Nobody but [`Charge`](super::charge::Charge) changes a counter: what is held is a
//! value, which gives itself back.

use std::time::Duration;

use super::account::Lender;
use super::kind::Kind;
use super::tiers::EncodedShare;
use crate::sync::{AtomicUsize, Condvar, Mutex, Ordering, lock, wait_for};

/// Bookkeeping that the budget does not feel; what is beyond it makes the room for
/// payloads smaller.
const FREE_BOOKKEEPING_BYTES: usize = 1 << 20;

/// Transfers that may always hold working memory, however full the budget is, so
/// that what is full can be emptied.
const FREE_TRANSFERS: usize = 2;

/// Shares of the budget at which things happen, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Watermarks {
    /// With more than this dirty, the background writes.
    pub(super) low: u8,
    /// With more than this dirty, the caller of `pageout` helps or waits; what
    /// lies between it and the whole budget is for read-ahead.
    pub(super) high: u8,
}

/// Why there was no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Something has to leave memory first.
    BudgetIsFull,
    /// Too much is of this kind already.
    ShareIsFull,
}

/// The bytes that pager holds, bounded.
///
/// Bytes are reserved before they come into being and given back after they are
/// gone, so that `used` is never less than what is there. All counters are
/// relaxed: a reservation orders nothing but the counter itself, and the memory
/// it stands for is handed over under a payload's own lock.
#[derive(Debug)]
pub(super) struct Ledger {
    used_bytes: AtomicUsize,
    of_kind: [AtomicUsize; Kind::COUNT],
    peak_resident_bytes: AtomicUsize,
    peak_held_bytes: AtomicUsize,
    /// The most that transfers have held at a time: room for them stays free, so that
    /// nothing has to leave whenever one begins.
    peak_transfer_bytes: AtomicUsize,
    budget_bytes: AtomicUsize,
    pub(super) encoded_share: EncodedShare,
    /// What a shortage of memory leaves of the budget.
    #[cfg(feature = "pressure")]
    ceiling_bytes: AtomicUsize,
    watermarks: Watermarks,
    /// Whose memory it is, if it is borrowed.
    pub(super) lender: Option<Lender>,
    waiters: AtomicUsize,
    gate: Mutex<()>,
    released: Condvar,
}

impl Ledger {
    pub(super) fn new(budget_bytes: usize, watermarks: Watermarks, lender: Option<Lender>) -> Self {
        Self {
            used_bytes: AtomicUsize::new(0),
            of_kind: std::array::from_fn(|_| AtomicUsize::new(0)),
            peak_resident_bytes: AtomicUsize::new(0),
            peak_held_bytes: AtomicUsize::new(0),
            peak_transfer_bytes: AtomicUsize::new(0),
            budget_bytes: AtomicUsize::new(budget_bytes),
            encoded_share: EncodedShare::default(),
            #[cfg(feature = "pressure")]
            ceiling_bytes: AtomicUsize::new(usize::MAX),
            watermarks,
            lender,
            waiters: AtomicUsize::new(0),
            gate: Mutex::new(()),
            released: Condvar::new(),
        }
    }

    /// Everything that is held, bookkeeping included.
    pub(super) fn held_bytes(&self) -> usize {
        self.used_bytes() + self.overhead_bytes()
    }

    fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn bytes_of(&self, kind: Kind) -> usize {
        self.of_kind[kind as usize].load(Ordering::Relaxed)
    }

    /// Bytes of payloads that are in memory.
    pub(super) fn resident_bytes(&self) -> usize {
        self.payloads_of(self.used_bytes())
    }

    /// What payloads have of `used_bytes`; the counters are read one by one.
    fn payloads_of(&self, used_bytes: usize) -> usize {
        used_bytes.saturating_sub(self.bytes_of(Kind::Spare))
    }

    /// What is held besides payloads and spare buffers.
    fn overhead_bytes(&self) -> usize {
        self.transfer_bytes() + self.bytes_of(Kind::Bookkeeping) + self.bytes_of(Kind::Spill)
    }

    pub(super) fn transfer_bytes(&self) -> usize {
        let kinds = [Kind::Transfer, Kind::Idle, Kind::Workspace];
        kinds.into_iter().map(|kind| self.bytes_of(kind)).sum()
    }

    pub(super) fn peak_resident_bytes(&self) -> usize {
        self.peak_resident_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn peak_held_bytes(&self) -> usize {
        self.peak_held_bytes.load(Ordering::Relaxed)
    }

    /// The budget in force.
    pub(super) fn budget_bytes(&self) -> usize {
        let asked_bytes = self.asked_bytes();
        #[cfg(feature = "pressure")]
        return asked_bytes.min(load(&self.ceiling_bytes));
        #[cfg(not(feature = "pressure"))]
        asked_bytes
    }

    /// The budget that was asked for, whatever is left of it.
    pub(super) fn asked_bytes(&self) -> usize {
        load(&self.budget_bytes)
    }

    pub(super) fn set_budget_bytes(&self, budget_bytes: usize) {
        self.budget_bytes.store(budget_bytes, Ordering::Relaxed);
        self.wake();
    }

    /// Bounds the budget, whatever was asked for.
    #[cfg(feature = "pressure")]
    pub(super) fn set_ceiling_bytes(&self, ceiling_bytes: usize) {
        self.ceiling_bytes.store(ceiling_bytes, Ordering::Relaxed);
        self.wake();
    }

    /// What the budget leaves for payloads and buffers; where an account has refused,
    /// what it has lent is the budget.
    pub(super) fn limit_bytes(&self) -> usize {
        let ceiling_bytes = self.lender.as_ref().map(Lender::ceiling_bytes);
        let budget_bytes = self.budget_bytes().min(ceiling_bytes.unwrap_or(usize::MAX));
        let [remembered_bytes, spill_bytes] =
            [Kind::Bookkeeping, Kind::Spill].map(|kind| self.bytes_of(kind));
        let felt_bytes = remembered_bytes.saturating_sub(FREE_BOOKKEEPING_BYTES)
            + spill_bytes
            + load(&self.peak_transfer_bytes).min(budget_bytes / 4);
        budget_bytes.saturating_sub(felt_bytes)
    }

    fn low_bytes(&self) -> usize {
        share(self.plain_bytes(), self.watermarks.low)
    }

    pub(super) fn high_bytes(&self) -> usize {
        share(self.plain_bytes(), self.watermarks.high)
    }

    /// The limit without what is held encoded: what is left for plain payloads.
    fn plain_bytes(&self) -> usize {
        self.limit_bytes()
            .saturating_sub(self.bytes_of(Kind::Encoded))
    }

    /// The most that may be held encoded.
    pub(super) fn encoded_limit_bytes(&self) -> usize {
        share(self.limit_bytes(), self.encoded_share.percent())
    }

    /// Whether more is dirty than the low watermark allows.
    pub(super) fn is_above_low(&self) -> bool {
        self.bytes_of(Kind::Dirty) > self.low_bytes()
    }

    /// Whether more than half of the way from the low to the high watermark is
    /// dirty.
    pub(super) fn is_nearly_high(&self) -> bool {
        self.bytes_of(Kind::Dirty) > self.low_bytes().midpoint(self.high_bytes())
    }

    /// Whether less than an eighth of the budget would be free without
    /// `expendable_bytes` of what is in memory.
    pub(super) fn is_nearly_full_without(&self, expendable_bytes: usize) -> bool {
        let limit_bytes = self.limit_bytes();
        let expendable_bytes = expendable_bytes + self.bytes_of(Kind::Spare);
        self.used_bytes().saturating_sub(expendable_bytes) > limit_bytes - limit_bytes / 8
    }

    /// Whether more is held than the budget allows, because it was made smaller or
    /// because transfers needed room.
    pub(super) fn is_over_budget(&self) -> bool {
        self.used_bytes() > self.limit_bytes()
    }

    /// Counts `bytes` of `kind` if there is room, or if an account that has refused has
    /// some by now.
    ///
    /// # Errors
    ///
    /// Why there is none; nothing is counted then.
    pub(super) fn reserve(&self, kind: Kind, bytes: usize) -> Result<(), Refusal> {
        match self.try_reserve(kind, bytes) {
            Err(_) if self.asks_again() => self.try_reserve(kind, bytes),
            decided => decided,
        }
    }

    /// Whether an account that has refused lends more now.
    pub(super) fn asks_again(&self) -> bool {
        let lender = self.lender.as_ref();
        lender.is_some_and(|lender| lender.ask_again(self.budget_bytes()))
    }

    fn try_reserve(&self, kind: Kind, bytes: usize) -> Result<(), Refusal> {
        let of_kind = &self.of_kind[kind as usize];
        let share_bytes = self.share_bytes(kind, bytes);
        raise(of_kind, bytes, share_bytes).ok_or(Refusal::ShareIsFull)?;
        let mut used_bytes = self.used_bytes();
        if kind.is_used() {
            let Some(raised) = raise(&self.used_bytes, bytes, self.limit_bytes()) else {
                of_kind.fetch_sub(bytes, Ordering::Relaxed);
                return Err(Refusal::BudgetIsFull);
            };
            used_bytes = raised;
        }
        if !self.is_lent(kind, bytes) {
            self.count_out(kind, bytes);
            return Err(Refusal::BudgetIsFull);
        }
        if matches!(kind, Kind::Transfer | Kind::Idle | Kind::Workspace) {
            note_peak(&self.peak_transfer_bytes, self.transfer_bytes());
        }
        note_peak(&self.peak_resident_bytes, self.payloads_of(used_bytes));
        note_peak(&self.peak_held_bytes, used_bytes + self.overhead_bytes());
        Ok(())
    }

    /// Whether the account, if there is one, lends what is held with the `bytes` of
    /// `kind` that have just been counted; of what cannot be refused, none is asked for.
    fn is_lent(&self, kind: Kind, bytes: usize) -> bool {
        let Some(lender) = &self.lender else {
            return true;
        };
        // Bookkeeping is counted with locks held, and covered by whoever comes next.
        kind == Kind::Bookkeeping
            || lender.covers(|| self.held_bytes(), self.budget_bytes())
            || (matches!(kind, Kind::Transfer | Kind::Spill)
                && self.bytes_of(kind) <= bytes.saturating_mul(FREE_TRANSFERS))
    }

    /// The most that may be of this kind, with `bytes` about to come.
    fn share_bytes(&self, kind: Kind, bytes: usize) -> usize {
        let limit_bytes = self.limit_bytes();
        let plain_bytes = self.plain_bytes();
        let free_bytes = bytes.saturating_mul(FREE_TRANSFERS);
        match kind {
            Kind::Dirty => share(plain_bytes, self.watermarks.high),
            // One payload may be larger than the share, or nothing could ever be
            // read ahead under a small budget.
            Kind::ReadAhead => (plain_bytes - share(plain_bytes, self.watermarks.high)).max(bytes),
            Kind::Encoded => self.encoded_limit_bytes(),
            Kind::Spare => limit_bytes / 8,
            Kind::Transfer | Kind::Workspace => (limit_bytes / 8).max(free_bytes),
            // Together no more than may be in use.
            Kind::Idle => self
                .share_bytes(Kind::Transfer, bytes)
                .saturating_sub(self.bytes_of(Kind::Transfer)),
            // What is held already has made the limit smaller.
            Kind::Spill => ((limit_bytes + self.bytes_of(kind)) / 4).max(free_bytes),
            Kind::Clean | Kind::Bookkeeping => usize::MAX,
        }
    }

    /// Counts `bytes` of one kind as of another from now on.
    pub(super) fn turn(&self, from: Kind, to: Kind, bytes: usize) {
        self.of_kind[from as usize].fetch_sub(bytes, Ordering::Relaxed);
        self.of_kind[to as usize].fetch_add(bytes, Ordering::Relaxed);
        self.wake();
    }

    /// The same if there may be so many of the other kind.
    pub(super) fn try_turn(&self, from: Kind, to: Kind, bytes: usize) -> bool {
        // In this order: at no moment are they counted twice.
        self.of_kind[from as usize].fetch_sub(bytes, Ordering::Relaxed);
        let share_bytes = self.share_bytes(to, bytes);
        let may = raise(&self.of_kind[to as usize], bytes, share_bytes).is_some();
        if may {
            self.wake();
        } else {
            self.of_kind[from as usize].fetch_add(bytes, Ordering::Relaxed);
        }
        may
    }

    /// Counts `bytes` of `kind` as gone, and wakes whoever waits for room.
    pub(super) fn give_back(&self, kind: Kind, bytes: usize) {
        self.count_out(kind, bytes);
        if let Some(lender) = &self.lender {
            lender.settle(|| self.held_bytes());
        }
        self.wake();
    }

    fn count_out(&self, kind: Kind, bytes: usize) {
        self.of_kind[kind as usize].fetch_sub(bytes, Ordering::Relaxed);
        if kind.is_used() {
            self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Waits until bytes have been released, at most `timeout`.
    ///
    /// May return early or late by one release: whoever waits tries again.
    pub(super) fn wait(&self, timeout: Duration) {
        let gate = lock(&self.gate);
        self.waiters.fetch_add(1, Ordering::Relaxed);
        drop(wait_for(&self.released, gate, timeout));
        self.waiters.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether somebody waits for room at this moment.
    pub(super) fn has_waiters(&self) -> bool {
        self.waiters.load(Ordering::Relaxed) > 0
    }

    /// Wakes waiters. Costs a load when there are none; a waiter that registers
    /// at this very moment is woken by its timeout.
    pub(super) fn wake(&self) {
        if self.has_waiters() {
            drop(lock(&self.gate));
            self.released.notify_all();
        }
    }
}

/// Adds `bytes` to `counter` if the sum, which it returns, stays within
/// `limit_bytes`.
fn raise(counter: &AtomicUsize, bytes: usize, limit_bytes: usize) -> Option<usize> {
    let raised = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= limit_bytes);
    counter
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, raised)
        .ok()
        .and_then(raised)
}

fn load(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::Relaxed)
}

fn note_peak(peak: &AtomicUsize, now: usize) {
    // Looked at first: a load leaves the cache line shared.
    if now > peak.load(Ordering::Relaxed) {
        peak.fetch_max(now, Ordering::Relaxed);
    }
}

fn share(bytes: usize, percent: u8) -> usize {
    let percent = usize::from(percent);
    bytes / 100 * percent + bytes % 100 * percent / 100
}

#[cfg(all(test, not(pager_shuttle)))]
#[path = "ledger_tests.rs"]
mod tests;
