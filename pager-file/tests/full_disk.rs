//! A disk that is really full: a small ext4 on a loop device. Needs root.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::{self, File};
use std::io::Write;

use common::disk::SmallDisk;
use common::*;
use pager_core::{Error, Registry};
use pager_file::{FileBackend, FileConfig, FileMode, IoChoice};
use rstest::rstest;

/// 1 MiB payloads.
const WORDS: usize = 1 << 17;

#[rstest]
#[case(FileMode::Seed, IoChoice::Auto)]
#[case(FileMode::Segments, IoChoice::Auto)]
#[case(FileMode::Segments, IoChoice::Buffered)]
fn a_full_disk_loses_nothing_and_writing_resumes_by_itself(
    #[case] mode: FileMode,
    #[case] io: IoChoice,
) {
    let Some(disk) = SmallDisk::new() else { return };
    fs::create_dir(disk.root()).unwrap();
    let free_blocks = disk.free_blocks();
    let config = FileConfig::new(disk.root()).mode(mode).io(io);
    let registry = Registry::new(FileBackend::open(config).unwrap());

    let mut handles = Vec::new();
    let error = loop {
        let seed = handles.len() as u64;
        let mut chunks = [words(seed, WORDS / 2), words(seed + 1000, WORDS / 2)];
        match registry.pageout(&mut chunks) {
            Ok(handle) => handles.push((seed, handle)),
            Err(error) => {
                let expected = [words(seed, WORDS / 2), words(seed + 1000, WORDS / 2)];
                assert!(chunks == expected, "the chunks must be as they were");
                break error;
            }
        }
    };
    assert!(matches!(error, Error::OutOfSpace { .. }), "{error}");
    assert!(handles.len() > 30, "{}", handles.len());
    let logical_bytes = registry.stats().logical_bytes;
    assert_eq!(logical_bytes, (handles.len() * WORDS * 8) as u64);

    // Room for one is room for the next.
    for round in 0..5 {
        let (seed, handle) = handles.swap_remove(round * 3);
        let mut back = Vec::new();
        registry.take(handle, &mut back).unwrap();
        let expected = [words(seed, WORDS / 2), words(seed + 1000, WORDS / 2)].concat();
        assert!(back == expected, "seed {seed}");
        let handle = registry.pageout(&mut [back]).unwrap();
        handles.push((seed, handle));
        assert!(registry.pageout(&mut [words(7, WORDS)]).is_err());
    }
    for (seed, handle) in handles {
        let mut back = Vec::new();
        registry.take(handle, &mut back).unwrap();
        let expected = [words(seed, WORDS / 2), words(seed + 1000, WORDS / 2)].concat();
        assert!(back == expected, "seed {seed}");
    }
    assert_eq!(registry.stats().backend.stored_bytes, 0);
    drop(registry);
    assert!(names(&disk.root()).is_empty());
    eventually(|| disk.free_blocks() >= free_blocks);
}

#[test]
fn opening_on_a_full_disk_is_a_typed_error_and_works_again_when_it_is_not() {
    let Some(disk) = SmallDisk::new() else { return };
    let hog = disk.mount_point.join("hog");
    let mut file = File::create(&hog).unwrap();
    for size in [1 << 20, 4096, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
    drop(file);
    let open = || FileBackend::open(FileConfig::new(disk.root()));
    let error = open().unwrap_err();
    assert!(matches!(error, Error::OutOfSpace { .. }), "{error}");
    fs::remove_file(&hog).unwrap();
    eventually(|| disk.free_blocks() > 1000);
    drop(open().unwrap());
    assert!(names(&disk.root()).is_empty());
}
