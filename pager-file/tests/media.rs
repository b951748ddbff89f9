//! File systems of which memory or copies on write lie underneath: made for the test, which
//! needs root and the tools.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::process::Command;

use pager_core::{Error, Registry, ScratchProblem};
use pager_file::{FileBackend, FileConfig, FileMode, IoChoice};
use rstest::rstest;

fn run(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

/// Something to be undone when the test ends, however it ends.
struct Undo(Vec<Vec<String>>);

impl Undo {
    fn push(&mut self, command: &[&str]) {
        self.0
            .push(command.iter().map(ToString::to_string).collect());
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        while let Some(command) = self.0.pop() {
            let args: Vec<&str> = command[1..].iter().map(String::as_str).collect();
            if run(&command[0], &args).is_none() {
                println!("could not undo: {command:?}");
            }
        }
    }
}

/// A file system of this kind on `device`, mounted; `None` where that cannot be had.
fn mounted(undo: &mut Undo, kind: &str, device: &str, at: &Path) -> Option<()> {
    let quiet = if kind.starts_with("ext") { "-q" } else { "-f" };
    run(&format!("mkfs.{kind}"), &[quiet, device])?;
    run("mount", &[device, at.to_str()?])?;
    undo.push(&["umount", "-l", at.to_str()?]);
    Some(())
}

/// A loop device over a file of so many MiB.
fn looped(undo: &mut Undo, file: &Path, mebibytes: u64) -> Option<String> {
    fs::File::create(file).ok()?.set_len(mebibytes << 20).ok()?;
    let device = run("losetup", &["--find", "--show", file.to_str()?])?;
    undo.push(&["losetup", "-d", &device]);
    Some(device)
}

fn skip(why: &str) {
    println!("skipped: {why}");
}

fn problem_of(root: &Path) -> ScratchProblem {
    match FileBackend::open(FileConfig::new(root)) {
        Err(Error::ScratchUnavailable { problem, .. }) => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_disk_made_of_memory_is_memory_also_through_a_loop() {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let mut undo = Undo(Vec::new());
    let Ok(number) = fs::read_to_string("/sys/class/zram-control/hot_add") else {
        return skip("no zram, or not root");
    };
    let number = number.trim().to_owned();
    let (device, size) = (
        format!("/dev/zram{number}"),
        format!("/sys/block/zram{number}/disksize"),
    );
    let reset = format!(
        "echo 1 > /sys/block/zram{number}/reset; echo {number} > /sys/class/zram-control/hot_remove"
    );
    undo.push(&["sh", "-c", &reset]);
    fs::write(size, "64M").unwrap();
    let direct = scratch.path().join("direct");
    fs::create_dir(&direct).unwrap();
    if mounted(&mut undo, "ext2", &device, &direct).is_none() {
        return skip("no ext2 on zram");
    }
    assert_eq!(problem_of(&direct), ScratchProblem::InMemory);
    what_is_allowed_comes_back(&direct);
    let Some(over) = looped(&mut undo, &direct.join("image"), 16) else {
        return skip("no loop device");
    };
    let looped = scratch.path().join("looped");
    fs::create_dir(&looped).unwrap();
    if mounted(&mut undo, "ext2", &over, &looped).is_none() {
        return skip("no ext2 on a loop device over zram");
    }
    assert_eq!(problem_of(&looped), ScratchProblem::InMemory);
}

/// An overlay says that it is one, and a file on it is where its upper layer is.
#[test]
fn an_overlay_is_memory_if_its_upper_layer_is() {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let mut undo = Undo(Vec::new());
    let at = |name: &str| {
        let path = scratch.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    };
    let (memory, disk) = (at("memory"), at("disk"));
    let memory_text = memory.to_str().unwrap();
    if run("mount", &["-t", "tmpfs", "none", memory_text]).is_none() {
        return skip("not root");
    }
    undo.push(&["umount", "-l", memory_text]);
    for (layer, is_memory) in [(&memory, true), (&disk, false)] {
        // A blank is written otherwise in the table of mounts.
        let [lower, upper, work] = ["lower", "up per", "work"].map(|name| layer.join(name));
        for path in [&lower, &upper, &work] {
            fs::create_dir(path).unwrap();
        }
        let root = at("merged");
        let text = |path: &Path| path.display().to_string();
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            text(&lower),
            text(&upper),
            text(&work)
        );
        let root_text = text(&root);
        let mount = ["-t", "overlay", "-o", &options, "overlay", &root_text];
        if run("mount", &mount).is_none() {
            return skip("no overlay here");
        }
        undo.push(&["umount", "-l", &root_text]);
        if is_memory {
            assert_eq!(problem_of(&root), ScratchProblem::InMemory);
        } else {
            drop(FileBackend::open(FileConfig::new(&root)).unwrap());
        }
    }
}

/// zram advertises direct I/O from memory that is aligned to 512 bytes, and mangles what is
/// not aligned to a page.
fn what_is_allowed_comes_back(root: &Path) {
    for io in [IoChoice::Auto, IoChoice::Direct, IoChoice::Buffered] {
        let config = FileConfig::new(root).allow_memory_fs(true).io(io);
        let registry = Registry::new(FileBackend::open(config).unwrap());
        for len in [1, 700, 40_001, (1 << 17) + 1] {
            let words: Vec<u64> = (0..len).collect();
            // A vector begins 16 bytes into its page.
            let handle = registry.pageout(&mut [vec![7; 3], words.clone()]).unwrap();
            let mut back = Vec::new();
            registry.take(handle, &mut back).unwrap();
            assert!(back[..3] == [7; 3] && back[3..] == words, "{io} {len}");
        }
        println!("{io}: {}", registry.stats().backend.how);
    }
}

#[test]
fn a_file_system_that_copies_on_write_takes_overwrites_for_ever() {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let mut undo = Undo(Vec::new());
    let Some(device) = looped(&mut undo, &scratch.path().join("image"), 512) else {
        return skip("no loop device, or not root");
    };
    let root: PathBuf = scratch.path().join("root");
    fs::create_dir(&root).unwrap();
    if mounted(&mut undo, "btrfs", &device, &root).is_none() {
        return skip("no btrfs here");
    }
    let registry = Registry::new(FileBackend::open(FileConfig::new(&root)).unwrap());
    let live = 230;
    let mut slots: Vec<_> = (0..live).map(|_| None).collect();
    for step in 0..6 * live as u64 {
        let at = usize::try_from(step.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33).unwrap() % live;
        drop(slots[at].take());
        let handle = registry.pageout(&mut [vec![step; 1 << 17]]);
        slots[at] = Some(handle.unwrap_or_else(|error| panic!("step {step}: {error}")));
    }
    println!("{}", registry.stats().backend);
}

/// Payloads of so many MiB until the disk is full, which are then dropped.
fn mebibytes_that_fit(registry: &Registry<FileBackend>, each: usize) -> usize {
    let handles: Vec<_> = iter::from_fn(|| {
        let mut chunk = [vec![7_u64; each << 17]];
        match registry.pageout(&mut chunk) {
            Ok(handle) => Some(handle),
            Err(error) => {
                assert!(error.is_out_of_space(), "{error}");
                assert!(chunk[0].len() == each << 17, "the chunk is as it was");
                None
            }
        }
    })
    .collect();
    for handle in handles.iter().step_by(7) {
        let mut words = Vec::new();
        registry.read_at(handle, 0, each << 17, &mut words).unwrap();
        assert!(words.iter().all(|word| *word == 7));
    }
    handles.len() * each
}

/// Without `fallocate` it is the write that finds the disk full; what was freed in
/// other sizes is room all the same.
#[rstest]
fn a_full_disk_has_as_much_room_for_payloads_of_other_sizes(
    #[values("ext2", "ext4", "xfs", "btrfs")] kind: &str,
) {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let mut undo = Undo(Vec::new());
    // The least that each of them takes.
    let mebibytes = match kind {
        "xfs" => 300,
        "btrfs" => 200,
        _ => 80,
    };
    let Some(device) = looped(&mut undo, &scratch.path().join("image"), mebibytes) else {
        return skip("no loop device, or not root");
    };
    let root: PathBuf = scratch.path().join("root");
    fs::create_dir(&root).unwrap();
    if mounted(&mut undo, kind, &device, &root).is_none() {
        return skip(&format!("no {kind} here"));
    }
    let registry = Registry::new(FileBackend::open(FileConfig::new(&root)).unwrap());
    let first = mebibytes_that_fit(&registry, 1);
    assert!(first > 30, "{first} MiB");
    for each in [3, 7, 1] {
        let again = mebibytes_that_fit(&registry, each);
        // A payload may not fit the last bit of room; journals need some too.
        assert!(
            again + 2 * each + first / 50 >= first,
            "{again} of {first} MiB by {each}"
        );
    }
    assert_eq!(registry.stats().backend.stored_bytes, 0);
}

/// What a group of users or a container may have of a disk.
#[rstest]
fn a_quota_of_the_file_systems_is_a_full_disk(
    #[values(FileMode::Segments, FileMode::Seed)] mode: FileMode,
) {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let mut undo = Undo(Vec::new());
    let Some(device) = looped(&mut undo, &scratch.path().join("image"), 300) else {
        return skip("no loop device, or not root");
    };
    let disk = scratch.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let [at, root] = [&disk, &disk.join("root")].map(|path| path.display().to_string());
    let is_made = mounted(&mut undo, "btrfs", &device, &disk).is_some()
        && run("btrfs", &["quota", "enable", &at]).is_some()
        && run("btrfs", &["subvolume", "create", &root]).is_some()
        && run("btrfs", &["qgroup", "limit", "40M", &root]).is_some();
    if !is_made {
        return skip("no btrfs with quotas here");
    }
    let config = FileConfig::new(&root).mode(mode);
    let registry = Registry::new(FileBackend::open(config).unwrap());
    let mut handles = Vec::new();
    let error = loop {
        match registry.pageout(&mut [vec![7_u64; 1 << 17]]) {
            Ok(handle) => handles.push(handle),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::OutOfSpace { .. }), "{error}");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("os error 122"), "EDQUOT: {source}");
    assert!((20..=40).contains(&handles.len()), "{}", handles.len());
    for handle in handles {
        let mut words = Vec::new();
        registry.take(handle, &mut words).unwrap();
        assert!(words == [7; 1 << 17]);
    }
}
