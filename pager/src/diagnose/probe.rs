//! Reads what the system says about this process into strings, and decides nothing.
//!
//! What cannot be read is `None`.

use std::fs;
use std::path::{Path, PathBuf};

use pager_core::cgroup;
use pager_core::default_budget_bytes;

/// What the system says, word for word.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// `/proc/self/limits`.
    pub(super) limits: Option<String>,
    /// `/proc/self/status`.
    pub(super) status: Option<String>,
    /// `/proc/self/uid_map`.
    pub(super) uid_map: Option<String>,
    /// `/proc/version`.
    pub(super) version: Option<String>,
    /// `/proc/meminfo`.
    pub(super) meminfo: Option<String>,
    /// The memory cgroups of this process, innermost first.
    pub(super) cgroups: Vec<Cgroup>,
    /// The budget of a pager that is told none.
    pub(super) budget_bytes: usize,
}

/// A memory cgroup, of either version.
#[derive(Debug, Clone, Default)]
pub(super) struct Cgroup {
    pub(super) directory: PathBuf,
    /// Version 2: `memory.max`; version 1: `memory.limit_in_bytes`.
    pub(super) limit: Option<String>,
    /// Version 2: `memory.high`.
    pub(super) high: Option<String>,
}

/// Reads everything.
pub(super) fn probe() -> Facts {
    let member_of = read("/proc/self/cgroup").unwrap_or_default();
    let mounts = read("/proc/self/mountinfo").unwrap_or_default();
    Facts {
        limits: read("/proc/self/limits"),
        status: read("/proc/self/status"),
        uid_map: read("/proc/self/uid_map"),
        version: read("/proc/version"),
        meminfo: read("/proc/meminfo"),
        cgroups: cgroup::directories(&member_of, &mounts)
            .into_iter()
            .map(cgroup)
            .collect(),
        budget_bytes: default_budget_bytes(),
    }
}

fn cgroup(directory: PathBuf) -> Cgroup {
    let file = |name: &str| read(directory.join(name));
    Cgroup {
        limit: file("memory.max").or_else(|| file("memory.limit_in_bytes")),
        high: file("memory.high"),
        directory,
    }
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok()
}
