//! Why paging to swap may not work here.
//!
//! [`probe`] reads the system's files into strings and decides nothing;
//! [`judge`] turns the strings into [`Finding`]s and reads nothing, so every
//! finding can be tested without the machine that has it.
//!
//! ```text
//! finding  what can be wrong, and what to do about it
//! probe    the files, as they are
//! judge    from files to findings
//! ```

mod finding;
mod judge;
mod probe;

pub use finding::{Effect, Finding};

/// All findings on this machine and in this memory cgroup.
pub(crate) fn diagnose() -> Vec<Finding> {
    if cfg!(any(miri, not(target_os = "linux"))) {
        return vec![Finding::NotLinux];
    }
    judge::judge(&probe::probe())
}

/// Whether memory that asks for huge pages gets them. Reads three small files.
pub(crate) fn has_huge_pages() -> bool {
    cfg!(all(target_os = "linux", not(miri)))
        && judge::huge_pages_off(&probe::probe_huge_pages()).is_none()
}
