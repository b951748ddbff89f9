//! Where payloads go when the scratch directory is full: nowhere unless asked, and then to
//! swap or to memory, which is said.

#![cfg(all(target_os = "linux", feature = "file"))]
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

#[path = "../../pager-file/tests/common/disk.rs"]
mod disk;
#[path = "common/process.rs"]
mod process;

use std::path::Path;

use disk::SmallDisk;
use pager::{BackendKind, Handle, LastResort, Pager, PagerBuilder};

const CHUNK_BYTES: usize = 1 << 20;
const RESORTS: &[LastResort] = &[
    #[cfg(feature = "swap")]
    LastResort::Swap,
    LastResort::Memory,
];

fn builder(root: &Path) -> PagerBuilder {
    Pager::builder()
        .backend(BackendKind::File)
        .scratch_dir(root)
        .budget_bytes(8 << 20)
}

fn chunk(seed: u64) -> Vec<u64> {
    (0..CHUNK_BYTES as u64 / 8)
        .map(|at| at ^ seed << 32)
        .collect()
}

fn page_out(pager: &Pager, count: u64) -> pager::Result<Vec<Handle>> {
    let handles: pager::Result<_> = (0..count)
        .map(|seed| pager.pageout(&mut [chunk(seed)]))
        .collect();
    pager.flush()?;
    handles
}

/// Reads a part of each, and takes it.
fn take_all(pager: &Pager, handles: Vec<Handle>) {
    let mut words = Vec::new();
    for (seed, handle) in (0..).zip(handles) {
        words.clear();
        pager.read_at(&handle, 5000, 100, &mut words).unwrap();
        assert_eq!(words, chunk(seed)[5000..5100], "payload {seed}");
        pager.take(handle, &mut words).unwrap();
        assert!(words == chunk(seed), "payload {seed}");
    }
}

fn check(builder: PagerBuilder, resort: LastResort, count: u64, fits: u64) {
    let pager = builder.last_resort(resort).build().unwrap();
    assert_eq!(pager.stats().last_resort.unwrap().pageouts, 0);
    assert!(!pager.stats().to_string().contains("last resort"));
    let handles = page_out(&pager, count).unwrap();
    let stats = pager.stats();
    let there = stats.last_resort.unwrap();
    let name = if resort == LastResort::Memory {
        "memory"
    } else {
        "swap"
    };
    assert_eq!(there.backend, name);
    assert!(there.live_payloads >= count - fits, "{there}");
    assert!(
        there.live_payloads < count,
        "the directory has some: {there}"
    );
    assert_eq!(there.live_bytes, there.live_payloads * CHUNK_BYTES as u64);
    assert!(stats.to_string().contains(&there.to_string()), "{stats}");
    take_all(&pager, handles);
    let there = pager.stats().last_resort.unwrap();
    assert_eq!((there.live_payloads, there.live_bytes), (0, 0));
    // There is room again, and what comes goes to the directory.
    let handles = page_out(&pager, 2).unwrap();
    assert_eq!(pager.stats().last_resort.unwrap().live_payloads, 0);
    take_all(&pager, handles);
}

#[test]
fn what_the_quota_refuses_goes_to_the_last_resort() {
    for &resort in RESORTS {
        let root = tempfile::tempdir_in("/var/tmp").unwrap();
        let quota = builder(root.path()).quota_bytes(10 << 20);
        check(quota, resort, 40, 10);
    }
}

#[test]
fn without_one_a_full_directory_is_an_error() {
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let pager = builder(root.path()).quota_bytes(10 << 20).build().unwrap();
    assert_eq!(pager.stats().last_resort, None);
    let error = page_out(&pager, 40).unwrap_err();
    assert!(error.is_out_of_space(), "{error}");
}

#[test]
fn what_a_full_disk_refuses_goes_to_the_last_resort() {
    for &resort in RESORTS {
        let Some(disk) = SmallDisk::made(40, &[], "loop") else {
            return;
        };
        check(builder(disk.root().parent().unwrap()), resort, 80, 40);
    }
}

#[cfg(all(feature = "encryption", feature = "swap"))]
#[test]
fn what_is_to_be_encrypted_does_not_go_to_swap() {
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let encrypted = || builder(root.path()).encryption(true);
    let refused = encrypted().last_resort(LastResort::Swap).build();
    assert!(matches!(refused, Err(pager::Error::Unsupported { .. })));
    check(
        encrypted().quota_bytes(10 << 20),
        LastResort::Memory,
        40,
        10,
    );
}

#[cfg(feature = "codec")]
#[test]
fn beneath_a_codec_what_is_left_of_them_goes_there() {
    use pager::{Codec, Scheme};

    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let pager = builder(root.path())
        .quota_bytes(1 << 20)
        .codec(Codec::Always(Scheme::Pack))
        .last_resort(LastResort::Memory)
        .build()
        .unwrap();
    let handles = page_out(&pager, 40).unwrap();
    let there = pager.stats().last_resort.unwrap();
    assert!(there.live_bytes > 0, "{there}");
    assert!(there.live_bytes < there.live_payloads * CHUNK_BYTES as u64);
    take_all(&pager, handles);
    assert_eq!(pager.stats().last_resort.unwrap().live_bytes, 0);
}
