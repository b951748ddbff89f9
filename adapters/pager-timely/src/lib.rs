//! Timely dataflow's message queues, spilled through **pager**.
//!
//! Between two workers of a timely computation lies a queue without a bound. Where the
//! consumer is slower than the producer the queue grows until memory is gone. Timely has a
//! hook for that; this crate puts a [`Pager`] behind it:
//!
//! ```no_run
//! use std::sync::Arc;
//! use pager::{BackendKind, Pager};
//!
//! let pager = Pager::builder()
//!     .backend(BackendKind::File)
//!     .budget_bytes(128 << 20)
//!     .build()?;
//! let hooks = pager_timely::hooks(Arc::new(pager));
//! let config = timely::CommunicationConfig::ProcessBinary(2);
//! let (builders, guards) = config.try_build_with(hooks)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What the engine guarantees is kept: every message once, in order, unchanged.
//!
//! * **One payload for some 2 MiB of a queue**, not one for each entry. While the pager's
//!   budget has room nothing is written, and what is consumed before it is written never is.
//! * **The queue's lock is never held for I/O or a copy.** Under it entries become a batch,
//!   which is pointers. The producer copies batches into the pager when it next asks for a
//!   buffer to write messages into, and there it waits when the device is behind: memory is
//!   bounded, and nobody spins on a lock meanwhile.
//! * **Read-ahead is paced by what the consumer takes**: so many bytes behind the front are
//!   asked for, and as many more as were taken. A worker whose next batch is not there yet
//!   parks, and is woken when it is.
//! * **A failed write loses nothing**: the batch stays in memory, the error is counted and
//!   shown ([`Spill::stats`], [`Settings::on_failure`]), and the write is tried again.
//! * **A failed read is tried again**, then the worker fails with the error
//!   ([`Spill::failure`]). There is never wrong data.
//! * What comes back is handed to the engine where it was read, without a copy, and each
//!   message is as aligned as it was.
//!
//! Memory besides the pager's budget: up to [`Settings::threshold_bytes`] for each queue, of
//! which a worker has one from each of its peers, four buffers of the engine (a mebibyte each)
//! for each of them, and what the consumer has taken and still holds.
//!
//! Only serialised channels have these queues: `ProcessBinary`, and `Cluster` between
//! processes (between the workers of one, with `zerocopy: true`).
//!
//! ```text
//! spill    Spill: settings, and what is shared by all queues of a process
//! batch    entries of a queue that move as one: where they are, and how they come back
//! writer   the policy that makes batches of a queue's end
//! reader   the policy that brings them back at its front
//! outbox   batches that are to be copied into the pager, and when
//! rescue   the thread that reads what does not come by itself
//! signal   who waits for a batch, and how
//! stats    what was done
//! ```

mod batch;
mod outbox;
mod reader;
mod rescue;
mod signal;
mod spill;
mod stats;
mod writer;

use std::sync::Arc;

use pager::Pager;
use timely::communication::Hooks;

pub use spill::{Settings, Spill};
pub use stats::{Failure, SpillStats};

/// Hooks whose queues spill through `pager`, with default [`Settings`].
///
/// The engine's other hooks are its defaults; [`Spill::install`] adds to hooks that are not.
#[must_use]
pub fn hooks(pager: Arc<Pager>) -> Hooks {
    Spill::new(pager, Settings::default()).hooks()
}

/// Locks what stays whole whoever panics.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The examples of the package's front page.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExample;
