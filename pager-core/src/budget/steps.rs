//! Single steps of the background, for the scenes of the model checker.

use super::Residency;

impl Residency {
    /// One step of a background thread, on the calling thread.
    pub(crate) fn step(&self) {
        self.engine().step(super::engine::Preferred::Fetch);
    }

    /// Writes one payload, if one is dirty.
    pub(crate) fn write_one(&self) {
        self.engine().write_one(super::pageable::Patience::None);
    }

    /// Drops one clean copy, if there is one.
    pub(crate) fn drop_one(&self) {
        self.engine().free_one(super::leave::Unused::Goes);
    }

    /// Changes the budget without waiting for it to be kept.
    pub(crate) fn change_budget(&self, budget_bytes: usize) {
        self.engine().ledger.set_budget_bytes(budget_bytes);
    }
}
