//! The examples as their users run them: each checks what it does itself.
//!
//! `spill_sort` has a test of its own; `prometheus` serves until it is stopped.

#![cfg(all(target_os = "linux", feature = "swap", feature = "file"))]

use std::process::Command;

#[test]
fn every_example_runs_to_its_end() {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    for name in [
        "bytes",
        "column_cache",
        "hash_partition",
        "merge_runs",
        "readers",
        "stream",
        "tasks",
        "views",
    ] {
        // Built first: tests alone do not build examples.
        let output = Command::new(env!("CARGO"))
            .args(["run", "-q", "-p", env!("CARGO_PKG_NAME"), "--example", name])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("PAGER_SCRATCH", scratch.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
        let left = scratch.path().read_dir().unwrap().count();
        assert_eq!(left, 0, "{name} has left something behind");
    }
}
