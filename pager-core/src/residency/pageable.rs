//! [`Pageable`]: a payload as the residency engine sees it, whatever its backend.

use std::ops::Range;
use std::sync::{Arc, Weak};

use crate::Error;

/// A payload that can leave memory and be fetched back. Implemented by the
/// registry's entries; the engine holds them weakly, so that dropping a handle
/// never waits for the engine.
pub(crate) trait Pageable: Send + Sync {
    /// Moves the payload out of memory, writing it first if it must be. Releases
    /// what it occupied.
    fn evict(self: Arc<Self>, patience: Patience) -> Eviction;

    /// Brings `range` into memory, for which the caller has reserved room; `false`
    /// if the room was not used.
    fn fetch(self: Arc<Self>, range: Range<usize>) -> bool;

    /// Tells the backend that a fetch of `range` is about to be made.
    fn announce(&self, range: Range<usize>);

    /// Says that a queued fetch was given up.
    fn forget_fetch(&self);
}

/// A payload, if it is still wanted.
pub(crate) type WeakPageable = Weak<dyn Pageable>;

/// Whether a payload that was used since it came gets a second chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// It stays once more.
    SecondChance,
    /// It goes.
    None,
}

/// How an eviction ended.
#[derive(Debug)]
pub(crate) enum Eviction {
    /// The payload has left memory.
    Freed,
    /// There was nothing in memory to free.
    Nothing,
    /// Somebody is using it, or has used it lately: to be tried again.
    Busy,
    /// The backend refused; the payload is where it was, to be tried again.
    Failed(Error),
}
