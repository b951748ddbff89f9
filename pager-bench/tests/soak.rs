//! The soak program for three seconds, run as a user runs it, and its exit codes.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::process::{Command, Output};

use pager_bench::soak::{OPERATIONS, Report};

fn soak(args: &[&str]) -> (Output, Vec<std::ffi::OsString>) {
    let scratch = tempfile::tempdir_in(pager_bench::direct::scratch_or_default(None)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_soak"))
        .arg("--scratch")
        .arg(scratch.path())
        .args(args)
        .output()
        .unwrap();
    let entries = std::fs::read_dir(scratch.path()).unwrap();
    let left = entries.map(|entry| entry.unwrap().file_name()).collect();
    (output, left)
}

#[test]
fn three_seconds_of_everything_find_no_difference_and_leave_nothing() {
    let (output, left) = soak(&[
        "--minutes",
        "0.05",
        "--threads",
        "8",
        "--budget",
        "4MiB",
        "--max-chunk",
        "512KiB",
        "--seed",
        "11",
        "--json",
    ]);
    let printed = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}{said}");
    let report: Report = serde_json::from_str(&printed).unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(left, Vec::<std::ffi::OsString>::new());
    assert!(
        report.swap_pageouts > 0 && report.file_pageouts > 0,
        "{report}"
    );
    assert!(report.writes > 0 && report.fetches > 0, "{report}");
    for (_, name, weight) in OPERATIONS {
        assert!(report.by_kind[name] > 0 || weight < 10, "{name}: {report}");
    }
}

#[test]
fn a_soak_without_sense_is_refused_with_a_sentence() {
    for (args, expected) in [
        (["--minutes=0"], "--minutes"),
        (["--threads=0"], "0"),
        (["--live=1KiB"], "live limit"),
        (["--max-chunk=1B"], "one word"),
    ] {
        let (output, left) = soak(&args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains(expected),
            "{said}"
        );
        assert_eq!(left, Vec::<std::ffi::OsString>::new());
    }
}
