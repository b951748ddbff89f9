//! No memory is an error and not the end of the process: neither the general
//! allocator nor `mmap` gives any, wherever its size is that of a payload.
//!
//! An allocation that cannot be refused would abort this whole test binary. Alone
//! in its file, because the allocator is the process's.

#![cfg(all(target_os = "linux", feature = "swap", feature = "file"))]
#![allow(unsafe_code, reason = "an allocator that refuses is an allocator")]
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::Deref;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::words;
use pager::pager_core::{Arena, Chunk, Destination};
use pager::{BackendKind, ChunkBuf, Error, Handle, Pager, Preset};
use pager_file::IoChoice;
use pager_testkit::syscalls::{Call, Errno, Fault, Injection, Mishap};
use rstest::rstest;

/// Allocations of more bytes than this are refused. Relaxed: set by the thread that
/// then makes the calls, and others may learn of it late.
static LIMIT_BYTES: AtomicUsize = AtomicUsize::new(usize::MAX);

struct Refusing;

fn is_refused(bytes: usize) -> bool {
    bytes > LIMIT_BYTES.load(Ordering::Relaxed)
}

// SAFETY: forwards to the system's allocator unchanged, or allocates nothing.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_refused(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: by the caller's contract, as everywhere below.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_refused(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        if is_refused(len) {
            return std::ptr::null_mut();
        }
        // SAFETY: as above.
        unsafe { System.realloc(start, layout, len) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static REFUSING: Refusing = Refusing;

/// One test at a time.
static TURN: Mutex<()> = Mutex::new(());

/// A payload of 16 MiB: its checksums alone take 16 KiB.
const LEN: usize = 2 << 20;
const REFUSED_FROM_BYTES: usize = 12 << 10;

/// Runs `action` without memory for anything that is as large as a payload.
fn without_memory<T>(action: impl FnOnce() -> T) -> T {
    LIMIT_BYTES.store(REFUSED_FROM_BYTES, Ordering::Relaxed);
    let done = action();
    LIMIT_BYTES.store(usize::MAX, Ordering::Relaxed);
    done
}

fn pager(preset: Preset, budget_bytes: usize) -> (Pager, tempfile::TempDir) {
    // A thread of the pager before may hold a buffer a moment longer, and what it
    // gives back would be memory where there is to be none.
    let since = Instant::now();
    while Arena::shared().usage().used_bytes > 0 {
        assert!(since.elapsed() < Duration::from_secs(5), "buffers are left");
        std::thread::sleep(Duration::from_millis(1));
    }
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let pager = Pager::builder()
        .preset(preset)
        .budget_bytes(budget_bytes)
        .io(IoChoice::Buffered)
        .scratch_dir(root.path())
        .build()
        .unwrap();
    (pager, root)
}

#[track_caller]
fn assert_refused<T>(outcome: Result<T, Error>) {
    match outcome {
        Ok(_) => panic!("there is no memory for this"),
        Err(error) => assert!(matches!(error, Error::OutOfMemory { .. }), "{error:?}"),
    }
}

/// Without memory a page-out succeeds, or says so and leaves its chunk as it was.
fn page_out<C: Chunk<Element = u64>>(
    pager: &Pager,
    kind: BackendKind,
    mut chunk: C,
    expected: &[u64],
) -> Handle {
    let paged_out = without_memory(|| {
        pager
            .options()
            .backend(kind)
            .pageout(std::slice::from_mut(&mut chunk))
    });
    match paged_out {
        Ok(handle) => handle,
        refused => {
            assert_refused(refused);
            assert!(chunk.elements() == expected, "the chunk is as it was");
            pager.options().backend(kind).pageout(&mut [chunk]).unwrap()
        }
    }
}

fn take<D: Destination<Element = u64> + Default + Deref<Target = [u64]>>(
    handle: Handle,
    expected: &[u64],
) {
    let mut dst = D::default();
    let handle = match without_memory(|| handle.take(&mut dst)) {
        Ok(()) => {
            assert!(dst[..] == *expected, "every word comes back");
            return;
        }
        Err(failed) => {
            let (error, handle) = failed.into_parts();
            assert_refused::<()>(Err(error));
            assert!(dst.is_empty(), "a failed take leaves nothing");
            handle
        }
    };
    handle.take(&mut dst).unwrap();
    assert!(dst[..] == *expected, "every word comes back");
}

#[rstest]
fn where_the_allocator_refuses_every_operation_says_so_and_nothing_is_lost(
    #[values(Preset::Fast, Preset::Seed)] preset: Preset,
    #[values(BackendKind::Swap, BackendKind::File)] kind: BackendKind,
    #[values(0, 24 << 20, 1 << 30)] budget_bytes: usize,
) {
    let _turn = TURN.lock();
    let (pager, _root) = pager(preset, budget_bytes);
    let expected = words(1, LEN);
    let first = page_out(&pager, kind, expected.clone(), &expected);
    let second = page_out(&pager, kind, expected.clone(), &expected);
    let buf = ChunkBuf::try_from(&expected[..]).unwrap();
    let third = page_out(&pager, kind, buf, &expected);

    // Background threads write and fetch without memory, too.
    let flushed = without_memory(|| pager.flush());
    if flushed.is_err() {
        assert_refused(flushed);
        pager.flush().unwrap();
    }
    let mut read = Vec::new();
    without_memory(|| {
        pager.prefetch_many(&[&first, &second, &third]);
        assert_refused(first.read_at(0, LEN, &mut read));
        assert_refused(first.read_at_many(&[0..LEN / 2, 0..LEN], &mut read));
    });
    assert!(read.capacity() == 0, "a failed read appends nothing");
    for handle in [&first, &second, &third] {
        read.clear();
        handle.read_at(LEN / 2, 1000, &mut read).unwrap();
        assert!(
            read[..] == expected[LEN / 2..][..1000],
            "a survivor reads back"
        );
    }
    take::<Vec<u64>>(first, &expected);
    take::<ChunkBuf>(second, &expected);
    take::<ChunkBuf>(third, &expected);
    assert_settled(&pager);
}

/// Every buffer of the shared arena that can be had without mapping more.
fn exhaust(words: usize) -> Vec<ChunkBuf> {
    let mut held = Vec::new();
    loop {
        match ChunkBuf::with_capacity(words) {
            Ok(buf) => held.push(buf),
            Err(error) => {
                assert_refused::<()>(Err(error));
                return held;
            }
        }
    }
}

#[rstest]
fn where_nothing_can_be_mapped_every_operation_says_so_and_nothing_is_lost(
    #[values(BackendKind::Swap, BackendKind::File)] kind: BackendKind,
) {
    const LEN: usize = (1 << 18) - 7;
    let _turn = TURN.lock();
    let (pager, _root) = pager(Preset::Fast, 0);
    let expected = words(3, LEN);
    let stored = pager
        .options()
        .backend(kind)
        .pageout(&mut [expected.clone()])
        .unwrap();
    let other = (0..5).map(|_| {
        pager
            .options()
            .backend(kind)
            .pageout(&mut [expected.clone()])
            .unwrap()
    });
    let others: Vec<Handle> = other.collect();
    // One slot is free, for what follows.
    drop(ChunkBuf::<u64>::with_capacity(LEN).unwrap());

    let injection = Injection::begin(&[Fault {
        call: Call::Mmap,
        nth: 1,
        mishap: Mishap::Fails(Errno::NoMemory),
        for_good: true,
    }]);
    let mut held = exhaust(LEN);
    let mut chunk = [expected.clone()];
    if kind == BackendKind::Swap {
        // A slot of the arena is what a page-out needs, and there is none.
        assert_refused(pager.options().backend(kind).pageout(&mut chunk));
        assert!(chunk[0] == expected, "the chunk is as it was");
    }
    let mut dst = ChunkBuf::new();
    assert_refused(stored.read_at(0, LEN, &mut dst));
    assert!(dst.is_empty() && dst.capacity() == 0);
    assert_refused(dst.extend_from_slice(&expected));
    let mut grown = held.pop().unwrap();
    grown.resize(LEN, 5).unwrap();
    assert_refused(grown.reserve(16 * LEN));
    assert!(grown.len() == LEN && grown.iter().all(|word| *word == 5));
    if kind == BackendKind::File {
        let failed = stored.take(&mut dst).unwrap_err();
        assert_refused::<()>(Err(Error::from(failed)));
    } else {
        drop(stored);
    }

    injection.heal();
    for handle in others {
        handle.take(&mut dst).unwrap();
        assert!(dst[..] == expected[..], "every word comes back");
    }
    drop(injection);
    assert_settled(&pager);
}

#[test]
fn a_staging_buffer_that_cannot_be_had_is_an_error_of_its_page_out() {
    // No multiple of a block, so the last one goes through a staging buffer.
    const LEN: usize = 513;
    let _turn = TURN.lock();
    let (pager, _root) = pager(Preset::Fast, 0);
    let expected = words(4, LEN);
    let injection = Injection::begin(&[Fault {
        call: Call::Mmap,
        nth: 1,
        mishap: Mishap::Fails(Errno::NoMemory),
        for_good: true,
    }]);
    let held = exhaust((2 << 20) / 8);
    let mut chunk = [expected.clone()];
    assert_refused(
        pager
            .options()
            .backend(BackendKind::File)
            .pageout(&mut chunk),
    );
    assert!(chunk[0] == expected, "the chunk is as it was");
    drop(held);
    // Nothing was held if this is the first test to want such a buffer.
    drop(injection);
    let handle = pager
        .options()
        .backend(BackendKind::File)
        .pageout(&mut chunk)
        .unwrap();
    let mut dst = Vec::new();
    handle.take(&mut dst).unwrap();
    assert!(dst == expected, "every word comes back");
    assert_settled(&pager);
}

#[test]
fn an_arena_that_has_no_memory_for_its_lists_maps_one_slot() {
    let _turn = TURN.lock();
    let arena = Arena::new(0);
    let slot = || ChunkBuf::with_capacity_in(&arena, 1).unwrap();
    // Slots of a page, until the next region would be cut into a thousand of them.
    let held: Vec<ChunkBuf> = (0..1024).map(|_| slot()).collect();
    let mapped_bytes = arena.usage().mapped_bytes;
    let one = without_memory(slot);
    assert_eq!(
        arena.usage().mapped_bytes,
        mapped_bytes + one.capacity_bytes()
    );
    let next = slot();
    assert!(arena.usage().mapped_bytes > mapped_bytes + 2 * next.capacity_bytes());
    drop((held, one, next));
    assert_eq!(arena.usage().used_bytes, 0);
    assert_eq!(arena.usage().idle_bytes, arena.usage().mapped_bytes);
}

/// A prefetch that finds no memory leaves the payload where it is.
#[test]
fn a_fetch_buffer_that_cannot_be_had_loses_nothing() {
    const LEN: usize = 1 << 18;
    let _turn = TURN.lock();
    let (pager, _root) = pager(Preset::Fast, 64 << 20);
    let expected = words(5, LEN);
    let buf = ChunkBuf::try_from(&expected[..]).unwrap();
    let handle = pager
        .options()
        .backend(BackendKind::File)
        .pageout(&mut [buf])
        .unwrap();
    pager.flush().unwrap();
    let injection = Injection::begin(&[Fault {
        call: Call::Mmap,
        nth: 1,
        mishap: Mishap::Fails(Errno::NoMemory),
        for_good: true,
    }]);
    let held = exhaust(LEN);
    handle.prefetch();
    let since = Instant::now();
    while pager.stats().residency.background_errors == 0 {
        assert!(
            since.elapsed() < Duration::from_secs(5),
            "nobody tried to fetch"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut read = Vec::new();
    handle.read_at(0, LEN, &mut read).unwrap();
    assert!(
        read == expected,
        "it is read past the buffer that was not to be had"
    );
    drop(held);
    drop(injection);
    let mut dst = ChunkBuf::new();
    handle.take(&mut dst).unwrap();
    assert!(dst[..] == expected[..], "every word comes back");
    assert_settled(&pager);
}

fn assert_settled(pager: &Pager) {
    let since = Instant::now();
    loop {
        let stats = pager.stats();
        let held = stats.total.live_handles as u64
            + stats.total.logical_bytes
            + stats.total.backend.logical_bytes
            + stats.residency.resident_bytes
            + stats.residency.fetching_bytes
            + stats.residency.writing_bytes;
        if held == 0 {
            return;
        }
        // A background thread may hold a payload for one operation more.
        assert!(
            since.elapsed() < Duration::from_secs(5),
            "still held: {stats}"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}
