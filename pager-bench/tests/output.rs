//! What the programs do when nobody can take what they print, and with sizes that
//! nobody has: no panic, no abort, a message, an exit code, and nothing left.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are tests, which clippy does not see"
)]

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};

const MERGE: &str = env!("CARGO_BIN_EXE_merge");
const SOAK: &str = env!("CARGO_BIN_EXE_soak");
const CEILING: &str = env!("CARGO_BIN_EXE_ceiling");
const PREAD: &str = env!("CARGO_BIN_EXE_pread_4k");
const GROWTH: &str = env!("CARGO_BIN_EXE_growth");
const SORT: &str = env!("CARGO_BIN_EXE_sort");

/// The shortest run of every program.
const RUNS: [(&str, &[&str]); 6] = [
    (MERGE, &["--backend", "file", "--chain-gib", "0.004"]),
    (GROWTH, &["--backend", "file", "--handles", "2"]),
    (SORT, &["--engine", "spillsort", "--scale", "0.001"]),
    (
        SOAK,
        &[
            "--minutes",
            "0.003",
            "--threads",
            "1",
            "--budget",
            "4MiB",
            "--max-chunk",
            "64KiB",
        ],
    ),
    (CEILING, &["--gib", "0.002"]),
    (PREAD, &["--gib", "0.002", "--turns", "1", "--reads", "1"]),
];

fn run(program: &str, args: &[&str], scratch: &Path, out: impl Into<Stdio>) -> Output {
    let mut command = Command::new(program);
    command
        .args(args)
        .env("PAGER_SCRATCH", scratch)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(Stdio::piped());
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{program} {args:?}: {said}");
    let left = fs::read_dir(scratch).unwrap().count();
    assert_eq!(left, 0, "{program} {args:?} left something");
    output
}

/// An end of a pipe that nobody reads.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    File::options()
        .write(true)
        .open("/dev/full")
        .unwrap()
        .into()
}

/// Text and JSON of each program, and its help.
fn each_form(mut check: impl FnMut(&str, &[&str], &Path)) {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    for (program, args) in RUNS {
        check(program, args, scratch.path());
        check(program, &[args, &["--json"]].concat(), scratch.path());
        check(program, &["--help"], scratch.path());
    }
}

#[test]
fn a_reader_that_has_gone_ends_a_program_quietly() {
    each_form(|program, args, scratch| {
        let output = run(program, args, scratch, closed());
        assert_eq!(output.status.code(), Some(141), "{program} {args:?}");
        assert!(output.stderr.is_empty(), "{program} {args:?}: {output:?}");
    });
}

#[test]
fn a_full_disk_under_the_output_is_a_failure_that_is_said() {
    each_form(|program, args, scratch| {
        let output = run(program, args, scratch, full());
        assert_eq!(output.status.code(), Some(1), "{program} {args:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("standard output cannot be written"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    });
}

#[test]
fn an_error_that_cannot_be_said_is_a_failure_all_the_same() {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    for (program, _) in RUNS {
        let ended = Command::new(program)
            .args(["--scratch", "/proc/nowhere/at/all"])
            .env("PAGER_SCRATCH", scratch.path())
            .stdout(Stdio::null())
            .stderr(full())
            .status()
            .unwrap();
        assert_eq!(ended.code(), Some(1), "{program}");
    }
}

#[test]
fn sizes_that_nobody_has_are_refused_with_the_figures() {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let refused: &[(&str, &[&str], &str)] = &[
        (MERGE, &["--budget", "15EiB"], "--budget wants"),
        (
            MERGE,
            &["--backend", "file", "--chain-gib", "1e6"],
            "--chain-gib wants",
        ),
        (
            MERGE,
            &["--backend", "swap", "--chain-gib", "1e6"],
            "--chain-gib wants",
        ),
        (
            MERGE,
            &["--backend", "none", "--chain-gib", "1e6"],
            "--chain-gib wants",
        ),
        (MERGE, &["--chain-gib", "1e300"], "--chain-gib is too large"),
        (SOAK, &["--budget", "15EiB"], "--budget wants"),
        (SOAK, &["--max-chunk", "15EiB"], "--max-chunk wants"),
        (SOAK, &["--live", "15EiB"], "--live wants"),
        (SOAK, &["--minutes", "1e300"], "--minutes is too large"),
        (CEILING, &["--gib", "1e6"], "--gib wants"),
        (CEILING, &["--gib", "1e300"], "--gib wants"),
        (PREAD, &["--gib", "1e300"], "--gib wants"),
        (GROWTH, &["--budget", "15EiB"], "--budget wants"),
        (
            GROWTH,
            &["--backend", "file", "--payload", "1EiB"],
            "--handles wants",
        ),
        (
            GROWTH,
            &["--backend", "swap", "--payload", "1EiB"],
            "--handles wants",
        ),
        (GROWTH, &["--payload", "12B"], "--payload is whole words"),
        (
            SORT,
            &["--engine", "rows", "--limit", "15EiB"],
            "--limit wants",
        ),
        (
            SORT,
            &["--engine", "rows", "--limit", "1KiB"],
            "--limit must be",
        ),
        (
            SORT,
            &["--engine", "rows", "--scale", "1e9"],
            "--scale wants",
        ),
        (
            SORT,
            &["--engine", "rows", "--scale", "nan"],
            "--scale must be",
        ),
    ];
    for (program, args, expected) in refused {
        let output = run(program, args, scratch.path(), Stdio::piped());
        assert_eq!(output.status.code(), Some(1), "{program} {args:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(expected), "{program} {args:?}: {said}");
    }
    let wrong: &[(&str, &[&str])] = &[
        (MERGE, &["--io-threads", "99999"]),
        (MERGE, &["--threads", "4294967295"]),
        (PREAD, &["--reads", "99999999999999999"]),
        (PREAD, &["--turns", "18446744073709551615"]),
        (GROWTH, &["--handles", "0"]),
        (GROWTH, &["--threads", "99999"]),
    ];
    for (program, args) in wrong {
        let output = run(program, args, scratch.path(), Stdio::piped());
        assert_eq!(output.status.code(), Some(2), "{program} {args:?}");
    }
}

#[test]
fn a_backend_that_is_left_to_the_machine_is_named_in_the_report() {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let args = [
        "--backend",
        "auto",
        "--chain-gib",
        "0.004",
        "--json",
        "--verify",
    ];
    let output = run(MERGE, &args, scratch.path(), Stdio::piped());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(["swap", "file"].contains(&report["backend"].as_str().unwrap()));
}

#[test]
fn a_lookahead_beyond_every_chain_is_the_whole_chain() {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let far = u64::MAX.to_string();
    let args = [RUNS[0].1, &["--verify", "--lookahead", &far]].concat();
    let output = run(MERGE, &args, scratch.path(), Stdio::piped());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}
