//! How blocks travel between memory and segment files.
//!
//! ```text
//! write    a payload, joined and padded to blocks, into its extent
//! read     ranges of a payload out of its extent, into a window
//! blocks   the system calls, and nothing else touches the files' bytes
//! ```
//!
//! Every transfer covers whole blocks, so checksums are verified in `blocks` alone,
//! and made from what is handed to it.

/// Bytes that are copied and then checked, or checked and then copied, at a time:
/// few enough to stay in a processor's own cache in between. Whole blocks.
const CACHED_BYTES: usize = 64 << 10;

mod blocks;
mod read;
mod write;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use blocks::DONTCACHE;
pub(super) use blocks::{BlockIo, Blocks};
