//! Every system call that matters fails once, from outside: `strace` attaches to a
//! child of this very binary and lets one call of its choice fail.
//!
//! The child runs a scripted scenario over both backends, with and without a
//! budget. Whatever fails, it must not panic, every error is one of
//! `pager::Error`, a failed operation leaves everything as it was and succeeds
//! when it is repeated, every word comes back, and every count returns to zero.
//! The parent sees the exit code, and looks whether a file is left.
//!
//! Needs `strace` and the right to trace; without, it says so and passes.

#![cfg(all(target_os = "linux", feature = "swap", feature = "file"))]
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

mod common;
#[path = "common/kept.rs"]
mod kept;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::words;
use kept::assert_nothing_is_left;
use pager::pager_core::{Chunk, Destination};
use pager::{BackendKind, ChunkBuf, Error, Handle, Pager, Preset};
use tempfile::TempDir;

/// Tells a child where its scratch root is.
const ROOT: &str = "PAGER_FAULTS_ROOT";

/// The calls that are made to fail, where the scenario makes them at all.
const CALLS: [&str; 26] = [
    "pwritev",
    "pwritev2",
    "pwrite64",
    "write",
    "pread64",
    "preadv",
    "preadv2",
    "fallocate",
    "openat",
    "madvise",
    "ftruncate",
    "statx",
    "newfstatat",
    "fstat",
    "fstatfs",
    "fcntl",
    "flock",
    "mkdirat",
    "renameat",
    "unlinkat",
    "getdents64",
    "fdatasync",
    "fadvise64",
    "close",
    "munmap",
    "clone3",
];
/// Those that remove the scratch directory, whose drop has nobody to tell.
const REMOVAL: [&str; 6] = [
    "openat",
    "fstat:",
    "newfstatat",
    "unlinkat",
    "getdents64",
    "fcntl",
];
const ERRORS: [&str; 5] = ["EIO", "ENOSPC", "EINTR", "EAGAIN", "ENOMEM"];

/// How often an operation is repeated until it must have succeeded: the n-th call
/// fails once on each thread, and there are four.
const ATTEMPTS: usize = 6;

/// How long a child may take: far longer than any does that ends.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many children run at a time.
const AT_A_TIME: usize = 3;

/// Calls that move payloads: all errors at the first, the middle and the last.
const MOVERS: [&str; 5] = ["pwritev", "pwritev2", "pread64", "fallocate", "madvise"];

#[test]
fn whatever_call_fails_nothing_is_lost_and_nothing_is_left() {
    try_all(|call, count| {
        let mut occurrences = vec![1, count / 2, count];
        occurrences.retain(|&occurrence| occurrence > 0);
        occurrences.dedup();
        let faults = ERRORS.iter().enumerate().flat_map(|(turn, error)| {
            let some = match MOVERS.contains(&call) {
                true => &occurrences[..],
                false => &occurrences[turn % occurrences.len()..][..1],
            };
            some.iter().map(|&occurrence| (*error, occurrence))
        });
        faults.collect()
    });
}

#[test]
#[ignore = "takes ten minutes: every occurrence; the errors take turns"]
fn every_call_may_fail_at_every_occurrence_and_nothing_is_left() {
    try_all(|_, count| {
        let errors = ERRORS.into_iter().cycle();
        errors.zip(1..=count).collect()
    });
}

/// Lets each call fail as `plan` says for so many occurrences of it.
fn try_all(plan: impl Fn(&str, usize) -> Vec<(&'static str, usize)>) {
    if let Err(why) = can_trace() {
        println!("skipped: {why}");
        return;
    }
    let counted = count_calls();
    let mut faults = Vec::new();
    for (&call, &count) in &counted {
        let planned = plan(call, count).into_iter();
        faults.extend(planned.map(|(error, when)| (call, error, when)));
    }
    for needed in ["fallocate", "openat", "madvise"] {
        assert!(
            counted.contains_key(needed),
            "{needed} is made: {counted:?}"
        );
    }
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            // Relaxed: the numbers need only differ.
            let mine = || faults.get(next.fetch_add(1, Ordering::Relaxed));
            let failures = &failures;
            scope.spawn(move || {
                while let Some((call, error, when)) = mine() {
                    let fault = format!("{call}:error={error}:when={when}");
                    if let Err(why) = run_with(&fault) {
                        failures.lock().unwrap().push(format!("{fault}: {why}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    println!("{} faults tried: {counted:?}", faults.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Whether a child can be traced here.
fn can_trace() -> Result<(), String> {
    if Command::new("strace").arg("-V").output().is_err() {
        return Err("no strace".to_owned());
    }
    let root = TempDir::new().unwrap();
    let traced = Traced::start(root.path(), &["-e", "trace=none"]);
    traced.map(|traced| drop(traced.finish()))
}

/// Runs the scenario with nothing failing; the most often that a thread makes each
/// of the calls.
fn count_calls() -> BTreeMap<&'static str, usize> {
    let root = scratch_root();
    let trace = root.path().join("trace");
    let scratch = root.path().join("scratch");
    let (traced_calls, log) = (
        format!("trace={}", CALLS.join(",")),
        trace.to_str().unwrap(),
    );
    let traced = Traced::start(&scratch, &["-e", &traced_calls, "-o", log]).unwrap();
    let (code, said) = traced.finish();
    assert_eq!(code, Some(0), "without a fault: {said}");
    let mut counted: BTreeMap<(&str, &'static str), usize> = BTreeMap::new();
    let log = std::fs::read_to_string(trace).unwrap();
    for line in log.lines() {
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        let Some((name, _)) = rest.trim_start().split_once('(') else {
            continue;
        };
        if let Some(&call) = CALLS.iter().find(|call| **call == name) {
            *counted.entry((thread, call)).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((_, call), count) in counted {
        let entry = most.entry(call).or_default();
        *entry = count.max(*entry);
    }
    // The last output of the child, not a call of the pager.
    most.remove("write");
    most
}

/// Runs the scenario with one fault.
fn run_with(fault: &str) -> Result<(), String> {
    let root = scratch_root();
    let scratch = root.path().join("scratch");
    let inject = format!("inject={fault}");
    let log = root.path().join("trace");
    let traced = Traced::start(&scratch, &["-e", &inject, "-o", log.to_str().unwrap()])?;
    let (code, said) = traced.finish();
    if code != Some(0) {
        return Err(format!("ended with {code:?}: {said}"));
    }
    let left = entries(&scratch);
    if left.is_empty() {
        return Ok(());
    }
    // A removal that fails is made up for by whoever opens the root next.
    let next = Pager::builder().allow_memory_fs(true).scratch_dir(&scratch);
    drop(next.build().map_err(|error| error.to_string())?);
    let still = entries(&scratch);
    let is_of_removal = REMOVAL.iter().any(|call| fault.starts_with(call));
    if still.is_empty() && is_of_removal {
        return Ok(());
    }
    Err(format!("left {left:?}, and {still:?} after the next start"))
}

fn scratch_root() -> TempDir {
    let disk = Path::new("/var/tmp");
    tempfile::tempdir_in(disk).unwrap_or_else(|_| TempDir::new().unwrap())
}

fn entries(root: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(root).map_or_else(
        |_| Vec::new(),
        |entries| entries.map(|entry| entry.unwrap().path()).collect(),
    )
}

/// A child with `strace` attached.
struct Traced {
    child: Child,
    strace: Child,
}

impl Traced {
    /// Starts a child, attaches to it, and lets it go.
    fn start(root: &Path, args: &[&str]) -> Result<Self, String> {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "scenario", "--ignored", "--nocapture"])
            .env(ROOT, root)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Attached when it waits, so that its start is none of the calls counted.
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        child.stderr = Some(said.into_inner());
        let mut strace = Command::new("strace")
            .args(["-f", "-p", &child.id().to_string()])
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(strace.stderr.take().unwrap());
        line.clear();
        said.read_line(&mut line).unwrap();
        if !line.contains("attached") {
            drop(child.stdin.take());
            let _ = child.wait();
            let _ = strace.wait();
            return Err(format!("strace cannot attach: {}", line.trim()));
        }
        // Read to the end, lest it should wait for a reader.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        Ok(Self { child, strace })
    }

    /// The exit code of the child, `None` for a signal, and what it said. A child
    /// that does not end is killed.
    fn finish(mut self) -> (Option<i32>, String) {
        let since = Instant::now();
        while self.child.try_wait().unwrap().is_none() && since.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(2));
        }
        if self.child.try_wait().unwrap().is_none() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
            self.strace.wait().unwrap();
            return (None, "it hung".to_owned());
        }
        let output = self.child.wait_with_output().unwrap();
        self.strace.wait().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said.into_owned())
    }
}

/// The child.
#[test]
#[ignore = "run by the test of this file, with a fault"]
fn scenario() {
    let Some(root) = std::env::var_os(ROOT).map(PathBuf::from) else {
        println!("skipped: nobody has said where");
        return;
    };
    eprintln!("ready");
    let mut go = String::new();
    std::io::stdin().read_line(&mut go).unwrap();
    for preset in Preset::ALL {
        for budget_bytes in [0, 1 << 20] {
            play(&root, preset, budget_bytes);
        }
    }
}

/// A payload of the scenario.
struct Kept {
    handle: Handle,
    expected: Vec<u64>,
}

fn play(root: &Path, preset: Preset, budget_bytes: usize) {
    let pager = insist("build", || {
        Pager::builder()
            .preset(preset)
            .budget_bytes(budget_bytes)
            .scratch_dir(root)
            .allow_memory_fs(true)
            .build()
    });
    let mut kept = Vec::new();
    for (seed, len) in [1, 512, 513, 20_000, 70_001, 40_960]
        .into_iter()
        .enumerate()
    {
        for kind in BackendKind::ALL {
            let expected = words(seed as u64, len);
            let (front, back) = expected.split_at(len / 3);
            kept.push(page_out(&pager, kind, &mut [front.to_vec(), back.to_vec()]));
            kept.push(page_out(&pager, kind, &mut [buf(&expected)]));
        }
    }
    for one in &kept {
        pager.prefetch(&one.handle);
        look_at::<Vec<u64>>(&one.handle, &one.expected, Vec::new);
    }
    insist("flush", || pager.flush());
    for one in &kept {
        look_at::<ChunkBuf>(&one.handle, &one.expected, ChunkBuf::new);
        pager.prefetch_at(&one.handle, 3, 5000);
    }
    insist("set_budget", || pager.set_budget(budget_bytes / 2));
    insist("reap", || pager.reap());
    for (index, one) in kept.into_iter().enumerate() {
        match index % 3 {
            0 => drop(one),
            1 => take::<Vec<u64>>(one, Vec::new()),
            _ => take::<ChunkBuf>(one, ChunkBuf::new()),
        }
    }
    insist("flush", || pager.flush());
    assert_nothing_is_left(&pager);
}

/// Repeats what fails: a fault that is over must not matter any more.
fn insist<T>(what: &str, mut attempt: impl FnMut() -> Result<T, Error>) -> T {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        match attempt() {
            Ok(done) => return done,
            Err(error) => last = Some(error),
        }
    }
    panic!("{what} fails for ever: {last:?}");
}

fn buf(expected: &[u64]) -> ChunkBuf {
    insist("a buffer", || ChunkBuf::try_from(expected))
}

fn page_out<C: Chunk<Element = u64>>(pager: &Pager, kind: BackendKind, chunks: &mut [C]) -> Kept {
    let before: Vec<Vec<u64>> = chunks
        .iter()
        .map(|chunk| chunk.elements().to_vec())
        .collect();
    let handle = insist("pageout", || {
        let paged_out = pager.options().backend(kind).pageout(chunks);
        for (chunk, before) in chunks.iter().zip(&before) {
            let expected = if paged_out.is_ok() { &[] } else { &before[..] };
            assert!(
                chunk.elements() == expected,
                "chunks are moved or untouched"
            );
        }
        paged_out
    });
    Kept {
        handle,
        expected: before.concat(),
    }
}

fn look_at<D: Destination<Element = u64> + std::ops::Deref<Target = [u64]>>(
    handle: &Handle,
    expected: &[u64],
    fresh: impl Fn() -> D,
) {
    let len = expected.len();
    for range in [0..len, len / 2..len, len / 3..(len / 3 + 600).min(len)] {
        let mut read = fresh();
        insist("read_at", || {
            let outcome = handle.read_at(range.start, range.len(), &mut read);
            assert!(outcome.is_ok() || read.is_empty(), "nothing on failure");
            outcome
        });
        assert!(read[..] == expected[range], "a range reads back");
    }
    let ranges = [len / 2..len, 0..len.min(9), 0..0];
    let mut read = fresh();
    insist("read_at_many", || handle.read_at_many(&ranges, &mut read));
    let joined = [&expected[len / 2..], &expected[..len.min(9)]].concat();
    assert!(read[..] == joined[..], "scattered ranges read back");
}

fn take<D: Destination<Element = u64> + std::ops::Deref<Target = [u64]>>(kept: Kept, mut dst: D) {
    let mut handle = kept.handle;
    for _ in 0..ATTEMPTS {
        match handle.take(&mut dst) {
            Ok(()) => {
                assert!(dst[..] == kept.expected[..], "a payload comes back");
                return;
            }
            Err(failed) => {
                assert!(dst.is_empty(), "nothing on failure");
                handle = failed.into_handle();
            }
        }
    }
    panic!("take fails for ever");
}
