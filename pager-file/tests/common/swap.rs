//! [`TestSwap`]: a swap device that a test may take away again. Needs root.
//!
//! Included by the tests of other crates, so it knows no crate of ours.

#![allow(dead_code, reason = "every test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::{is_root, skip};

/// A loop device over a nameless file, in use for swap; off and detached when
/// dropped.
pub(crate) struct TestSwap {
    device: PathBuf,
    is_on: bool,
}

impl TestSwap {
    /// `None`, and a word about it, where the machine does not let us.
    pub(crate) fn on(size_mib: u64) -> Option<Self> {
        if !is_root() {
            skip("not root");
            return None;
        }
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let image = dir.path().join("swap");
        let file = File::create_new(&image).unwrap();
        // A swap device must have no holes.
        nix::fcntl::posix_fallocate(&file, 0, i64::try_from(size_mib << 20).unwrap()).unwrap();
        let Some(device) = tool("losetup", &["--find", "--show", "--direct-io=on"], &image) else {
            skip("no loop device");
            return None;
        };
        let mut swap = Self {
            device: device.trim().into(),
            is_on: false,
        };
        let name = swap.device.file_name().unwrap();
        let _ = fs::write(
            Path::new("/sys/block").join(name).join("queue/rotational"),
            "0",
        );
        swap.is_on = tool("mkswap", &[], &swap.device).is_some()
            && tool("swapon", &["--priority", "32767"], &swap.device).is_some();
        if !swap.is_on {
            skip("swap cannot be switched on");
            return None;
        }
        Some(swap)
    }

    /// `swapoff`: everything on the device comes back into memory.
    pub(crate) fn off(&mut self) {
        assert!(tool("swapoff", &[], &self.device).is_some(), "swapoff");
        self.is_on = false;
    }
}

impl Drop for TestSwap {
    fn drop(&mut self) {
        if self.is_on {
            tool("swapoff", &[], &self.device);
        }
        tool("losetup", &["--detach"], &self.device);
    }
}

/// Runs a tool on a path; what it printed, if it succeeded.
fn tool(name: &str, options: &[&str], path: &Path) -> Option<String> {
    let output = Command::new(name).args(options).arg(path).output().ok()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(printed)
}
