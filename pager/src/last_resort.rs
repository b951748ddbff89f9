//! [`LastResort`]: where payloads go when every scratch directory is full.

use pager_core::{MemoryStore, OverflowStats};
use pager_file::FileSet;

use crate::PagerBuilder;
use crate::layer::{Files, FilesOrSwap, Layered, beneath};

/// Where the file backend's payloads go when all scratch directories are full, or their quota
/// is: see [`PagerBuilder::last_resort`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum LastResort {
    /// Nowhere: a page-out fails with the directory's error, and its chunks stay.
    #[default]
    None,
    /// To swap, as the swap backend's do.
    #[cfg(feature = "swap")]
    Swap,
    /// To memory, which the budget counts and cannot take away again.
    Memory,
}

impl PagerBuilder {
    /// Where payloads go when every scratch directory is full. Each is offered to the
    /// directories first, so that what follows goes there again once there is room; what went
    /// to the last resort stays there until it is taken or dropped. What is there is in
    /// [`PagerStats::last_resort`](crate::PagerStats::last_resort), and with feature `tracing`
    /// the first payload of a row is a warning.
    ///
    /// Default: nowhere.
    ///
    /// ```
    /// use pager::{BackendKind, LastResort, Pager};
    ///
    /// # let scratch = tempfile::tempdir_in("/var/tmp")?;
    /// let pager = Pager::builder()
    ///     .backend(BackendKind::File)
    ///     .scratch_dir(scratch.path())
    ///     .quota_bytes(1 << 20)
    ///     .last_resort(LastResort::Memory)
    ///     .budget_bytes(0)
    ///     .build()?;
    /// let handle = pager.pageout(&mut [vec![7u64; 1 << 20]])?;
    /// let there = pager.stats().last_resort.expect("there is one");
    /// assert_eq!(there.live_bytes, 8 << 20);
    /// # drop(handle);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn last_resort(mut self, last_resort: LastResort) -> Self {
        self.last_resort = last_resort;
        self
    }
}

impl LastResort {
    /// The directories, and this behind them.
    pub(crate) fn behind(
        self,
        set: FileSet,
        #[cfg(feature = "swap")] swap: impl FnOnce() -> pager_swap::SwapBackend,
    ) -> Files {
        #[cfg(feature = "swap")]
        let first = FilesOrSwap::new(set, (self == Self::Swap).then(swap));
        #[cfg(not(feature = "swap"))]
        let first: FilesOrSwap = set;
        Files::new(first, (self == Self::Memory).then(MemoryStore::new))
    }
}

/// The directories.
pub(crate) fn set_of(backend: &Layered<Files>) -> &FileSet {
    let files = beneath(backend);
    #[cfg(feature = "swap")]
    return files.first().first();
    #[cfg(not(feature = "swap"))]
    files.first()
}

/// What is in the last resort, if there is one.
pub(crate) fn stats_of(backend: &Layered<Files>) -> Option<OverflowStats> {
    let files = beneath(backend);
    let in_memory = files.stats();
    #[cfg(feature = "swap")]
    return in_memory.or_else(|| files.first().stats());
    #[cfg(not(feature = "swap"))]
    in_memory
}
