//! What slots of an arena are, warm and cold, and how address space comes and goes.

use super::*;
use crate::ChunkBuf;
use crate::memory::PAGE_BYTES;
use proptest::prelude::*;
use std::ops::Range;
use std::thread;

const LIMIT_BYTES: usize = 3 * HUGE_PAGE_BYTES;

/// A buffer with room for `bytes`.
fn buf(arena: &Arena, bytes: usize) -> ChunkBuf {
    ChunkBuf::with_capacity_in(arena, bytes / 8).unwrap()
}

fn addresses(buf: &ChunkBuf) -> Range<usize> {
    let start = buf.as_ptr().addr();
    start..start + buf.capacity() * 8
}

#[test]
fn a_freed_slot_stays_warm_and_is_the_next_to_be_used() {
    let arena = Arena::new(LIMIT_BYTES);
    let first = buf(&arena, HUGE_PAGE_BYTES);
    let place = addresses(&first);
    assert_eq!(arena.usage().used_bytes, HUGE_PAGE_BYTES);
    drop(first);
    assert_eq!(arena.usage().used_bytes, 0);
    assert_eq!(arena.usage().warm_bytes, HUGE_PAGE_BYTES);
    let second = buf(&arena, HUGE_PAGE_BYTES);
    assert_eq!(addresses(&second), place);
    assert_eq!(arena.usage().warm_bytes, 0);
}

#[test]
fn trimming_leaves_nothing_warm_and_nothing_mapped_that_is_wholly_free() {
    let arena = Arena::new(LIMIT_BYTES);
    let bufs = [PAGE_BYTES, 5 * PAGE_BYTES, HUGE_PAGE_BYTES].map(|len| buf(&arena, len));
    drop(bufs);
    let warm_bytes = arena.usage().warm_bytes;
    assert_eq!(warm_bytes, HUGE_PAGE_BYTES + 6 * PAGE_BYTES);
    assert_eq!(arena.trim(), warm_bytes);
    assert_eq!(arena.usage().warm_bytes, 0);
    assert_eq!(arena.trim(), 0);
    assert_eq!(arena.usage(), ArenaUsage::default());
    // One slot that is held keeps what it was mapped with, and no more.
    let (held, freed) = (buf(&arena, PAGE_BYTES), buf(&arena, PAGE_BYTES));
    let place = addresses(&freed);
    drop(freed);
    drop(buf(&arena, HUGE_PAGE_BYTES));
    arena.trim();
    let usage = arena.usage();
    assert_eq!((usage.warm_bytes, usage.idle_bytes), (0, 0));
    assert_eq!(usage.mapped_bytes, HUGE_PAGE_BYTES);
    assert_eq!(
        addresses(&buf(&arena, PAGE_BYTES)),
        place,
        "cold slots are reused"
    );
    drop(held);
}

#[test]
fn sizes_that_change_leave_no_address_space_behind() {
    let arena = Arena::new(HUGE_PAGE_BYTES);
    let live_bytes = if cfg!(miri) { 1 << 20 } else { 40 << 20 };
    let rounds = if cfg!(miri) { 3 } else { 60 };
    for round in 0..rounds {
        let bytes = 70_000 + round * 377_717 % 3_000_000;
        let held: Vec<_> = (0..live_bytes / bytes)
            .map(|_| buf(&arena, bytes))
            .collect();
        // An eighth for the step between sizes; regions that are as large again as
        // what there was; what is idle; and what a warm slot keeps.
        let mapped_bytes = arena.usage().mapped_bytes;
        let bound = live_bytes * 9 / 4 + IDLE_BYTES + REGION_BYTES;
        assert!(mapped_bytes < bound, "round {round}: {mapped_bytes} bytes");
        drop(held);
        let usage = arena.usage();
        assert!(usage.idle_bytes <= IDLE_BYTES);
        assert!(usage.mapped_bytes <= IDLE_BYTES + REGION_BYTES, "{usage:?}");
    }
}

#[test]
fn a_slot_larger_than_what_is_kept_idle_is_unmapped_at_once() {
    let arena = Arena::new(0);
    drop(buf(&arena, IDLE_BYTES + PAGE_BYTES));
    assert_eq!(arena.usage(), ArenaUsage::default());
    let small = buf(&arena, REGION_BYTES);
    drop(small);
    assert_eq!(arena.usage().idle_bytes, REGION_BYTES, "this one is kept");
    drop(buf(&arena, REGION_BYTES));
    assert_eq!(arena.usage().mapped_bytes, REGION_BYTES, "and used again");
}

#[test]
fn regions_grow_with_what_is_wanted() {
    let arena = Arena::new(0);
    let mut held = vec![buf(&arena, PAGE_BYTES)];
    assert_eq!(arena.usage().mapped_bytes, HUGE_PAGE_BYTES);
    let regions = if cfg!(miri) { 2 } else { 5 };
    while held.len() < regions * HUGE_PAGE_BYTES / PAGE_BYTES {
        held.push(buf(&arena, PAGE_BYTES));
    }
    let usage = arena.usage();
    assert!(usage.mapped_bytes <= 2 * usage.used_bytes, "{usage:?}");
}

#[test]
fn regions_that_were_mapped_late_run_empty_first() {
    let arena = Arena::new(0);
    let in_region = HUGE_PAGE_BYTES / (64 * PAGE_BYTES);
    let mut held: Vec<_> = (0..2 * in_region)
        .map(|_| buf(&arena, 64 * PAGE_BYTES))
        .collect();
    let late = held.split_off(in_region + 1);
    let place = addresses(&held[0]);
    drop(held.swap_remove(0));
    drop(late);
    let next = buf(&arena, 64 * PAGE_BYTES);
    assert_eq!(addresses(&next), place, "the hole in the first is used");
    assert_eq!(arena.usage().idle_bytes, 0);
    // `swap_remove` has put the only one of the second region first.
    drop(held.swap_remove(0));
    assert_eq!(arena.usage().idle_bytes, HUGE_PAGE_BYTES);
}

#[cfg(all(target_os = "linux", not(miri)))]
#[test]
fn only_an_arena_that_is_told_to_is_in_a_core_dump() {
    for is_dumped in [false, true] {
        let arena = Arena::builder().core_dumps(is_dumped).build();
        let held = buf(&arena, 3 * HUGE_PAGE_BYTES);
        let flags = flags_of(addresses(&held).start);
        let has_dont_dump = flags.split_whitespace().any(|flag| flag == "dd");
        assert_eq!(has_dont_dump, !is_dumped, "{flags}");
        // Whatever is there when the process forks is there in the child.
        assert!(flags.split_whitespace().all(|flag| flag != "wf"), "{flags}");
    }
}

/// What `/proc/self/smaps` says of the mapping at `address`.
#[cfg(all(target_os = "linux", not(miri)))]
fn flags_of(address: usize) -> String {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut is_it = false;
    for line in smaps.lines() {
        if let Some((start, end)) = line.split(' ').next().and_then(|it| it.split_once('-')) {
            let bound = |hex| usize::from_str_radix(hex, 16).ok();
            is_it = bound(start) <= Some(address) && Some(address) < bound(end);
        } else if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| is_it) {
            return flags.to_owned();
        }
    }
    panic!("nothing is mapped there");
}

#[test]
fn what_does_not_fit_the_warm_stock_turns_cold() {
    let arena = Arena::new(LIMIT_BYTES);
    drop(buf(&arena, LIMIT_BYTES + PAGE_BYTES));
    assert_eq!(arena.usage().warm_bytes, 0);
    let bufs: Vec<ChunkBuf> = (0..5).map(|_| buf(&arena, HUGE_PAGE_BYTES)).collect();
    drop(bufs);
    assert_eq!(arena.usage().warm_bytes, LIMIT_BYTES);
    // What was freed last displaces what was freed before it.
    drop(buf(&arena, PAGE_BYTES));
    let warm_bytes = arena.usage().warm_bytes;
    assert_eq!(warm_bytes, LIMIT_BYTES - HUGE_PAGE_BYTES + PAGE_BYTES);
}

#[test]
fn an_arena_without_a_warm_stock_keeps_nothing_warm() {
    let arena = Arena::new(0);
    drop(buf(&arena, PAGE_BYTES));
    drop(buf(&arena, HUGE_PAGE_BYTES));
    assert_eq!(arena.usage().warm_bytes, 0);
}

#[test]
fn a_slot_that_was_paged_out_is_given_back_cold() {
    let arena = Arena::new(LIMIT_BYTES);
    let mut paged_out = buf(&arena, PAGE_BYTES);
    paged_out.push(1).unwrap();
    paged_out.mark_paged_out();
    let place = addresses(&paged_out);
    drop(paged_out);
    assert_eq!(arena.usage().warm_bytes, 0);
    let next = buf(&arena, PAGE_BYTES);
    assert_eq!(addresses(&next), place);
    // The mark went with the buffer.
    drop(next);
    assert_eq!(arena.usage().warm_bytes, PAGE_BYTES);
}

#[test]
fn slots_are_aligned_to_pages_and_large_ones_to_huge_pages() {
    let arena = Arena::new(0);
    for pages in [1, 2, 9, 100, 512, 576, 1024] {
        let bufs = [(); 2].map(|()| buf(&arena, pages * PAGE_BYTES));
        for buf in &bufs {
            let align_bytes = if pages % 512 == 0 {
                HUGE_PAGE_BYTES
            } else {
                PAGE_BYTES
            };
            let start = addresses(buf).start;
            assert!(start.is_multiple_of(align_bytes), "{pages} pages");
        }
    }
}

#[test]
fn a_size_beyond_all_memory_is_a_typed_error() {
    let arena = Arena::new(0);
    for words in [usize::MAX, usize::MAX / 8, isize::MAX as usize / 8] {
        let error = ChunkBuf::<u64>::with_capacity_in(&arena, words).unwrap_err();
        assert!(matches!(error, Error::OutOfMemory { .. }), "{words}");
    }
    assert_eq!(arena.usage(), ArenaUsage::default());
}

#[test]
fn buffers_outlive_the_arena_value() {
    let arena = Arena::new(0);
    let mut buf = buf(&arena, PAGE_BYTES);
    drop(arena);
    buf.extend_from_slice(&[1, 2, 3]).unwrap();
    buf.reserve(PAGE_BYTES).unwrap();
    assert_eq!(*buf, [1, 2, 3]);
}

#[test]
fn the_shared_arena_is_one() {
    let first = Arena::shared();
    let second = thread::spawn(Arena::shared).join().unwrap();
    assert!(Arc::ptr_eq(&first.inner, &second.inner));
}

#[test]
fn threads_allocate_and_free_at_once() {
    const ROUNDS: usize = if cfg!(miri) { 3 } else { 500 };
    let arena = Arena::new(16 * PAGE_BYTES);
    thread::scope(|scope| {
        for thread in 0..4 {
            let arena = &arena;
            scope.spawn(move || {
                let mut held = Vec::new();
                for round in 0..ROUNDS {
                    let stamp = (thread * ROUNDS + round) as u64;
                    let pages = 1 + (thread + round) % 5;
                    let mut buf = buf(arena, pages * PAGE_BYTES);
                    buf.resize(pages * 64, stamp).unwrap();
                    held.push((stamp, buf));
                    if held.len() > 4 {
                        let (stamp, buf) = held.swap_remove(round % 4);
                        assert!(buf.iter().all(|word| *word == stamp));
                    }
                    if round % 50 == 0 {
                        arena.trim();
                    }
                }
            });
        }
    });
    let usage = arena.usage();
    assert_eq!(usage.used_bytes, 0);
    assert!(usage.warm_bytes <= 16 * PAGE_BYTES);
    arena.trim();
    assert_eq!(arena.usage().warm_bytes, 0);
}

/// One operation of a random sequence; numbers name buffers.
#[derive(Debug, Clone)]
enum Step {
    Allocate(usize),
    Free(usize),
    FreePagedOut(usize),
    Extend(usize, usize),
    Trim,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    const USUAL: usize = if cfg!(miri) { 600 } else { 2000 };
    const MOST: usize = if cfg!(miri) { 800 } else { 300_000 };
    let words = || prop_oneof![9 => 0..USUAL, 1 => 0..MOST];
    let step = prop_oneof![
        4 => words().prop_map(Step::Allocate),
        2 => any::<usize>().prop_map(Step::Free),
        1 => any::<usize>().prop_map(Step::FreePagedOut),
        3 => (any::<usize>(), words()).prop_map(|(at, words)| Step::Extend(at, words)),
        1 => Just(Step::Trim),
    ];
    prop::collection::vec(step, 0..if cfg!(miri) { 6 } else { 60 })
}

/// Live buffers are disjoint, hold what was written, and are all that is
/// counted as used; the warm stock keeps to its bound.
fn check(arena: &Arena, limit_bytes: usize, live: &[(u64, ChunkBuf)]) {
    let mut places: Vec<Range<usize>> = live.iter().map(|(_, buf)| addresses(buf)).collect();
    places.sort_by_key(|place| place.start);
    assert!(places.is_sorted_by(|a, b| a.end <= b.start), "overlap");
    for (stamp, buf) in live {
        // A word of every page, and the last one: a stray write that hits
        // neither is found when the buffer is freed.
        let mut some = buf.iter().step_by(512).chain(buf.last());
        assert!(some.all(|word| word == stamp), "content changed");
    }
    let usage = arena.usage();
    let used_bytes: usize = places.iter().map(Range::len).sum();
    assert_eq!(usage.used_bytes, used_bytes);
    assert!(usage.warm_bytes <= limit_bytes, "{usage:?}");
    assert!(usage.used_bytes + usage.warm_bytes <= usage.mapped_bytes);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 1 } else { 48 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn live_buffers_never_overlap_and_keep_their_content(
        steps in steps(),
        limit_bytes in prop_oneof![Just(0), Just(5 * PAGE_BYTES), Just(LIMIT_BYTES)],
    ) {
        let arena = Arena::new(limit_bytes);
        let mut live: Vec<(u64, ChunkBuf)> = Vec::new();
        for (stamp, step) in (1u64..).zip(steps) {
            match step {
                Step::Allocate(words) => {
                    let mut fresh = buf(&arena, words * 8);
                    fresh.resize(words, stamp).unwrap();
                    live.push((stamp, fresh));
                }
                Step::Free(at) | Step::FreePagedOut(at) => {
                    let index = at.checked_rem(live.len());
                    let mut freed = index.map(|index| live.swap_remove(index));
                    if let Some((stamp, freed)) = &freed {
                        assert_eq!(freed[..], vec![*stamp; freed.len()]);
                    }
                    if let (Step::FreePagedOut(_), Some((_, freed))) = (&step, &mut freed) {
                        freed.mark_paged_out();
                    }
                }
                Step::Extend(at, words) => {
                    if let Some(index) = at.checked_rem(live.len()) {
                        let (stamp, grown) = &mut live[index];
                        grown.extend_from_slice(&vec![*stamp; words]).unwrap();
                    }
                }
                Step::Trim => {
                    arena.trim();
                    assert_eq!(arena.usage().warm_bytes, 0);
                }
            }
            check(&arena, limit_bytes, &live);
        }
        live.clear();
        check(&arena, limit_bytes, &live);
    }
}
