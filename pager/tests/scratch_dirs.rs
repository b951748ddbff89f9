//! Several scratch directories through the facade: named in code, or by the variable.

#![cfg(all(target_os = "linux", feature = "file"))]
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

#[path = "common/process.rs"]
mod process;

use std::path::Path;

use pager::{BackendKind, DirectoryState, Error, FileConfig, Pager, ScratchProblem};
use process::{Role, role};
use tempfile::TempDir;

const WORDS: usize = 1 << 13;

fn roots() -> [TempDir; 2] {
    [(); 2].map(|()| tempfile::tempdir_in("/var/tmp").unwrap())
}

fn is_empty(root: &Path) -> bool {
    std::fs::read_dir(root).unwrap().next().is_none()
}

/// Pages out enough that every directory gets something, and verifies it.
fn use_all(pager: &Pager) {
    let handles: Vec<_> = (0..40u64)
        .map(|seed| pager.pageout(&mut [vec![seed; WORDS]]).unwrap())
        .collect();
    pager.flush().unwrap();
    let stats = pager.stats();
    assert_eq!(stats.scratch.len(), 2);
    for directory in &stats.scratch {
        assert!(directory.page_outs > 0, "{directory}");
        assert_eq!(directory.state, DirectoryState::InUse, "{directory}");
        assert!(stats.to_string().contains(directory.root.to_str().unwrap()));
    }
    let mut words = Vec::new();
    for (seed, handle) in (0..).zip(handles) {
        pager.take(handle, &mut words).unwrap();
        assert!(words == vec![seed; WORDS], "payload {seed}");
    }
}

fn io_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default()
    };
    tasks
        .map(name)
        .filter(|name| name.starts_with("pager-io"))
        .count()
}

#[test]
fn directories_that_are_named_share_what_is_paged_out() {
    let roots = roots();
    let pager = Pager::builder()
        .backend(BackendKind::File)
        .budget_bytes(1 << 20)
        .scratch_dirs(roots.iter().map(TempDir::path))
        .build()
        .unwrap();
    use_all(&pager);
    assert!(pager.scratch_dir().unwrap().starts_with(roots[0].path()));
    // One directory takes the place of both.
    pager.set_scratch_dir(roots[1].path()).unwrap();
    assert_eq!(pager.stats().scratch.len(), 1);
    assert!(is_empty(roots[0].path()));
    pager.shutdown().unwrap();
    drop(pager);
    assert!(roots.iter().all(|root| is_empty(root.path())));
}

#[test]
fn the_variable_names_a_list() {
    if role().is_some() {
        let pager = Pager::builder()
            .backend(BackendKind::File)
            .budget_bytes(1 << 20)
            .build()
            .unwrap();
        assert!(pager.stats().scratch.is_empty(), "opened when it is needed");
        use_all(&pager);
        // Two for each.
        assert_eq!(io_threads(), 4);
        return;
    }
    let roots = roots();
    let list = std::env::join_paths(roots.iter().map(TempDir::path)).unwrap();
    Role::new("the_variable_names_a_list", "user")
        .env("PAGER_SCRATCH", list)
        .run();
    assert!(roots.iter().all(|root| is_empty(root.path())));
}

#[test]
fn quotas_of_each_and_of_all_hold() {
    let roots = roots();
    let one = (WORDS * 8) as u64;
    let builder = Pager::builder().backend(BackendKind::File).budget_bytes(0);
    let configs = || {
        roots
            .each_ref()
            .map(|root| FileConfig::from(root.path()).quota_bytes(2 * one))
    };
    for (pager, count) in [
        (builder.clone().scratch_dirs(configs()).build().unwrap(), 4),
        (
            builder
                .clone()
                .quota_bytes(3 * one)
                .scratch_dirs(configs())
                .build()
                .unwrap(),
            3,
        ),
    ] {
        let mut kept = Vec::new();
        let error = loop {
            match pager.pageout(&mut [vec![7u64; WORDS]]) {
                Ok(handle) => kept.push(handle),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::QuotaExceeded { .. }), "{error}");
        assert_eq!(kept.len(), count);
        let stats = pager.file_stats().unwrap();
        assert_eq!(stats.stored_bytes, count as u64 * one);
        assert_eq!(stats.quota_bytes, Some(count as u64 * one));
    }
}

#[test]
fn a_bad_one_or_none_is_an_error_when_the_pager_is_made() {
    let roots = roots();
    let missing = roots[1].path().join("a/b");
    let named = Pager::builder()
        .scratch_dirs([roots[0].path(), &missing])
        .build();
    let is_told = |error: &Error, expected| matches!(error, Error::ScratchUnavailable { problem, .. } if *problem == expected);
    assert!(is_told(&named.unwrap_err(), ScratchProblem::Missing));
    let none = Pager::builder().scratch_dirs([] as [&str; 0]).build();
    assert!(is_told(&none.unwrap_err(), ScratchProblem::NotConfigured));
    assert!(is_empty(roots[0].path()));
}
