//! Several directories as one backend, on ordinary disks: how payloads are spread, and
//! what each directory's own quota, loss and refusal mean to the others.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::*;
use pager_core::{Error, Registry, ScratchProblem};
use pager_file::{DirectoryState, FileConfig, FileMode, FileSet};
use tempfile::TempDir;

/// 64 KiB payloads.
const WORDS: usize = 1 << 13;
const BYTES: u64 = (WORDS * 8) as u64;

fn roots<const COUNT: usize>() -> [TempDir; COUNT] {
    [(); COUNT].map(|()| scratch())
}

fn open(configs: impl IntoIterator<Item = FileConfig>) -> Registry<FileSet> {
    Registry::new(FileSet::open(configs).unwrap())
}

fn pageout(registry: &Registry<FileSet>, seed: u64) -> Result<pager_core::Handle<FileSet>, Error> {
    registry.pageout(&mut [words(seed, WORDS)])
}

#[test]
fn payloads_are_spread_and_each_comes_back_from_where_it_is() {
    let roots = roots::<3>();
    let registry = open(roots.iter().map(|root| FileConfig::new(root.path())));
    let handles: Vec<_> = (0..90)
        .map(|seed| pageout(&registry, seed).unwrap())
        .collect();

    let directories = registry.backend().directories();
    println!("{directories:#?}");
    assert_eq!(directories.len(), 3);
    for (directory, root) in directories.iter().zip(&roots) {
        assert_eq!(directory.root, root.path().canonicalize().unwrap());
        assert!(directory.directory.starts_with(&directory.root));
        assert!(directory.page_outs > 0 && directory.bytes_per_second.is_some());
        assert_eq!(directory.stored_bytes, directory.page_outs * BYTES);
        assert_eq!((directory.failures, directory.in_flight_bytes), (0, 0));
    }
    let mut taken = Vec::new();
    for (seed, handle) in (0..).zip(handles) {
        registry.take(handle, &mut taken).unwrap();
        assert!(taken == words(seed, WORDS), "payload {seed}");
    }
    let directories = registry.backend().directories();
    assert!(directories.iter().all(|it| it.stored_bytes == 0));
    drop(registry);
    assert!(roots.iter().all(|root| names(root.path()).is_empty()));
}

#[test]
fn a_full_quota_sends_payloads_elsewhere_until_room_is_freed() {
    let roots = roots::<2>();
    let small = FileConfig::new(roots[0].path())
        .quota_bytes(2 * BYTES)
        .weight(1000);
    let registry = open([small, FileConfig::new(roots[1].path())]);
    let handles: Vec<_> = (0..8)
        .map(|seed| pageout(&registry, seed).unwrap())
        .collect();

    let [small, large] = &registry.backend().directories()[..] else {
        panic!("there are two");
    };
    assert_eq!((small.page_outs, large.page_outs), (2, 6));
    assert_eq!(small.state, DirectoryState::Full);
    assert!(small.last_error.as_ref().unwrap().contains("quota"));
    // It was asked once; the others knew.
    assert!(small.failures <= 2, "{small}");
    drop(handles);
    assert_eq!(
        registry.backend().directories()[0].state,
        DirectoryState::InUse
    );
    pageout(&registry, 9).unwrap();
}

#[test]
fn a_quota_of_all_and_quotas_of_each_hold_exactly() {
    let roots = roots::<2>();
    for mode in [FileMode::Segments, FileMode::Seed] {
        let config = |root: &TempDir| FileConfig::new(root.path()).mode(mode);
        let all = FileSet::open(roots.iter().map(config)).unwrap();
        let registry = Registry::new(all.quota_bytes(3 * BYTES));
        let handles: Vec<_> = (0..3)
            .map(|seed| pageout(&registry, seed).unwrap())
            .collect();
        let mut chunk = [words(4, WORDS)];
        let error = registry.pageout(&mut chunk).unwrap_err();
        assert!(
            matches!(error, Error::QuotaExceeded { quota_bytes, path: None, .. } if quota_bytes == 3 * BYTES)
        );
        assert!(chunk[0] == words(4, WORDS), "chunks stay as they were");
        drop(handles);
        pageout(&registry, 5).unwrap();

        let each = roots.iter().map(|root| config(root).quota_bytes(BYTES));
        let registry = open(each);
        let _handles: Vec<_> = (0..2)
            .map(|seed| pageout(&registry, seed).unwrap())
            .collect();
        let error = pageout(&registry, 3).unwrap_err();
        assert!(
            matches!(
                error,
                Error::QuotaExceeded {
                    quota_bytes: BYTES,
                    path: Some(_),
                    ..
                }
            ),
            "{error}"
        );
        let told = error.to_string();
        let is_named = |root: &TempDir| told.contains(root.path().to_str().unwrap());
        assert!(roots.iter().any(is_named), "{told}");
    }
}

#[test]
fn a_directory_that_cannot_be_written_to_is_left_out_and_named() {
    let roots = roots::<2>();
    let config = |root: &TempDir| FileConfig::new(root.path()).mode(FileMode::Seed);
    // As long as the first one can, it takes all.
    let first = config(&roots[0]).weight(1000);
    let registry = open([first, config(&roots[1])]);
    let gone = registry.backend().directories()[0].directory.clone();
    let before: Vec<_> = (0..8)
        .map(|seed| pageout(&registry, seed).unwrap())
        .collect();
    std::fs::remove_dir_all(&gone).unwrap();
    let after: Vec<_> = (8..16)
        .map(|seed| pageout(&registry, seed).unwrap())
        .collect();

    let directory = &registry.backend().directories()[0];
    assert_eq!(directory.state, DirectoryState::Failing, "{directory}");
    let lost = directory.page_outs;
    let named = gone.to_str().unwrap();
    assert!(directory.last_error.as_ref().unwrap().contains(named));
    let mut errors = 0;
    for (seed, handle) in (0..).zip(before.iter().chain(&after)) {
        let mut read = Vec::new();
        match handle.read_at(0, WORDS, &mut read) {
            Ok(()) => assert!(read == words(seed, WORDS)),
            Err(error) => {
                assert!(error.to_string().contains(named), "{error}");
                errors += 1;
            }
        }
    }
    assert_eq!(errors, lost, "what was not there is there");
    // The other one was tried once, to see how fast it is.
    assert!(lost == 7 || lost == 8, "{lost}");
}

#[test]
fn a_root_that_cannot_be_opened_is_an_error_and_leaves_nothing_in_the_others() {
    let roots = roots::<2>();
    let missing = roots[1].path().join("a/b");
    let configs = [FileConfig::new(roots[0].path()), FileConfig::new(&missing)];
    let error = FileSet::open(configs).unwrap_err();
    assert!(
        matches!(&error, Error::ScratchUnavailable { path, problem: ScratchProblem::Missing, .. } if *path == missing),
        "{error}"
    );
    assert!(names(roots[0].path()).is_empty());
    let error = FileSet::open([]).unwrap_err();
    assert!(matches!(
        error,
        Error::ScratchUnavailable {
            problem: ScratchProblem::NotConfigured,
            ..
        }
    ));
}

#[test]
fn a_forked_child_is_refused_and_waits_for_nobody() {
    let roots = roots::<2>();
    let set = FileSet::open(roots.iter().map(|root| FileConfig::new(root.path()))).unwrap();
    let registry = Registry::new(set);
    let handle = pageout(&registry, 1).unwrap();
    let status = in_forked_child(|| {
        let refused = |error| matches!(error, Error::ForeignProcess);
        let set = registry.backend();
        set.directories().is_empty()
            && set.reap().is_err_and(refused)
            && set.trim().is_err_and(refused)
            && handle.read_at(0, 1, &mut Vec::new()).is_err_and(refused)
    });
    assert_eq!(status, 0);
    let mut taken = Vec::new();
    registry.take(handle, &mut taken).unwrap();
    assert!(taken == words(1, WORDS));
}
