//! Every system call of the file backend and of the memory below it fails, and every
//! transfer falls short, at every occurrence: both modes, direct and buffered I/O,
//! with and without checksums and a budget.
//!
//! One test, for a plan of faults is the whole process's.

#![cfg(all(target_os = "linux", not(miri)))]

mod common;

use std::path::Path;

use common::{names, scratch};
use pager_core::Result;
use pager_core::testkit::campaign::{Depth, every_fault};
use pager_core::testkit::scenario::Subject;
use pager_core::testkit::syscalls::Call;
use pager_file::{FileBackend, FileConfig, FileMode, IoChoice};
use tempfile::TempDir;

struct Files {
    root: TempDir,
    configure: fn(FileConfig) -> FileConfig,
}

impl Files {
    fn new(configure: fn(FileConfig) -> FileConfig) -> Self {
        Self {
            root: scratch(),
            configure,
        }
    }

    fn scratch(&self) -> std::path::PathBuf {
        self.root.path().join("scratch")
    }
}

impl Subject for Files {
    type Backend = FileBackend;

    fn open(&self) -> Result<FileBackend> {
        // Freed extents go back to the file system at once, by a thread.
        let config = FileConfig::new(self.scratch()).slack_bytes(0);
        let config = (self.configure)(config.quota_bytes(1 << 30));
        FileBackend::open(config)
    }

    fn housekeep(&self, backend: &FileBackend) -> Result<()> {
        backend.reap()?;
        backend.trim().map(drop)
    }

    fn held(&self, backend: &FileBackend) -> Vec<(&'static str, u64)> {
        let stats = backend.stats();
        let mut held = vec![("stored bytes", stats.stored_bytes)];
        if let Some(segments) = stats.segments {
            held.push(("logical bytes", segments.logical_bytes));
        } else {
            held.push(("files", stats.files));
        }
        held
    }

    fn left_behind(&self) -> Vec<String> {
        let scratch = self.scratch();
        if Path::exists(&scratch) {
            names(&scratch)
        } else {
            Vec::new()
        }
    }
}

fn campaigns(depth: Depth) {
    type Configure = fn(FileConfig) -> FileConfig;
    let kinds: [(&str, Configure, &[Call]); 4] = [
        (
            "seed",
            |config| config.mode(FileMode::Seed),
            &[Call::Pwritev, Call::Pread, Call::Unlinkat, Call::Close],
        ),
        (
            "segments, best",
            |config| config,
            &[Call::Fallocate, Call::Pread, Call::Statx, Call::Clone],
        ),
        (
            "segments, buffered",
            |config| config.io(IoChoice::Buffered),
            &[Call::Fallocate, Call::Pread, Call::Fadvise, Call::Pwritev2],
        ),
        (
            "segments, unverified",
            |config| config.io(IoChoice::Buffered).checksums(false),
            &[Call::Renameat, Call::Flock, Call::Mkdirat, Call::Getdents],
        ),
    ];
    for (name, configure, calls) in kinds {
        for (budget, budget_bytes) in [("no budget", None), ("64 KiB", Some(64 << 10))] {
            let name = format!("file {name}, {budget}");
            let tally = every_fault(&name, &Files::new(configure), budget_bytes, depth);
            for call in calls {
                assert!(tally.of(*call) > 0, "{name}: no {call:?} in {tally:?}");
            }
        }
    }
}

#[test]
fn whatever_call_fails_or_falls_short_nothing_is_lost_and_nothing_is_left() {
    campaigns(Depth::AtMost(6));
}

#[test]
#[ignore = "takes minutes: every call at every occurrence"]
fn every_call_may_fail_at_every_occurrence_and_nothing_is_left() {
    campaigns(Depth::Everything);
}
