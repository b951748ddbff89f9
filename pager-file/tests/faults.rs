//! Every system call of the file backend and of the memory below it fails, and every
//! transfer falls short, at every occurrence: both modes, direct and buffered I/O,
//! with and without checksums, encryption and a budget.
//!
//! Alone in its binary, for a plan of faults is the whole process's; the tests of
//! this file take turns.

#![cfg(all(target_os = "linux", not(miri)))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::names;
use pager_core::codec::{Codec, Compressed, Scheme};
use pager_core::{Backend, MemoryStore, Overflow, Registry, Result};
use pager_file::{FileBackend, FileConfig, FileMode, FileSet, IoChoice};
use pager_testkit::campaign::{Depth, every_fault};
use pager_testkit::scenario::Subject;
use pager_testkit::syscalls::{Call, Errno, Fault, Injection, Mishap};
use rstest::rstest;
use tempfile::TempDir;

struct Files {
    root: TempDir,
    configure: fn(FileConfig) -> FileConfig,
    allow_memory_fs: bool,
}

impl Files {
    fn new(place: &Path, configure: fn(FileConfig) -> FileConfig) -> Self {
        Self {
            root: tempfile::tempdir_in(place).unwrap(),
            configure,
            // Elsewhere the root is examined, by a call that may fail.
            allow_memory_fs: place != Path::new("/var/tmp"),
        }
    }

    fn scratch(&self) -> std::path::PathBuf {
        self.root.path().join("scratch")
    }

    fn config(&self) -> FileConfig {
        // Freed extents go back to the file system at once, by a thread.
        let config = FileConfig::new(self.scratch())
            .slack_bytes(0)
            .quota_bytes(1 << 30)
            .allow_memory_fs(self.allow_memory_fs);
        (self.configure)(config)
    }
}

impl Subject for Files {
    type Backend = FileBackend;

    fn open(&self) -> Result<FileBackend> {
        FileBackend::open(self.config())
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

/// The same beneath a codec.
struct Encoded(Files);

impl Subject for Encoded {
    type Backend = Compressed<FileBackend>;

    fn open(&self) -> Result<Self::Backend> {
        let backend = self.0.open()?;
        Ok(Compressed::new(backend, Codec::Always(Scheme::Pack)))
    }

    fn housekeep(&self, backend: &Self::Backend) -> Result<()> {
        self.0.housekeep(backend.inner())
    }

    fn held(&self, backend: &Self::Backend) -> Vec<(&'static str, u64)> {
        let mut held = self.0.held(backend.inner());
        held.push(("plain bytes", Backend::usage(backend).logical_bytes));
        held
    }

    fn left_behind(&self) -> Vec<String> {
        self.0.left_behind()
    }
}

/// The same with a last resort behind it.
struct Overflowing(Files);

impl Subject for Overflowing {
    type Backend = Overflow<FileBackend, MemoryStore>;

    fn open(&self) -> Result<Self::Backend> {
        Ok(Overflow::new(self.0.open()?, Some(MemoryStore::new())))
    }

    fn housekeep(&self, backend: &Self::Backend) -> Result<()> {
        self.0.housekeep(backend.first())
    }

    fn held(&self, backend: &Self::Backend) -> Vec<(&'static str, u64)> {
        let mut held = self.0.held(backend.first());
        let last = backend.stats().map_or(0, |stats| stats.live_bytes);
        held.push(("bytes in the last resort", last));
        held
    }

    fn left_behind(&self) -> Vec<String> {
        self.0.left_behind()
    }
}

/// Two directories as one backend.
struct Two([Files; 2]);

impl Subject for Two {
    type Backend = FileSet;

    fn open(&self) -> Result<FileSet> {
        FileSet::open(self.0.each_ref().map(Files::config))
    }

    fn housekeep(&self, set: &FileSet) -> Result<()> {
        set.reap()?;
        set.trim().map(drop)
    }

    fn held(&self, set: &FileSet) -> Vec<(&'static str, u64)> {
        let directories = set.directories();
        let in_flight = directories.iter().map(|it| it.in_flight_bytes).sum();
        let mut held = vec![("bytes in flight", in_flight)];
        for (files, backend) in self.0.iter().zip(set.backends()) {
            held.extend(files.held(backend));
        }
        held
    }

    fn left_behind(&self) -> Vec<String> {
        self.0.iter().flat_map(Files::left_behind).collect()
    }
}

/// How a backend is configured, and calls that it is known to make then.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    configure: fn(FileConfig) -> FileConfig,
    calls: &'static [Call],
}

const SEED: Kind = Kind {
    name: "seed",
    configure: |config| config.mode(FileMode::Seed),
    calls: &[Call::Pwritev, Call::Pread, Call::Unlinkat, Call::Close],
};
const DIRECT: Kind = Kind {
    name: "direct",
    configure: |config| config.io(IoChoice::Direct),
    calls: &[Call::Fallocate, Call::Pread, Call::Statx, Call::Fcntl],
};
const BUFFERED: Kind = Kind {
    name: "buffered",
    configure: |config| config.io(IoChoice::Buffered),
    calls: &[Call::Fallocate, Call::Pread, Call::Fadvise, Call::Pwritev2],
};
const UNVERIFIED: Kind = Kind {
    name: "unverified",
    configure: |config| config.checksums(false),
    calls: &[Call::Renameat, Call::Flock, Call::Mkdirat, Call::Getdents],
};

#[cfg(feature = "encryption")]
const ENCRYPTED: Kind = Kind {
    name: "encrypted",
    configure: |config| config.encryption(true),
    calls: &[Call::Mmap, Call::Madvise, Call::Mlock, Call::Pwritev],
};
/// A build without encryption, as the tests of the package are.
#[cfg(not(feature = "encryption"))]
const ENCRYPTED: Kind = DIRECT;

/// Memory takes the same calls as a disk does, and is not waited for.
const MEMORY: &str = "/dev/shm";
const DISK: &str = "/var/tmp";

const NO_BUDGET: Option<usize> = None;
const SMALL_BUDGET: Option<usize> = Some(64 << 10);

fn campaign(place: &str, kind: Kind, budget_bytes: Option<usize>, depth: Depth) {
    let place = Path::new(place);
    if !place.is_dir() {
        common::skip(&format!("there is no {}", place.display()));
        return;
    }
    let budget = budget_bytes.map_or("no budget", |_| "small budget");
    let name = format!("file {}, {budget}, {}", kind.name, place.display());
    let subject = Files::new(place, kind.configure);
    let tally = every_fault(&name, &subject, budget_bytes, depth);
    for call in kind.calls {
        assert!(tally.of(*call) > 0, "{name}: no {call:?} in {tally:?}");
    }
}

#[rstest]
fn beneath_a_codec_nothing_is_lost_and_nothing_is_left_either(
    #[values(DIRECT, UNVERIFIED, ENCRYPTED)] kind: Kind,
    #[values(NO_BUDGET, SMALL_BUDGET)] budget_bytes: Option<usize>,
) {
    let subject = Encoded(Files::new(Path::new(DISK), kind.configure));
    let name = format!("file {} beneath a codec", kind.name);
    let tally = every_fault(&name, &subject, budget_bytes, Depth::AtMost(1));
    assert!(tally.of(Call::Pwritev) > 0 && tally.of(Call::Pread) > 0);
}

#[rstest]
fn before_a_last_resort_nothing_is_lost_and_nothing_is_left_either(
    #[values(DIRECT, SEED)] kind: Kind,
    #[values(NO_BUDGET, SMALL_BUDGET)] budget_bytes: Option<usize>,
) {
    let subject = Overflowing(Files::new(Path::new(DISK), kind.configure));
    let name = format!("file {} before a last resort", kind.name);
    let tally = every_fault(&name, &subject, budget_bytes, Depth::AtMost(1));
    assert!(tally.of(Call::Pwritev) > 0 && tally.of(Call::Pread) > 0);
}

#[rstest]
fn on_two_directories_nothing_is_lost_and_nothing_is_left_either(
    #[values(SEED, DIRECT, UNVERIFIED)] kind: Kind,
    #[values(NO_BUDGET, SMALL_BUDGET)] budget_bytes: Option<usize>,
) {
    let name = format!("two directories, {}", kind.name);
    for (place, depth) in [(DISK, Depth::AtMost(1)), (MEMORY, Depth::AtMost(3))] {
        let place = Path::new(place);
        if place.is_dir() {
            let subject = Two([(); 2].map(|()| Files::new(place, kind.configure)));
            let tally = every_fault(&name, &subject, budget_bytes, depth);
            assert!(tally.of(Call::Pread) > 0 && tally.of(Call::Pwritev) > 0);
        }
    }
}

#[rstest]
fn whatever_call_fails_or_falls_short_nothing_is_lost_and_nothing_is_left(
    #[values(SEED, DIRECT, BUFFERED, UNVERIFIED, ENCRYPTED)] kind: Kind,
    #[values(NO_BUDGET, SMALL_BUDGET)] budget_bytes: Option<usize>,
) {
    campaign(DISK, kind, budget_bytes, Depth::AtMost(1));
    campaign(MEMORY, kind, budget_bytes, Depth::AtMost(3));
}

/// A key that cannot be locked, or would be dumped and inherited, is one all the same,
/// and its backend says so.
#[cfg(feature = "encryption")]
#[test]
fn guards_that_the_kernel_refuses_are_told() {
    for call in [Call::Mlock, Call::Madvise] {
        for errno in Errno::ALL {
            let subject = Files::new(Path::new(DISK), ENCRYPTED.configure);
            let injection = Injection::begin(&[Fault {
                call,
                nth: 1,
                mishap: Mishap::Fails(errno),
                for_good: true,
            }]);
            let backend = subject.open().unwrap();
            assert!(injection.struck() > 0);
            let key = backend.stats().encryption.unwrap().key;
            assert!(!key.are_complete());
            match call {
                Call::Mlock => assert!(!key.locked && key.undumped && key.wiped, "{key}"),
                _ => assert!(!key.undumped && !key.wiped, "{key}"),
            }
            let how = Backend::usage(&backend).how;
            assert!(how.ends_with(&format!("AES-256-GCM, key {key}")), "{how}");
            let registry = Registry::new(backend);
            let handle = registry.pageout(&mut [vec![5u64; 70_000]]).unwrap();
            let mut taken = Vec::new();
            handle.take(&mut taken).unwrap();
            assert!(taken == vec![5u64; 70_000]);
        }
    }
}

/// Buffered files without uncached writes are written out now and then.
#[test]
fn a_write_out_that_fails_is_the_error_of_its_page_out() {
    for errno in Errno::ALL {
        let subject = Files::new(Path::new(DISK), BUFFERED.configure);
        // Uncached writes are tried when the backend is opened.
        let fault = |call| Fault {
            call,
            nth: 1,
            mishap: Mishap::Fails(errno),
            for_good: false,
        };
        let injection = Injection::begin(&[fault(Call::Pwritev2), fault(Call::Fdatasync)]);
        let registry = Registry::new(subject.open().unwrap());
        assert_eq!(injection.struck(), 1, "uncached writes are tried");
        let expected = vec![7u64; (9 << 20) / 8];
        let mut chunk = [expected.clone()];
        let paged_out = registry.pageout(&mut chunk);
        assert_eq!(injection.struck(), 2, "what is written is written out");
        match &paged_out {
            Ok(_) => assert_eq!(errno, Errno::Interrupted, "that is tried again"),
            Err(_) => assert!(chunk[0] == expected, "the chunk is as it was"),
        }
        let again = paged_out.or_else(|_| registry.pageout(&mut chunk));
        let mut taken = Vec::new();
        again.unwrap().take(&mut taken).unwrap();
        assert!(taken == expected, "every word comes back");
        assert_eq!(registry.backend().stats().stored_bytes, 0);
        drop(registry);
        common::eventually(|| subject.left_behind().is_empty());
    }
}

/// Such a mask takes rights of the owner's own, and they are given back by a call.
#[test]
fn a_mode_that_cannot_be_repaired_is_an_error_and_leaves_nothing() {
    const NAME: &str = "a_mode_that_cannot_be_repaired_is_an_error_and_leaves_nothing";
    if common::role().is_none() {
        // The mask is the process's, and other tests make directories meanwhile.
        common::Role::new(NAME, "unusual mask").run();
        return;
    }
    for errno in Errno::ALL {
        for (nth, configure) in [(1, DIRECT.configure), (2, SEED.configure)] {
            let subject = Files::new(Path::new(DISK), configure);
            let injection = Injection::begin(&[Fault {
                call: Call::Fchmod,
                nth,
                mishap: Mishap::Fails(errno),
                for_good: false,
            }]);
            std::fs::create_dir(subject.scratch()).unwrap();
            let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o277));
            let opened = subject.open();
            let registry = Registry::new(opened.or_else(|_| subject.open()).unwrap());
            let mut chunk = [vec![9u64; 700]];
            let paged_out = registry.pageout(&mut chunk);
            let handle = paged_out.or_else(|_| registry.pageout(&mut chunk)).unwrap();
            nix::sys::stat::umask(before);
            assert_eq!(injection.struck(), 1, "{errno:?}");
            let mut taken = Vec::new();
            handle.take(&mut taken).unwrap();
            assert_eq!(taken, [9; 700]);
            drop(registry);
            common::eventually(|| subject.left_behind().is_empty());
        }
    }
}

#[rstest]
#[ignore = "takes half an hour: every call at every occurrence"]
fn every_call_may_fail_at_every_occurrence_and_nothing_is_left(
    #[values(SEED, DIRECT, BUFFERED, UNVERIFIED, ENCRYPTED)] kind: Kind,
    #[values(NO_BUDGET, SMALL_BUDGET)] budget_bytes: Option<usize>,
) {
    campaign(MEMORY, kind, budget_bytes, Depth::Everything);
    campaign(DISK, kind, budget_bytes, Depth::AtMost(10));
}

#[rstest]
#[ignore = "takes long: every call at every occurrence"]
fn every_call_may_fail_at_every_occurrence_on_two_directories_and_nothing_is_left(
    #[values(SEED, DIRECT, BUFFERED, UNVERIFIED)] kind: Kind,
    #[values(NO_BUDGET, SMALL_BUDGET)] budget_bytes: Option<usize>,
) {
    let place = Path::new(MEMORY);
    if !place.is_dir() {
        return common::skip(&format!("there is no {MEMORY}"));
    }
    let name = format!("two directories, {}", kind.name);
    let subject = Two([(); 2].map(|()| Files::new(place, kind.configure)));
    every_fault(&name, &subject, budget_bytes, Depth::Everything);
}

/// What lies below the device of a directory is listed, and an entry that cannot be read
/// ends that.
#[test]
fn a_directory_that_cannot_be_listed_for_good_holds_nobody_up() {
    let subject = Files::new(Path::new(DISK), SEED.configure);
    for nth in 1..=8 {
        let fault = Fault {
            call: Call::Getdents,
            nth,
            mishap: Mishap::Fails(Errno::Io),
            for_good: true,
        };
        let injection = Injection::begin(&[fault]);
        pager_testkit::scenario::play(&subject, NO_BUDGET, Some(fault), &injection);
    }
}
