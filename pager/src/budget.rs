//! When payloads move: the memory budget that all backends of a pager share, and
//! the operations on many payloads at once.

use pager_core::{Chunk, Residency, Result, Reuse};

#[cfg(any(feature = "swap", feature = "file"))]
use crate::BackendKind;
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

    /// [`pageout`](Self::pageout), and says when the payload is expected to be
    /// wanted again.
    ///
    /// # Errors
    ///
    /// As for [`pageout`](Self::pageout).
    pub fn pageout_hinted<C: Chunk>(&self, chunks: &mut [C], reuse: Reuse) -> Result<Handle> {
        match self.selector.get().enabled()? {
            #[cfg(feature = "swap")]
            BackendKind::Swap => self.swap.pageout_hinted(chunks, reuse).map(Handle::Swap),
            #[cfg(feature = "file")]
            BackendKind::File => {
                let open = self.file.for_pageout()?;
                open.pageout_hinted(chunks, reuse).map(Handle::File)
            }
            #[cfg(not(all(feature = "swap", feature = "file")))]
            other => {
                let _ = (chunks, reuse);
                Err(other.disabled())
            }
        }
    }

    /// Pages out every chunk as a payload of its own: all or none.
    ///
    /// # Errors
    ///
    /// As for [`pageout`](Self::pageout); every chunk is then as it was.
    pub fn pageout_each<C: Chunk>(&self, chunks: &mut [C]) -> Result<Vec<Handle>> {
        match self.selector.get().enabled()? {
            #[cfg(feature = "swap")]
            BackendKind::Swap => {
                let handles = self.swap.pageout_each(chunks)?;
                Ok(handles.into_iter().map(Handle::Swap).collect())
            }
            #[cfg(feature = "file")]
            BackendKind::File => {
                let handles = self.file.for_pageout()?.pageout_each(chunks)?;
                Ok(handles.into_iter().map(Handle::File).collect())
            }
            #[cfg(not(all(feature = "swap", feature = "file")))]
            other => {
                let _ = chunks;
                Err(other.disabled())
            }
        }
    }

    /// Hints that all of these payloads will be read or taken soon, in this order.
    pub fn prefetch_many(&self, handles: &[&Handle]) {
        handles.iter().for_each(|handle| handle.prefetch());
    }
}
