//! A pager backend that keeps payloads in scratch files.

mod config;
#[cfg(unix)]
mod scratch;
#[cfg(unix)]
mod segment;
mod stats;

pub use config::{FileConfig, FileMode, IoChoice, UnknownName};
#[cfg(unix)]
pub use scratch::Reaped;
pub use stats::{FileStats, IoMode};

/// Name of the backend in errors and listings.
pub(crate) const BACKEND: &str = "file";
