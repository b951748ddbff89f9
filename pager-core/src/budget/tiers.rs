//! [`Reclaim`]: layers of a backend that keep what is not stored yet in memory of the
//! budget, and give way when that is wanted.

#![cfg_attr(
    not(feature = "codec"),
    allow(dead_code, reason = "without a codec nothing is encoded")
)]

use std::fmt;
use std::sync::{Arc, Weak};

use super::charge::Charge;
use super::engine::Engine;
use super::kind::Kind;
use super::leave::Unused;
use super::ledger::Refusal;
use super::pageable::Outcome;
use crate::Result;
use crate::sync::{AtomicUsize, Mutex, Ordering, lock};

/// What keeps encoded payloads in memory.
pub(crate) trait Reclaim: Send + Sync {
    /// Stores the oldest and gives its memory back.
    fn reclaim_one(&self) -> Outcome;

    /// How many there are, at most.
    fn count(&self) -> usize;
}

/// Those of all backends of a budget.
#[derive(Default)]
pub(super) struct Tiers(Mutex<Vec<Weak<dyn Reclaim>>>);

impl Tiers {
    pub(super) fn add(&self, tier: &Weak<dyn Reclaim>) {
        let mut tiers = lock(&self.0);
        tiers.retain(|tier| tier.strong_count() > 0);
        tiers.push(Weak::clone(tier));
    }

    fn live(&self) -> Vec<Arc<dyn Reclaim>> {
        lock(&self.0).iter().filter_map(Weak::upgrade).collect()
    }
}

/// The share of the budget that may be held encoded, in percent: half of it at first,
/// and then more if reads of what had to leave cost more than decoding what is there,
/// or less.
#[derive(Debug)]
pub(super) struct EncodedShare(AtomicUsize);

impl Default for EncodedShare {
    fn default() -> Self {
        Self(AtomicUsize::new(50))
    }
}

impl EncodedShare {
    const LEAST: usize = 10;
    const MOST: usize = 75;
    const STEP: usize = 5;

    pub(super) fn percent(&self) -> u8 {
        // Relaxed: a preference.
        u8::try_from(self.0.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Gives more of the budget to what is encoded, or less.
    #[cfg(feature = "codec")]
    pub(super) fn shift(&self, is_more: bool) {
        let shifted = |percent: usize| {
            Some(if is_more {
                (percent + Self::STEP).min(Self::MOST)
            } else {
                percent.saturating_sub(Self::STEP).max(Self::LEAST)
            })
        };
        // Relaxed: as above.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, shifted);
    }
}

impl Engine {
    /// Stores the oldest encoded payload of any tier, and gives its memory back.
    pub(super) fn reclaim_one(&self) -> Outcome {
        if self.ledger.bytes_of(Kind::Encoded) == 0 {
            return Outcome::Nothing;
        }
        for tier in self.tiers.live() {
            match tier.reclaim_one() {
                Outcome::Nothing => {}
                decided => return decided,
            }
        }
        Outcome::Nothing
    }

    /// Stores all that tiers hold when this is called.
    ///
    /// # Errors
    ///
    /// That of the first write that fails.
    pub(super) fn reclaim_all(&self) -> Result<()> {
        for tier in self.tiers.live() {
            // Each gets a second chance.
            for _ in 0..=tier.count() {
                match tier.reclaim_one() {
                    Outcome::Failed(error) => return Err(error),
                    Outcome::Nothing => break,
                    Outcome::Written | Outcome::Busy => {}
                }
            }
        }
        Ok(())
    }

    /// Room for an encoded payload in memory, if there is any without I/O.
    pub(super) fn room_for_encoded(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        loop {
            match Charge::reserve(self, Kind::Encoded, bytes) {
                Ok(charge) => return Some(charge),
                Err(Refusal::BudgetIsFull) if self.free_one(Unused::Stays) => {}
                Err(_) => return None,
            }
        }
    }
}

impl fmt::Debug for Tiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without their lock: a forked child prints too.
        f.write_str("tiers")
    }
}
