//! [`FileBackend`] where there is no Unix: it cannot be opened.

use std::convert::Infallible;
use std::ops::Range;
use std::path::Path;

use pager_core::diagnose::{Finding, Severity, What};
use pager_core::{Backend, Error, Payload, Result, Usage, Window};

use crate::{BACKEND, FileConfig, FileStats, Reaped};

/// Stores payloads in scratch files; not on this platform.
#[derive(Debug)]
pub struct FileBackend(Infallible);

/// Where a payload is. There is none on this platform.
#[derive(Debug)]
pub struct FileSlot(Infallible);

impl FileBackend {
    /// Refuses.
    ///
    /// # Errors
    ///
    /// Always [`Error::Unsupported`].
    pub fn open(config: FileConfig) -> Result<Self> {
        let _ = config;
        Err(Error::Unsupported {
            backend: BACKEND,
            what: "a private scratch directory",
        })
    }

    /// Says that there is no file backend here.
    #[must_use]
    pub fn diagnose(_root: impl AsRef<Path>) -> Vec<Finding> {
        vec![Finding::new(
            BACKEND,
            Severity::Blocked,
            What::RootUnusable,
            "this platform has no private scratch directories, so there is no file backend",
            "use the swap backend, which keeps payloads in memory here",
        )]
    }

    /// The scratch root.
    #[must_use]
    pub fn scratch_root(&self) -> &Path {
        match self.0 {}
    }

    /// The private directory under the root.
    #[must_use]
    pub fn directory(&self) -> &Path {
        match self.0 {}
    }

    /// How the backend works.
    #[must_use]
    pub fn stats(&self) -> FileStats {
        match self.0 {}
    }

    /// Removes what dead processes have left.
    ///
    /// # Errors
    ///
    /// None: it cannot be called.
    pub fn reap(&self) -> Result<Reaped> {
        match self.0 {}
    }

    /// Gives unused storage back.
    ///
    /// # Errors
    ///
    /// None: it cannot be called.
    pub fn trim(&self) -> Result<u64> {
        match self.0 {}
    }
}

impl Backend for FileBackend {
    type Slot = FileSlot;

    fn name(&self) -> &'static str {
        match self.0 {}
    }

    fn page_out(&self, _payload: &mut Payload<'_>) -> Result<FileSlot> {
        match self.0 {}
    }

    fn read(&self, _: &FileSlot, _: &[Range<usize>], _: &mut Window<'_>) -> Result<()> {
        match self.0 {}
    }

    fn free(&self, _slot: FileSlot) {
        match self.0 {}
    }

    fn usage(&self) -> Usage {
        match self.0 {}
    }
}
