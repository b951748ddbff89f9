//! [`Throttle`]: a `blkio` cgroup of version 1, in which devices are slow. Needs root.
//!
//! Included by the tests of other crates too, so it knows no crate of ours.

#![allow(dead_code, reason = "every test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use super::disk::SmallDisk;
use super::process::skip;

/// A cgroup in which devices are throttled; removed when dropped.
pub(crate) struct Throttle(PathBuf);

impl Throttle {
    /// `None`, and a word about it, where the machine does not let us.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let parent = Path::new("/sys/fs/cgroup/blkio");
        if !parent.join("cgroup.procs").exists() {
            skip("no blkio cgroup of version 1");
            return None;
        }
        let path = parent.join(format!("pager-{name}-{}", std::process::id()));
        match fs::create_dir(&path) {
            Ok(()) => Some(Self(path)),
            Err(error) => {
                skip(&format!("no blkio cgroup can be made: {error}"));
                None
            }
        }
    }

    /// What [`join`](Self::join) wants to know.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Puts this process into the cgroup at `path`.
    pub(crate) fn join(path: &Path) {
        fs::write(path.join("cgroup.procs"), std::process::id().to_string()).unwrap();
    }

    /// Bounds what whoever joins may read and write on this disk.
    pub(crate) fn limit(&self, disk: &SmallDisk, bytes_per_second: u64) {
        for way in ["read", "write"] {
            let file = self.0.join(format!("blkio.throttle.{way}_bps_device"));
            fs::write(file, format!("{} {bytes_per_second}", disk.device())).unwrap();
        }
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
