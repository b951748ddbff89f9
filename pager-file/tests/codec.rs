//! The file backend beneath a codec: every guarantee, fewer bytes in the file, and
//! damage in the file that is found, by checksums or by the decoder.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

use common::scratch;
use pager_core::codec::{Codec, Compressed, Scheme};
use pager_core::{Error, Registry, Residency};
use pager_file::{FileBackend, FileConfig, FileMode, IoChoice};
use pager_testkit::content::{assert_words, words};
use rstest::rstest;
use tempfile::TempDir;

type Encoded = Registry<Compressed<FileBackend>>;

fn open(config: impl FnOnce(FileConfig) -> FileConfig, codec: Codec) -> (Encoded, TempDir) {
    let root = scratch();
    let backend = FileBackend::open(config(FileConfig::new(root.path()))).unwrap();
    (Registry::new(Compressed::new(backend, codec)), root)
}

pager_testkit::conformance_tests! {
    fn segments_conform(
        #[values(IoChoice::Auto, IoChoice::Buffered)] io: IoChoice,
        #[values(Codec::Off, Codec::Auto, Codec::Always(Scheme::Pack))] codec: Codec,
    ) -> (Encoded, TempDir) {
        open(|config| config.io(io), codec)
    }
}

pager_testkit::conformance_tests! {
    fn seed_conforms() -> (Encoded, TempDir) {
        open(|config| config.mode(FileMode::Seed), Codec::Always(Scheme::Delta))
    }
}

pager_testkit::conformance_tests! {
    fn segments_conform_under_a_budget(
        #[values(100 << 10, 64 << 20)] budget_bytes: usize,
    ) -> (Encoded, TempDir) {
        let root = scratch();
        let residency = Residency::builder().budget_bytes(budget_bytes).build();
        let backend = FileBackend::open(FileConfig::new(root.path())).unwrap();
        let backend = Compressed::new(backend, Codec::Always(Scheme::Pack));
        (Registry::with_residency(backend, &residency), root)
    }
}

/// Ascending numbers, an eighth of their size on the medium or less.
fn column(len: usize) -> Vec<u64> {
    (0..len as u64).map(|at| at * 3 + at % 7).collect()
}

#[test]
fn the_file_holds_what_the_codec_left() {
    let (registry, _root) = open(|config| config, Codec::Always(Scheme::Delta));
    let expected = column(1 << 18);
    let handle = registry.pageout(&mut [expected.clone()]).unwrap();
    let stored = registry.backend().inner().stats().stored_bytes;
    assert!(stored <= (2 << 20) / 8, "{stored} bytes are stored");
    let stats = registry.backend().codec_stats();
    assert!(stats.stored_bytes() <= stored, "{stats}");
    let mut found = Vec::new();
    handle.read_at(123_456, 4567, &mut found).unwrap();
    assert_words(&found, &expected[123_456..][..4567], "a range");
    handle.take(&mut found).unwrap();
    assert_words(&found, &expected, "all of it");
    assert_eq!(registry.backend().inner().stats().stored_bytes, 0);
}

/// The only segment file of `registry`.
fn segment_file(registry: &Encoded) -> File {
    let directory = registry.backend().inner().directory();
    let mut found = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            std::fs::read_link(path)
                .is_ok_and(|target| target.starts_with(directory) && target != directory)
        });
    let path = found.next().expect("a segment file is open");
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap()
}

/// Flips bits of every block of the file, one block after the other, and says what
/// came of a take each time: whether it was an error.
fn takes_of_damage(registry: &Encoded, expected: &[u64], mask: u8) -> Vec<bool> {
    let handle = registry.pageout(&mut [expected.to_vec()]).unwrap();
    let file = segment_file(registry);
    let stored = registry.backend().inner().stats().stored_bytes;
    let mut handle = Some(handle);
    let mut errors = Vec::new();
    for offset in (0..stored).step_by(509) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ mask], offset).unwrap();
        let mut found = vec![1, 2, 3];
        let kept = handle.as_ref().unwrap();
        let is_error = match kept.read_at(0, expected.len(), &mut found) {
            Ok(()) => {
                assert_eq!(found.len(), 3 + expected.len());
                false
            }
            Err(error) => {
                assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
                assert_eq!(found, [1, 2, 3], "a failed read appends nothing");
                true
            }
        };
        errors.push(is_error);
        file.write_all_at(&byte, offset).unwrap();
    }
    let mut found = Vec::new();
    handle.take().unwrap().take(&mut found).unwrap();
    assert_words(&found, expected, "undamaged again");
    errors
}

#[test]
fn checksums_find_damage_before_it_is_decoded() {
    let (registry, _root) = open(
        |config| config.io(IoChoice::Buffered),
        Codec::Always(Scheme::Pack),
    );
    if !registry
        .backend()
        .inner()
        .stats()
        .segments
        .unwrap()
        .verifies
    {
        println!("skipped: this backend keeps no checksums");
        return;
    }
    let errors = takes_of_damage(&registry, &words(3, 40_000), 0x10);
    assert!(errors.iter().all(|&is_error| is_error));
}

#[rstest]
fn without_checksums_damage_never_panics(
    #[values(Scheme::Pack, Scheme::Delta, Scheme::Dictionary, Scheme::Lz4)] scheme: Scheme,
    #[values(0x01, 0x80, 0xFF)] mask: u8,
) {
    let unverified = |config: FileConfig| config.checksums(false).io(IoChoice::Buffered);
    let (registry, _root) = open(unverified, Codec::Always(scheme));
    let expected: Vec<u64> = column(40_000).into_iter().map(|word| word % 250).collect();
    let errors = takes_of_damage(&registry, &expected, mask);
    // The first byte is the kind of the first block.
    assert!(errors[0], "{scheme}: {errors:?}");
}
