//! [`Ledger`]: how many bytes are resident, and how many may be.

use std::time::Duration;

use crate::sync::{AtomicUsize, Condvar, Mutex, Ordering, lock, wait_for};

/// Shares of the budget at which things happen, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Watermarks {
    /// Above it the background pages out.
    pub(super) low: u8,
    /// Above it the caller of `pageout` helps or waits; what lies between it and
    /// the whole budget is for read-ahead.
    pub(super) high: u8,
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

    pub(super) fn low_bytes(&self) -> usize {
        share(self.budget_bytes(), self.watermarks.low)
    }

    pub(super) fn high_bytes(&self) -> usize {
        share(self.budget_bytes(), self.watermarks.high)
    }

    pub(super) fn is_above_low(&self) -> bool {
        self.used_bytes() > self.low_bytes()
    }

    /// Whether more than half of the way from the low to the high watermark is
    /// used up.
    pub(super) fn is_nearly_high(&self) -> bool {
        self.used_bytes() > self.low_bytes().midpoint(self.high_bytes())
    }

    /// Counts `bytes` as resident if the sum stays within `limit_bytes`.
    pub(super) fn try_reserve(&self, bytes: usize, limit_bytes: usize) -> bool {
        let reserved = self
            .used_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= limit_bytes)
            });
        match reserved {
            Ok(before) => {
                let sum = before + bytes;
                if sum > self.peak_bytes.load(Ordering::Relaxed) {
                    self.peak_bytes.fetch_max(sum, Ordering::Relaxed);
                }
                true
            }
            Err(_) => false,
        }
    }

    /// Counts `bytes` as gone, and wakes whoever waits for room.
    pub(super) fn release(&self, bytes: usize) {
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.wake();
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
    fn wake(&self) {
        if self.has_waiters() {
            drop(lock(&self.gate));
            self.released.notify_all();
        }
    }
}

fn share(bytes: usize, percent: u8) -> usize {
    let percent = usize::from(percent);
    bytes / 100 * percent + bytes % 100 * percent / 100
}
