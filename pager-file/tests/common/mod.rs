//! What the tests of the file backend share: scratch roots, the test binary run
//! again as a [process] of its own, and a small [disk].

#![allow(dead_code, reason = "every test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unused_imports, reason = "every test binary uses a part of it")]

pub(crate) mod disk;
pub(crate) mod process;
pub(crate) mod throttle;

use std::path::Path;

use pager_core::Registry;
use pager_file::{FileBackend, FileConfig, FileMode};
use pager_testkit::content;
use tempfile::TempDir;

pub(crate) use process::*;

/// An empty directory on a disk.
pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir_in("/var/tmp").unwrap()
}

pub(crate) fn open(root: &Path, mode: FileMode) -> FileBackend {
    FileBackend::open(FileConfig::new(root).mode(mode)).unwrap()
}

pub(crate) fn registry(root: &Path, mode: FileMode) -> Registry<FileBackend> {
    Registry::new(open(root, mode))
}

/// Words that differ for every seed and position.
pub(crate) fn words(seed: u64, len: usize) -> Vec<u64> {
    content::words(seed, len)
}

/// The names in a directory, sorted.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The mode bits of a file or directory.
pub(crate) fn mode_of(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::symlink_metadata(path).unwrap().mode() & 0o7777
}
