//! [`SmallDisk`]: a file system of its own, which a test may fill up, count the
//! blocks of, and make read-only. Needs root.
//!
//! Included by the tests of other crates too, so it knows no crate of ours.

#![allow(dead_code, reason = "every test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MntFlags, umount2};
use tempfile::TempDir;

use super::process::{is_root, skip};

/// A mounted file system; unmounted when dropped.
pub(crate) struct SmallDisk {
    pub(crate) mount_point: PathBuf,
    _dir: TempDir,
}

impl SmallDisk {
    /// One of 64 MiB. `None`, and a word about it, where the machine does not let
    /// us.
    pub(crate) fn new() -> Option<Self> {
        Self::of_mib(64)
    }

    /// One of this size.
    pub(crate) fn of_mib(size_mib: u64) -> Option<Self> {
        Self::made(size_mib, &[], "loop")
    }

    /// One that is made and mounted in this way.
    pub(crate) fn made(size_mib: u64, make: &[&str], mount: &str) -> Option<Self> {
        if !is_root() {
            skip("not root");
            return None;
        }
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let image = dir.path().join("image");
        let mount_point = dir.path().join("disk");
        File::create_new(&image)
            .unwrap()
            .set_len(size_mib << 20)
            .unwrap();
        fs::create_dir(&mount_point).unwrap();
        let make = [&["-q", "-F", "-m", "0"], make].concat();
        let made = run("mkfs.ext4", &make, &[&image])
            && run("mount", &["-o", mount], &[&image, &mount_point]);
        if !made {
            skip("no mkfs.ext4, or no loop device");
            return None;
        }
        Some(Self {
            mount_point,
            _dir: dir,
        })
    }

    /// Where a scratch root may be made.
    pub(crate) fn root(&self) -> PathBuf {
        self.mount_point.join("scratch")
    }

    /// What the file system has left, in its blocks.
    pub(crate) fn free_blocks(&self) -> u64 {
        // What was freed is counted once the journal has it.
        nix::unistd::syncfs(File::open(&self.mount_point).unwrap()).unwrap();
        nix::sys::statvfs::statvfs(&self.mount_point)
            .unwrap()
            .blocks_free()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount2(&self.mount_point, MntFlags::MNT_DETACH);
    }
}

/// Runs a tool, and says whether it succeeded.
pub(crate) fn run(program: &str, options: &[&str], paths: &[&Path]) -> bool {
    Command::new(program)
        .args(options)
        .args(paths)
        .output()
        .is_ok_and(|output| output.status.success())
}
