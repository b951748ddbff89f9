//! [`Spill`]: an append-only sequence of bytes, written once and read in order.
//!
//! For what an engine writes while memory is short and reads later from front to back:
//! runs of a sort, partitions of a join, queues between operators. The sequence is cut
//! into segments of up to 2 MiB, each paged out as one payload; there is no handle, no
//! allocation and no system call for a frame.
//!
//! ```text
//!            ┌─ sealed: payloads ─┐   ┌── the tail ──┐
//!  writer ─▶ [ 0 ][ 1 ][ 2 ] … [ n-1 ][ n: published | not yet ]
//!                  ▲ reader    ▲ reader     ▲ reader
//! ```
//!
//! * **What is published is read at once**, from the tail itself, without a copy: by
//!   `flush`, or when the tail is full.
//! * **What nobody can read any more is freed.** A [`Spill`] can open readers at the
//!   beginning, so it keeps everything; without one, what all readers have passed goes.
//! * **Buffers are inside the budget**: tails and what readers hold take at most a quarter
//!   of it together, or two of them do. Where there is no room they are small (16 KiB, or
//!   one frame), and segments with them; nobody waits for room that another spill holds.
//! * **A failed page-out loses nothing**: the tail stays, and the next write tries again.
//!
//! ```text
//! mod      Registry::spill, Spill
//! writer   SpillWriter: append, publish, seal
//! reader   SpillReader: a cursor, and what it sees
//! frames   how frames are cut, and read
//! shared   how they wait for each other
//! state    segments, cursors, and what is freed when
//! buffer   memory for tails and windows, with its charge
//! ```

mod buffer;
mod frames;
#[cfg(all(test, pager_shuttle))]
mod interleavings;
mod reader;
mod shared;
mod state;
mod writer;

use std::fmt;
use std::sync::Arc;

pub use reader::SpillReader;
pub use writer::SpillWriter;

use shared::Shared;
use state::State;

use crate::backend::Backend;
use crate::registry::{PageoutOptions, Registry};

/// A spill, as the right to open readers at its beginning: as long as one lives, all of
/// the spill is kept. A clone is the same right.
///
/// Made by [`Registry::spill`], together with its only writer. Drop it, or make it the
/// [last reader](Self::into_reader), to have what was read freed.
///
/// ```
/// # mod in_memory { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/in_memory.inc")); }
/// # use in_memory::InMemory;
/// use std::io::{Read, Write};
/// use pager_core::Registry;
///
/// let registry = Registry::new(InMemory);
/// let (mut writer, spill) = registry.spill();
/// let (mut first, mut second) = (spill.reader()?, spill.into_reader()?);
/// writer.write_all(b"written once")?;
/// writer.finish()?;
///
/// let mut text = String::new();
/// first.read_to_string(&mut text)?;
/// second.read_to_string(&mut text)?;
/// assert_eq!(text, "written oncewritten once");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Spill<B: Backend> {
    shared: Arc<Shared<B>>,
}

impl<B: Backend> Registry<B> {
    /// A new spill, whose segments are payloads of this registry, and its writer.
    ///
    /// Nothing is held and nothing is done before something is written.
    #[must_use]
    pub fn spill(&self) -> (SpillWriter<B>, Spill<B>) {
        self.options().spill()
    }
}

impl<B: Backend> PageoutOptions<'_, B> {
    /// A new spill whose segments are paged out with these options, and its writer.
    #[must_use]
    pub fn spill(&self) -> (SpillWriter<B>, Spill<B>) {
        let shared = Arc::new(Shared::new(self));
        let writer = SpillWriter::new(Arc::clone(&shared));
        (writer, Spill { shared })
    }
}

impl<B: Backend> Spill<B> {
    /// A reader at the beginning.
    ///
    /// # Errors
    ///
    /// [`Error::ForeignProcess`](crate::Error::ForeignProcess) in a forked child.
    pub fn reader(&self) -> crate::Result<SpillReader<B>> {
        SpillReader::open(&self.shared)
    }

    /// A reader at the beginning, in place of the spill: if it was the last, what this
    /// reader and all others have read is freed as they go.
    ///
    /// # Errors
    ///
    /// As for [`reader`](Self::reader).
    pub fn into_reader(self) -> crate::Result<SpillReader<B>> {
        self.reader()
    }

    /// Bytes that were sealed or published so far; all there are once the writer has
    /// finished. With frames, what they take with their lengths. Zero in a forked child.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.shared.with_own(0, State::len_bytes)
    }
}

impl<B: Backend> Clone for Spill<B> {
    fn clone(&self) -> Self {
        self.shared.with_own((), |state| state.spill_count += 1);
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<B: Backend> Drop for Spill<B> {
    fn drop(&mut self) {
        self.shared.forget_spill();
    }
}

impl<B: Backend> fmt::Debug for Spill<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spill")
            .field("len_bytes", &self.len_bytes())
            .finish_non_exhaustive()
    }
}
