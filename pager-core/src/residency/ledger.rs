//! [`Ledger`]: how many bytes are in memory, of which kind, and how many may be.
//!
//! 1. `used` counts every byte in memory, and is never above the budget.
//! 2. `dirty` counts those that are not stored: never above the high watermark.
//! 3. `fetched` counts what read-ahead brought and nobody has used: never more
//!    than lies between the high watermark and the budget, or one payload.
//!
//! The rest, `used - dirty - fetched`, are clean copies. They go at once when a
//! page-out or read-ahead wants their room, so neither can starve the other.

use std::time::Duration;

use crate::sync::{AtomicUsize, Condvar, Mutex, Ordering, lock, wait_for};

/// Shares of the budget at which things happen, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Watermarks {
    /// With more than this dirty, the background writes.
    pub(super) low: u8,
    /// With more than this dirty, the caller of `pageout` helps or waits; what
    /// lies between it and the whole budget is for read-ahead.
    pub(super) high: u8,
}

/// What one payload occupies of the budget, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// In memory only.
    Dirty(usize),
    /// A copy of what is stored.
    Clean(usize),
    /// A copy that read-ahead brought and nobody has used.
    Fetched(usize),
}

impl Share {
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Dirty(bytes) | Self::Clean(bytes) | Self::Fetched(bytes) => bytes,
        }
    }
}

/// Whether room could be reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// It is reserved.
    Reserved,
    /// Something has to leave memory first.
    BudgetIsFull,
    /// Too much is of this kind already.
    ShareIsFull,
}

/// The bytes of all payloads in memory, bounded.
///
/// Bytes are reserved before they come into being and released after they are
/// gone, so that `used` is never less than what is there. All counters are
/// relaxed: a reservation orders nothing but the counter itself, and the memory
/// it stands for is handed over under a payload's own lock.
#[derive(Debug)]
pub(super) struct Ledger {
    used_bytes: AtomicUsize,
    dirty_bytes: AtomicUsize,
    fetched_bytes: AtomicUsize,
    peak_bytes: AtomicUsize,
    budget_bytes: AtomicUsize,
    watermarks: Watermarks,
    waiters: AtomicUsize,
    gate: Mutex<()>,
    released: Condvar,
}

impl Ledger {
    pub(super) fn new(budget_bytes: usize, watermarks: Watermarks) -> Self {
        Self {
            used_bytes: AtomicUsize::new(0),
            dirty_bytes: AtomicUsize::new(0),
            fetched_bytes: AtomicUsize::new(0),
            peak_bytes: AtomicUsize::new(0),
            budget_bytes: AtomicUsize::new(budget_bytes),
            watermarks,
            waiters: AtomicUsize::new(0),
            gate: Mutex::new(()),
            released: Condvar::new(),
        }
    }

    pub(super) fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn dirty_bytes(&self) -> usize {
        self.dirty_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn fetched_bytes(&self) -> usize {
        self.fetched_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of clean copies, nearly: three counters are read one by one.
    pub(super) fn clean_bytes(&self) -> usize {
        let others = self.dirty_bytes() + self.fetched_bytes();
        self.used_bytes().saturating_sub(others)
    }

    pub(super) fn peak_bytes(&self) -> usize {
        self.peak_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn budget_bytes(&self) -> usize {
        self.budget_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn set_budget_bytes(&self, budget_bytes: usize) {
        self.budget_bytes.store(budget_bytes, Ordering::Relaxed);
        self.wake();
    }

    fn low_bytes(&self) -> usize {
        share(self.budget_bytes(), self.watermarks.low)
    }

    pub(super) fn high_bytes(&self) -> usize {
        share(self.budget_bytes(), self.watermarks.high)
    }

    /// Whether more is dirty than the low watermark allows.
    pub(super) fn is_above_low(&self) -> bool {
        self.dirty_bytes() > self.low_bytes()
    }

    /// Whether more than half of the way from the low to the high watermark is
    /// dirty.
    pub(super) fn is_nearly_high(&self) -> bool {
        self.dirty_bytes() > self.low_bytes().midpoint(self.high_bytes())
    }

    /// Whether less than an eighth of the budget would be free without
    /// `expendable_bytes` of what is in memory.
    pub(super) fn is_nearly_full_without(&self, expendable_bytes: usize) -> bool {
        let budget_bytes = self.budget_bytes();
        self.used_bytes().saturating_sub(expendable_bytes) > budget_bytes - budget_bytes / 8
    }

    /// Whether more is in memory than the budget allows, because it was made
    /// smaller.
    pub(super) fn is_over_budget(&self) -> bool {
        self.used_bytes() > self.budget_bytes()
    }

    /// Reserves room for `bytes` that are not stored.
    pub(super) fn reserve_dirty(&self, bytes: usize) -> Room {
        if !raise(&self.dirty_bytes, bytes, self.high_bytes()) {
            return Room::ShareIsFull;
        }
        self.reserve_used(bytes, &self.dirty_bytes)
    }

    /// Reserves room for `bytes` of read-ahead.
    pub(super) fn reserve_fetched(&self, bytes: usize) -> Room {
        let budget_bytes = self.budget_bytes();
        // One payload may be larger than the share, or nothing could ever be read
        // ahead under a small budget.
        let limit_bytes = (budget_bytes - self.high_bytes().min(budget_bytes)).max(bytes);
        if !raise(&self.fetched_bytes, bytes, limit_bytes) {
            return Room::ShareIsFull;
        }
        self.reserve_used(bytes, &self.fetched_bytes)
    }

    /// Completes a reservation that `part` has counted already, or takes it back.
    fn reserve_used(&self, bytes: usize, part: &AtomicUsize) -> Room {
        if raise(&self.used_bytes, bytes, self.budget_bytes()) {
            let used_bytes = self.used_bytes();
            if used_bytes > self.peak_bytes.load(Ordering::Relaxed) {
                self.peak_bytes.fetch_max(used_bytes, Ordering::Relaxed);
            }
            return Room::Reserved;
        }
        part.fetch_sub(bytes, Ordering::Relaxed);
        Room::BudgetIsFull
    }

    /// Counts `share` as gone, and wakes whoever waits for room.
    pub(super) fn release(&self, share: Share) {
        self.leave_part(share);
        self.used_bytes.fetch_sub(share.bytes(), Ordering::Relaxed);
        self.wake();
    }

    /// Counts `share` as clean from now on, and wakes whoever waits for room.
    pub(super) fn clean(&self, share: Share) {
        self.leave_part(share);
        self.wake();
    }

    /// Takes `share` off the counter of its kind; clean copies have none.
    fn leave_part(&self, share: Share) {
        match share {
            Share::Dirty(bytes) => self.dirty_bytes.fetch_sub(bytes, Ordering::Relaxed),
            Share::Fetched(bytes) => self.fetched_bytes.fetch_sub(bytes, Ordering::Relaxed),
            Share::Clean(_) => 0,
        };
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

/// Adds `bytes` to `counter` if the sum stays within `limit_bytes`.
fn raise(counter: &AtomicUsize, bytes: usize, limit_bytes: usize) -> bool {
    counter
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|sum| *sum <= limit_bytes)
        })
        .is_ok()
}

fn share(bytes: usize, percent: u8) -> usize {
    let percent = usize::from(percent);
    bytes / 100 * percent + bytes % 100 * percent / 100
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        Ledger::new(100, Watermarks { low: 50, high: 75 })
    }

    #[test]
    fn page_outs_get_what_lies_below_the_high_watermark() {
        let ledger = ledger();
        assert_eq!(ledger.reserve_dirty(75), Room::Reserved);
        assert_eq!(ledger.reserve_dirty(1), Room::ShareIsFull);
        ledger.clean(Share::Dirty(75));
        assert_eq!(ledger.reserve_dirty(25), Room::Reserved);
        assert_eq!(ledger.reserve_dirty(1), Room::BudgetIsFull);
        assert_eq!((ledger.used_bytes(), ledger.dirty_bytes()), (100, 25));
        assert_eq!(ledger.clean_bytes(), 75);
        ledger.release(Share::Clean(75));
        assert_eq!(ledger.reserve_dirty(50), Room::Reserved);
    }

    #[test]
    fn read_ahead_gets_what_lies_above_it_or_one_payload() {
        let ledger = ledger();
        assert_eq!(ledger.reserve_fetched(20), Room::Reserved);
        assert_eq!(ledger.reserve_fetched(6), Room::ShareIsFull);
        ledger.clean(Share::Fetched(20));
        assert_eq!(ledger.reserve_fetched(80), Room::Reserved);
        assert_eq!(ledger.reserve_fetched(1), Room::ShareIsFull);
        ledger.release(Share::Fetched(80));
        ledger.release(Share::Clean(20));
        assert_eq!((ledger.used_bytes(), ledger.fetched_bytes()), (0, 0));
        assert_eq!(ledger.peak_bytes(), 100);
    }

    #[test]
    fn a_refused_reservation_counts_nothing() {
        let ledger = ledger();
        assert_eq!(ledger.reserve_dirty(usize::MAX), Room::ShareIsFull);
        assert_eq!(ledger.reserve_fetched(101), Room::BudgetIsFull);
        assert_eq!(ledger.used_bytes(), 0);
        assert_eq!((ledger.dirty_bytes(), ledger.fetched_bytes()), (0, 0));
    }

    #[test]
    fn the_last_eighth_of_the_budget_is_nearly_full() {
        let ledger = ledger();
        assert_eq!(ledger.reserve_dirty(70), Room::Reserved);
        ledger.clean(Share::Dirty(70));
        assert_eq!(ledger.reserve_dirty(18), Room::Reserved);
        assert!(!ledger.is_nearly_full_without(0));
        assert_eq!(ledger.reserve_fetched(1), Room::Reserved);
        assert!(ledger.is_nearly_full_without(0));
        assert!(!ledger.is_nearly_full_without(1));
    }

    #[test]
    fn a_smaller_budget_is_seen_at_once() {
        let ledger = ledger();
        assert_eq!(ledger.reserve_dirty(60), Room::Reserved);
        assert!(ledger.is_above_low() && !ledger.is_nearly_high());
        ledger.set_budget_bytes(40);
        assert!(ledger.is_over_budget() && ledger.is_nearly_high());
        assert_eq!(ledger.reserve_fetched(1), Room::BudgetIsFull);
    }
}
