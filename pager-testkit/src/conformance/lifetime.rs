//! Who is alive, what is held for them, and what is given back.

use super::{pageout, pageout_words, read, taken};
use crate::content::{assert_words, words};
use crate::settled_stats;
use pager_core::{Backend, ChunkBuf, Handle, Registry};

/// Live handles at once.
const MANY: usize = if cfg!(miri) { 12 } else { 300 };

/// Words of a payload that has a slot of some size to itself.
const LARGE: usize = if cfg!(miri) { 700 } else { 70_000 };

/// Nothing is alive and nothing is held.
#[track_caller]
fn assert_reclaimed<B: Backend>(registry: &Registry<B>) {
    let stats = settled_stats(registry);
    assert_eq!(stats.live_handles, 0, "live handles");
    assert_eq!(stats.logical_bytes, 0, "logical bytes of live handles");
    assert_eq!(stats.backend.logical_bytes, 0, "logical bytes held");
    assert_eq!(stats.backend.resident_bytes, 0, "resident bytes held");
    assert_eq!(registry.live_handles(), 0);
    assert_eq!(registry.handles(), []);
}

pub(super) fn dropping_a_handle_gives_everything_back<B: Backend>(registry: Registry<B>) {
    for len in [0, 1, 513, LARGE] {
        let single = pageout_words(&registry, 1, len);
        let several = pageout(&registry, &mut [words(2, len), vec![], words(3, 9)]);
        assert_eq!(registry.live_handles(), 2);
        read(&several, 0, len);
        single.prefetch();
        drop(single);
        drop(several);
        assert_reclaimed(&registry);
    }
}

pub(super) fn taking_a_payload_gives_everything_back<B: Backend>(registry: Registry<B>) {
    for len in [0, 1, 513, LARGE] {
        let single = pageout_words(&registry, 1, len);
        let several = pageout(&registry, &mut [words(2, len), words(3, 9)]);
        let into_buf = pageout_words(&registry, 4, len);
        assert_eq!(taken(single).len(), len);
        assert_eq!(taken(several).len(), len + 9);
        let mut buf = ChunkBuf::new();
        into_buf.take(&mut buf).expect("a take must succeed");
        assert_eq!(buf.len(), len);
        assert_reclaimed(&registry);
    }
}

pub(super) fn logical_bytes_are_those_of_the_live_payloads<B: Backend>(registry: Registry<B>) {
    let expect = |words: usize| {
        let stats = settled_stats(&registry);
        assert_eq!(stats.logical_bytes, words as u64 * 8, "of the handles");
        assert_eq!(stats.backend.logical_bytes, words as u64 * 8, "held");
    };
    expect(0);
    let single = pageout_words(&registry, 1, 513);
    expect(513);
    let several = pageout(&registry, &mut [words(2, 5), vec![], words(3, LARGE)]);
    expect(513 + 5 + LARGE);
    let empty = pageout(&registry, &mut [Vec::new()]);
    expect(513 + 5 + LARGE);
    read(&several, 3, 10);
    several.prefetch();
    expect(513 + 5 + LARGE);
    taken(several);
    expect(513);
    drop(empty);
    expect(513);
    drop(single);
    expect(0);
}

pub(super) fn many_live_handles_keep_their_own_bytes<B: Backend>(registry: Registry<B>) {
    let len = |index: usize| [0, 1, 100, 511, 512, 513, 1025, 4097][index % 8];
    let mut alive: Vec<(usize, Handle<B>)> = Vec::new();
    for index in 0..MANY {
        alive.push((index, pageout_words(&registry, index as u64, len(index))));
    }
    assert_eq!(registry.live_handles(), MANY);
    // Every third goes: half of those dropped, half of them taken; as many come
    // anew, into the gaps.
    for index in (0..MANY).step_by(3) {
        let at = alive.iter().position(|(seed, _)| *seed == index);
        let (_, handle) = alive.swap_remove(at.expect("it was added above"));
        if index.is_multiple_of(2) {
            drop(handle);
        } else {
            assert_words(&taken(handle), &words(index as u64, len(index)), "taken");
        }
        let fresh = MANY + index;
        alive.push((fresh, pageout_words(&registry, fresh as u64, len(fresh))));
    }
    assert_eq!(registry.live_handles(), MANY);
    for (seed, handle) in &alive {
        let expected = words(*seed as u64, len(*seed));
        assert_words(&read(handle, 0, handle.len()), &expected, "read");
    }
    for (seed, handle) in alive.into_iter().rev() {
        let expected = words(seed as u64, len(seed));
        assert_words(&taken(handle), &expected, "taken in the end");
    }
    assert_reclaimed(&registry);
}

pub(super) fn freed_bytes_never_show_in_a_later_payload<B: Backend>(registry: Registry<B>) {
    for (older, newer) in [(LARGE, LARGE), (LARGE, LARGE - 1), (513, 512), (600, 1)] {
        for taken_first in [false, true] {
            let handle = pageout(&registry, &mut [vec![u64::MAX; older]]);
            if taken_first {
                taken(handle);
            } else {
                drop(handle);
            }
            let handle = pageout_words(&registry, 1, newer);
            let what = format!("{newer} words after {older} words were freed");
            let expected = words(1, newer);
            assert_words(&read(&handle, 0, newer), &expected, &what);
            assert_words(&read(&handle, newer - 1, 1), &expected[newer - 1..], &what);
            handle
                .read_at(newer, 1, &mut Vec::new())
                .expect_err("a read behind the end must fail");
            assert_words(&taken(handle), &expected, &what);
        }
    }
}

pub(super) fn handles_outlive_the_registry_value<B: Backend>(registry: Registry<B>) {
    let (read_later, taken_later, dropped_later) = (
        pageout_words(&registry, 1, 700),
        pageout_words(&registry, 2, 700),
        pageout_words(&registry, 3, 700),
    );
    drop(registry);
    read_later.prefetch();
    assert_words(&read(&read_later, 600, 100), &words(1, 700)[600..], "read");
    assert_words(&taken(taken_later), &words(2, 700), "taken");
    drop(dropped_later);
}

pub(super) fn the_listing_has_exactly_the_live_handles<B: Backend>(registry: Registry<B>) {
    let lens = [0, 1, 513, 700];
    let mut alive: Vec<Handle<B>> = lens
        .iter()
        .map(|len| pageout_words(&registry, 1, *len))
        .collect();
    while let Some(gone) = alive.pop() {
        let mut listed: Vec<(u64, usize)> = registry
            .clone()
            .handles()
            .iter()
            .map(|info| {
                assert_eq!(info.backend, registry.backend().name());
                (info.id, info.len)
            })
            .collect();
        let all = alive.iter().chain([&gone]);
        let mut expected: Vec<(u64, usize)> =
            all.map(|handle| (handle.id(), handle.len())).collect();
        listed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(listed, expected);
        listed.dedup_by_key(|(id, _)| *id);
        assert_eq!(listed.len(), expected.len(), "ids are unique");
        if alive.len().is_multiple_of(2) {
            taken(gone);
        }
    }
    assert_eq!(registry.handles(), []);
}

pub(super) fn the_totals_count_what_happened<B: Backend>(registry: Registry<B>) {
    let first = pageout_words(&registry, 1, 100);
    let second = pageout_words(&registry, 2, 30);
    read(&first, 10, 20);
    first
        .read_at_many(&[0..5, 5..6], &mut Vec::new())
        .expect("a read must succeed");
    first.prefetch();
    taken(first);
    drop(second);
    let stats = registry.stats();
    assert_eq!((stats.pageouts, stats.paged_out_bytes), (2, 130 * 8));
    assert_eq!((stats.reads, stats.read_bytes), (2, 26 * 8));
    assert_eq!((stats.takes, stats.taken_bytes), (1, 100 * 8));
    assert_eq!((stats.drops, stats.prefetches), (1, 1));
    assert_eq!((stats.failed_pageouts, stats.failed_reads), (0, 0));
}

pub(super) fn an_empty_payload_belongs_to_the_backend_and_costs_nothing<B: Backend>(
    registry: Registry<B>,
) {
    let before = registry.stats().backend;
    let shapes: [Vec<Vec<u64>>; 3] = [vec![], vec![vec![]], vec![Vec::with_capacity(9), vec![]]];
    for mut chunks in shapes {
        let handle = pageout(&registry, &mut chunks);
        assert_eq!(handle.len(), 0);
        assert!(handle.is_empty());
        assert_eq!(handle.backend(), registry.backend().name());
        assert_eq!(registry.live_handles(), 1);
        let usage = registry.stats().backend;
        assert_eq!(usage.logical_bytes, before.logical_bytes);
        assert_eq!(usage.resident_bytes, before.resident_bytes);
        assert_eq!(usage.stored_bytes, before.stored_bytes);
        assert_eq!(read(&handle, 0, 0), []);
        let mut destination = vec![1, 2, 3];
        handle.take(&mut destination).expect("a take must succeed");
        assert_eq!(destination, []);
        drop(pageout(&registry, &mut chunks));
        assert_reclaimed(&registry);
    }
    let handle = registry
        .pageout(&mut [ChunkBuf::<u64>::new()])
        .expect("a page-out must succeed");
    let mut destination = ChunkBuf::new();
    handle.take(&mut destination).expect("a take must succeed");
    assert!(destination.is_empty());
    assert_reclaimed(&registry);
}

pub(super) fn handles_are_small_and_shareable<B: Backend>(registry: Registry<B>) {
    fn shareable<T: Send + Sync + 'static>(_: &T) {}
    let handle = pageout_words(&registry, 1, 1);
    shareable(&handle);
    shareable(&registry);
    let words = size_of::<Handle<B>>().div_ceil(size_of::<usize>());
    let slot_words = size_of::<Option<B::Slot>>().div_ceil(size_of::<usize>());
    assert!(
        words <= 6 + slot_words,
        "a handle has {words} words, {slot_words} of them the backend's"
    );
    assert!(format!("{handle:?}").contains("Handle"));
}
