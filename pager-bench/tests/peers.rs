//! The programs that measure the device without pager, run as a user runs them.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]
#![cfg(target_os = "linux")]

use std::process::Command;

use pager_bench::ceiling::Ceiling;
use pager_bench::direct::{DirectFile, scratch_or_default};
use pager_bench::pread_4k::Comparison;
use tempfile::TempDir;

/// A scratch directory with direct I/O, if there is one.
fn scratch() -> Option<TempDir> {
    let scratch = tempfile::tempdir_in(scratch_or_default(None)).unwrap();
    if DirectFile::create(scratch.path(), 1).is_ok() {
        return Some(scratch);
    }
    println!("skipped: no direct I/O in {}", scratch.path().display());
    None
}

/// Runs `program` and returns the one line that it prints.
fn run(program: &str, scratch: &TempDir, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(["--gib", "0.0078125", "--json", "--scratch"])
        .arg(scratch.path())
        .args(args)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_ceiling_is_the_best_of_its_queue_depths() {
    let Some(scratch) = scratch() else { return };
    let printed = run(env!("CARGO_BIN_EXE_ceiling"), &scratch, &[]);
    let ceiling: Ceiling = serde_json::from_str(&printed).unwrap();
    let depths: Vec<u64> = ceiling.depths.iter().map(|at| at.queue_depth).collect();
    assert_eq!(depths, [1, 2, 4, 8]);
    for at in &ceiling.depths {
        assert!(at.through_gib_s > 0.0 && at.through_gib_s <= ceiling.ceiling_gib_s);
        assert!((at.raw_gib_s / at.through_gib_s - 2.0).abs() < 1e-9);
    }
}

#[test]
fn small_reads_are_compared_into_both_kinds_of_memory() {
    let Some(scratch) = scratch() else { return };
    for destination in ["vec", "buf"] {
        let args = ["--turns", "3", "--reads", "20", "--dst", destination];
        let printed = run(env!("CARGO_BIN_EXE_pread_4k"), &scratch, &args);
        let comparison: Comparison = serde_json::from_str(&printed).unwrap();
        assert!(comparison.ratio > 0.0);
        assert_eq!(comparison.destination, destination);
        assert_eq!(comparison.read_at_us.count, 60);
        assert_eq!(comparison.pread_us.count, 60);
    }
}
