//! Address space is not only taken: a process whose payloads change their sizes, or
//! which is limited (`ulimit -v`, `ulimit -d`), goes on, and the default budget leaves
//! it room.
//!
//! Each limit is set in a child of its own, on top of what the child has mapped by
//! then.

#![cfg(all(target_os = "linux", feature = "swap", feature = "file"))]
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

#[path = "common/process.rs"]
mod process;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use pager::{Arena, BackendKind, ChunkBuf, Error, Pager};
use process::{Role, role};

const MIB: usize = 1 << 20;

/// Lets this process have `spare_bytes` more than it has of `field` now.
fn limit(resource: Resource, field: &str, spare_bytes: usize) {
    let (_, hard) = getrlimit(resource).unwrap();
    let soft = status_bytes(field) + spare_bytes;
    setrlimit(resource, soft as u64, hard).unwrap();
}

/// A size that `/proc/self/status` gives.
fn status_bytes(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.unwrap().split_whitespace().next().unwrap();
    kib.parse::<usize>().unwrap() << 10
}

/// Runs the test in a process of its own; `true` there.
fn is_child(test: &str) -> bool {
    if role().is_none() {
        // All threads allocate from one heap: others would map 64 MiB each.
        Role::new(test, "limited")
            .env("MALLOC_ARENA_MAX", "1")
            .run();
    }
    role().is_some()
}

#[test]
fn payloads_whose_sizes_change_fit_where_one_round_of_them_fits() {
    if !is_child("payloads_whose_sizes_change_fit_where_one_round_of_them_fits") {
        return;
    }
    const LIVE_BYTES: usize = 80 * MIB;
    let settings = Pager::builder().backend(BackendKind::Swap).budget_bytes(0);
    let pager = settings.build().unwrap();
    limit(Resource::RLIMIT_AS, "VmSize:", 400 * MIB);
    for round in 0..25 {
        let words = 60_000 + round * 37_717 % 900_000;
        let handles: Result<Vec<_>, _> = (0..LIVE_BYTES / 8 / words)
            .map(|_| pager.pageout(&mut [vec![1u64; words]]))
            .collect();
        let handles = handles.unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert!(Arena::shared().usage().used_bytes > LIVE_BYTES * 3 / 4);
        drop(handles);
        let usage = Arena::shared().usage();
        assert_eq!(usage.used_bytes, 0);
        // What is idle, and the region that what is warm is in.
        assert!(usage.mapped_bytes <= 96 * MIB, "round {round}: {usage:?}");
    }
}

#[test]
fn what_is_idle_is_unmapped_before_there_is_no_memory() {
    if !is_child("what_is_idle_is_unmapped_before_there_is_no_memory") {
        return;
    }
    let bytes = |bytes: usize| ChunkBuf::<u64>::with_capacity(bytes / 8);
    let pager = Pager::builder().budget_bytes(0).build().unwrap();
    let handle = pager
        .options()
        .backend(BackendKind::Swap)
        .pageout(&mut [vec![1u64; 40 * MIB / 8]])
        .unwrap();
    let leave_idle = || {
        drop((0..15).map(|_| bytes(4 * MIB).unwrap()).collect::<Vec<_>>());
        assert!(Arena::shared().usage().idle_bytes >= 40 * MIB);
    };
    limit(Resource::RLIMIT_AS, "VmSize:", 100 * MIB);
    leave_idle();
    let large = bytes(80 * MIB).unwrap();
    assert!(matches!(bytes(80 * MIB), Err(Error::OutOfMemory { .. })));
    drop(large);
    // The general allocator's memory is of the same address space.
    leave_idle();
    let held: Vec<u8> = Vec::with_capacity(20 * MIB);
    let mut words = Vec::new();
    handle.read_at(0, 40 * MIB / 8, &mut words).unwrap();
    drop(held);
    assert!(words.iter().all(|word| *word == 1));
}

#[test]
fn the_default_budget_leaves_room_under_a_limit_of_the_address_space() {
    let test = "the_default_budget_leaves_room_under_a_limit_of_the_address_space";
    if is_child(test) {
        page_out_more_than_fits(Resource::RLIMIT_AS, "VmSize:");
    }
}

#[test]
fn the_default_budget_leaves_room_under_a_limit_of_the_data() {
    if is_child("the_default_budget_leaves_room_under_a_limit_of_the_data") {
        page_out_more_than_fits(Resource::RLIMIT_DATA, "VmData:");
    }
}

fn page_out_more_than_fits(resource: Resource, field: &str) {
    const SPARE_BYTES: usize = 192 * MIB;
    const CHUNK_WORDS: usize = 1 << 18;
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    limit(resource, field, SPARE_BYTES);
    let settings = Pager::builder().backend(BackendKind::File);
    let pager = settings.scratch_dir(root.path()).build().unwrap();
    let budget_bytes = pager.budget_bytes();
    assert!(budget_bytes <= SPARE_BYTES / 4, "{budget_bytes} bytes");
    assert!(
        budget_bytes >= SPARE_BYTES / 8 - MIB,
        "{budget_bytes} bytes"
    );
    let count = 3 * SPARE_BYTES / 2 / (CHUNK_WORDS * 8);
    let handles: Vec<_> = (0..count as u64)
        .map(|index| pager.pageout(&mut [vec![index; CHUNK_WORDS]]).unwrap())
        .collect();
    let mut words = Vec::new();
    for (index, handle) in (0..).zip(handles) {
        handle.take(&mut words).unwrap();
        assert!(words.len() == CHUNK_WORDS && words[CHUNK_WORDS - 1] == index);
    }
    pager.shutdown().unwrap();
}
