//! What our directories are called: `pager-<process id>-<16 hexadecimal digits>`,
//! with a dot in front until they are locked.
//!
//! The sweep looks at nothing that is called otherwise. The process id is for
//! people; the digits make the name unguessable and unique.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

/// The file that marks a directory as ours where strangers could put another in its
/// place.
pub(super) const MARKER: &str = ".pager";

const PREFIX: &str = "pager-";
const DIGITS: usize = 16;

/// A fresh name, without the dot.
pub(super) fn fresh() -> String {
    // The standard library's hasher is keyed by the system's random source; a
    // forked child shares the keys, and has another process id and time.
    let mut hasher = RandomState::new().build_hasher();
    if let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH) {
        hasher.write_u128(now.as_nanos());
    }
    let pid = std::process::id();
    hasher.write_u32(pid);
    format!("{PREFIX}{pid}-{:016x}", hasher.finish())
}

/// The name that the directory has until it is locked.
pub(super) fn hidden(name: &str) -> String {
    format!(".{name}")
}

/// Whether a directory of this name may be ours, hidden or not.
pub(super) fn is_ours(name: &[u8]) -> bool {
    let name = name.strip_prefix(b".").unwrap_or(name);
    let Some(rest) = name.strip_prefix(PREFIX.as_bytes()) else {
        return false;
    };
    let Some(dash) = rest.iter().position(|&byte| byte == b'-') else {
        return false;
    };
    let (pid, digits) = (&rest[..dash], &rest[dash + 1..]);
    !pid.is_empty()
        && pid.iter().all(u8::is_ascii_digit)
        && digits.len() == DIGITS
        && digits
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_names_are_ours_and_differ() {
        let (a, b) = (fresh(), fresh());
        assert_ne!(a, b);
        assert!(is_ours(a.as_bytes()));
        assert!(is_ours(hidden(&b).as_bytes()));
    }

    #[test]
    fn other_names_are_not_ours() {
        for name in [
            "",
            ".",
            "pager-",
            "pager-12",
            "pager-12-",
            "pager-12-0123",
            "pager--0123456789abcdef",
            "pager-1x-0123456789abcdef",
            "pager-12-0123456789abcdeF",
            "pager-12-0123456789abcdef0",
            "..pager-12-0123456789abcdef",
            "xpager-12-0123456789abcdef",
        ] {
            assert!(!is_ours(name.as_bytes()), "{name}");
        }
    }
}
