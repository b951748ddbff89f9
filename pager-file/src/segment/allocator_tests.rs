//! What the allocator promises, by example and by random operation.

use proptest::prelude::*;

use super::*;

const SEGMENT_BYTES: u64 = 64 << 20;

/// Operations in a random sequence.
const MAX_STEPS: usize = if cfg!(miri) { 12 } else { 80 };

fn class(bytes: usize) -> SizeClass {
    SizeClass::for_bytes(bytes)
}

/// An extent, with storage put behind it where that is needed.
fn allocate(allocator: &mut Allocator, bytes: usize) -> Extent {
    let class = class(bytes);
    allocator.take(class).unwrap_or_else(|| {
        let span = allocator.claim(class).unwrap();
        allocator.commit(span, class)
    })
}

/// Every span that the allocator knows, with those given, must tile the
/// segments: nothing overlaps, and no byte is lost.
fn assert_tiles(allocator: &Allocator, held: &[Span]) {
    let mut spans: Vec<Span> = held.to_vec();
    spans.extend(allocator.freed.iter().flatten());
    spans.extend(allocator.fresh.spans());
    spans.extend(allocator.holes.spans());
    spans.sort_unstable();
    for pair in spans.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        if a.segment == b.segment {
            assert_eq!(a.end_bytes(), b.offset_bytes, "overlap or loss");
        } else {
            assert_eq!(b.offset_bytes, 0, "a segment starts at its first byte");
        }
    }
    if let Some(last) = spans.last() {
        assert_eq!(last.segment, allocator.tail.segment);
        assert_eq!(last.end_bytes(), allocator.tail.end_bytes());
    }
}

#[test]
fn what_was_freed_last_is_reused_first() {
    let mut allocator = Allocator::new(SEGMENT_BYTES, 4);
    let first = allocate(&mut allocator, 2 << 20);
    let second = allocate(&mut allocator, 2 << 20);
    let (first_span, second_span) = (first.span(), second.span());
    allocator.release(first);
    allocator.release(second);
    assert_eq!(allocate(&mut allocator, 2 << 20).span(), second_span);
    assert_eq!(allocate(&mut allocator, 2 << 20).span(), first_span);
}

#[test]
fn an_extent_that_could_not_be_written_is_reused_last() {
    let mut allocator = Allocator::new(SEGMENT_BYTES, 4);
    let good = allocate(&mut allocator, 4096);
    let bad = allocate(&mut allocator, 4096);
    let bad_span = bad.span();
    allocator.release(good);
    allocator.release_last(bad);
    assert_ne!(allocate(&mut allocator, 4096).span(), bad_span);
}

#[test]
fn a_small_store_asks_for_little_and_a_large_one_for_64_mib() {
    let mut allocator = Allocator::new(1 << 40, 4);
    let extent = allocate(&mut allocator, 1);
    assert_eq!(allocator.bytes().fresh + extent.len_bytes(), MIN_STEP_BYTES);
    for _ in 0..200 {
        allocate(&mut allocator, 2 << 20);
    }
    assert_eq!(allocator.step_bytes(), MAX_STEP_BYTES);
}

#[test]
fn an_extent_larger_than_a_segment_gets_a_segment_of_its_size() {
    let mut allocator = Allocator::new(SEGMENT_BYTES, 4);
    allocate(&mut allocator, 4096);
    let large = allocate(&mut allocator, 200 << 20);
    assert_eq!((large.segment(), large.offset_bytes()), (1, 0));
    // And what was left of the first one is not lost.
    assert_eq!(allocate(&mut allocator, 56 << 20).segment(), 0);
    assert_eq!(allocate(&mut allocator, 56 << 20).segment(), 2);
}

#[test]
fn the_first_extent_may_be_larger_than_a_segment() {
    let mut allocator = Allocator::new(SEGMENT_BYTES, 1);
    assert_eq!(allocate(&mut allocator, 200 << 20).segment(), 0);
    assert_eq!(allocator.segment_count(), 1);
}

#[test]
fn segments_run_out() {
    let mut allocator = Allocator::new(SEGMENT_BYTES, 2);
    for _ in 0..2 {
        allocate(&mut allocator, 64 << 20);
    }
    assert_eq!(allocator.claim(class(4096)), None);
}

#[test]
fn a_segment_that_the_file_system_ends_early_is_followed_by_the_next() {
    let mut allocator = Allocator::new(SEGMENT_BYTES, 2);
    allocate(&mut allocator, 4 << 20);
    let span = allocator.claim(class(4 << 20)).unwrap();
    allocator.retire(span);
    let next = allocator.claim(class(4 << 20)).unwrap();
    assert_eq!((next.segment, next.offset_bytes), (1, 0));
}

#[test]
fn the_surplus_is_what_was_freed_longest_ago() {
    let mut allocator = Allocator::new(SEGMENT_BYTES, 2);
    let extents: Vec<_> = (0..4).map(|_| allocate(&mut allocator, 2 << 20)).collect();
    let spans: Vec<_> = extents.iter().map(Extent::span).collect();
    extents
        .into_iter()
        .for_each(|extent| allocator.release(extent));
    let mut surplus = Vec::new();
    allocator.surplus(4 << 20, u64::MAX, &mut surplus);
    assert_eq!(surplus, spans[..2]);
    assert_eq!(allocator.bytes().freed, 4 << 20);
}

#[test]
fn joined_again_small_extents_are_room_for_large_ones() {
    let mut allocator = Allocator::new(SEGMENT_BYTES, 1);
    let extents: Vec<_> = (0..64).map(|_| allocate(&mut allocator, 1 << 20)).collect();
    extents
        .into_iter()
        .for_each(|extent| allocator.release(extent));
    let large = class(3 << 20);
    assert!(allocator.take(large).is_none() && allocator.claim(large).is_none());
    assert_eq!(allocator.rejoin(), 64 << 20);
    assert!(allocator.has_fresh(large));
    assert_eq!((0..).map_while(|_| allocator.take(large)).count(), 21);
}

#[derive(Debug, Clone)]
enum Step {
    Allocate(usize),
    AllocateExactly(usize),
    Fail(usize),
    Release(usize),
    Punch(u64),
    Trim,
    Rejoin,
    Withdraw(usize),
}

fn steps() -> impl Strategy<Value = Step> {
    let bytes = prop_oneof![1..20_000usize, 1..(9usize << 20)];
    prop_oneof![
        6 => bytes.clone().prop_map(Step::Allocate),
        1 => bytes.clone().prop_map(Step::AllocateExactly),
        1 => bytes.prop_map(Step::Fail),
        5 => any::<usize>().prop_map(Step::Release),
        1 => (0..(8u64 << 20)).prop_map(Step::Punch),
        1 => Just(Step::Trim),
        1 => Just(Step::Rejoin),
        1 => any::<usize>().prop_map(Step::Withdraw),
    ]
}

fn run(allocator: &mut Allocator, live: &mut Vec<Extent>, step: &Step) {
    match *step {
        Step::Allocate(bytes) => live.push(allocate(allocator, bytes)),
        Step::AllocateExactly(bytes) => {
            let class = class(bytes);
            let span = allocator.claim(class).unwrap();
            let (exact, rest) = span.split_at(class.bytes() as u64);
            live.push(allocator.commit(exact, class));
            allocator.abandon(rest);
        }
        Step::Fail(bytes) => {
            let span = allocator.claim(class(bytes)).unwrap();
            allocator.abandon(span);
        }
        Step::Release(which) if !live.is_empty() => {
            let extent = live.swap_remove(which % live.len());
            allocator.release(extent);
        }
        Step::Withdraw(which) if !live.is_empty() => {
            let extent = live.swap_remove(which % live.len());
            allocator.withdraw(&extent);
        }
        Step::Release(_) | Step::Withdraw(_) => {}
        Step::Rejoin => {
            let freed_bytes = allocator.bytes().freed;
            assert_eq!(allocator.rejoin(), freed_bytes);
            assert_eq!(allocator.bytes().freed, 0);
        }
        Step::Punch(keep_bytes) => {
            let mut surplus = Vec::new();
            allocator.surplus(keep_bytes, 4 << 20, &mut surplus);
            Span::merge(&mut surplus);
            surplus.into_iter().for_each(|span| allocator.abandon(span));
        }
        Step::Trim => {
            let mut surplus = Vec::new();
            allocator.surplus_all(&mut surplus);
            assert_eq!((allocator.bytes().freed, allocator.bytes().fresh), (0, 0));
            surplus.into_iter().for_each(|span| allocator.abandon(span));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 128 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_byte_has_two_owners_and_none_is_lost(steps in prop::collection::vec(steps(), 1..MAX_STEPS)) {
        let mut allocator = Allocator::new(SEGMENT_BYTES, u32::MAX);
        let mut live = Vec::new();
        for step in &steps {
            run(&mut allocator, &mut live, step);
            let held: Vec<_> = live.iter().map(Extent::span).collect();
            assert_tiles(&allocator, &held);
            let live_bytes: u64 = held.iter().map(|span| span.len_bytes).sum();
            prop_assert_eq!(allocator.bytes().live, live_bytes);
        }
        live.drain(..).for_each(|extent| allocator.release(extent));
        prop_assert_eq!(allocator.bytes().live, 0);
        let mut surplus = Vec::new();
        allocator.surplus_all(&mut surplus);
        prop_assert_eq!(allocator.bytes(), Bytes::default());
        surplus.into_iter().for_each(|span| allocator.abandon(span));
        assert_tiles(&allocator, &[]);
    }

    #[test]
    fn storage_held_in_advance_is_bounded(sizes in prop::collection::vec(1..(5usize << 20), 1..60)) {
        let mut allocator = Allocator::new(1 << 40, 4);
        for bytes in sizes {
            allocate(&mut allocator, bytes);
        }
        let bytes = allocator.bytes();
        // What remains of each step is less than the extent that did not fit.
        prop_assert!(bytes.fresh <= bytes.live * 2 + MIN_STEP_BYTES, "{:?}", bytes);
    }
}
