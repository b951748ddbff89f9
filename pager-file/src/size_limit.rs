//! What the process may write to one file (`RLIMIT_FSIZE`).
//!
//! The kernel answers a write or an allocation beyond the limit with a signal
//! that ends the process (`SIGXFSZ`), unless it is ignored; so whoever makes a
//! file longer asks here first. The limit may be changed at any time, from
//! outside too, and asking costs far less than a write does.
//! <https://man7.org/linux/man-pages/man2/setrlimit.2.html>
//!
//! Where a sandbox refuses the call, `/proc/self/limits` says the same; where there
//! is neither, no limit is known and none is kept.

use nix::sys::resource::{Resource, getrlimit};
use rustix::io::Errno;

/// Bytes that a file may have now.
pub(crate) fn max_file_bytes() -> u64 {
    // Offsets are signed.
    const LONGEST: u64 = i64::MAX as u64;
    let limit = match getrlimit(Resource::RLIMIT_FSIZE) {
        // As wide as the platform's.
        #[allow(
            clippy::unnecessary_cast,
            reason = "the type differs between platforms"
        )]
        Ok((soft, _)) => soft as u64,
        Err(_) => listed_limit().unwrap_or(LONGEST),
    };
    limit.min(LONGEST)
}

/// The same from the list of limits, where there is one and it sets one.
fn listed_limit() -> Option<u64> {
    soft_file_limit(&std::fs::read_to_string("/proc/self/limits").ok()?)
}

/// The soft limit is the first of the two columns behind the name.
fn soft_file_limit(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max file size"))?;
    line.split_whitespace().next()?.parse().ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_read_from_the_list() {
        let list = |limit: &str| {
            format!(
                "Limit  Soft Limit  Hard Limit  Units\nMax file size   {limit}   unlimited   bytes\n"
            )
        };
        assert_eq!(soft_file_limit(&list("5000000")), Some(5_000_000));
        assert_eq!(soft_file_limit(&list("unlimited")), None);
        assert_eq!(soft_file_limit("Max open files 5 6 files"), None);
    }
}
