//! A program whose working set is twice its memory cap: the kernel kills it
//! when it keeps everything in `Vec`s, and it comes to its end when it pages out.
//!
//! The one that is killed and those with files have no swap; with swap the first
//! would crawl instead.
//!
//! Makes a memory cgroup of either version for each child, and swap for those that
//! need it; needs root. Without, it says so and passes.

#![cfg(all(target_os = "linux", feature = "swap", feature = "file"))]
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

#[path = "common/group.rs"]
mod group;
#[path = "common/process.rs"]
mod process;
#[path = "common/swap.rs"]
mod swap;

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use group::{Group, join_group};
use pager::{BackendKind, Pager, Preset};
use process::role;
use rstest::rstest;
use swap::TestSwap;

const CAP_BYTES: u64 = 64 << 20;
/// 128 MiB in payloads of 2 MiB.
const COUNT: u64 = 64;
const WORDS: usize = 1 << 18;
/// Where the child finds its scratch root.
const ROOT: &str = "PAGER_OOM_ROOT";

/// One test at a time: swap that one of them has made is there for all.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_program_that_keeps_everything_is_killed() {
    let test = "a_program_that_keeps_everything_is_killed";
    if role().is_some() {
        return keep_everything();
    }
    let _alone = alone();
    let Some(group) = Group::new(CAP_BYTES, false) else {
        return;
    };
    let root = tempfile::tempdir_in("/var/tmp").unwrap();

    let ended = group.role(test, "naive").env(ROOT, root.path()).signal();

    assert_eq!((ended, group.kills()), (Some(9), 1));
}

#[rstest]
fn the_same_program_with_files_comes_to_its_end(
    #[values(Preset::Fast, Preset::Seed)] preset: Preset,
) {
    if role().is_some() {
        return page_out(BackendKind::File, preset);
    }
    let _alone = alone();
    let Some(group) = Group::new(CAP_BYTES, false) else {
        return;
    };
    survives(&group);
}

#[test]
fn the_same_program_with_swap_comes_to_its_end() {
    if role().is_some() {
        return page_out(BackendKind::Swap, Preset::Fast);
    }
    let _alone = alone();
    let (Some(group), Some(_swap)) = (Group::new(CAP_BYTES, true), TestSwap::on(200)) else {
        return;
    };
    survives(&group);
}

/// Runs the child of the calling test in `group`; nobody must be killed.
#[track_caller]
fn survives(group: &Group) {
    let test = std::thread::current().name().unwrap().to_owned();
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let printed = group.role(&test, "pager").env(ROOT, root.path()).run();
    let told = printed.lines().find(|line| line.contains("came back"));
    println!("{test}: {}", told.unwrap());
    assert_eq!(group.kills(), 0);
    assert!(fs::read_dir(root.path()).unwrap().next().is_none());
}

/// The child that knows no pager.
fn keep_everything() {
    join_group();
    let kept: Vec<Vec<u64>> = (0..COUNT).map(|seed| vec![seed + 1; WORDS]).collect();
    for (seed, words) in (0..).zip(kept) {
        assert!(words == vec![seed + 1; WORDS]);
    }
}

/// The same with a pager.
fn page_out(kind: BackendKind, preset: Preset) {
    join_group();
    let pager = Pager::builder()
        .backend(kind)
        .preset(preset)
        .budget_bytes(8 << 20)
        .scratch_dir(PathBuf::from(std::env::var_os(ROOT).unwrap()))
        .build()
        .unwrap();
    let paged_out = (0..COUNT).map(|seed| pager.pageout(&mut [vec![seed + 1; WORDS]]).unwrap());
    let kept: Vec<_> = paged_out.collect();
    let mut words = Vec::new();
    for (seed, handle) in (0..).zip(kept) {
        pager.take(handle, &mut words).unwrap();
        assert!(words == vec![seed + 1; WORDS], "payload {seed}");
    }
    println!("{COUNT} payloads came back under {} MiB", CAP_BYTES >> 20);
    pager.shutdown().unwrap();
}
