//! The example `spill_sort` as its users run it: sizes that nobody has are refused, a
//! budget is a bound and no allocation, and its output may fail.

#![cfg(all(target_os = "linux", feature = "swap", feature = "file"))]
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are tests, which clippy does not see"
)]

use std::fs::{self, File};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// Where it is, built first: tests alone do not build examples.
fn example() -> &'static str {
    static BUILT: OnceLock<String> = OnceLock::new();
    BUILT.get_or_init(|| {
        let output = Command::new(env!("CARGO"))
            .args(["build", "-q", "-p", env!("CARGO_PKG_NAME")])
            .args(["--example", "spill_sort", "--message-format", "json"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        let messages = String::from_utf8(output.stdout).unwrap();
        let paths = messages.split("\"executable\":\"").skip(1);
        let paths = paths.filter_map(|rest| rest.split('"').next());
        paths.last().expect("an executable was built").to_owned()
    })
}

/// Runs it on files below a directory of its own, which must be empty afterwards.
fn spill_sort(args: &[&str], out: impl Into<Stdio>) -> Output {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let child = Command::new(example())
        .args(["--backend", "file", "--scratch"])
        .arg(scratch.path())
        .args(args)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    for end in ["panicked", "memory allocation of", "SIG"] {
        assert!(!said.contains(end), "{args:?}: {said}");
    }
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "{args:?}");
    output
}

#[test]
fn sizes_that_nobody_has_are_refused_with_the_figures() {
    for (args, expected) in [
        (
            ["--scale", "0.01", "--budget", "1TiB"],
            "--budget wants 1.0 TiB",
        ),
        (
            ["--scale", "0.01", "--budget", "15EiB"],
            "--budget wants 15.0 EiB",
        ),
        (["--scale", "1e9", "--budget", "64MiB"], "--scale wants"),
        (["--scale", "1e300", "--budget", "64MiB"], "--scale wants"),
    ] {
        let output = spill_sort(&args, Stdio::piped());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_budget_is_a_bound_and_no_allocation() {
    // Much more than the table, and as much as may be had here at all.
    let budget = format!("{}B", pager_tool::usable_bytes());
    let output = spill_sort(&["--scale", "0.001", "--budget", &budget], Stdio::piped());
    let (told, said) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        told.contains("check: ok") && told.contains("1 sorted runs"),
        "{told}{said}"
    );
}

#[test]
fn a_program_is_told_what_was_sorted_and_that_it_is_right() {
    let args = ["--scale", "0.01", "--budget", "8MiB", "--json"];
    let output = spill_sort(&args, Stdio::piped());
    assert_eq!(output.status.code(), Some(0));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["verified"], true);
    assert_eq!(told["limit_bytes"], 8 << 20);
    assert!(told["rows"].as_u64().unwrap() > 50_000);
    assert!(told["sort_s"].as_f64().unwrap() > 0.0 && told["check_s"].as_f64().unwrap() > 0.0);
    assert_eq!(told["rows_digest"].as_str().unwrap().len(), 16);
}

#[test]
fn output_that_nobody_takes_is_no_panic() {
    let args = ["--scale", "0.001"];
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = spill_sort(&args, writer);
    assert_eq!(output.status.code(), Some(141), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = spill_sort(&args, full);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("standard output cannot be written"), "{said}");
}
