//! What an operator looks at and turns: what the backends keep for reuse, how they work,
//! and how much of it goes back at once.

use pager_core::Result;

use crate::Pager;

/// What [`Pager::trim`] gave back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Trimmed {
    /// Bytes of memory, to the system.
    pub memory_bytes: usize,
    /// Bytes of scratch files, to the file system.
    pub disk_bytes: u64,
}

impl Pager {
    /// Gives back what is kept for reuse and holds nothing: warm buffers and slots, and
    /// free room in scratch files. What comes next is slower, for it needs some again.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) of the file system; what it did not take back stays
    /// for reuse. [`Error::ForeignProcess`](crate::Error::ForeignProcess) in a forked child.
    pub fn trim(&self) -> Result<Trimmed> {
        #[cfg_attr(
            not(any(feature = "swap", feature = "file")),
            allow(unused_mut, reason = "nothing is added without a backend")
        )]
        let mut trimmed = Trimmed {
            memory_bytes: self.residency.trim()? + pager_core::Arena::shared().trim(),
            disk_bytes: 0,
        };
        #[cfg(feature = "swap")]
        {
            trimmed.memory_bytes += crate::layer::beneath(self.swap.backend()).trim();
        }
        #[cfg(feature = "file")]
        if let Some(open) = self.file.current() {
            trimmed.disk_bytes = crate::last_resort::set_of(open.backend()).trim()?;
        }
        Ok(trimmed)
    }

    /// Gives at least `bytes` of memory back, to the account if the budget has one and to
    /// the system otherwise, and returns how many went: drops spare buffers and copies,
    /// and writes what is not stored. The budget stays as it is.
    ///
    /// # Errors
    ///
    /// That of the first write that fails.
    /// [`Error::ForeignProcess`](crate::Error::ForeignProcess) in a forked child.
    pub fn reclaim_bytes(&self, bytes: usize) -> Result<usize> {
        self.residency.reclaim_bytes(bytes)
    }

    /// How the swap backend works: what of its payloads is in memory and on swap, by the
    /// page table, and what the kernel refused. Reads 2 KiB for each MiB of payloads.
    #[cfg(feature = "swap")]
    #[must_use]
    pub fn swap_stats(&self) -> pager_swap::SwapStats {
        crate::layer::beneath(self.swap.backend()).stats()
    }

    /// The arena of the swap backend: what is in use, what is warm, what is mapped.
    #[cfg(feature = "swap")]
    #[must_use]
    pub fn arena_usage(&self) -> pager_core::ArenaUsage {
        crate::layer::beneath(self.swap.backend()).arena_usage()
    }

    /// How the file backend works, and what it has on disk: stored, free and kept,
    /// reserved. `None` as long as it has not been opened, and in a forked child. No
    /// system call.
    #[cfg(feature = "file")]
    #[must_use]
    pub fn file_stats(&self) -> Option<pager_file::FileStats> {
        let open = self.file.current()?;
        Some(crate::last_resort::set_of(open.backend()).stats())
    }
}
