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

#[path = "common/process.rs"]
mod process;
#[path = "common/swap.rs"]
mod swap;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pager::{BackendKind, Pager, Preset};
use process::{Role, role, skip};
use rstest::rstest;
use swap::TestSwap;

const CAP_BYTES: u64 = 64 << 20;
/// 128 MiB in payloads of 2 MiB.
const COUNT: u64 = 64;
const WORDS: usize = 1 << 18;
/// Where the child finds its cgroup and its scratch root.
const GROUP: &str = "PAGER_OOM_GROUP";
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
    let Some(group) = Group::new(false) else {
        return;
    };
    let root = tempfile::tempdir_in("/var/tmp").unwrap();

    let ended = group.role(test, "naive", root.path()).signal();

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
    let Some(group) = Group::new(false) else {
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
    let (Some(group), Some(_swap)) = (Group::new(true), TestSwap::on(200)) else {
        return;
    };
    survives(&group);
}

/// Runs the child of the calling test in `group`; nobody must be killed.
#[track_caller]
fn survives(group: &Group) {
    let test = std::thread::current().name().unwrap().to_owned();
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let printed = group.role(&test, "pager", root.path()).run();
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

fn join_group() {
    let group = PathBuf::from(std::env::var_os(GROUP).unwrap());
    fs::write(group.join("cgroup.procs"), std::process::id().to_string()).unwrap();
}

/// A memory cgroup with a cap; removed when dropped.
struct Group {
    path: PathBuf,
}

impl Group {
    /// With or without swap beyond the cap. `None`, and a word about it, where the
    /// machine does not let us.
    fn new(with_swap: bool) -> Option<Self> {
        let made = Self::make().filter(|group| group.limit(with_swap).is_some());
        if made.is_none() {
            skip("no memory cgroup can be made here");
        }
        made
    }

    fn make() -> Option<Self> {
        let name = format!("pager-oom-{}", std::process::id());
        let memory_v1 = Path::new("/sys/fs/cgroup/memory");
        let parent = match memory_v1.join("memory.limit_in_bytes").exists() {
            true => memory_v1,
            false => Path::new("/sys/fs/cgroup"),
        };
        let path = parent.join(name);
        fs::create_dir(&path).ok()?;
        Some(Self { path })
    }

    fn limit(&self, with_swap: bool) -> Option<()> {
        let set = |name: &str, value: &str| fs::write(self.path.join(name), value).ok();
        let cap = CAP_BYTES.to_string();
        if self.path.join("memory.max").exists() {
            set("memory.max", &cap)?;
            return set("memory.swap.max", if with_swap { "max" } else { "0" });
        }
        set("memory.limit_in_bytes", &cap)?;
        if with_swap {
            return Some(());
        }
        // Where swap is not accounted for, the cgroup can do without it.
        set("memory.memsw.limit_in_bytes", &cap).or_else(|| set("memory.swappiness", "0"))
    }

    fn role(&self, test: &str, part: &str, root: &Path) -> Role {
        Role::new(test, part).env(GROUP, &self.path).env(ROOT, root)
    }

    /// How often the kernel has killed a process for this cap.
    fn kills(&self) -> u64 {
        let events = ["memory.events", "memory.oom_control"];
        let text = events
            .iter()
            .find_map(|name| fs::read_to_string(self.path.join(name)).ok());
        let text = text.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.unwrap().parse().unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The kernel may count a process that has just ended a moment longer.
        for _ in 0..100 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}
