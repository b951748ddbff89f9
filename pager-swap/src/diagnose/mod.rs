//! Why paging to swap may not work here.
//!
//! [`probe`] reads the system's files into strings and decides nothing;
//! [`judge`] turns the strings into [`Cause`]s and reads nothing, so every
//! finding can be tested without the machine that has it.
//!
//! ```text
//! cause  what can be wrong, and what to do about it
//! probe  the files, as they are, and what a trial says
//! judge  from files to causes
//! ```

mod cause;
mod judge;
mod probe;

use cause::Cause;
use pager_core::diagnose::Finding;

/// All findings on this machine and in this memory cgroup.
pub(crate) fn diagnose() -> Vec<Finding> {
    if cfg!(any(miri, not(target_os = "linux"))) {
        return vec![Cause::NotLinux.into()];
    }
    judge::judge(&probe::probe())
        .into_iter()
        .map(Finding::from)
        .collect()
}

/// Whether memory that asks for huge pages gets them. Reads three small files.
pub(crate) fn has_huge_pages() -> bool {
    cfg!(all(target_os = "linux", not(miri)))
        && judge::huge_pages_off(&probe::probe_huge_pages()).is_none()
}
