//! [`PressureStats`]: what the watcher has seen and done.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// What the watcher of memory pressure has seen and done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PressureStats {
    /// The budget that was asked for. The one in force,
    /// [`budget_bytes`](crate::ResidencyStats::budget_bytes), is less while memory is
    /// short.
    pub asked_bytes: u64,
    /// The budget is never lowered below this.
    pub floor_bytes: u64,
    /// The lowest budget that has been in force for want of memory; 0 if none was.
    pub lowest_bytes: u64,
    /// How often the budget was lowered.
    pub lowered: u64,
    /// How often it was raised again, in part or all of it.
    pub raised: u64,
    /// Reports that tasks stalled for want of memory, or were killed.
    pub stall_reports: u64,
    /// How often the watcher has woken to look.
    pub looks: u64,
    /// What is watched, and how; or why nothing is.
    pub watched: String,
}

/// The counters. Relaxed throughout: statistics that order nothing.
#[derive(Debug)]
pub(in crate::budget) struct Tally {
    floor_bytes: usize,
    lowest_bytes: AtomicUsize,
    lowered: AtomicU64,
    raised: AtomicU64,
    stall_reports: AtomicU64,
    looks: AtomicU64,
    watched: Mutex<String>,
}

impl Tally {
    pub(super) fn new(floor_bytes: usize) -> Self {
        Self {
            floor_bytes,
            lowest_bytes: AtomicUsize::new(usize::MAX),
            lowered: AtomicU64::new(0),
            raised: AtomicU64::new(0),
            stall_reports: AtomicU64::new(0),
            looks: AtomicU64::new(0),
            watched: Mutex::new(String::new()),
        }
    }

    pub(super) fn set_watched(&self, watched: String) {
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = watched;
    }

    #[cfg(target_os = "linux")]
    pub(super) fn looked(&self, stalled: bool) {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.stall_reports
            .fetch_add(u64::from(stalled), Ordering::Relaxed);
    }

    #[cfg(target_os = "linux")]
    pub(super) fn lowered(&self, ceiling_bytes: usize) {
        self.lowered.fetch_add(1, Ordering::Relaxed);
        self.lowest_bytes
            .fetch_min(ceiling_bytes, Ordering::Relaxed);
    }

    #[cfg(target_os = "linux")]
    pub(super) fn raised(&self) {
        self.raised.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self, asked_bytes: usize) -> PressureStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let lowest_bytes = self.lowest_bytes.load(Ordering::Relaxed);
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        PressureStats {
            asked_bytes: asked_bytes as u64,
            floor_bytes: self.floor_bytes as u64,
            lowest_bytes: match lowest_bytes {
                usize::MAX => 0,
                lowest_bytes => lowest_bytes as u64,
            },
            lowered: get(&self.lowered),
            raised: get(&self.raised),
            stall_reports: get(&self.stall_reports),
            looks: get(&self.looks),
            watched: watched.clone(),
        }
    }
}
