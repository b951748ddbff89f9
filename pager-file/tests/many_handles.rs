//! What a hundred thousand live handles cost besides their bytes. Alone in its
//! file: it counts the descriptors of the whole process.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use pager_core::Registry;
use pager_file::{FileBackend, FileConfig};

const HANDLES: u64 = 100_000;

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A line of `/proc/self/io`.
fn io(name: &str) -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    let line = io.lines().find(|line| line.starts_with(name)).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
#[ignore = "writes 400 MiB; run by hand with --ignored --nocapture"]
fn a_hundred_thousand_live_handles_share_one_descriptor() {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let config = FileConfig::new(scratch.path());
    let registry = Registry::new(FileBackend::open(config).unwrap());
    drop(registry.pageout(&mut [vec![0u64; 512]]).unwrap());
    let (before, written_before, read_before) =
        (descriptors(), io("write_bytes"), io("read_bytes"));
    let handles: Vec<_> = (0..HANDLES)
        .map(|seed| registry.pageout(&mut [vec![seed; 512]]).unwrap())
        .collect();
    let (after, written, read) = (descriptors(), io("write_bytes"), io("read_bytes"));
    println!(
        "{HANDLES} handles of 4 KiB: {before} descriptors before, {after} with them; {} bytes written, {} read",
        written - written_before,
        read - read_before
    );
    assert_eq!(before, after);
    assert!(written - written_before <= HANDLES * 4096 * 102 / 100);
    for (seed, handle) in (0..HANDLES).zip(&handles).step_by(9_973) {
        let mut words = Vec::new();
        handle.read_at(511, 1, &mut words).unwrap();
        assert_eq!(words, [seed]);
    }
    drop(handles);
    assert_eq!(registry.stats().backend.stored_bytes, 0);
}
