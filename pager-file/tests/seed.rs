//! The seed mode: one file per payload, and what happens when the file system
//! says no.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;

use common::*;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use pager_core::{Backend, Error, Payload, Registry, Window};
use pager_file::{FileBackend, FileConfig, FileMode, IoMode};
use rstest::rstest;

fn seed(root: &Path) -> Registry<FileBackend> {
    registry(root, FileMode::Seed)
}

/// The scratch root of a process that a test has started.
fn given_root() -> std::path::PathBuf {
    std::env::var_os("PAGER_TEST_ROOT").unwrap().into()
}

// ---- files ---------------------------------------------------------------------

#[test]
fn each_payload_has_a_file_of_its_own_until_it_is_taken_or_dropped() {
    let scratch = scratch();
    let registry = seed(scratch.path());
    let dir = registry.backend().directory().to_owned();

    let taken = registry.pageout(&mut [words(1, 100), words(2, 7)]).unwrap();
    let dropped = registry.pageout(&mut [words(3, 1000)]).unwrap();
    let files = names(&dir);
    assert_eq!(files.len(), 2);
    let lens: Vec<u64> = files
        .iter()
        .map(|name| fs::metadata(dir.join(name)).unwrap().len())
        .collect();
    assert_eq!(lens, [107 * 8, 8000]);
    assert_eq!(mode_of(&dir.join(&files[0])), 0o600);

    let mut back = Vec::new();
    registry.take(taken, &mut back).unwrap();
    assert_eq!(back, [words(1, 100), words(2, 7)].concat());
    assert_eq!(names(&dir), [files[1].clone()]);
    drop(dropped);
    assert!(names(&dir).is_empty());
}

#[test]
fn an_empty_payload_has_no_file() {
    let scratch = scratch();
    let registry = seed(scratch.path());
    let handle = registry.pageout(&mut [Vec::<u64>::new(), vec![]]).unwrap();
    assert!(names(registry.backend().directory()).is_empty());
    assert_eq!(registry.backend().stats().files, 0);
    registry.prefetch(&handle);
    registry.take(handle, &mut Vec::new()).unwrap();
}

#[rstest]
fn more_chunks_than_one_call_takes_are_written_in_order(
    #[values(1023, 1024, 1025, 3000)] chunk_count: usize,
) {
    let scratch = scratch();
    let registry = seed(scratch.path());
    let mut chunks: Vec<Vec<u64>> = (0..chunk_count)
        .map(|index| words(index as u64, index % 5))
        .collect();
    let expected = chunks.concat();
    let handle = registry.pageout(&mut chunks).unwrap();
    assert!(chunks.iter().all(Vec::is_empty));
    let mut back = Vec::new();
    registry.take(handle, &mut back).unwrap();
    assert_eq!(back, expected);
}

#[test]
fn a_name_that_exists_is_passed_over_and_left_alone() {
    let scratch = scratch();
    let registry = seed(scratch.path());
    let dir = registry.backend().directory().to_owned();
    fs::write(dir.join("0000000000000000"), "theirs").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.join("0000000000000001")).unwrap();

    let handle = registry.pageout(&mut [words(1, 10)]).unwrap();
    let mut back = Vec::new();
    registry.take(handle, &mut back).unwrap();

    assert_eq!(back, words(1, 10));
    assert_eq!(names(&dir), ["0000000000000000", "0000000000000001"]);
    assert_eq!(fs::read(dir.join("0000000000000000")).unwrap(), b"theirs");
}

#[test]
fn a_directory_full_of_foreign_names_is_an_error_and_not_a_loop() {
    let scratch = scratch();
    let registry = seed(scratch.path());
    let dir = registry.backend().directory().to_owned();
    for number in 0..16 {
        fs::write(dir.join(format!("{number:016x}")), "").unwrap();
    }
    let mut chunks = [words(1, 10)];
    let error = registry.pageout(&mut chunks).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Io {
                operation: "create",
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(chunks, [words(1, 10)]);
    // The names after those are free.
    registry.pageout(&mut chunks).unwrap();
}

#[test]
fn a_truncated_file_is_an_error_and_the_handle_survives() {
    let scratch = scratch();
    let registry = seed(scratch.path());
    let dir = registry.backend().directory().to_owned();
    let handle = registry.pageout(&mut [words(1, 1000)]).unwrap();
    let path = dir.join(&names(&dir)[0]);
    let whole = fs::read(&path).unwrap();
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(4001)
        .unwrap();

    let mut dst = vec![42];
    let error = registry.read_at(&handle, 400, 200, &mut dst).unwrap_err();
    assert!(
        matches!(&error, Error::Io { operation: "read", path: Some(at), .. } if *at == path),
        "{error}"
    );
    assert_eq!(dst, [42]);
    registry.read_at(&handle, 0, 500, &mut dst).unwrap();
    assert_eq!(dst[1..], words(1, 1000)[..500]);

    let handle = registry.take(handle, &mut dst).unwrap_err().into_handle();
    fs::write(&path, whole).unwrap();
    registry.take(handle, &mut dst).unwrap();
    assert_eq!(dst, words(1, 1000));
}

#[test]
fn a_file_that_was_removed_is_an_error_and_its_bytes_are_given_back() {
    let scratch = scratch();
    let registry = seed(scratch.path());
    let dir = registry.backend().directory().to_owned();
    let handle = registry.pageout(&mut [words(1, 1000)]).unwrap();
    fs::remove_file(dir.join(&names(&dir)[0])).unwrap();
    registry.prefetch(&handle);
    let failed = registry.take(handle, &mut Vec::new()).unwrap_err();
    assert!(matches!(
        failed.error(),
        Error::Io {
            operation: "open",
            ..
        }
    ));
    drop(failed);
    let stats = registry.backend().stats();
    assert_eq!((stats.stored_bytes, stats.files), (0, 0));
    assert_eq!(stats.failed_removals, 1);
}

#[test]
fn a_file_replaced_by_a_link_is_not_followed() {
    let scratch = scratch();
    let registry = seed(scratch.path());
    let dir = registry.backend().directory().to_owned();
    let handle = registry.pageout(&mut [words(1, 10)]).unwrap();
    let path = dir.join(&names(&dir)[0]);
    let secret = scratch.path().join("secret");
    fs::write(&secret, [7; 80]).unwrap();
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&secret, &path).unwrap();

    let mut dst = Vec::new();
    assert!(registry.read_at(&handle, 0, 10, &mut dst).is_err());
    assert!(dst.is_empty());
    drop(handle);
    assert_eq!(fs::read(&secret).unwrap(), [7; 80]);
    assert!(names(&dir).is_empty());
}

#[test]
fn a_slot_of_another_backend_is_refused() {
    let scratch = scratch();
    let seed = open(scratch.path(), FileMode::Seed);
    let segments = open(scratch.path(), FileMode::Segments);
    let slot = segments
        .page_out(&mut Payload::new(&mut [words(1, 10)]))
        .unwrap();
    let mut spare = [std::mem::MaybeUninit::uninit(); 10];
    #[allow(clippy::single_range_in_vec_init, reason = "one range is meant")]
    let read = seed.read(&slot, &[0..10], &mut Window::new(&mut spare));
    assert!(matches!(
        read,
        Err(Error::Io {
            operation: "read",
            ..
        })
    ));
    assert_eq!(seed.stored_bytes(&slot), 0);
    seed.prefetch(&slot, 0..10);
    segments.free(slot);
    assert_eq!(segments.usage().logical_bytes, 0);
}

// ---- numbers -------------------------------------------------------------------

#[test]
fn the_stats_say_what_is_stored_and_how() {
    let scratch = scratch();
    let config = FileConfig::new(scratch.path())
        .mode(FileMode::Seed)
        .quota_bytes(1 << 20);
    let registry = Registry::new(FileBackend::open(config).unwrap());
    let handle = registry.pageout(&mut [words(1, 100)]).unwrap();
    let stats = registry.backend().stats();
    assert_eq!(stats.mode, FileMode::Seed);
    assert_eq!(stats.io, IoMode::Buffered);
    assert!(stats.io_reason.contains("seed"));
    assert_eq!(stats.stored_bytes, 800);
    assert_eq!(stats.quota_bytes, Some(1 << 20));
    assert_eq!((stats.files, stats.failed_removals), (1, 0));
    assert!(stats.segments.is_none());
    let usage = registry.backend().usage();
    assert_eq!((usage.logical_bytes, usage.stored_bytes), (800, 800));
    assert_eq!(usage.resident_bytes, 0);
    drop(handle);
    assert_eq!(registry.backend().usage().stored_bytes, 0);
    assert_eq!(registry.backend().trim().unwrap(), 0);
}

#[test]
fn the_quota_is_exact_to_the_byte() {
    let scratch = scratch();
    let config = FileConfig::new(scratch.path())
        .mode(FileMode::Seed)
        .quota_bytes(800);
    let registry = Registry::new(FileBackend::open(config).unwrap());
    let full = registry.pageout(&mut [words(1, 100)]).unwrap();
    let mut chunks = [words(2, 1)];
    let error = registry.pageout(&mut chunks).unwrap_err();
    assert!(
        matches!(
            error,
            Error::QuotaExceeded {
                needed_bytes: 8,
                used_bytes: 800,
                quota_bytes: 800,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(chunks, [words(2, 1)]);
    // No bytes fit into no room.
    registry.pageout(&mut [Vec::<u64>::new()]).unwrap();
    registry.take(full, &mut Vec::new()).unwrap();
    registry.pageout(&mut chunks).unwrap();
}

#[test]
fn the_quota_holds_while_threads_press_against_it() {
    let scratch = scratch();
    let config = FileConfig::new(scratch.path())
        .mode(FileMode::Seed)
        .quota_bytes(10 * 800);
    let registry = Registry::new(FileBackend::open(config).unwrap());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let registry = &registry;
            scope.spawn(move || {
                let mut held = Vec::new();
                for round in 0..100 {
                    match registry.pageout(&mut [words(thread << 32 | round, 100)]) {
                        Ok(handle) => held.push(handle),
                        Err(Error::QuotaExceeded { .. }) => held.clear(),
                        Err(other) => panic!("{other}"),
                    }
                    assert!(registry.backend().usage().stored_bytes <= 8000);
                }
            });
        }
    });
    let stats = registry.backend().stats();
    assert_eq!((stats.stored_bytes, stats.files), (0, 0));
    assert!(names(registry.backend().directory()).is_empty());
}

// ---- limits of the process -----------------------------------------------------

fn hold_payloads(count: u64, descriptor_limit: u64) {
    setrlimit(Resource::RLIMIT_NOFILE, descriptor_limit, descriptor_limit).unwrap();
    let registry = seed(&given_root());
    let handles: Vec<_> = (0..count)
        .map(|seed| registry.pageout(&mut [words(seed, 3)]).unwrap())
        .collect();
    assert_eq!(registry.backend().stats().files, count);
    for (seed, handle) in (0..count).zip(handles) {
        let mut back = Vec::new();
        registry.take(handle, &mut back).unwrap();
        assert_eq!(back, words(seed, 3));
    }
}

#[test]
fn live_payloads_need_no_descriptors() {
    let name = "live_payloads_need_no_descriptors";
    if role().is_some() {
        return hold_payloads(3000, 16);
    }
    let scratch = scratch();
    Role::new(name, "holder")
        .env("PAGER_TEST_ROOT", scratch.path())
        .run();
    assert!(names(scratch.path()).is_empty());
}

#[test]
#[ignore = "a million files: minutes, and 4 GiB of disk"]
fn a_million_live_payloads_need_no_more_than_64_descriptors() {
    let name = "a_million_live_payloads_need_no_more_than_64_descriptors";
    if role().is_some() {
        return hold_payloads(1_000_000, 64);
    }
    let scratch = scratch();
    Role::new(name, "holder")
        .env("PAGER_TEST_ROOT", scratch.path())
        .run();
}

#[test]
fn without_a_descriptor_every_operation_fails_and_loses_nothing() {
    let name = "without_a_descriptor_every_operation_fails_and_loses_nothing";
    if role().is_none() {
        let scratch = scratch();
        Role::new(name, "starved")
            .env("PAGER_TEST_ROOT", scratch.path())
            .run();
        return;
    }
    let registry = seed(&given_root());
    let handle = registry.pageout(&mut [words(1, 100)]).unwrap();
    let (_, hard) = nix::sys::resource::getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard).unwrap();
    let mut chunks = [words(2, 100)];
    let paged_out = registry.pageout(&mut chunks).map(drop);
    let mut dst = Vec::new();
    let read = registry.read_at(&handle, 0, 1, &mut dst);
    registry.prefetch(&handle);
    let opened = FileBackend::open(FileConfig::new(given_root())).map(drop);
    let reaped = registry.backend().reap().map(drop);
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();

    for failed in [paged_out, read, reaped] {
        assert!(matches!(failed, Err(Error::Io { .. })), "{failed:?}");
    }
    assert!(
        matches!(opened, Err(Error::ScratchUnavailable { .. })),
        "{opened:?}"
    );
    assert_eq!(chunks, [words(2, 100)]);
    assert!(dst.is_empty());
    assert_eq!(registry.backend().usage().stored_bytes, 800);
    registry.take(handle, &mut dst).unwrap();
    assert_eq!(dst, words(1, 100));
}

/// The limit lets a part of the payload be written, and then no more.
#[rstest]
fn a_payload_above_the_file_size_limit_leaves_no_part_behind(
    #[values(1, 1025)] chunk_count: usize,
) {
    if role().is_none() {
        let scratch = scratch();
        let name = std::thread::current().name().unwrap().to_owned();
        Role::new(&name, "limited")
            .env("PAGER_TEST_ROOT", scratch.path())
            .run();
        return assert!(names(scratch.path()).is_empty());
    }
    // The signal that comes with the error would end the process.
    SigSet::from(Signal::SIGXFSZ).thread_block().unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, 100_000, 100_000).unwrap();
    let registry = seed(&given_root());
    let len = 200_000 / 8 / chunk_count;
    let chunk = |index| words(index as u64, len);
    let mut chunks: Vec<Vec<u64>> = (0..chunk_count).map(chunk).collect();

    let error = registry.pageout(&mut chunks).unwrap_err();

    assert!(
        matches!(error, Error::OutOfSpace { path: Some(_), .. }),
        "{error}"
    );
    assert!(chunks.iter().enumerate().all(|(i, c)| *c == chunk(i)));
    let stats = registry.backend().stats();
    assert_eq!((stats.stored_bytes, stats.files), (0, 0));
    assert!(names(registry.backend().directory()).is_empty());
    chunks.truncate(1);
    chunks[0].truncate(100);
    registry.pageout(&mut chunks).unwrap();
}
