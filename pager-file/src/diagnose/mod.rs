//! What about a scratch root, and the disk beneath it, matters to paging.
//!
//! Guarantees to leave the root as it was: nothing is swept, a root that is missing is
//! not made, and what a trial makes is removed with it. Refuses to fail: what cannot
//! be seen is a finding.
//!
//! ```text
//! probe   the mount, its device and all beneath it, space and files left
//! trial   a payload out and back, as a backend would move it
//! judge   from both to findings
//! ```

mod judge;
mod probe;
mod trial;

use std::path::Path;

use pager_core::diagnose::Finding;

/// All findings about `root`.
pub(crate) fn diagnose(root: &Path) -> Vec<Finding> {
    judge::judge(&probe::probe(root))
}
