//! Behaviour of `Pager`, over both backends and both presets.

#![cfg(all(unix, feature = "swap", feature = "file"))]
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]
#![allow(
    clippy::single_range_in_vec_init,
    reason = "lists of one range are meant"
)]

mod common;

use std::sync::Arc;

use common::{Scratched, budgeted, chunked, scratched, words};
use pager::{BackendKind, ChunkBuf, Error, Pager, Preset, ScratchProblem};
use rstest::rstest;

fn problem_of(error: &Error) -> ScratchProblem {
    match error {
        Error::ScratchUnavailable { problem, .. } => *problem,
        other => panic!("not about the scratch directory: {other}"),
    }
}

#[rstest]
fn every_word_comes_back(
    #[values(BackendKind::Swap, BackendKind::File)] kind: BackendKind,
    #[values(Preset::Fast, Preset::Seed)] preset: Preset,
    #[values(0, 1, 511, 512, 513, 262_143, 262_144, 262_145)] len: usize,
) {
    let Scratched { pager, root: _root } = scratched(kind, preset);
    let expected = words(len as u64, len);
    let mut chunks = chunked(&expected, &[0, 1, 100, len / 2]);
    let handle = pager.pageout(&mut chunks).unwrap();
    assert!(chunks.iter().all(Vec::is_empty));
    assert_eq!(handle.len(), len);
    assert_eq!(handle.len_bytes(), len * 8);
    assert_eq!(handle.is_empty(), len == 0);
    assert_eq!(handle.backend(), kind);

    pager.prefetch(&handle);
    pager.prefetch_at(&handle, len / 3, usize::MAX);
    let mut read = vec![7];
    let third = len / 3;
    pager
        .read_at(&handle, third, len - third, &mut read)
        .unwrap();
    assert_eq!(read[0], 7);
    assert_eq!(read[1..], expected[third..]);

    read.clear();
    pager
        .read_at_many(&handle, &[third..len, 0..third, 0..0, 0..len], &mut read)
        .unwrap();
    let joined = [&expected[third..], &expected[..third], &expected].concat();
    assert_eq!(read, joined);

    pager.take(handle, &mut read).unwrap();
    assert_eq!(read, expected);
    assert_eq!(pager.stats().total.live_handles, 0);
}

#[rstest]
fn more_chunks_than_one_system_call_takes_come_back(
    #[values(BackendKind::Swap, BackendKind::File)] kind: BackendKind,
    #[values(Preset::Fast, Preset::Seed)] preset: Preset,
) {
    let Scratched { pager, root: _root } = scratched(kind, preset);
    let expected = words(9, 1025 * 3);
    let mut chunks = chunked(&expected, &[3; 1025]);
    let handle = pager.pageout(&mut chunks).unwrap();
    let mut back = Vec::new();
    pager.take(handle, &mut back).unwrap();
    assert_eq!(back, expected);
}

#[rstest]
fn chunk_buffers_go_out_and_come_back(
    #[values(BackendKind::Swap, BackendKind::File)] kind: BackendKind,
    #[values(Preset::Fast, Preset::Seed)] preset: Preset,
) {
    let Scratched { pager, root: _root } = scratched(kind, preset);
    let expected = words(3, 1 << 18);
    let mut buf = ChunkBuf::try_from(&expected[..]).unwrap();
    let handle = pager.pageout(std::slice::from_mut(&mut buf)).unwrap();
    assert!(buf.is_empty());
    pager.take(handle, &mut buf).unwrap();
    assert_eq!(*buf, expected[..]);
}

#[test]
fn a_switch_affects_later_pageouts_only() {
    let Scratched { pager, root: _root } = scratched(BackendKind::Swap, Preset::Fast);
    let early = pager.pageout(&mut [words(1, 5000)]).unwrap();
    pager.set_backend(BackendKind::File).unwrap();
    let late = pager.pageout(&mut [words(2, 5000)]).unwrap();
    let named = pager
        .options()
        .backend(BackendKind::Swap)
        .pageout(&mut [words(3, 5000)])
        .unwrap();
    assert_eq!(pager.backend(), BackendKind::File);
    assert_eq!(early.backend(), BackendKind::Swap);
    assert_eq!(late.backend(), BackendKind::File);
    assert_eq!(named.backend(), BackendKind::Swap);

    pager.set_backend(BackendKind::Swap).unwrap();
    let mut back = Vec::new();
    for (handle, seed) in [(early, 1), (late, 2), (named, 3)] {
        pager.take(handle, &mut back).unwrap();
        assert_eq!(back, words(seed, 5000));
    }
}

#[test]
fn an_empty_payload_belongs_to_the_active_backend() {
    let Scratched { pager, root: _root } = scratched(BackendKind::Swap, Preset::Fast);
    for kind in BackendKind::ALL {
        pager.set_backend(kind).unwrap();
        let none = pager.pageout::<Vec<u64>>(&mut []).unwrap();
        let empty = pager.pageout(&mut [Vec::<u64>::new(), Vec::new()]).unwrap();
        assert_eq!((none.backend(), empty.backend()), (kind, kind));
        assert_eq!(pager.stats().of(kind).unwrap().live_handles, 2);
        let mut back = vec![1, 2, 3];
        pager.take(empty, &mut back).unwrap();
        assert!(back.is_empty());
    }
}

#[rstest]
fn a_range_outside_is_an_error_and_appends_nothing(
    #[values(BackendKind::Swap, BackendKind::File)] kind: BackendKind,
) {
    let Scratched { pager, root: _root } = scratched(kind, Preset::Fast);
    let handle = pager.pageout(&mut [words(1, 100)]).unwrap();
    let mut dst = vec![42];
    for (offset, len) in [(0, 101), (100, 1), (usize::MAX, 2), (1, usize::MAX)] {
        let error = pager.read_at(&handle, offset, len, &mut dst).unwrap_err();
        assert!(matches!(
            error,
            Error::OutOfBounds {
                payload_len: 100,
                ..
            }
        ));
    }
    let error = pager
        .read_at_many(&handle, &[0..10, 90..101], &mut dst)
        .unwrap_err();
    assert!(matches!(error, Error::OutOfBounds { .. }));
    assert_eq!(dst, [42]);
}

#[test]
fn handles_outlive_their_pager() {
    let Scratched { pager, root: _root } = scratched(BackendKind::File, Preset::Fast);
    let in_file = pager.pageout(&mut [words(1, 9999)]).unwrap();
    let in_swap = pager
        .options()
        .backend(BackendKind::Swap)
        .pageout(&mut [words(2, 9999)])
        .unwrap();
    drop(pager);
    let mut back = Vec::new();
    in_file.take(&mut back).unwrap();
    assert_eq!(back, words(1, 9999));
    in_swap.read_at(9998, 1, &mut back).unwrap();
    assert_eq!(back[9999], words(2, 9999)[9998]);
}

#[test]
fn a_handle_is_read_from_many_threads() {
    let Scratched { pager, root: _root } = scratched(BackendKind::File, Preset::Fast);
    let handle = Arc::new(pager.pageout(&mut [words(1, 50_000)]).unwrap());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let handle = Arc::clone(&handle);
            scope.spawn(move || {
                let mut part = Vec::new();
                handle.read_at(thread * 10_000, 10_000, &mut part).unwrap();
                assert_eq!(
                    part,
                    words(1, 50_000)[thread * 10_000..(thread + 1) * 10_000]
                );
            });
        }
    });
}

#[test]
fn stats_and_listing_cover_both_backends() {
    let Scratched { pager, root: _root } = budgeted(BackendKind::Swap, 0);
    let swap = pager.pageout(&mut [words(1, 1000)]).unwrap();
    let file = pager
        .options()
        .backend(BackendKind::File)
        .pageout(&mut [words(2, 2000)])
        .unwrap();
    let stats = pager.stats();
    assert_eq!(stats.active, BackendKind::Swap);
    assert_eq!(stats.total.live_handles, 2);
    assert_eq!(stats.total.logical_bytes, 24_000);
    assert_eq!(stats.total.backend.logical_bytes, 24_000);
    assert_eq!(stats.swap.as_ref().unwrap().paged_out_bytes, 8_000);
    assert_eq!(stats.file.as_ref().unwrap().paged_out_bytes, 16_000);
    assert!(stats.file.as_ref().unwrap().backend.stored_bytes >= 16_000);
    assert_eq!(stats.to_string().lines().count(), 5);

    let mut listed: Vec<_> = pager
        .handles()
        .iter()
        .map(|info| (info.backend, info.len))
        .collect();
    listed.sort_unstable();
    assert_eq!(listed, [("file", 2000), ("swap", 1000)]);

    let mut back = Vec::new();
    pager.read_at(&swap, 0, 10, &mut back).unwrap();
    pager.take(file, &mut back).unwrap();
    drop(swap);
    let total = pager.stats().total;
    assert_eq!((total.reads, total.takes, total.drops), (1, 1, 1));
    assert_eq!((total.read_bytes, total.taken_bytes), (80, 16_000));
    assert_eq!(total.live_handles, 0);
    assert!(pager.handles().is_empty());
}

#[test]
fn a_pager_that_never_needs_files_opens_no_directory() {
    let pager = Pager::new();
    let handle = pager
        .options()
        .backend(BackendKind::Swap)
        .pageout(&mut [words(1, 10)])
        .unwrap();
    assert_eq!(handle.len(), 10);
    assert_eq!(pager.scratch_dir(), None);
    assert!(pager.stats().file.is_none());
}

#[test]
fn the_scratch_directory_may_be_named_twice() {
    let Scratched { pager, root } = scratched(BackendKind::File, Preset::Fast);
    let directory = pager.scratch_dir().unwrap();
    let handle = pager.pageout(&mut [words(1, 100)]).unwrap();
    pager.set_scratch_dir(root.path()).unwrap();
    pager.set_scratch_dir(root.path().join(".")).unwrap();
    assert_eq!(pager.scratch_dir().unwrap(), directory);
    drop(handle);
}

#[test]
fn another_scratch_directory_waits_until_no_handle_lives() {
    let Scratched { pager, root } = scratched(BackendKind::File, Preset::Fast);
    let other = tempfile::tempdir().unwrap();
    let handle = pager.pageout(&mut [words(1, 100)]).unwrap();
    let error = pager.set_scratch_dir(other.path()).unwrap_err();
    assert_eq!(problem_of(&error), ScratchProblem::InUse);
    assert_eq!(other.path().read_dir().unwrap().count(), 0);

    drop(handle);
    pager.set_scratch_dir(other.path()).unwrap();
    assert!(pager.scratch_dir().unwrap().starts_with(other.path()));
    assert_eq!(root.path().read_dir().unwrap().count(), 0);
    let handle = pager.pageout(&mut [words(2, 100)]).unwrap();
    let stats = pager.stats().file.unwrap();
    assert_eq!(stats.pageouts, 2, "totals never fall");
    assert_eq!((stats.drops, stats.live_handles), (1, 1));
    let mut back = Vec::new();
    pager.take(handle, &mut back).unwrap();
    assert_eq!(back, words(2, 100));
}

#[test]
fn swap_handles_do_not_hold_a_scratch_directory() {
    let Scratched { pager, root: _root } = scratched(BackendKind::Swap, Preset::Fast);
    let _in_swap = pager.pageout(&mut [words(1, 100)]).unwrap();
    let other = tempfile::tempdir().unwrap();
    pager.set_scratch_dir(other.path()).unwrap();
}

#[test]
fn a_scratch_directory_that_failed_may_be_tried_again() {
    let Scratched { pager, root } = scratched(BackendKind::File, Preset::Fast);
    let before = pager.scratch_dir();
    let path = root.path().join("not").join("there");
    let error = pager.set_scratch_dir(&path).unwrap_err();
    assert_eq!(problem_of(&error), ScratchProblem::Missing);
    assert_eq!(pager.scratch_dir(), before);

    std::fs::create_dir_all(&path).unwrap();
    pager.set_scratch_dir(&path).unwrap();
    assert!(pager.scratch_dir().unwrap().starts_with(path));
}

#[test]
fn a_bad_scratch_directory_fails_the_build_of_a_pager() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Pager::builder()
        .scratch_dir(file.path())
        .build()
        .unwrap_err();
    assert_eq!(problem_of(&error), ScratchProblem::NotADirectory);
}

#[test]
fn a_pageout_over_the_quota_leaves_the_chunks_untouched() {
    let root = tempfile::tempdir().unwrap();
    let pager = Pager::builder()
        .backend(BackendKind::File)
        .scratch_dir(root.path())
        .quota_bytes(1 << 20)
        .budget_bytes(0)
        .allow_memory_fs(true)
        .build()
        .unwrap();
    let mut chunk = words(1, 1 << 18);
    let error = pager.pageout(std::slice::from_mut(&mut chunk)).unwrap_err();
    assert!(matches!(error, Error::QuotaExceeded { quota_bytes, .. } if quota_bytes == 1 << 20));
    assert_eq!(chunk, words(1, 1 << 18));
    assert_eq!(pager.stats().total.failed_pageouts, 1);
    // The other backend has no such limit.
    pager
        .options()
        .backend(BackendKind::Swap)
        .pageout(std::slice::from_mut(&mut chunk))
        .unwrap();
    assert!(chunk.is_empty());
}

#[rstest]
fn below_the_budget_a_take_returns_the_same_allocation(
    #[values(BackendKind::Swap, BackendKind::File)] kind: BackendKind,
) {
    let Scratched { pager, root: _root } = budgeted(kind, 64 << 20);
    let mut chunk = words(1, 1 << 18);
    let address = chunk.as_ptr();
    let handle = pager.pageout(std::slice::from_mut(&mut chunk)).unwrap();
    let mut back = Vec::with_capacity(10);
    pager.take(handle, &mut back).unwrap();
    assert_eq!(back.as_ptr(), address);
    assert_eq!(back, words(1, 1 << 18));
    assert_eq!(pager.stats().residency.elided_writes, 1);
}

#[test]
fn one_budget_bounds_both_backends() {
    let Scratched { pager, root: _root } = budgeted(BackendKind::Swap, 1 << 20);
    let handles: Vec<_> = (0..40)
        .map(|seed| {
            let kind = BackendKind::ALL[seed % 2];
            let mut chunk = words(seed as u64, 16_000);
            let handle = pager
                .options()
                .backend(kind)
                .pageout(std::slice::from_mut(&mut chunk));
            handle.unwrap()
        })
        .collect();
    assert!(pager.stats().residency.peak_resident_bytes <= 1 << 20);
    pager.flush().unwrap();
    assert_eq!(pager.stats().residency.resident_bytes, 0);
    pager.set_budget(8 << 20).unwrap();
    assert_eq!(pager.budget_bytes(), 8 << 20);
    pager.prefetch_many(&handles.iter().collect::<Vec<_>>());
    for (seed, handle) in handles.into_iter().enumerate() {
        let mut back = Vec::new();
        pager.take(handle, &mut back).unwrap();
        assert_eq!(back, words(seed as u64, 16_000));
    }
}

#[rstest]
fn pageout_each_makes_one_handle_a_chunk(
    #[values(BackendKind::Swap, BackendKind::File)] kind: BackendKind,
    #[values(0, 64 << 20)] budget_bytes: usize,
) {
    let Scratched { pager, root: _root } = budgeted(kind, budget_bytes);
    let mut chunks: Vec<_> = (0..5).map(|seed| words(seed, 3000)).collect();
    let handles = pager.options().pageout_each(&mut chunks).unwrap();
    assert!(chunks.iter().all(Vec::is_empty));
    for (seed, handle) in handles.into_iter().enumerate() {
        assert_eq!(handle.backend(), kind);
        let mut back = Vec::new();
        handle.take(&mut back).unwrap();
        assert_eq!(back, words(seed as u64, 3000));
    }
}

#[test]
fn after_a_shutdown_pageouts_are_refused_and_handles_live_on() {
    let Scratched { pager, root: _root } = budgeted(BackendKind::File, 64 << 20);
    let handle = pager.pageout(&mut [words(1, 3000)]).unwrap();
    pager.shutdown().unwrap();
    let refused = pager.pageout(&mut [words(2, 10)]);
    assert!(matches!(refused, Err(Error::ShutDown)));
    let mut back = Vec::new();
    handle.take(&mut back).unwrap();
    assert_eq!(back, words(1, 3000));
}

#[test]
fn reaping_leaves_a_live_directory_alone() {
    let Scratched { pager, root } = scratched(BackendKind::File, Preset::Fast);
    let neighbour = Pager::builder()
        .scratch_dir(root.path())
        .allow_memory_fs(true)
        .build()
        .unwrap();
    let handle = neighbour
        .options()
        .backend(BackendKind::File)
        .pageout(&mut [words(1, 1000)])
        .unwrap();
    pager.reap().unwrap();
    assert!(neighbour.scratch_dir().unwrap().is_dir());
    let mut back = Vec::new();
    neighbour.take(handle, &mut back).unwrap();
    assert_eq!(back, words(1, 1000));
}

#[test]
fn many_threads_may_open_the_scratch_directory_at_once() {
    let root = tempfile::tempdir().unwrap();
    let pager = Pager::builder().allow_memory_fs(true).build().unwrap();
    std::thread::scope(|scope| {
        for seed in 0..8 {
            let (pager, root) = (&pager, root.path());
            scope.spawn(move || {
                pager.set_scratch_dir(root).unwrap();
                let handle = pager
                    .options()
                    .backend(BackendKind::File)
                    .pageout(&mut [words(seed, 1000)])
                    .unwrap();
                let mut back = Vec::new();
                pager.take(handle, &mut back).unwrap();
                assert_eq!(back, words(seed, 1000));
            });
        }
    });
    assert_eq!(root.path().read_dir().unwrap().count(), 1);
    assert_eq!(pager.stats().file.unwrap().takes, 8);
}
