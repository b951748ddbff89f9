//! [`SwapStats`], what a swap backend holds and has done, and the counters
//! behind it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::SwapMode;

/// What a [`SwapBackend`](crate::SwapBackend) holds now and has done so far.
///
/// The fields on memory are read from the page table at the moment of asking,
/// not deduced from what was advised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SwapStats {
    /// The mode of the backend.
    pub mode: SwapMode,
    /// Whether the page table could be read. If not, `resident_bytes` is the
    /// most it can be (all of `logical_bytes`), and `swapped_bytes` and the
    /// counts of what stayed are zero because nobody knows.
    pub observed: bool,
    /// Payloads that hold words, live now.
    pub live_payloads: u64,
    /// Their bytes.
    pub logical_bytes: u64,
    /// Bytes of them in memory of this process.
    pub resident_bytes: u64,
    /// Bytes of them on swap, or in the kernel's swap cache on their way.
    pub swapped_bytes: u64,
    /// Bytes of live payloads that stayed in memory when they were paged out,
    /// retries included. Arena mode only; seed mode does not look.
    pub unreclaimable_bytes: u64,
    /// Bytes of live payloads that reads and fetches brought back into memory and that
    /// were not let go since. Arena mode only.
    pub read_back_bytes: u64,
    /// Payloads whose chunk was adopted without a copy.
    pub adopted_count: u64,
    /// Bytes copied into the arena.
    pub copied_bytes: u64,
    /// Page-out hints given, retries included.
    pub hint_count: u64,
    /// Hints repeated because part of a payload had stayed.
    pub retry_count: u64,
    /// Page-out hints that the kernel refused: too old, or memory is locked.
    pub refused_count: u64,
    /// Payloads left alone, because nothing had left memory for a long time.
    pub left_alone_count: u64,
    /// Bytes that ever stayed in memory when they were paged out.
    pub stayed_bytes: u64,
    /// Payloads paged out again after reads had brought them back.
    pub repeated_count: u64,
    /// Whether the kernel knows `MADV_POPULATE_READ`, as far as was seen.
    pub populates: bool,
}

impl SwapStats {
    /// Of a backend that holds nothing here.
    pub(crate) fn none(mode: SwapMode) -> Self {
        Self {
            mode,
            observed: false,
            live_payloads: 0,
            logical_bytes: 0,
            resident_bytes: 0,
            swapped_bytes: 0,
            unreclaimable_bytes: 0,
            read_back_bytes: 0,
            adopted_count: 0,
            copied_bytes: 0,
            hint_count: 0,
            retry_count: 0,
            refused_count: 0,
            left_alone_count: 0,
            stayed_bytes: 0,
            repeated_count: 0,
            populates: true,
        }
    }
}

impl fmt::Display for SwapStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} payloads, {} bytes: ",
            self.live_payloads, self.logical_bytes
        )?;
        if !self.observed {
            return write!(f, "how much is in memory cannot be observed");
        }
        write!(
            f,
            "{} in memory ({} unreclaimable), {} on swap",
            self.resident_bytes, self.unreclaimable_bytes, self.swapped_bytes
        )
    }
}

/// A number that many threads change.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    // Relaxed throughout: a statistic, which orders nothing. Whatever is
    // subtracted was added before by whoever subtracts it.
    pub(crate) fn add(&self, amount: usize) {
        self.0.fetch_add(amount as u64, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, amount: usize) {
        self.0.fetch_sub(amount as u64, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted; the fields are those of [`SwapStats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) logical_bytes: Counter,
    pub(crate) unreclaimable_bytes: Counter,
    /// What was seen to leave memory when live payloads were paged out.
    pub(crate) left_bytes: Counter,
    pub(crate) back_bytes: Counter,
    pub(crate) adopted_count: Counter,
    pub(crate) copied_bytes: Counter,
    pub(crate) hint_count: Counter,
    pub(crate) retry_count: Counter,
    pub(crate) refused_count: Counter,
    pub(crate) left_alone_count: Counter,
    pub(crate) stayed_bytes: Counter,
    pub(crate) repeated_count: Counter,
}
