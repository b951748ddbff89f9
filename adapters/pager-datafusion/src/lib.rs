//! DataFusion's spill files, in **pager**.
//!
//! Operators of [DataFusion](https://docs.rs/datafusion) that run out of memory write what
//! they have to files, as Arrow IPC, and read it again. This crate puts a
//! [`Pager`] in the place of the files:
//!
//! ```
//! use std::sync::Arc;
//! use datafusion_execution::runtime_env::RuntimeEnvBuilder;
//! use pager::{BackendKind, Pager};
//!
//! # let scratch = tempfile::tempdir_in("/var/tmp")?;
//! let pager = Pager::builder()
//!     .backend(BackendKind::File)
//!     .scratch_dir(scratch.path())
//!     .budget_bytes(64 << 20)
//!     .build()?;
//! let runtime = pager_datafusion::install(RuntimeEnvBuilder::new(), Arc::new(pager))?.build()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What the engine expects of its files is kept: bytes come back as they were written, to as
//! many readers as are opened, also while they are written.
//!
//! * **Messages are kept in one piece.** Arrow's columns lie where pager has the bytes:
//!   reading copies nothing. What is read holds its own memory and no more.
//! * **What is read once is not kept.** A file whose only owner reads it is freed as it is
//!   read, and what was not written by then never is.
//! * **A reader that waits is woken**, and what comes next is read ahead meanwhile.
//! * **Nothing is lost by an error.** A message that cannot be written was not, and may be
//!   written again; half of one is never read. What is exhausted, memory or disk, is
//!   `ResourcesExhausted`.
//! * **There may be one memory limit**: with a [`LendingPool`] pager borrows what queries do
//!   not use, and gives it back when they want it.
//! * **A query that is cancelled leaves nothing**: what its files held goes with them.
//!
//! # Ballista
//!
//! An executor of [Ballista](https://docs.rs/ballista-executor) makes the runtime of each
//! session with what `ExecutorProcessConfig::override_runtime_producer` says. All sessions may
//! have one runtime, and so one pager:
//!
//! ```
//! use std::sync::Arc;
//! use datafusion_common::Result;
//! use datafusion_execution::config::SessionConfig;
//! use datafusion_execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
//! use pager::{BackendKind, Pager};
//! use pager_datafusion::{Adapter, LendingPool};
//!
//! /// As `ballista_core::RuntimeProducer` is.
//! type RuntimeProducer = Arc<dyn Fn(&SessionConfig) -> Result<Arc<RuntimeEnv>> + Send + Sync>;
//!
//! # let scratch = tempfile::tempdir_in("/var/tmp")?;
//! let pager = Pager::builder()
//!     .backend(BackendKind::File)
//!     .scratch_dir(scratch.path());
//! let adapter = Adapter::within(LendingPool::new(1 << 30), pager)?;
//! let runtime = adapter.install(RuntimeEnvBuilder::new())?.build_arc()?;
//! let producer: RuntimeProducer = Arc::new(move |_| Ok(Arc::clone(&runtime)));
//! // ExecutorProcessConfig { override_runtime_producer: Some(producer), .. }
//! # producer(&SessionConfig::new())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ```text
//! adapter  Adapter: installs itself, and makes files
//! file     a spill file: what the engine has of one
//! parts    the streams that it consists of, and who may still read them
//! writer   messages in
//! message  where a message ends
//! reader   messages out
//! pool     one memory limit for queries and pager
//! usage    how much there is, and may be
//! error    pager's errors as the engine's
//! ```

mod adapter;
mod error;
mod file;
mod message;
mod parts;
mod pool;
mod reader;
mod usage;
mod writer;

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_execution::runtime_env::RuntimeEnvBuilder;
use pager::Pager;

pub use adapter::Adapter;
pub use pool::LendingPool;

/// Has `builder` make a runtime that spills to `pager`: [`Adapter::install`] with an adapter
/// of its own.
///
/// # Errors
///
/// As there.
pub fn install(builder: RuntimeEnvBuilder, pager: Arc<Pager>) -> Result<RuntimeEnvBuilder> {
    Adapter::new(pager).install(builder)
}

/// The examples of the package's front page.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExample;
