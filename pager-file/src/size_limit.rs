//! What the process may write to one file (`RLIMIT_FSIZE`).
//!
//! The kernel answers a write or an allocation beyond the limit with a signal
//! that ends the process (`SIGXFSZ`), unless it is ignored; so whoever makes a
//! file longer asks here first. The limit may be changed at any time, from
//! outside too, and asking costs far less than a write does.
//! <https://man7.org/linux/man-pages/man2/setrlimit.2.html>

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

/// Bytes that a file may have now.
pub(crate) fn max_file_bytes() -> u64 {
    // Offsets are signed.
    const LONGEST: u64 = i64::MAX as u64;
    getrlimit(Resource::Fsize)
        .current
        .map_or(LONGEST, |limit| limit.min(LONGEST))
}

/// Whether a file may be `end_bytes` long.
///
/// # Errors
///
/// What the system would say if the signal were ignored.
pub(crate) fn check(end_bytes: u64) -> rustix::io::Result<()> {
    if end_bytes > max_file_bytes() {
        return Err(Errno::FBIG);
    }
    Ok(())
}
