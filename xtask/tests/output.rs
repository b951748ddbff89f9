//! What xtask does when nobody can take what it prints, and with sizes that nobody
//! has: no panic, a message, an exit code.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are tests, which clippy does not see"
)]

use std::fs::File;
use std::process::{Command, Output, Stdio};

const FORMS: [&[&str]; 4] = [
    &["diagnose"],
    &["diagnose", "--json"],
    &["--help"],
    &["bench-matrix", "--help"],
];

fn run(args: &[&str], out: impl Into<Stdio>) -> Output {
    let child = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(args)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{args:?}: {said}");
    output
}

#[test]
fn a_reader_that_has_gone_ends_it_quietly() {
    for args in FORMS {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = run(args, writer);
        assert_eq!(output.status.code(), Some(141), "{args:?}");
        assert!(output.stderr.is_empty(), "{args:?}: {output:?}");
    }
}

#[test]
fn a_full_disk_under_the_output_is_a_failure_that_is_said() {
    for args in FORMS {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = run(args, full);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("standard output cannot be written"), "{said}");
    }
}

#[test]
fn a_diagnosis_is_one_line_of_json_about_both_backends_and_leaves_nothing() {
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let path = root.path().to_str().unwrap();
    let output = run(&["diagnose", "--json", "--scratch", path], Stdio::piped());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.lines().count(), 1);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(["swap", "file"].contains(&said["recommended"].as_str().unwrap()));
    let findings = said["findings"].as_array().unwrap();
    assert!(findings.iter().any(|it| it["concern"] == "file"), "{said}");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    // What blocks is more than a note.
    let nowhere = run(
        &["diagnose", "--strict", "--scratch", "/nowhere/at/all"],
        Stdio::null(),
    );
    assert_eq!(nowhere.status.code(), Some(1));
}

#[test]
fn sizes_that_nobody_has_are_refused() {
    let output = run(
        &["with-memory", "64MiB", "--swap", "1024TiB", "--", "true"],
        Stdio::null(),
    );
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let has_reason = [
        "the swap wants 1.0 PiB",
        "needs root",
        "needs losetup",
        "needs mkswap",
    ];
    assert!(has_reason.iter().any(|why| said.contains(why)), "{said}");
    for args in [
        &["with-memory", "99999999TiB", "--", "true"][..],
        &["bench-matrix", "--threads", "4294967295"],
        &["bench-matrix", "--timeout", "99999999999999999999999"],
    ] {
        assert_eq!(run(args, Stdio::null()).status.code(), Some(2), "{args:?}");
    }
}
