//! One payload: its chunks, where its bytes are, the way out and the way back.
//!
//! ```text
//! chunks   the chunks of a page-out, as callers hold them and as pager does
//! joined   the same on their way into a backend
//! shared   chunks whose bytes belong to somebody else
//! foreign  such chunks of other crates: `bytes`, Arrow
//! moving   how they become memory of pager's
//! entry    a live payload
//! state    where its bytes are, and how that may change
//! memory   bytes in memory, with their charge
//! pieces   which parts of a stored payload are in memory
//! flight   a transfer under way, and whoever waits for it
//! out      the way out: written, dropped from memory
//! fetch    the way back before it is wanted: read-ahead
//! read     the way back of a range
//! view     bytes read where they lie, and held there
//! waiting  waiting for a fetch without a thread
//! take     the way back of everything
//! ```

mod chunks;
mod entry;
mod fetch;
mod flight;
#[cfg(any(feature = "bytes", feature = "arrow"))]
mod foreign;
#[cfg(all(test, pager_shuttle))]
pub(crate) mod interleavings;
mod joined;
mod memory;
mod moving;
mod out;
mod pieces;
mod read;
mod shared;
mod state;
mod take;
mod view;
mod waiting;

pub use chunks::{Chunk, Chunks, OwnedChunk};
pub(crate) use entry::{Entry, PayloadForm};
pub use joined::Payload;
pub(crate) use memory::Memory;
pub use shared::{Shared, SharedBytes};
pub(crate) use view::Shown;
pub use view::View;
pub use waiting::Hint;
