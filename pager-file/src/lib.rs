//! A pager backend that keeps payloads in scratch files.

mod config;
#[cfg(unix)]
mod scratch;
#[cfg(unix)]
mod segment;
mod stats;

pub use config::{FileConfig, FileMode, IoChoice, UnknownName};
pub use stats::{FileStats, IoMode, Reaped};

/// Name of the backend in errors and listings.
pub(crate) const BACKEND: &str = "file";
