//! The diagnosis of real places: file systems of their own, in every state that is
//! told apart. Needs root; says `skipped: why` where it lacks it.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::disk::run;
use common::*;
use nix::mount::{MntFlags, umount2};
use pager_core::diagnose::{Finding, Severity, What};
use pager_file::FileBackend;
use tempfile::TempDir;

/// A file system made for one test; unmounted when dropped.
struct Place {
    at: PathBuf,
    dir: TempDir,
}

impl Place {
    /// An image below `below`, made by `make` with `options`, and mounted.
    fn over_image(below: &str, make: &str, options: &[&str]) -> Option<Self> {
        let place = Self::empty(below)?;
        let image = place.dir.path().join("image");
        File::create_new(&image)
            .unwrap()
            .set_len(128 << 20)
            .unwrap();
        let made =
            run(make, options, &[&image]) && run("mount", &["-o", "loop"], &[&image, &place.at]);
        if !made {
            skip(&format!("no {make}, or no loop device"));
        }
        made.then_some(place)
    }

    /// A mount without a device.
    fn mounted(options: &[&str]) -> Option<Self> {
        let place = Self::empty("/var/tmp")?;
        let made = run("mount", options, &[&place.at]);
        if !made {
            skip(&format!("cannot mount {options:?}"));
        }
        made.then_some(place)
    }

    fn empty(below: &str) -> Option<Self> {
        if !is_root() {
            skip("not root");
            return None;
        }
        let dir = tempfile::tempdir_in(below).unwrap();
        let at = dir.path().join("disk");
        fs::create_dir(&at).unwrap();
        Some(Self { at, dir })
    }

    fn remount(&self, options: &str) {
        assert!(run("mount", &["-o", options], &[&self.at]));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = umount2(&self.at, MntFlags::MNT_DETACH);
    }
}

fn severity_of(findings: &[Finding], what: What) -> Option<Severity> {
    let found = findings.iter().find(|finding| finding.what == what);
    found.map(|finding| finding.severity)
}

/// What is found there, and that it was left as it was.
fn diagnose(root: &Path) -> Vec<Finding> {
    let before = names(root);
    let findings = FileBackend::diagnose(root);
    assert_eq!(names(root), before, "a diagnosis leaves nothing");
    findings
}

fn assert_found(findings: &[Finding], what: What, severity: Severity) {
    assert_eq!(severity_of(findings, what), Some(severity), "{findings:#?}");
}

#[test]
fn a_small_disk_is_usable_and_small_until_it_is_full_or_read_only() {
    let Some(place) = Place::over_image("/var/tmp", "mkfs.ext4", &["-q", "-F", "-m", "0"]) else {
        return;
    };
    let roomy = diagnose(&place.at);
    assert_found(&roomy, What::DiskNearlyFull, Severity::Slow);
    assert_found(&roomy, What::IoMode, Severity::Note);
    assert_eq!(severity_of(&roomy, What::NoPreallocation), None);
    assert_eq!(severity_of(&roomy, What::InMemory), None);

    let mut filler = File::create(place.at.join("filler")).unwrap();
    while filler.write_all(&[7; 1 << 16]).is_ok() {}
    assert_found(&diagnose(&place.at), What::DiskFull, Severity::Blocked);
    drop(filler);
    fs::remove_file(place.at.join("filler")).unwrap();

    place.remount("remount,ro");
    let fixed = diagnose(&place.at);
    assert_found(&fixed, What::ReadOnly, Severity::Blocked);
    assert_found(&fixed, What::RootUnusable, Severity::Blocked);
}

#[test]
fn a_file_system_without_files_left_is_found() {
    let options = ["-q", "-F", "-N", "64"];
    let Some(place) = Place::over_image("/var/tmp", "mkfs.ext4", &options) else {
        return;
    };
    assert_eq!(severity_of(&diagnose(&place.at), What::NoInodes), None);
    let made = (0..).take_while(|number| File::create(place.at.join(format!("{number}"))).is_ok());
    assert!(made.count() > 16);
    assert_found(&diagnose(&place.at), What::NoInodes, Severity::Blocked);
}

#[test]
fn a_file_system_that_promises_no_space_is_found() {
    let Some(place) = Place::over_image("/var/tmp", "mkfs.ext2", &["-q", "-F"]) else {
        return;
    };
    assert_found(&diagnose(&place.at), What::NoPreallocation, Severity::Note);
}

#[test]
fn a_file_system_that_copies_on_write_is_found() {
    let Some(place) = Place::over_image("/var/tmp", "mkfs.btrfs", &["-q", "-f"]) else {
        return;
    };
    assert_found(&diagnose(&place.at), What::CopyOnWrite, Severity::Note);
}

#[test]
fn memory_is_found_beneath_a_mount_a_loop_device_and_an_overlay() {
    let Some(memory) = Place::mounted(&["-t", "tmpfs", "-o", "size=32m", "none"]) else {
        return;
    };
    assert_found(&diagnose(&memory.at), What::InMemory, Severity::Blocked);

    let below = Path::new("/dev/shm");
    if below.is_dir()
        && let Some(place) = Place::over_image("/dev/shm", "mkfs.ext4", &["-q", "-F"])
    {
        assert_found(&diagnose(&place.at), What::InMemory, Severity::Blocked);
    }

    for part in ["lower", "upper", "work"] {
        fs::create_dir(memory.at.join(part)).unwrap();
    }
    let at = memory.at.display();
    let parts = format!("lowerdir={at}/lower,upperdir={at}/upper,workdir={at}/work");
    if let Some(overlay) = Place::mounted(&["-t", "overlay", "-o", &parts, "none"]) {
        assert_found(&diagnose(&overlay.at), What::InMemory, Severity::Blocked);
    }
}

/// A compressed disk in memory; taken away when dropped.
struct Zram(String);

impl Zram {
    fn new() -> Option<Self> {
        let made = Command::new("zramctl")
            .args(["--find", "--size", "64M"])
            .output();
        let made = made
            .ok()
            .filter(|output| is_root() && output.status.success());
        if made.is_none() {
            skip("no zram");
        }
        Some(Self(
            String::from_utf8(made?.stdout).unwrap().trim().to_owned(),
        ))
    }
}

impl Drop for Zram {
    fn drop(&mut self) {
        let _ = Command::new("zramctl").args(["--reset", &self.0]).status();
    }
}

#[test]
fn memory_is_found_in_a_device_that_looks_like_a_disk() {
    let Some(zram) = Zram::new() else { return };
    assert!(run("mkfs.ext4", &["-q", "-F"], &[Path::new(&zram.0)]));
    let Some(place) = Place::mounted(&[&zram.0]) else {
        return;
    };
    let findings = diagnose(&place.at);
    assert_found(&findings, What::InMemory, Severity::Blocked);
    // Unmounted at once, so that the device can be taken away.
    umount2(&place.at, MntFlags::empty()).unwrap();
}

#[test]
fn a_root_that_is_a_link_or_a_file_is_told_with_the_reason() {
    let dir = scratch();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink("/var/tmp", &link).unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for (root, why) in [(&link, "symbolic link"), (&file, "not a directory")] {
        let findings = FileBackend::diagnose(root);
        let found = findings.iter().find(|it| it.what == What::RootUnusable);
        let found = found.unwrap_or_else(|| panic!("{findings:#?}"));
        assert!(found.evidence.contains(why), "{found}");
    }
}
