//! Places with rules of their own: no inodes left, read-only, nothing may be executed, an
//! overlay, a path that is very long. Most need root.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::{self, File};
use std::path::Path;

use common::disk::{SmallDisk, run};
use common::*;
use pager_core::{Error, Registry, ScratchProblem};
use pager_file::{FileBackend, FileConfig, FileMode};
use rstest::rstest;

const MODES: [FileMode; 2] = [FileMode::Segments, FileMode::Seed];

/// Payloads of 1 MiB, in each mode, that come back.
fn round_trips(root: &Path) {
    for mode in MODES {
        let registry = registry(root, mode);
        let handles: Vec<_> = (0..3)
            .map(|seed| registry.pageout(&mut [words(seed, 1 << 17)]).unwrap())
            .collect();
        for (seed, handle) in (0..).zip(handles) {
            let mut back = Vec::new();
            registry.take(handle, &mut back).unwrap();
            assert!(back == words(seed, 1 << 17), "{mode}");
        }
    }
    assert!(names(root).is_empty());
}

#[rstest]
#[case("nosuid,nodev,noexec,noatime")]
#[case("sync,dirsync")]
#[case("nodelalloc,data=ordered")]
fn a_mount_may_forbid_what_is_not_needed(#[case] options: &str) {
    let options = format!("loop,{options}");
    let Some(disk) = SmallDisk::made(64, &[], &options) else {
        return;
    };
    round_trips(&disk.mount_point.join("scratch"));
}

#[test]
fn no_inode_left_is_a_full_disk_and_passes() {
    let Some(disk) = SmallDisk::made(16, &["-N", "32"], "loop") else {
        return;
    };
    let hog = |number: u32| disk.mount_point.join(number.to_string());
    let count = (0..).take_while(|number| File::create_new(hog(*number)).is_ok());
    let count = u32::try_from(count.count()).unwrap();
    assert!(count > 3, "{count} files");
    for mode in MODES {
        let config = FileConfig::new(&disk.mount_point).mode(mode);
        let error = FileBackend::open(config.clone()).unwrap_err();
        assert!(matches!(error, Error::OutOfSpace { .. }), "{mode}: {error}");
        // One for the directory, and one for a file.
        for number in 0..2 {
            fs::remove_file(hog(number)).unwrap();
        }
        let registry = Registry::new(FileBackend::open(config).unwrap());
        let first = registry.pageout(&mut [words(1, 9000)]).unwrap();
        let second = registry.pageout(&mut [words(2, 9000)]);
        match mode {
            FileMode::Segments => drop(second.unwrap()),
            _ => assert!(second.unwrap_err().is_out_of_space()),
        }
        let mut back = Vec::new();
        registry.take(first, &mut back).unwrap();
        assert!(back == words(1, 9000));
        drop(registry);
        // An inode is free once the journal has it.
        eventually(|| (0..2).all(|number| File::create(hog(number)).is_ok()));
    }
}

#[test]
fn a_read_only_root_is_refused_with_a_way_out() {
    let Some(disk) = SmallDisk::new() else { return };
    fs::create_dir(disk.root()).unwrap();
    if !run("mount", &["-o", "remount,ro"], &[&disk.mount_point]) {
        return skip("the file system cannot be made read-only");
    }
    for root in [disk.root(), disk.mount_point.join("new")] {
        let error = FileBackend::open(FileConfig::new(&root)).unwrap_err();
        let Error::ScratchUnavailable { problem, call, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(
            (*problem, *call),
            (ScratchProblem::NotWritable, Some("mkdirat"))
        );
        assert!(error.to_string().contains("name one"), "{error}");
    }
}

/// As a container's own file system is.
#[test]
fn an_overlay_over_disks_serves() {
    let Some(disk) = SmallDisk::of_mib(64) else {
        return;
    };
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir(disk.mount_point.join(name)).unwrap();
    }
    let at = |name: &str| disk.mount_point.join(name).display().to_string();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        at("lower"),
        at("upper"),
        at("work")
    );
    let merged = disk.mount_point.join("merged");
    let mount = ["-t", "overlay", "-o", &options, "overlay"];
    if !run("mount", &mount, &[&merged]) {
        return skip("no overlay here");
    }
    let played = std::panic::catch_unwind(|| round_trips(&merged.join("scratch")));
    assert!(run("umount", &["-l"], &[&merged]));
    played.unwrap();
}

#[test]
fn a_path_may_be_as_long_as_the_system_takes() {
    let scratch = scratch();
    let mut root = scratch.path().to_path_buf();
    // The private directory's own name is not part of what is looked up.
    while root.as_os_str().len() < 4095 - 250 {
        root.push("x".repeat(240));
        fs::create_dir(&root).unwrap();
    }
    round_trips(&root);
    root.push("y".repeat(4094 - root.as_os_str().len()));
    assert_eq!(root.as_os_str().len(), 4095);
    round_trips(&root);
    let error = FileBackend::open(FileConfig::new(root.join("z"))).unwrap_err();
    assert!(
        matches!(
            error,
            Error::ScratchUnavailable {
                problem: ScratchProblem::Refused,
                call: Some("openat"),
                ..
            }
        ),
        "{error}"
    );
}
