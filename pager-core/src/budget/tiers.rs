//! [`Reclaim`]: layers of a backend that keep what is not stored yet in memory of the
//! budget, and give way when that is wanted.

use std::fmt;
use std::sync::{Arc, Weak};

use super::charge::Charge;
use super::engine::Engine;
use super::leave::Unused;
use super::ledger::{Kind, Refusal};
use super::pageable::Outcome;
use crate::Result;
use crate::sync::{Mutex, lock};

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
        write!(f, "{} tiers", lock(&self.0).len())
    }
}
