//! The guarantees of pager, stamped onto every mode of the file backend.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use pager_core::{Error, Registry, Residency};
use pager_file::{FileBackend, FileConfig, FileMode, FileSet, IoChoice};
use pager_testkit::Expectations;
use tempfile::TempDir;

fn open(mode: FileMode, io: IoChoice) -> (Registry<FileBackend>, TempDir) {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let config = FileConfig::new(scratch.path()).mode(mode).io(io);
    (Registry::new(FileBackend::open(config).unwrap()), scratch)
}

pager_testkit::conformance_tests! {
    expecting Expectations::none().keeps_capacity();
    fn segments_conform(
        #[values(IoChoice::Auto, IoChoice::Direct, IoChoice::Buffered)] io: IoChoice,
    ) -> (Registry<FileBackend>, TempDir) {
        open(FileMode::Segments, io)
    }
}

pager_testkit::conformance_tests! {
    expecting Expectations::none().keeps_capacity();
    fn seed_conforms(
        #[values(IoChoice::Auto, IoChoice::Buffered)] io: IoChoice,
    ) -> (Registry<FileBackend>, TempDir) {
        open(FileMode::Seed, io)
    }
}

pager_testkit::conformance_tests! {
    fn segments_conform_under_a_budget(
        #[values(0, 100 << 10, 64 << 20)] budget_bytes: usize,
    ) -> (Registry<FileBackend>, TempDir) {
        let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
        let residency = Residency::builder().budget_bytes(budget_bytes).build();
        let backend = FileBackend::open(FileConfig::new(scratch.path())).unwrap();
        (Registry::with_residency(backend, &residency), scratch)
    }
}

fn open_two(mode: FileMode) -> (FileSet, [TempDir; 2]) {
    let scratch = [(); 2].map(|()| tempfile::tempdir_in("/var/tmp").unwrap());
    let config = |root: &TempDir| FileConfig::new(root.path()).mode(mode);
    let set = FileSet::open(scratch.iter().map(config)).unwrap();
    (set, scratch)
}

pager_testkit::conformance_tests! {
    expecting Expectations::none().keeps_capacity();
    fn two_directories_conform(
        #[values(FileMode::Segments, FileMode::Seed)] mode: FileMode,
    ) -> (Registry<FileSet>, [TempDir; 2]) {
        let (set, scratch) = open_two(mode);
        (Registry::new(set), scratch)
    }
}

pager_testkit::conformance_tests! {
    fn two_directories_conform_under_a_budget(
        #[values(0, 100 << 10, 64 << 20)] budget_bytes: usize,
    ) -> (Registry<FileSet>, [TempDir; 2]) {
        let (set, scratch) = open_two(FileMode::Segments);
        let residency = Residency::builder().budget_bytes(budget_bytes).build();
        (Registry::with_residency(set, &residency), scratch)
    }
}

#[test]
fn seed_refuses_direct_io() {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let config = FileConfig::new(scratch.path())
        .mode(FileMode::Seed)
        .io(IoChoice::Direct);
    let error = FileBackend::open(config).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    assert_eq!(
        std::fs::read_dir(scratch.path()).unwrap().count(),
        0,
        "a refusal leaves nothing behind"
    );
}
