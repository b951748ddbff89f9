//! [`Workspaces`]: the buffers and scratch memory of those who encode and decode.
//!
//! Large ones hold a portion of a payload, encoded; they are few, they count against the
//! memory budget, and whoever gets none does without: a payload is then stored as it
//! is, or read in small portions. So nobody who holds memory for a transfer ever waits
//! here for good, whatever the backend beneath waits for.

use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::block::Scratch;
use crate::memory::ChunkBuf;
use crate::sync::{Condvar, Mutex, lock, wait_for};
use crate::{Arena, Result, SizeClass, TransferCharge, TransferMemory};

/// Bytes of a payload that are encoded and stored together: what a large workspace
/// has room for.
pub(super) const PORTION_BYTES: usize = 2 << 20;

/// Large workspaces at a time.
const LARGE_COUNT: usize = 4;

/// Bytes of a small workspace: a block of the greatest length, from one device block
/// to another.
const SMALL_BYTES: usize = 128 << 10;

/// Small workspaces that are kept when nobody uses them.
const SMALL_KEPT: usize = 4;

/// How long a page-out waits for a large workspace before it goes on without.
const PATIENCE: Duration = Duration::from_millis(5);

/// A buffer for stored bytes, and what encoding and decoding need besides.
pub(super) struct Workspace {
    pub(super) stored: ChunkBuf<u8>,
    pub(super) scratch: Scratch,
    /// A block that straddles chunks, or a sample, joined.
    pub(super) joined: Vec<u8>,
    /// What it costs, given back with it.
    charge: Option<TransferCharge>,
}

impl Workspace {
    fn new(bytes: usize) -> Result<Self> {
        Ok(Self {
            stored: ChunkBuf::with_capacity_in(&Arena::shared(), bytes)?,
            scratch: Scratch::new(),
            joined: Vec::new(),
            charge: None,
        })
    }
}

/// What nobody is using at the moment.
pub(super) struct Workspaces {
    large: Mutex<Large>,
    /// Notified when a large one comes back.
    returned: Condvar,
    small: Mutex<Vec<Workspace>>,
    /// None until the backend has a registry: then nobody counts.
    memory: OnceLock<TransferMemory>,
}

#[derive(Default)]
struct Large {
    idle: Vec<Workspace>,
    made: usize,
}

/// A workspace in use; goes back when dropped.
pub(super) struct Lent<'a> {
    workspace: Option<Workspace>,
    is_large: bool,
    pool: &'a Workspaces,
}

impl Workspaces {
    pub(super) fn new() -> Self {
        Self {
            large: Mutex::new(Large::default()),
            returned: Condvar::new(),
            small: Mutex::new(Vec::new()),
            memory: OnceLock::new(),
        }
    }

    /// Has large workspaces count as the buffers of a registry's transfers.
    pub(super) fn attach(&self, memory: &TransferMemory) {
        // A second registry over the same backend does not exist, and none of them
        // has been made before the first.
        let _ = self.memory.set(memory.clone());
    }

    /// A large workspace, if one is there or may be made.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub(super) fn large(&self) -> Result<Option<Lent<'_>>> {
        let mut large = lock(&self.large);
        if let Some(workspace) = large.idle.pop() {
            return Ok(Some(self.lend(workspace, true)));
        }
        if large.made == LARGE_COUNT {
            return Ok(None);
        }
        let charge = self.charge(PORTION_BYTES);
        if charge.is_none() && self.memory.get().is_some() {
            return Ok(None);
        }
        large.made += 1;
        drop(large);
        match Workspace::new(PORTION_BYTES) {
            Ok(workspace) => Ok(Some(self.lend(
                Workspace {
                    charge,
                    ..workspace
                },
                true,
            ))),
            Err(error) => {
                lock(&self.large).made -= 1;
                Err(error)
            }
        }
    }

    /// The same, and waits a moment for one.
    ///
    /// # Errors
    ///
    /// As [`large`](Self::large).
    pub(super) fn large_soon(&self) -> Result<Option<Lent<'_>>> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(lent) = self.large()? {
                return Ok(Some(lent));
            }
            let large = lock(&self.large);
            let left = end.saturating_duration_since(Instant::now());
            if large.made == 0 || left.is_zero() {
                return Ok(None);
            }
            // One may have come back in between.
            if large.idle.is_empty() && wait_for(&self.returned, large, left).is_none() {
                return Ok(None);
            }
        }
    }

    /// A small workspace.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub(super) fn small(&self) -> Result<Lent<'_>> {
        let idle = lock(&self.small).pop();
        let workspace = match idle {
            Some(workspace) => workspace,
            None => Workspace {
                // Without room in the budget it is made all the same, and not kept.
                charge: self.charge(SMALL_BYTES),
                ..Workspace::new(SMALL_BYTES)?
            },
        };
        Ok(self.lend(workspace, false))
    }

    /// Counts a workspace with room for so many stored bytes, if there is room for it
    /// in the budget.
    fn charge(&self, bytes: usize) -> Option<TransferCharge> {
        let bytes = SizeClass::for_bytes(bytes).bytes() + Scratch::BYTES;
        self.memory.get()?.try_keep_workspace(bytes)
    }

    fn lend(&self, workspace: Workspace, is_large: bool) -> Lent<'_> {
        Lent {
            workspace: Some(workspace),
            is_large,
            pool: self,
        }
    }
}

impl std::ops::Deref for Lent<'_> {
    type Target = Workspace;

    fn deref(&self) -> &Workspace {
        self.workspace.as_ref().expect(LENT)
    }
}

impl std::ops::DerefMut for Lent<'_> {
    fn deref_mut(&mut self) -> &mut Workspace {
        self.workspace.as_mut().expect(LENT)
    }
}

const LENT: &str = "a workspace is lent until it is dropped";

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let Some(workspace) = self.workspace.take() else {
            return;
        };
        if self.is_large {
            lock(&self.pool.large).idle.push(workspace);
            self.pool.returned.notify_one();
            return;
        }
        let is_counted = workspace.charge.is_some() || self.pool.memory.get().is_none();
        let mut small = lock(&self.pool.small);
        if is_counted && small.len() < SMALL_KEPT {
            small.push(workspace);
        } else {
            // Freed after the lock, for it may cost a system call.
            drop(small);
            drop(workspace);
        }
    }
}

impl fmt::Debug for Workspaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without their locks: a forked child prints too.
        f.debug_struct("Workspaces").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(pager_shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn large_workspaces_are_few_and_come_back() {
        let pool = Workspaces::new();
        let mut lent: Vec<_> = (0..LARGE_COUNT)
            .map(|_| pool.large().unwrap().expect("there is one more"))
            .collect();
        assert!(pool.large().unwrap().is_none(), "no more than those");
        let start = Instant::now();
        assert!(
            pool.large_soon().unwrap().is_none(),
            "nobody gives one back"
        );
        assert!(start.elapsed() >= PATIENCE);
        lent[0].stored.push(7).unwrap();
        let place = lent[0].stored.as_ptr();
        lent.truncate(1);
        drop(lent);
        let again: Vec<_> = (0..LARGE_COUNT)
            .map(|_| pool.large_soon().unwrap().expect("all are back"))
            .collect();
        assert!(again.iter().any(|it| it.stored.as_ptr() == place));
    }

    #[test]
    fn whoever_waits_gets_the_one_that_comes_back() {
        let pool = Workspaces::new();
        let mut lent: Vec<_> = (0..LARGE_COUNT).map(|_| pool.large().unwrap()).collect();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                // As often as it takes: each time it waits for a moment only.
                std::iter::repeat_with(|| pool.large_soon().unwrap())
                    .find(Option::is_some)
                    .is_some()
            });
            drop(lent.pop());
            assert!(waiting.join().unwrap());
        });
    }

    #[test]
    fn small_workspaces_are_there_for_everybody() {
        let pool = Workspaces::new();
        let lent: Vec<_> = (0..3 * SMALL_KEPT).map(|_| pool.small().unwrap()).collect();
        drop(lent);
        assert_eq!(lock(&pool.small).len(), SMALL_KEPT, "and few are kept");
    }
}
