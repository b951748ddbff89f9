//! What views hold in memory: it cannot leave as long as they live, so there is a bound,
//! and whoever would go beyond it is told.

use std::sync::Arc;

use super::charge::Charge;
use super::engine::Engine;
use super::room::{STALL_SLICE, Wait};
use crate::error::Result;
use crate::sync::Ordering;

/// What of the budget may be pinned, in quarters. The rest is where everything else comes
/// and goes.
const MOST_QUARTERS: usize = 3;

/// Times that a view waits a moment for what others use to leave memory: a second.
const MOST_WAITS: usize = 1000;

impl Engine {
    /// Counts `bytes` more as pinned; `false` if that is more than may be.
    pub(crate) fn try_pin(&self, bytes: usize) -> bool {
        let most = self.ledger.limit_bytes() / 4 * MOST_QUARTERS;
        let within = |pinned: usize| pinned.checked_add(bytes).filter(|sum| *sum <= most);
        // Relaxed, here and below: a count that guards nothing but itself.
        self.pinned_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, within)
            .is_ok()
    }

    /// Counts them as pinned no longer.
    pub(crate) fn unpin(&self, bytes: usize) {
        self.pinned_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.has_room();
    }

    /// Bytes that views hold in memory.
    pub(super) fn pinned_bytes(&self) -> usize {
        self.pinned_bytes.load(Ordering::Relaxed)
    }

    /// Room for a copy of `bytes` that a view will hold, which has been counted as pinned.
    ///
    /// # Errors
    ///
    /// That of a write that would have made room; [`Error::NoRoom`](crate::Error::NoRoom).
    pub(crate) fn room_for_view(self: &Arc<Self>, bytes: usize, patience: Wait) -> Result<Charge> {
        for _ in 0..MOST_WAITS {
            if let Some(charge) = self.room_for_copy(bytes) {
                return Ok(charge);
            }
            if patience == Wait::No
                || bytes > self.ledger.limit_bytes()
                || !self.has_threads_or_dirty()
            {
                break;
            }
            self.help_or_wait()?;
        }
        Err(self.no_room(bytes))
    }

    /// Whether anything may make room.
    fn has_threads_or_dirty(&self) -> bool {
        if self.dirty.len() == 0 {
            self.ledger.wait(STALL_SLICE);
        }
        self.dirty.len() > 0 || self.has_threads()
    }
}
