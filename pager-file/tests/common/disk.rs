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

    /// `major:minor` of its loop device.
    pub(crate) fn device(&self) -> String {
        let device = nix::sys::stat::stat(&self.mount_point).unwrap().st_dev;
        let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
        format!("{major}:{minor}")
    }

    /// Takes the medium away under the mounted file system: its device has one block left,
    /// so every read and write of others fails. (One without any is asked all the same,
    /// and answers with zeros.) Whether that could be done.
    pub(crate) fn pull_away(&self) -> bool {
        let image = self._dir.path().join("image");
        let image = File::options().write(true).open(image).unwrap();
        let link = format!("/sys/dev/block/{}", self.device());
        let name = fs::canonicalize(link).unwrap();
        let node = Path::new("/dev").join(name.file_name().unwrap());
        // A write that comes in between makes the image longer again.
        (0..1000).any(|_| {
            image.set_len(4096).unwrap();
            let is_set = run("losetup", &["--set-capacity"], &[&node]);
            let sectors = fs::read_to_string(name.join("size")).unwrap();
            is_set && sectors.trim() == "8"
        })
    }

    /// Makes it read-only for good, whoever has files open on it: what the file system
    /// does by itself after an error. Whether that could be done.
    pub(crate) fn abort(&self) -> bool {
        run("mount", &["-o", "remount,abort"], &[&self.mount_point])
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
