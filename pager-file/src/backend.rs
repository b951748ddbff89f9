//! [`FileBackend`]: the backend over whichever mode it was opened in.
//!
//! Dispatches by an enum, without a `dyn`. Owns nothing but the store, which
//! shares the scratch directory with it.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use pager_core::diagnose::Finding;
use pager_core::{Backend, Error, Payload, Result, TransferMemory, Usage, Window, observe};

use crate::diagnose;
use crate::scratch::ScratchDir;
use crate::seed::{SeedSlot, SeedStore};
use crate::segment::{SegmentSlot, SegmentStore};
use crate::{BACKEND, FileConfig, FileMode, FileStats, IoChoice, IoMode, Reaped};

/// Stores payloads in scratch files of a private directory.
///
/// The directory is removed, with all that is in it, when the backend and all
/// handles are gone, at the latest when the process ends by itself; if it is killed,
/// the next backend that is opened on the same root removes it. A forked child must not use its parent's backend:
/// operations say [`Error::ForeignProcess`], and drops do nothing.
///
/// ```
/// use pager_core::Registry;
/// use pager_file::{FileBackend, FileConfig};
///
/// # let scratch = tempfile::tempdir_in("/var/tmp")?;
/// # let root = scratch.path();
/// let registry = Registry::new(FileBackend::open(FileConfig::new(root))?);
/// let handle = registry.pageout(&mut [vec![1, 2, 3]])?;
/// let mut words = Vec::new();
/// registry.take(handle, &mut words)?;
/// assert_eq!(words, [1, 2, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FileBackend {
    // In this order: the store's descriptors close before the directory goes.
    store: Store,
    directory: Arc<ScratchDir>,
}

#[derive(Debug)]
enum Store {
    Seed(SeedStore),
    Segments(SegmentStore),
}

/// Where a payload is. Opaque: only the backend that made it can read it.
#[derive(Debug)]
pub struct FileSlot(Slot);

#[derive(Debug)]
enum Slot {
    Seed(SeedSlot),
    Segment(SegmentSlot),
}

impl FileBackend {
    /// Makes a private directory under the configured root, after removing what
    /// dead processes left there.
    ///
    /// # Errors
    ///
    /// - [`Error::ScratchUnavailable`], with what is wrong with the root;
    /// - [`Error::OutOfSpace`] and [`Error::Io`];
    /// - [`Error::Unsupported`] for [`IoChoice::Direct`] where it cannot be had:
    ///   the seed mode is buffered by definition, and not encrypted either.
    ///
    /// Nothing is left behind, and a later call may succeed.
    pub fn open(config: FileConfig) -> Result<Self> {
        if config.mode == FileMode::Seed && config.io == IoChoice::Direct {
            return Err(Error::Unsupported {
                backend: BACKEND,
                what: "direct I/O in seed mode",
            });
        }
        #[cfg(feature = "encryption")]
        if config.mode == FileMode::Seed && config.encryption {
            return Err(Error::Unsupported {
                backend: BACKEND,
                what: "encryption in seed mode",
            });
        }
        Self::over(ScratchDir::open(&config)?, &config)
    }

    /// As [`open`](Self::open), and leaves alone what dead processes left.
    pub(crate) fn open_unswept(config: FileConfig) -> Result<Self> {
        Self::over(ScratchDir::open_unswept(&config)?, &config)
    }

    /// What about `root`, and the disk beneath it, matters to paging: whether it can be
    /// used, how bytes will move, what is in the way.
    ///
    /// Reads a few files under `/proc` and `/sys`, and has a small payload go out and
    /// come back if the root is there. Changes nothing: what the trial makes is removed
    /// with it, a root that is missing is not made, and nothing is swept.
    ///
    /// ```
    /// use pager_core::diagnose::Severity;
    /// use pager_file::FileBackend;
    ///
    /// for finding in FileBackend::diagnose("/var/tmp") {
    ///     if finding.severity >= Severity::Slow {
    ///         eprintln!("{finding}");
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn diagnose(root: impl AsRef<Path>) -> Vec<Finding> {
        diagnose::diagnose(root.as_ref())
    }

    fn over(directory: ScratchDir, config: &FileConfig) -> Result<Self> {
        let directory = Arc::new(directory);
        directory.remove_at_exit();
        let shared = Arc::clone(&directory);
        let store = match config.mode {
            FileMode::Seed => Store::Seed(SeedStore::new(shared, config.quota_bytes)),
            FileMode::Segments => Store::Segments(SegmentStore::open(shared, config)?),
        };
        let backend = Self { store, directory };
        observe::directory(backend.directory(), "opened", || backend.stats().io_reason);
        Ok(backend)
    }

    /// The scratch root, made absolute.
    #[must_use]
    pub fn scratch_root(&self) -> &Path {
        self.directory.root()
    }

    /// The private directory under the root.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// How the backend works and what it has met. No system call.
    #[must_use]
    pub fn stats(&self) -> FileStats {
        let reaped = self.directory.reaped();
        match &self.store {
            Store::Seed(store) => FileStats {
                mode: FileMode::Seed,
                io: IoMode::Buffered,
                io_reason: SeedStore::IO_REASON.into(),
                stored_bytes: store.quota().used_bytes(),
                quota_bytes: store.quota().limit_bytes(),
                files: store.file_count(),
                failed_removals: store.failed_removals(),
                reaped,
                #[cfg(feature = "encryption")]
                encryption: None,
                segments: None,
            },
            Store::Segments(store) => {
                let segments = store.stats();
                FileStats {
                    mode: FileMode::Segments,
                    io: segments.io.into(),
                    io_reason: segments.reason.clone().into(),
                    stored_bytes: segments.stored_bytes,
                    quota_bytes: segments.quota_bytes,
                    files: segments.segment_count.into(),
                    failed_removals: 0,
                    reaped,
                    #[cfg(feature = "encryption")]
                    encryption: store.encryption(),
                    segments: Some(segments),
                }
            }
        }
    }

    /// Removes what processes that died since have left under the root.
    ///
    /// For processes that live long; opening a backend does it once. Any number
    /// of threads and processes may do it at once.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the root cannot be listed; [`Error::ForeignProcess`] in
    /// a forked child.
    pub fn reap(&self) -> Result<Reaped> {
        let reaped = self.directory.reap()?;
        observe::directory(self.scratch_root(), "swept", || {
            let Reaped {
                directories,
                failed_directories,
                ..
            } = reaped;
            format!("{directories} removed, {failed_directories} could not be")
        });
        Ok(reaped)
    }

    /// Gives storage that holds nothing back to the file system, and says how
    /// many bytes that was. The seed mode keeps none.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::ForeignProcess`] in a forked child.
    pub fn trim(&self) -> Result<u64> {
        if !self.directory.is_own() {
            return Err(Error::ForeignProcess);
        }
        match &self.store {
            Store::Seed(_) => Ok(0),
            Store::Segments(store) => store.trim(),
        }
    }
}

impl Backend for FileBackend {
    type Slot = FileSlot;

    fn name(&self) -> &'static str {
        BACKEND
    }

    fn page_out(&self, payload: &mut Payload<'_>) -> Result<FileSlot> {
        match &self.store {
            Store::Seed(store) => store.page_out(payload).map(Slot::Seed),
            Store::Segments(store) => store.page_out(payload).map(Slot::Segment),
        }
        .map(FileSlot)
    }

    fn read(
        &self,
        slot: &FileSlot,
        ranges: &[Range<usize>],
        window: &mut Window<'_>,
    ) -> Result<()> {
        match (&self.store, &slot.0) {
            (Store::Seed(store), Slot::Seed(slot)) => store.read(slot, ranges, window),
            (Store::Segments(store), Slot::Segment(slot)) => store.read(slot, ranges, window),
            _ => Err(Error::Io {
                backend: BACKEND,
                operation: "read",
                path: None,
                source: io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "the slot is of another backend",
                ),
            }),
        }
    }

    fn prefetch(&self, slot: &FileSlot, range: Range<usize>) {
        if let (Store::Seed(store), Slot::Seed(slot)) = (&self.store, &slot.0) {
            store.prefetch(slot, range);
        }
    }

    fn free(&self, slot: FileSlot) {
        match (&self.store, slot.0) {
            (Store::Seed(store), Slot::Seed(slot)) => store.free(slot),
            (Store::Segments(store), Slot::Segment(slot)) => store.free(slot),
            // Another backend's, whose directory reclaims it.
            _ => {}
        }
    }

    fn usage(&self) -> Usage {
        match &self.store {
            Store::Seed(store) => store.usage(),
            Store::Segments(store) => store.usage(),
        }
    }

    fn stored_bytes(&self, slot: &FileSlot) -> u64 {
        match (&self.store, &slot.0) {
            (Store::Seed(store), Slot::Seed(slot)) => store.stored_bytes(slot),
            (Store::Segments(store), Slot::Segment(slot)) => store.stored_bytes(slot),
            _ => 0,
        }
    }

    fn attach(&self, memory: &TransferMemory) {
        match &self.store {
            Store::Seed(_) => {}
            Store::Segments(store) => store.attach(memory),
        }
    }

    fn slot_bytes(&self, slot: &FileSlot) -> usize {
        match &slot.0 {
            Slot::Seed(_) => 0,
            Slot::Segment(slot) => SegmentStore::slot_bytes(slot),
        }
    }
}

impl fmt::Debug for FileBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileBackend")
            .field("directory", &self.directory.path())
            .field("store", &self.store)
            .finish()
    }
}
