//! [`Outcome`]: what a page-out achieved, as the page table shows it.

use crate::pagemap::Residency;

/// What a page-out achieved.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outcome {
    pub(crate) left_bytes: usize,
    pub(crate) stayed_bytes: usize,
    /// Whether anything left, or may have left unseen.
    pub(crate) left: bool,
}

impl Outcome {
    pub(crate) fn of(seen: Residency) -> Self {
        Self {
            left_bytes: seen.swapped_bytes,
            stayed_bytes: seen.resident_bytes,
            left: seen.swapped_bytes > 0,
        }
    }

    /// Counts what another part of the payload achieved.
    pub(crate) fn add(&mut self, other: Self) {
        self.left_bytes += other.left_bytes;
        self.stayed_bytes += other.stayed_bytes;
        self.left |= other.left;
    }

    pub(crate) fn unseen(left: bool) -> Self {
        Self {
            left_bytes: 0,
            stayed_bytes: 0,
            left,
        }
    }
}
