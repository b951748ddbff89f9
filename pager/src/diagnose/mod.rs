//! What about this machine, and the place where this process runs in it, matters to
//! paging: ask first.
//!
//! [`diagnose`] joins what both backends find with what concerns the whole process.
//! [`BackendKind::recommended`](crate::BackendKind::recommended) and
//! [`BackendChoice::Auto`](crate::BackendChoice::Auto) follow from it.
//!
//! ```
//! use pager::diagnose::Severity;
//!
//! for finding in pager::diagnose() {
//!     if finding.severity == Severity::Blocked {
//!         eprintln!("{}: {finding}", finding.concern);
//!     }
//! }
//! ```
//!
//! ```text
//! probe  limits, cgroups, sandbox: the files under /proc, as they are
//! judge  from those to findings
//! ```

mod judge;
mod probe;

use std::path::{Path, PathBuf};

pub use pager_core::diagnose::{Finding, Severity, What, worst_of};

/// Everything that matters to paging here, for scratch files in the default root:
/// the directories that `PAGER_SCRATCH` names, else `/var/tmp`.
///
/// Reads some files under `/proc` and `/sys`, tries hints on a page of memory, and
/// has a small payload go out to the scratch root and come back. Changes nothing,
/// leaves nothing, and never fails: what cannot be seen is a finding. Takes some
/// milliseconds; ask once, not for every page-out.
#[must_use]
pub fn diagnose() -> Vec<Finding> {
    diagnose_in(&[])
}

/// The same for scratch files in `root`.
#[must_use]
pub fn diagnose_at(root: impl AsRef<Path>) -> Vec<Finding> {
    diagnose_in(&[root.as_ref().to_owned()])
}

fn diagnose_in(roots: &[PathBuf]) -> Vec<Finding> {
    let mut findings = of_process();
    findings.extend(of_swap());
    findings.extend(of_file(roots));
    findings
}

/// What concerns the whole process; some of it is about one backend only.
pub(crate) fn of_process() -> Vec<Finding> {
    if cfg!(any(miri, not(target_os = "linux"))) {
        return Vec::new();
    }
    judge::judge(&probe::probe())
}

/// What the swap backend says, if it is in the build.
pub(crate) fn of_swap() -> Vec<Finding> {
    #[cfg(feature = "swap")]
    return pager_swap::SwapBackend::diagnose();
    #[cfg(not(feature = "swap"))]
    Vec::new()
}

/// What the file backend says about each root, or the default ones if there is none, if
/// it is in the build.
pub(crate) fn of_file(roots: &[PathBuf]) -> Vec<Finding> {
    #[cfg(feature = "file")]
    {
        use pager_file::{FileBackend, FileConfig};

        let default = FileConfig::all_from_env();
        let default = default.iter().filter(|_| roots.is_empty());
        let roots = roots.iter().map(PathBuf::as_path);
        let all = roots.chain(default.map(FileConfig::root));
        all.flat_map(FileBackend::diagnose).collect()
    }
    #[cfg(not(feature = "file"))]
    {
        let _ = roots;
        Vec::new()
    }
}
