//! What an operator reaches through a pager: what is kept for reuse and how it goes back,
//! groups and shared budgets over both backends.

#![cfg(all(unix, feature = "swap", feature = "file"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::words;
use pager::{BackendKind, Error, Group, MemoryAccount, Pager, PagerBuilder};

const MIB: usize = 1 << 20;
const CHUNK_WORDS: usize = 1 << 18;

fn with_root(root: &tempfile::TempDir) -> PagerBuilder {
    Pager::builder()
        .scratch_dir(root.path())
        .allow_memory_fs(true)
        .backend(BackendKind::File)
}

#[test]
fn freed_room_on_disk_is_kept_as_told_and_trimmed() {
    let root = tempfile::tempdir().unwrap();
    let pager = with_root(&root).budget_bytes(0).build().unwrap();
    let handles: Vec<_> = (0..8)
        .map(|seed| pager.pageout(&mut [words(seed, CHUNK_WORDS)]).unwrap())
        .collect();
    let full = pager.file_stats().unwrap();
    assert!(full.allocated_bytes() >= (16 * MIB) as u64);
    drop(handles);
    let kept = pager.file_stats().unwrap();
    assert_eq!(kept.stored_bytes, 0);
    assert!(
        kept.allocated_bytes() >= (16 * MIB) as u64,
        "kept for reuse"
    );
    let trimmed = pager.trim().unwrap();
    let left = pager.file_stats().unwrap();
    if left.segments.unwrap().punches_holes {
        assert!(trimmed.disk_bytes >= (16 * MIB) as u64, "{trimmed:?}");
    }

    let root = tempfile::tempdir().unwrap();
    let pager = with_root(&root)
        .budget_bytes(0)
        .slack_bytes(0)
        .build()
        .unwrap();
    let handle = pager.pageout(&mut [words(1, CHUNK_WORDS)]).unwrap();
    drop(handle);
    // A thread of the backend's gives it back.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let segments = pager.file_stats().unwrap().segments.unwrap();
        if !segments.punches_holes || segments.freed_bytes == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{segments:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn warm_memory_is_kept_as_told_and_trimmed() {
    let pager = Pager::builder()
        .backend(BackendKind::Swap)
        .budget_bytes(64 * MIB)
        .warm_bytes(8 * MIB)
        .build()
        .unwrap();
    let handles: Vec<_> = (0..4)
        .map(|seed| pager.pageout(&mut [words(seed, CHUNK_WORDS)]).unwrap())
        .collect();
    pager.flush().unwrap();
    assert_eq!(pager.swap_stats().live_payloads, 4);
    assert!(pager.arena_usage().used_bytes >= 8 * MIB);
    for (seed, handle) in handles.into_iter().enumerate() {
        let mut taken: Vec<u64> = Vec::new();
        pager.take(handle, &mut taken).unwrap();
        assert!(taken == words(seed as u64, CHUNK_WORDS));
    }
    assert_eq!(pager.arena_usage().used_bytes, 0);
    assert!(pager.arena_usage().warm_bytes <= 8 * MIB);
    pager.trim().unwrap();
    assert_eq!(pager.arena_usage().warm_bytes, 0);
    assert_eq!(pager.stats().residency.spare_bytes, 0);
}

#[test]
fn two_pagers_share_one_budget() {
    let root = tempfile::tempdir().unwrap();
    let first = with_root(&root).budget_bytes(16 * MIB).build().unwrap();
    let second = Pager::builder()
        .backend(BackendKind::Swap)
        .shared_budget(first.residency())
        .build()
        .unwrap();
    let mut handles = Vec::new();
    for seed in 0..12 {
        handles.push(first.pageout(&mut [words(seed, CHUNK_WORDS)]).unwrap());
        handles.push(second.pageout(&mut [words(seed, CHUNK_WORDS)]).unwrap());
        assert!(second.stats().residency.resident_bytes <= (16 * MIB) as u64);
    }
    assert_eq!(first.budget_bytes(), second.budget_bytes());
    for (number, handle) in handles.into_iter().enumerate() {
        let mut taken: Vec<u64> = Vec::new();
        handle.take(&mut taken).unwrap();
        assert!(taken == words(number as u64 / 2, CHUNK_WORDS));
    }
    let own = Pager::builder().shared_budget(first.residency());
    #[cfg_attr(not(feature = "pressure"), allow(unused_mut, reason = "one more"))]
    let mut all = vec![
        own.clone().budget_bytes(1),
        own.clone().watermarks(1, 2),
        own.clone().io_threads(1),
        own.clone().account(Pool::default()),
    ];
    #[cfg(feature = "pressure")]
    all.push(own.follow_pressure(1));
    for both in all {
        let error = both.build().unwrap_err();
        assert!(matches!(error, Error::Contradiction { .. }) && error.is_permanent());
        let kind = std::io::Error::from(error).kind();
        assert_eq!(kind, std::io::ErrorKind::InvalidInput);
    }
}

#[test]
fn a_group_spans_backends_and_is_in_the_statistics() {
    let root = tempfile::tempdir().unwrap();
    let pager = with_root(&root).budget_bytes(64 * MIB).build().unwrap();
    let group = Group::new("query 7").quota_bytes(20_000);
    let query = pager.options().group(&group);
    let in_file = query.pageout(&mut [words(1, 1000)]).unwrap();
    let in_swap = query
        .backend(BackendKind::Swap)
        .pageout_each(&mut [words(2, 500), words(3, 500)])
        .unwrap();
    let refused = query.pageout(&mut [words(4, 1000)]).unwrap_err();
    assert!(matches!(refused, Error::GroupQuotaExceeded { .. }));
    let stats = pager.stats();
    let [listed] = &stats.residency.groups[..] else {
        panic!("{stats:?}");
    };
    assert_eq!((&*listed.label, listed.live_handles), ("query 7", 3));
    assert_eq!(listed.logical_bytes, 16_000);
    assert_eq!(listed.resident_bytes, stats.residency.resident_bytes);
    drop((in_file, in_swap));
    assert_eq!(group.stats().logical_bytes, 0);
}

/// Lends up to 24 MiB.
#[derive(Default)]
struct Pool(AtomicUsize);

impl MemoryAccount for Pool {
    fn try_grow(&self, bytes: usize) -> Result<(), Box<dyn StdError + Send + Sync>> {
        let more = |lent: usize| Some(lent + bytes).filter(|sum| *sum <= 24 * MIB);
        let grown = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        grown.map(drop).map_err(|_| "24 MiB are lent".into())
    }

    fn shrink(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::SeqCst);
    }
}

#[test]
fn a_pager_lives_on_borrowed_memory_over_either_backend() {
    let root = tempfile::tempdir().unwrap();
    for kind in BackendKind::ALL {
        let pool = Arc::new(Pool::default());
        let pager = with_root(&root)
            .backend(kind)
            .budget_bytes(256 * MIB)
            .account(Arc::clone(&pool))
            .build()
            .unwrap();
        let handles: Vec<_> = (0..40)
            .map(|seed| pager.pageout(&mut [words(seed, CHUNK_WORDS)]).unwrap())
            .collect();
        let stats = pager.stats().residency;
        assert!(stats.account_refusals > 0 && stats.lent_bytes <= (24 * MIB) as u64);
        assert!(stats.held_bytes <= (25 * MIB) as u64, "{stats:?}");
        assert!(pager.reclaim_bytes(4 * MIB).unwrap() >= 4 * MIB);
        for (seed, handle) in handles.into_iter().enumerate() {
            let mut taken: Vec<u64> = Vec::new();
            handle.take(&mut taken).unwrap();
            assert!(taken == words(seed as u64, CHUNK_WORDS));
        }
        drop(pager);
        assert_eq!(pool.0.load(Ordering::SeqCst), 0, "{kind}");
    }
}
