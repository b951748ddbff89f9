//! The codec as the facade has it: told by the builder, over both backends, and what it
//! did.

#![cfg(all(unix, feature = "codec", feature = "swap", feature = "file"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use pager::{BackendKind, Codec, Error, Pager, Scheme};
use rstest::rstest;

fn pager(codec: Codec) -> (Pager, tempfile::TempDir) {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let pager = Pager::builder()
        .codec(codec)
        .scratch_dir(scratch.path())
        .budget_bytes(0)
        .build()
        .unwrap();
    (pager, scratch)
}

fn column() -> Vec<u64> {
    (0..300_000).map(|at| 5_000_000 + at * 2 % 4096).collect()
}

#[rstest]
fn a_column_goes_out_smaller_and_comes_back(
    #[values(BackendKind::Swap, BackendKind::File)] kind: BackendKind,
) {
    let (pager, _scratch) = pager(Codec::Always(Scheme::Pack));
    let handle = pager
        .options()
        .backend(kind)
        .pageout(&mut [column()])
        .unwrap();
    let stats = pager.codec_stats();
    assert_eq!(stats.codec, Codec::Always(Scheme::Pack));
    assert_eq!(stats.plain_bytes(), 2_400_000);
    assert!(stats.stored_bytes() < 600_000, "{stats}");
    assert_eq!(pager.stats().total.logical_bytes, 2_400_000);
    assert_eq!(pager.stats().total.backend.logical_bytes, 2_400_000);
    let mut words = Vec::new();
    pager.read_at(&handle, 100_000, 3, &mut words).unwrap();
    assert_eq!(words, column()[100_000..100_003]);
    pager.take(handle, &mut words).unwrap();
    assert!(words == column());
    assert_eq!(pager.stats().total.backend.logical_bytes, 0);
}

#[test]
fn without_being_told_nothing_is_encoded() {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let settings = Pager::builder().scratch_dir(scratch.path()).budget_bytes(0);
    let pager = settings.build().unwrap();
    let handle = pager
        .options()
        .backend(BackendKind::File)
        .pageout(&mut [column()])
        .unwrap();
    assert_eq!(pager.codec_stats().plain_bytes(), 0);
    drop(handle);
}

#[test]
fn what_a_codec_did_is_not_forgotten_with_its_scratch_directory() {
    let (pager, _first) = pager(Codec::Always(Scheme::Pack));
    drop(
        pager
            .options()
            .backend(BackendKind::File)
            .pageout(&mut [column()])
            .unwrap(),
    );
    let second = tempfile::tempdir_in("/var/tmp").unwrap();
    pager.set_scratch_dir(second.path()).unwrap();
    assert_eq!(pager.codec_stats().plain_bytes(), 2_400_000);
}

#[test]
fn a_scheme_that_is_not_in_the_build_is_refused() {
    let outcome = Pager::builder().codec(Codec::Always(Scheme::Zstd)).build();
    match outcome {
        Ok(_) => assert!(Scheme::Zstd.is_enabled()),
        Err(error) => assert!(
            matches!(
                error,
                Error::BackendDisabled {
                    backend: "codec-zstd"
                }
            ),
            "{error}"
        ),
    }
}
