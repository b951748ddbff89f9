//! [`State`]: where the bytes of one payload are, and how that may change.
//!
//! | from | event | to | what it costs |
//! |---|---|---|---|
//! | `Dirty` | written, and kept | `Stored`, all of it here | the write |
//! | `Dirty` | a backend that adopts memory begins to store it | `Leaving` | |
//! | `Leaving` | stored | `Stored`, nothing here | the write |
//! | `Leaving` | failed | `Dirty` | |
//! | `Stored` | a piece is queued, coming, here, evicted | `Stored` | a read, or nothing |
//! | any | taken or dropped | `Gone` | a read if something is not here |
//!
//! There is no other transition, and none from `Stored` to `Dirty`: a payload that
//! has been stored is never written again. The state is locked for as long as it
//! takes to look, to move a pointer, and to list what may leave memory; never while
//! bytes are copied or moved.

use std::fmt;
use std::sync::Arc;

use super::flight::Flight;
use super::memory::Resident;
use super::pieces::Pieces;

/// Where the bytes of a payload are.
pub(super) enum State {
    /// In memory only.
    Dirty(Arc<Resident>),
    /// On their way into a backend that takes their very memory.
    Leaving(Arc<Flight>),
    /// On the backend, with some pieces in memory.
    Stored(Pieces),
    /// Nowhere: the payload has been taken, or is being taken.
    Gone,
}

impl State {
    /// Leaves `Gone` behind.
    pub(super) fn leave(&mut self) -> Self {
        std::mem::replace(self, Self::Gone)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dirty(_) => f.write_str("in memory"),
            Self::Leaving(_) => f.write_str("leaving"),
            Self::Stored(pieces) => write!(f, "stored, in memory: {pieces:?}"),
            Self::Gone => f.write_str("gone"),
        }
    }
}
