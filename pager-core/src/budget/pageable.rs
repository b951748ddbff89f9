//! [`Pageable`]: a payload as the budget sees it, whatever its backend.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Weak};

use super::charge::Charge;
use super::kind::Kind;
use crate::Error;
use crate::memory::{ElementLayout, HeapBuf};
use crate::payload::Memory;

/// A payload that can leave memory and be fetched back. Implemented by the entries
/// of the registry; queues hold them weakly, so that dropping a handle never waits
/// for the background.
pub(crate) trait Pageable: Send + Sync {
    /// Whether the payload was used since this was last asked.
    fn is_wanted(&self) -> bool;

    /// What it is made of.
    fn element(&self) -> ElementLayout;

    /// Stores a dirty payload, and keeps it in memory as a clean copy unless the
    /// backend takes the memory itself.
    fn write(self: Arc<Self>) -> Outcome;

    /// Drops the copy of this kind that begins at byte `piece`.
    fn evict(self: Arc<Self>, kind: Kind, piece: usize) -> Evicted;

    /// Lists what begins at byte `piece` again in the queue of `kind`: as the warmest
    /// there is, or where it was. Nothing happens if it is not there any more.
    fn list_again(self: Arc<Self>, kind: Kind, piece: usize, place: Place);

    /// Fetches what was queued under `turn` into memory for which `charge` is the
    /// room; `buffer` may serve. `false` if nobody wants it any more.
    fn fetch(self: Arc<Self>, turn: u64, charge: Charge, buffer: Option<HeapBuf>) -> bool;

    /// Forgets what was queued under `turn`.
    fn forget_fetch(&self, turn: u64);

    /// Says that there is no room for what is queued, as yet.
    fn fetch_is_stuck(&self);

    /// Brings all of it back, as far as there is room. Nothing in a forked child.
    fn want(self: Arc<Self>);

    /// Tells the backend that a fetch of `range` is about to be made.
    fn announce(&self, range: Range<usize>);
}

/// A payload, if it is still wanted.
pub(crate) type WeakPageable = Weak<dyn Pageable>;

/// Where in its queue something is listed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the end: it is used, or has been lately.
    Warmest,
    /// Where it was when it was taken out.
    AsBefore,
}

/// Whether a payload that was used since it came gets a second chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// It stays once more.
    SecondChance,
    /// It goes.
    None,
}

/// How a write ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The payload is stored, and out of memory or a clean copy.
    Written,
    /// There was nothing to write.
    Nothing,
    /// Somebody is using it: to be tried again.
    Busy,
    /// The backend refused; the payload is where it was, to be tried again.
    Failed(Error),
}

/// How an eviction ended.
pub(crate) enum Evicted {
    /// It is dropped: the memory that it lay in, and the room that this takes still.
    Freed(Memory, Charge),
    /// There was nothing to drop.
    Nothing,
    /// Somebody is using it, for a moment.
    Busy,
    /// Somebody looks at it, for as long as they like.
    Pinned,
}

impl fmt::Debug for Evicted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Freed(..) => "freed",
            Self::Nothing => "nothing",
            Self::Busy => "busy",
            Self::Pinned => "pinned",
        })
    }
}
