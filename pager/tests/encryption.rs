//! Encryption as the facade has it: told by the builder, for everything that leaves
//! memory, or an error.

#![cfg(all(unix, feature = "encryption"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use pager::{BackendChoice, BackendKind, Error, Pager, Preset};

fn pager() -> (Pager, tempfile::TempDir) {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let settings = Pager::builder().encryption(true).budget_bytes(0);
    let pager = settings.scratch_dir(scratch.path()).build().unwrap();
    (pager, scratch)
}

#[track_caller]
fn assert_unsupported<T>(refused: Result<T, Error>, backend: &str) {
    let Err(error) = refused else {
        panic!("it was not refused");
    };
    let is_it = matches!(&error, Error::Unsupported { backend: of, .. } if *of == backend);
    assert!(is_it, "{error}");
}

#[test]
fn what_leaves_memory_is_encrypted_and_comes_back() {
    let (pager, _scratch) = pager();
    assert_eq!(pager.backend(), BackendKind::File);
    let words: Vec<u64> = (0..300_000).collect();
    let handle = pager.pageout(&mut [words.clone()]).unwrap();
    let encryption = pager.encryption().unwrap();
    assert!(encryption.to_string().starts_with("AES-256-GCM, key "));
    let file = pager.stats().file.unwrap();
    assert!(file.backend.how.contains("AES-256-GCM"), "{file:?}");
    let mut found = Vec::new();
    pager.take(handle, &mut found).unwrap();
    assert!(found == words);
}

#[test]
fn whoever_asks_for_encryption_never_gets_swap() {
    let auto = Pager::builder().backend(BackendChoice::Auto);
    let pager = auto.encryption(true).build().unwrap();
    assert_eq!(pager.backend(), BackendKind::File);
    let swap = Pager::builder().backend(BackendKind::Swap);
    assert_unsupported(swap.encryption(true).build(), "swap");

    assert_unsupported(pager.set_backend(BackendKind::Swap), "swap");
    assert_eq!(pager.backend(), BackendKind::File);
    let mut chunks = [vec![7; 1000]];
    assert_unsupported(
        pager
            .options()
            .backend(BackendKind::Swap)
            .pageout(&mut chunks),
        "swap",
    );
    assert_eq!(chunks, [vec![7; 1000]], "the chunk is as it was");
}

#[test]
fn the_published_strategies_refuse_it() {
    let seed = Pager::builder().preset(Preset::Seed);
    assert_unsupported(seed.encryption(true).build(), "file");
}

#[test]
fn without_being_told_nothing_is_encrypted() {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let pager = Pager::builder()
        .scratch_dir(scratch.path())
        .build()
        .unwrap();
    assert_eq!(pager.encryption(), None);
    let handle = pager
        .options()
        .backend(BackendKind::File)
        .pageout(&mut [vec![1u64]])
        .unwrap();
    assert_eq!(pager.encryption(), None);
    drop(handle);
}
