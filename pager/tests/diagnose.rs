//! The diagnosis of real processes: this binary under limits and in a user namespace,
//! and what `auto` makes of it.

#![cfg(all(target_os = "linux", feature = "swap", feature = "file"))]
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

use std::env;
use std::process::{Command, Stdio};

use pager::{BackendChoice, Pager};

const CHILD: &str = "PAGER_TEST_DIAGNOSE";

/// Not a test of its own: says what it finds, and what follows from it.
#[test]
fn the_child() {
    if env::var_os(CHILD).is_none() {
        return;
    }
    for finding in pager::diagnose() {
        let (concern, severity, what) = (finding.concern, finding.severity, finding.what);
        println!("found {concern} {severity} {what}");
    }
    println!("chosen {}", BackendChoice::Auto.resolve(None));
}

/// What the child says after `prefix`, in a shell; `None` where that cannot be had.
fn said_under(prefix: &str) -> Option<String> {
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let binary = env::current_exe().unwrap();
    let script = format!("{prefix} \"$0\" --exact the_child --nocapture --test-threads 1");
    let output = Command::new("sh")
        .args(["-c", &script])
        .arg(binary)
        .env(CHILD, "1")
        .env("PAGER_SCRATCH", root.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !said.contains("chosen ") {
        println!(
            "skipped: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        return None;
    }
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    Some(said)
}

#[test]
fn limits_of_a_process_are_found_and_turn_the_choice() {
    let said = said_under("ulimit -v 4000000; exec").unwrap();
    assert!(
        said.contains("found swap slow address-space-limit"),
        "{said}"
    );
    assert!(said.contains("chosen file"), "{said}");
    let said = said_under("ulimit -f 1000000; exec").unwrap();
    assert!(said.contains("found file note file-size-limit"), "{said}");
    let said = said_under("ulimit -n 64; exec").unwrap();
    assert!(said.contains("found file note descriptor-limit"), "{said}");
    let free = said_under("exec").unwrap();
    for limit in ["address-space-limit", "file-size-limit"] {
        assert!(!free.contains(limit), "{free}");
    }
}

#[test]
fn a_user_namespace_is_found() {
    if let Some(said) = said_under("exec unshare --user --map-root-user") {
        assert!(said.contains("found process note user-namespace"), "{said}");
    }
}

#[test]
fn calls_that_a_sandbox_refuses_are_found() {
    for (calls, found) in [
        (
            "pwrite64,pwritev,pwritev2",
            &["found file blocked call-refused"][..],
        ),
        (
            "fallocate",
            &[
                "found file blocked call-refused",
                "found file note no-preallocation",
            ],
        ),
        ("flock", &["found file blocked root-unusable"]),
    ] {
        let inject = format!("-e inject={calls}:error=EPERM");
        let strace = format!("exec strace -f -qq -o /dev/null {inject}");
        let Some(said) = said_under(&strace) else {
            return;
        };
        assert!(
            found.iter().any(|found| said.contains(found)),
            "{calls}: {said}"
        );
    }
}

#[test]
fn a_pager_that_chooses_says_what_it_chose_and_works() {
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let pager = Pager::builder()
        .backend(BackendChoice::Auto)
        .scratch_dir(root.path())
        .build()
        .unwrap();
    let expected = BackendChoice::Auto.resolve(Some(root.path()));
    assert_eq!(pager.backend(), expected);
    let handle = pager.pageout(&mut [vec![1u64, 2, 3]]).unwrap();
    let mut words = Vec::new();
    pager.take(handle, &mut words).unwrap();
    assert_eq!(words, [1, 2, 3]);
}
