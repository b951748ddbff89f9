//! The merge program, run as a user runs it: every backend and preset, checked.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::process::{Command, Output};

use pager_bench::CHUNK_BYTES;
use pager_bench::report::Report;
use tempfile::TempDir;

/// A scratch directory on a disk, where there is one.
fn scratch() -> TempDir {
    tempfile::tempdir_in(pager_bench::direct::scratch_or_default(None)).unwrap()
}

fn merge(scratch: &TempDir, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_merge"))
        .args(["--chain-gib", "0.0078125", "--json", "--scratch"])
        .arg(scratch.path())
        .args(args)
        .output()
        .unwrap()
}

/// Runs it to its end and reads the one line that it prints.
fn report(args: &[&str]) -> Report {
    let scratch = scratch();
    let output = merge(&scratch, args);
    let printed = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    assert_eq!(printed.lines().count(), 1, "{printed}");
    let left: Vec<_> = std::fs::read_dir(scratch.path()).unwrap().collect();
    assert!(left.is_empty(), "{args:?} left {left:?}");
    serde_json::from_str(&printed).unwrap()
}

#[test]
fn every_backend_and_preset_brings_every_word_back() {
    for backend in ["swap", "file", "none", "tempfile", "memmap2", "lgalloc"] {
        for preset in ["fast", "seed"] {
            let report = report(&[
                "--backend",
                backend,
                "--preset",
                preset,
                "--threads",
                "2",
                "--lookahead",
                "2",
                "--verify",
            ]);
            assert!(report.verified, "{report}");
            assert_eq!((report.chain_gib, report.threads), (0.0078125, 2));
            assert_eq!(report.setting.backend, backend);
            assert!(report.through_gib_s > 0.0 && report.peak_rss_bytes > 0);
            let paged_out = if backend == "none" { 0 } else { 16 };
            assert_eq!(report.paged_out_bytes, paged_out * CHUNK_BYTES as u64);
            assert_eq!(report.latency_us.take.count, 8);
            assert_eq!(report.latency_us.prefetch.count, 8);
        }
    }
}

#[test]
fn lineitem_in_buffers_of_pagers_own_comes_back_too() {
    for backend in ["swap", "file"] {
        for preset in ["fast", "seed"] {
            let args = ["--backend", backend, "--preset", preset, "--verify"];
            let more = ["--data", "lineitem", "--chunks", "buf"];
            let report = report(&[&args[..], &more[..]].concat());
            assert!(report.verified, "{report}");
            assert_eq!(report.setting.chunks, "buf");
        }
    }
}

#[test]
fn half_of_the_chunks_may_die_young() {
    for backend in ["swap", "file"] {
        let report = report(&["--backend", backend, "--die-young", "0.5", "--verify"]);
        assert!(report.verified, "{report}");
        // Eight inputs, four of them dropped; four outputs, two of them dropped.
        assert_eq!(report.paged_out_bytes, 12 * CHUNK_BYTES as u64);
        assert_eq!(report.latency_us.drop.count, 6);
        assert_eq!(report.latency_us.take.count, 4);
    }
}

#[test]
fn nothing_is_called_verified_that_was_not_asked_for() {
    assert!(!report(&["--backend", "file"]).verified);
}

#[test]
fn wrong_flags_are_refused_with_a_sentence() {
    for (args, expected) in [
        (["--backend", "tape"], "tape"),
        (["--preset", "best"], "best"),
        (["--data", "zeros"], "zeros"),
        (["--threads", "0"], "0"),
        (["--die-young", "1.5"], "--die-young"),
        (["--chain-gib", "-1"], "--chain-gib"),
    ] {
        // Given twice, the last value would win; so the flag stands alone here.
        let output = Command::new(env!("CARGO_BIN_EXE_merge"))
            .args([format!("{}={}", args[0], args[1])])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains(expected),
            "{said}"
        );
    }
}

#[test]
fn a_summary_for_people_says_that_all_is_right() {
    let output = Command::new(env!("CARGO_BIN_EXE_merge"))
        .args(["--backend", "none", "--chain-gib", "0.002", "--verify"])
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("verified: every word"), "{printed}");
}
