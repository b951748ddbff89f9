//! What is counted is what is held: the budget against the process as the kernel sees it.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Barrier, Mutex, PoisonError};
use std::time::Duration;

use pager::{BackendKind, Pager};
use rstest::rstest;

/// What may be held on top of the budget.
const SLACK_BYTES: u64 = 8 << 20;

const CHUNK_WORDS: usize = (2 << 20) / 8;

/// One test at a time: each looks at the memory of the whole process.
static ALONE: Mutex<()> = Mutex::new(());

fn anonymous_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("RssAnon"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

fn pager(kind: BackendKind, budget_bytes: usize) -> Pager {
    Pager::builder()
        .backend(kind)
        .budget_bytes(budget_bytes)
        .build()
        .unwrap()
}

/// Checks both books of `pager` against what the process held `before`.
fn check_books(pager: &Pager, before: u64, what: &str) {
    let stats = pager.stats().residency;
    let grown = anonymous_bytes().saturating_sub(before);
    println!("{what}: grown by {} KiB, {stats:?}", grown >> 10);
    assert!(
        grown <= stats.budget_bytes + SLACK_BYTES,
        "{what}: the process grew by {grown} bytes under a budget of {}",
        stats.budget_bytes
    );
    assert!(
        grown <= stats.held_bytes + SLACK_BYTES,
        "{what}: the process grew by {grown} bytes, and {} are counted",
        stats.held_bytes
    );
    let most = stats.budget_bytes + SLACK_BYTES;
    assert!(stats.peak_held_bytes <= most, "{what}: {stats:?}");
}

#[test]
fn columns_that_kept_little_cost_what_they_kept() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let pager = pager(BackendKind::File, 64 << 20);
    let before = anonymous_bytes();
    let handles: Vec<_> = (0..512)
        .map(|seed| {
            let mut column: Vec<u64> = vec![seed; CHUNK_WORDS];
            column.truncate(1001);
            pager.pageout(&mut [column]).unwrap()
        })
        .collect();
    check_books(&pager, before, "filtered columns");
    let stats = pager.stats().residency;
    assert_eq!(stats.resident_bytes, 512 * 1001 * 8);
    for (seed, handle) in (0..).zip(handles) {
        let mut words = Vec::new();
        pager.take(handle, &mut words).unwrap();
        assert_eq!(words, [seed; 1001]);
    }
}

#[test]
fn roomy_buffers_stay_with_their_owner_and_full_ones_move() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let pager = pager(BackendKind::File, 64 << 20);
    let mut roomy: Vec<u64> = Vec::with_capacity(CHUNK_WORDS);
    roomy.extend(0..1000);
    let address = roomy.as_ptr();
    let handle = pager.pageout(std::slice::from_mut(&mut roomy)).unwrap();
    assert_eq!((roomy.as_ptr(), roomy.capacity()), (address, CHUNK_WORDS));
    let mut full: Vec<u64> = Vec::with_capacity(1500);
    full.extend(0..1000);
    let address = full.as_ptr();
    let second = pager.pageout(std::slice::from_mut(&mut full)).unwrap();
    assert_eq!(pager.stats().residency.resident_bytes, (1000 + 1500) * 8);
    pager.take(second, &mut full).unwrap();
    assert_eq!(full.as_ptr(), address);
    pager.take(handle, &mut roomy).unwrap();
    assert!(roomy.iter().copied().eq(0..1000));
}

/// `count` callers at a time, each with one chunk of its own, page out far more than the
/// budget and read some of it.
#[rstest]
#[case(1, 16 << 20)]
#[case(4, 16 << 20)]
#[case(16, 16 << 20)]
#[case(16, 64 << 20)]
fn the_bound_holds_for_callers_of_any_number(#[case] count: u32, #[case] budget_bytes: usize) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let pager = pager(BackendKind::File, budget_bytes);
    let begin = Barrier::new(usize::try_from(count).unwrap() + 1);
    let most = Mutex::new(0);
    let mut before = 0;
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..u64::from(count))
            .map(|caller| {
                let (pager, begin, most) = (&pager, &begin, &most);
                scope.spawn(move || {
                    // Not of zeros: the system gives no memory to those before they are written.
                    let mut chunk = vec![caller + 1; CHUNK_WORDS];
                    let mut part = vec![caller; 1 << 10];
                    begin.wait();
                    begin.wait();
                    let mut handles = Vec::new();
                    for turn in 0..u64::from(128 / count) {
                        chunk.clear();
                        chunk.resize(CHUNK_WORDS, caller + turn);
                        handles.push(pager.pageout(std::slice::from_mut(&mut chunk)).unwrap());
                        part.clear();
                        let handle = &handles[handles.len() / 2];
                        pager.read_at(handle, 7, 1 << 10, &mut part).unwrap();
                        let now = anonymous_bytes();
                        let mut most = most.lock().unwrap();
                        *most = now.max(*most);
                    }
                })
            })
            .collect();
        begin.wait();
        before = anonymous_bytes();
        begin.wait();
        for caller in callers {
            caller.join().unwrap();
        }
    });
    let most = most.into_inner().unwrap().saturating_sub(before);
    println!("{count} callers, {} KiB at most", most >> 10);
    // What callers free themselves, the allocator may keep: half a chunk for each.
    let callers_bytes = if count > 4 { u64::from(count) << 20 } else { 0 };
    assert!(
        most <= budget_bytes as u64 + SLACK_BYTES + callers_bytes,
        "{most} bytes"
    );
    check_books(&pager, before, "callers");
}

/// Anonymous memory while a large payload is read window by window, with the next one
/// announced.
fn read_in_windows(kind: BackendKind) {
    let pager = pager(kind, 64 << 20);
    let mut column: Vec<u64> = (0..(256 << 20) / 8).collect();
    let before = anonymous_bytes() - (256 << 20);
    let handle = pager.pageout(std::slice::from_mut(&mut column)).unwrap();
    drop(column);
    pager.flush().unwrap();
    let window = (8 << 20) / 8;
    let mut part = Vec::with_capacity(window);
    for start in (0..handle.len()).step_by(window) {
        pager.prefetch_at(&handle, start + window, window);
        part.clear();
        pager.read_at(&handle, start, window, &mut part).unwrap();
        assert!(
            part.iter()
                .copied()
                .eq(start as u64..(start + window) as u64)
        );
        let grown = anonymous_bytes().saturating_sub(before + (8 << 20));
        assert!(
            grown <= (64 << 20) + SLACK_BYTES,
            "{grown} bytes at {start}"
        );
    }
    check_books(&pager, before + (8 << 20), "windows");
    assert!(pager.stats().residency.prefetch_hits > 0);
}

#[test]
fn windows_of_a_large_payload_stay_within_the_budget_on_file() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    read_in_windows(BackendKind::File);
}

#[test]
fn windows_of_a_large_payload_stay_within_the_budget_on_swap() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if has_swap() {
        read_in_windows(BackendKind::Swap);
    }
}

fn has_swap() -> bool {
    let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    let has_swap = swaps.lines().count() > 1;
    if !has_swap {
        println!("skipped: there is no swap");
    }
    has_swap
}

/// Parts are read of what the kernel's cache may still have in whole huge pages, and maps so;
/// announced, there is more of it than there is room for, and it is read before it was fetched.
/// What comes back is counted, or let go again.
#[rstest]
fn parts_of_payloads_stay_within_the_budget_on_swap(#[values(false, true)] are_announced: bool) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if !has_swap() {
        return;
    }
    let pager = pager(BackendKind::Swap, 16 << 20);
    let handles: Vec<_> = (0..64u64)
        .map(|seed| pager.pageout(&mut [vec![seed; CHUNK_WORDS]]).unwrap())
        .collect();
    pager.flush().unwrap();
    let before = anonymous_bytes();
    let part_words = CHUNK_WORDS / 4;
    let mut part = Vec::with_capacity(part_words);
    for start in (0..CHUNK_WORDS).step_by(part_words) {
        for (seed, handle) in (0..).zip(&handles) {
            if are_announced {
                handles.iter().for_each(|handle| pager.prefetch(handle));
            }
            part.clear();
            pager.read_at(handle, start, part_words, &mut part).unwrap();
            assert!(part == vec![seed; part_words], "payload {seed}");
        }
        check_books(&pager, before, "parts");
    }
}

#[test]
fn what_was_announced_and_then_read_is_not_fetched_any_more() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // A quarter is for read-ahead: one payload.
    let pager = pager(BackendKind::File, 8 << 20);
    let handles: Vec<_> = (0..8u64)
        .map(|seed| pager.pageout(&mut [vec![seed; CHUNK_WORDS]]).unwrap())
        .collect();
    pager.flush().unwrap();
    pager.prefetch_many(&handles.iter().collect::<Vec<_>>());
    while pager.stats().residency.fetches == 0 {
        std::thread::yield_now();
    }
    let mut words = Vec::new();
    for handle in handles.iter().rev() {
        words.clear();
        pager.read_at(handle, 0, CHUNK_WORDS, &mut words).unwrap();
    }
    let before = pager.stats().residency;
    std::thread::sleep(Duration::from_millis(200));
    let after = pager.stats().residency;
    assert_eq!(after.fetches, before.fetches);
    assert_eq!(after.prefetch_waste, 0);
    assert_eq!(after.cancelled_fetches + after.fetches, 8);
}

#[test]
fn a_pager_that_is_gone_holds_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = anonymous_bytes();
    for round in 0..40 {
        let pager = pager(BackendKind::File, 128 << 20);
        let mut taken = Vec::new();
        for seed in 0..8u64 {
            // Each take leaves the buffer of the one before as a spare.
            let handle = pager
                .pageout(&mut [vec![round + seed; CHUNK_WORDS]])
                .unwrap();
            pager.take(handle, &mut taken).unwrap();
        }
        let spare_bytes = pager.stats().residency.spare_bytes;
        assert!(spare_bytes >= 2 << 20, "{spare_bytes} bytes are spare");
    }
    let grown = anonymous_bytes().saturating_sub(before);
    assert!(grown <= 2 * SLACK_BYTES, "{grown} bytes are left");
}

/// How often the I/O threads have gone to sleep.
fn io_thread_sleeps() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let status = |task: std::fs::DirEntry| {
        let path = task.path();
        let name = std::fs::read_to_string(path.join("comm")).ok()?;
        let status = std::fs::read_to_string(path.join("status")).ok()?;
        let line = status
            .lines()
            .find(|line| line.starts_with("voluntary_ctxt"))?;
        let count: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        name.starts_with("pager-io").then_some(count)
    };
    tasks.filter_map(|task| status(task.ok()?)).sum()
}

#[test]
fn threads_with_nothing_to_do_do_not_wake() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let pager = pager(BackendKind::File, 16 << 20);
    let handles: Vec<_> = (0..16u64)
        .map(|seed| pager.pageout(&mut [vec![seed; CHUNK_WORDS]]).unwrap())
        .collect();
    pager.flush().unwrap();
    handles[0].prefetch();
    std::thread::sleep(Duration::from_millis(300));
    let before = io_thread_sleeps();
    assert!(before > 0, "the threads run");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(io_thread_sleeps(), before);
}

#[test]
fn figures_cost_the_same_whatever_is_alive() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let pager = pager(BackendKind::File, 1 << 30);
    let handles: Vec<_> = (0..200_000u64)
        .map(|seed| pager.pageout(&mut [vec![seed]]).unwrap())
        .collect();
    let begun = std::time::Instant::now();
    for _ in 0..1000 {
        assert_eq!(pager.stats().total.live_handles, handles.len());
    }
    let each = begun.elapsed() / 1000;
    println!("stats: {each:?}");
    assert!(each < Duration::from_micros(500), "{each:?}");
}
