//! Below the budget, a page-out and its take are moves of pointers: they make no
//! system call at all.
//!
//! Shown by the kernel: a thread of a child of this test binary does both many
//! times, enters the strict mode of seccomp, in which any call but `read` and `write`
//! kills it, and does both many times more.
//!
//! Not with feature `metrics`, which takes the time of each: on some machines a call.

#![cfg(all(target_os = "linux", feature = "swap", feature = "file"))]
#![cfg(not(feature = "metrics"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use pager::{BackendKind, Pager};
use rstest::rstest;
use rustix::thread::{SecureComputingMode, set_secure_computing_mode};

/// Tells a child which backend to use, and with what budget in bytes.
const BACKEND: &str = "PAGER_TEST_BACKEND";
const BUDGET: &str = "PAGER_TEST_BUDGET";

const CHUNK_WORDS: usize = 1 << 18;
const ROUNDS: usize = 200;

/// What the child says when it was not killed before.
const DONE: &[u8] = b"no system call was made\n";

#[rstest]
fn a_pageout_and_its_take_below_the_budget_make_no_system_call(
    #[values(BackendKind::Swap, BackendKind::File)] kind: BackendKind,
) {
    let output = run_child(kind, 64 << 20);
    assert!(said(&output, DONE), "{kind}: {output:?}");
}

#[rstest]
fn without_a_budget_they_make_some(
    #[values(BackendKind::Swap, BackendKind::File)] kind: BackendKind,
) {
    let output = run_child(kind, 0);
    assert!(!said(&output, DONE), "{kind}: {output:?}");
}

fn said(output: &Output, what: &[u8]) -> bool {
    output.stdout.windows(what.len()).any(|said| said == what)
}

fn run_child(kind: BackendKind, budget_bytes: usize) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_child", "--nocapture", "--test-threads=1"])
        .env(BACKEND, kind.name())
        .env(BUDGET, budget_bytes.to_string())
        .output()
        .unwrap()
}

/// Not a test of its own: what the children run.
#[test]
fn the_child() {
    let (Ok(kind), Ok(budget_bytes)) = (std::env::var(BACKEND), std::env::var(BUDGET)) else {
        return;
    };
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let pager = Pager::builder()
        .backend(kind.parse::<pager::BackendKind>().unwrap())
        .budget_bytes(budget_bytes.parse().unwrap())
        .scratch_dir(root.path())
        .build()
        .unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let shared = Arc::new(pager);
    let pager = Arc::clone(&shared);
    std::thread::spawn(move || {
        tell.send(rustix::thread::gettid()).unwrap();
        let mut chunk = vec![7; CHUNK_WORDS];
        page_out_and_take(&pager, &mut chunk);
        set_secure_computing_mode(SecureComputingMode::Strict).unwrap();
        page_out_and_take(&pager, &mut chunk);
        std::io::stdout().write_all(DONE).unwrap();
        // A thread's end takes more calls than the mode allows: it is killed here.
    });
    // Whoever is killed wakes nobody, but is seen to be gone.
    let worker = format!("/proc/self/task/{}", told.recv().unwrap());
    while Path::new(&worker).exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(shared);
}

fn page_out_and_take(pager: &Pager, chunk: &mut Vec<u64>) {
    for _ in 0..ROUNDS {
        let handle = pager.pageout(std::slice::from_mut(chunk)).unwrap();
        pager.take(handle, chunk).unwrap();
    }
}
