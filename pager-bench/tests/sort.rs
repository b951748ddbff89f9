//! The sorts of others, run as `bench-matrix` runs them: the same rows come out of each, in order.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]
#![cfg(target_os = "linux")]

use std::fs;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

fn sort(engine: &str, scratch: &TempDir, path: Option<&str>) -> Value {
    // A quarter of the rows; the database wants more for what does not grow.
    let limit = if engine == "duckdb" { "32MiB" } else { "4MiB" };
    let mut command = Command::new(env!("CARGO_BIN_EXE_sort"));
    command
        .args(["--scale", "0.02", "--limit", limit, "--json", "--engine"])
        .arg(engine)
        .arg("--scratch")
        .arg(scratch.path());
    if let Some(path) = path {
        command.env("PATH", path);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{engine}: {said}");
    let left = fs::read_dir(scratch.path()).unwrap().count();
    assert_eq!(left, 0, "{engine} left something");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn each_sorts_the_rows_that_are_made_and_every_row_is_compared() {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let rows = sort("rows", &scratch, None);
    assert_eq!(rows["verified"], false);
    assert!(rows["rows"].as_u64().unwrap() > 100_000);
    for engine in ["spillsort", "ext-sort", "duckdb"] {
        let sorted = sort(engine, &scratch, None);
        if let Some(why) = sorted["skipped"].as_str() {
            println!("skipped: {engine}: {why}");
            assert_eq!(engine, "duckdb", "{why}");
            continue;
        }
        assert_eq!(sorted["verified"], true, "{engine}");
        assert_eq!(sorted["rows_digest"], rows["rows_digest"], "{engine}");
        assert!(sorted["sort_s"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn a_database_that_is_not_there_is_skipped_and_said() {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let skipped = sort("duckdb", &scratch, Some("/nowhere"));
    assert_eq!(skipped["skipped"], "there is no python3");
    assert!(skipped.get("sort_s").is_none());
}
