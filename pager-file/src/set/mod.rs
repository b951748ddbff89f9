//! [`FileSet`]: several scratch directories, on several devices, as one backend: a
//! backend over file backends.
//!
//! Each payload goes whole to the directory where it is through soonest
//! ([`loads`]). One that is full or fails is left out for a while, and what it did not
//! take is written elsewhere; a slot says where it is, so that handles stay valid
//! whatever becomes of the other directories. With one directory nothing is measured
//! and nothing is locked.
//!
//! ```text
//! backend    FileSet as a Backend
//! under_way  a transfer, counted until it ends
//! loads      how busy, how fast and how well each directory is: which one is next
//! stats      the same from outside
//! ```

mod backend;
mod loads;
mod stats;
mod under_way;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pager_core::{Backend, Error, Payload, ProcessStamp, Result, ScratchProblem};

use crate::quota::Quota;
use crate::{FileBackend, FileConfig, FileSlot, FileStats, Reaped};
use loads::Loads;
use under_way::UnderWay;

pub use stats::{DirectoryState, DirectoryStats};

/// Stores payloads in the scratch files of one or several private directories.
///
/// ```
/// use pager_core::Registry;
/// use pager_file::{FileConfig, FileSet};
///
/// # let scratch = tempfile::tempdir_in("/var/tmp")?;
/// # let (fast, large) = (scratch.path().join("fast"), scratch.path().join("large"));
/// let configs = [FileConfig::new(fast).quota_bytes(1 << 30), FileConfig::new(large)];
/// let registry = Registry::new(FileSet::open(configs)?);
/// let handle = registry.pageout(&mut [vec![1, 2, 3]])?;
/// for directory in registry.backend().directories() {
///     println!("{directory}");
/// }
/// let mut words = Vec::new();
/// registry.take(handle, &mut words)?;
/// assert_eq!(words, [1, 2, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FileSet {
    members: Box<[Member]>,
    /// Over all of them, if there are several; one alone has its own.
    quota: Quota,
    /// Locked to choose and to count, never across a transfer.
    loads: Mutex<Loads>,
    begun: Instant,
    owner: ProcessStamp,
}

#[derive(Debug)]
struct Member {
    backend: FileBackend,
    weight: u32,
}

/// Where a payload is. Opaque: only the set that made it can read it.
#[derive(Debug)]
pub struct FileSetSlot {
    member: u32,
    slot: FileSlot,
}

impl FileSet {
    /// Makes a private directory under the root of each configuration, after removing
    /// what dead processes left there.
    ///
    /// # Errors
    ///
    /// Those of [`FileBackend::open`], for the first root that cannot be used; nothing is
    /// left behind in the others. [`ScratchProblem::NotConfigured`] without any.
    pub fn open(configs: impl IntoIterator<Item = FileConfig>) -> Result<Self> {
        let open = |config: FileConfig| {
            let weight = config.weight;
            FileBackend::open(config).map(|backend| Member { backend, weight })
        };
        let members: Box<[Member]> = configs.into_iter().map(open).collect::<Result<_>>()?;
        if members.is_empty() {
            return Err(Error::ScratchUnavailable {
                path: std::path::PathBuf::new(),
                problem: ScratchProblem::NotConfigured,
                call: None,
                source: None,
            });
        }
        Ok(Self {
            loads: Mutex::new(Loads::new(members.iter().map(|member| member.weight))),
            members,
            quota: Quota::new(None),
            begun: Instant::now(),
            owner: ProcessStamp::current(),
        })
    }

    /// The most bytes that live payloads may store in all directories together, besides
    /// what each of them may.
    #[must_use]
    pub fn quota_bytes(mut self, quota_bytes: u64) -> Self {
        self.quota = Quota::new(Some(quota_bytes));
        self
    }

    /// The backends of the directories, in the order in which they were configured.
    pub fn backends(&self) -> impl ExactSizeIterator<Item = &FileBackend> {
        self.members.iter().map(|member| &member.backend)
    }

    /// How all of it works and what it has met, summed up. No system call.
    #[must_use]
    pub fn stats(&self) -> FileStats {
        let mut each = self.backends().map(FileBackend::stats);
        let first = each.next().expect("a set has a directory");
        let mut sum = each.fold(first, FileStats::plus);
        if let Some(quota_bytes) = self.quota.limit_bytes() {
            let least = sum
                .quota_bytes
                .map_or(quota_bytes, |sum| sum.min(quota_bytes));
            sum.quota_bytes = Some(least);
        }
        sum
    }

    /// What each directory holds and how it does, in the same order. No system call.
    #[must_use]
    pub fn directories(&self) -> Vec<DirectoryStats> {
        if !self.owner.is_current() {
            return Vec::new();
        }
        let now = self.now();
        let loads = self.lock();
        let stats = |(index, member): (usize, &Member)| {
            let load = loads.of(index);
            let files = member.backend.stats();
            DirectoryStats {
                root: member.backend.scratch_root().to_owned(),
                directory: member.backend.directory().to_owned(),
                state: loads.state(now, index),
                weight: member.weight,
                stored_bytes: files.stored_bytes,
                quota_bytes: files.quota_bytes,
                in_flight_bytes: load.in_flight_bytes,
                bytes_per_second: load.bytes_per_second(),
                page_outs: load.page_outs,
                paged_out_bytes: load.paged_out_bytes,
                failures: load.failures,
                last_error: load.last_error.clone(),
            }
        };
        self.members.iter().enumerate().map(stats).collect()
    }

    /// As [`FileBackend::reap`], in all roots.
    ///
    /// # Errors
    ///
    /// As there, for the first root that cannot be listed; the others have been swept.
    pub fn reap(&self) -> Result<Reaped> {
        let mut sum = Reaped::default();
        let mut failed = Ok(());
        for backend in self.backends() {
            match backend.reap() {
                Ok(reaped) => sum.add(reaped),
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        failed.map(|()| sum)
    }

    /// As [`FileBackend::trim`], in all directories.
    ///
    /// # Errors
    ///
    /// As there, for the first that fails; the others have been trimmed.
    pub fn trim(&self) -> Result<u64> {
        let mut sum = 0;
        let mut failed = Ok(());
        for backend in self.backends() {
            match backend.trim() {
                Ok(bytes) => sum += bytes,
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        failed.map(|()| sum)
    }

    fn page_out_somewhere(&self, payload: &mut Payload<'_>) -> Result<FileSetSlot> {
        let bytes = payload.len_bytes() as u64;
        let mut tried = Vec::new();
        let mut failed = None;
        loop {
            let transfer = self.lock().begin_page_out(self.now(), bytes, &tried);
            let Some(transfer) = transfer else {
                // There is a directory, so one was tried.
                return Err(failed.expect("somebody has refused the payload"));
            };
            let member = transfer.member;
            let under_way = UnderWay::new(self, transfer);
            match self.members[member].backend.page_out(payload) {
                Ok(slot) => {
                    under_way.paged_out();
                    return Ok(FileSetSlot {
                        member: u32::try_from(member).unwrap_or(u32::MAX),
                        slot,
                    });
                }
                Err(error) if !is_of_directory(&error) => return Err(error),
                Err(error) => {
                    under_way.failed(&error);
                    failed = Some(more_hopeful(failed, error));
                }
            }
            tried.push(member);
        }
    }

    /// The only one, if there is one only.
    fn alone(&self) -> Option<&FileBackend> {
        match &*self.members {
            [member] => Some(&member.backend),
            _ => None,
        }
    }

    fn backend_of(&self, slot: &FileSetSlot) -> Option<&FileBackend> {
        let member = self.members.get(slot.member as usize)?;
        Some(&member.backend)
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Loads> {
        // Between its calls it is whole.
        self.loads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether another directory may do better.
fn is_of_directory(error: &Error) -> bool {
    matches!(
        error,
        Error::OutOfSpace { .. }
            | Error::QuotaExceeded { .. }
            | Error::ScratchUnavailable { .. }
            | Error::Io { .. }
    )
}

/// Of what two directories said, that after which trying again may help.
fn more_hopeful(before: Option<Error>, error: Error) -> Error {
    before
        .filter(|before| !before.is_permanent())
        .unwrap_or(error)
}

impl fmt::Debug for FileSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSet")
            .field("members", &self.members)
            .finish_non_exhaustive()
    }
}
