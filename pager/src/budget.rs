//! When payloads move: the memory budget that all backends of a pager share, and
//! the operations on many payloads at once.

use pager_core::{Pod, Residency, Result};

use crate::{Handle, Pager};

impl Pager {
    /// Bytes of memory that payloads may occupy before they are paged out.
    #[must_use]
    pub fn budget_bytes(&self) -> usize {
        self.residency.budget_bytes()
    }

    /// Changes the budget. A smaller one is in force when this returns.
    ///
    /// # Errors
    ///
    /// That of a write that failed; the new budget stands, and the background
    /// goes on trying. [`Error::ForeignProcess`](crate::Error::ForeignProcess) in
    /// a forked child.
    pub fn set_budget(&self, budget_bytes: usize) -> Result<()> {
        self.residency.set_budget_bytes(budget_bytes)
    }

    /// Stores everything that is resident: when this returns, every payload paged
    /// out before the call has left memory.
    ///
    /// # Errors
    ///
    /// That of the first write that fails; its payload stays resident and
    /// readable. [`Error::ForeignProcess`](crate::Error::ForeignProcess) in a
    /// forked child.
    pub fn flush(&self) -> Result<()> {
        self.residency.flush()
    }

    /// Stores everything that is resident, as [`flush`](Self::flush) does, and
    /// keeps it readable in memory as far as the budget allows.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn write_back(&self) -> Result<()> {
        self.residency.write_back()
    }

    /// Stores everything and ends the background threads. Later page-outs say
    /// [`Error::ShutDown`](crate::Error::ShutDown); handles stay readable and can
    /// be taken.
    ///
    /// # Errors
    ///
    /// As for [`flush`](Self::flush); the threads have ended all the same.
    pub fn shutdown(&self) -> Result<()> {
        self.residency.shutdown()
    }

    /// The residency layer itself.
    #[must_use]
    pub fn residency(&self) -> &Residency {
        &self.residency
    }

    /// Hints that all of these payloads will be read or taken soon, in this order.
    pub fn prefetch_many<T: Pod>(&self, handles: &[&Handle<T>]) {
        handles.iter().for_each(|handle| handle.prefetch());
    }
}
