//! What users see of each mode: sizes, stats, settings.

use pager_core::{Arena, Backend, ChunkBuf, Registry};
use pager_swap::{SeedAdvice, SwapBackend, SwapMode};
use pager_testkit::content::{assert_words, words};
use rstest::rstest;

const HUGE_WORDS: usize = if cfg!(miri) { 1024 } else { 1 << 18 };

fn registry(mode: SwapMode) -> Registry<SwapBackend> {
    let arena = Arena::new(4 << 20);
    Registry::new(SwapBackend::builder().mode(mode).arena(arena).build())
}

#[rstest]
fn every_size_reads_back_in_part_and_comes_back_whole(
    #[values(
        SwapMode::Arena,
        SwapMode::Seed(SeedAdvice::Cold),
        SwapMode::Seed(SeedAdvice::PageOut)
    )]
    mode: SwapMode,
    #[values(0, 1, 511, 512, 513, HUGE_WORDS - 1, HUGE_WORDS, HUGE_WORDS + 1)] len: usize,
) {
    let registry = registry(mode);
    let expected = words(len as u64, len);
    let handle = registry.pageout(&mut [expected.clone()]).unwrap();
    handle.prefetch();
    let ranges = [len / 2..len, 0..len.min(3), len..len];
    let mut read = Vec::new();
    handle.read_at_many(&ranges, &mut read).unwrap();
    let parts: Vec<u64> = ranges
        .iter()
        .flat_map(|range| expected[range.clone()].iter().copied())
        .collect();
    assert_words(&read, &parts, "ranges");
    let mut back = Vec::new();
    handle.take(&mut back).unwrap();
    assert_words(&back, &expected, "whole");
    assert_eq!(registry.stats().backend.logical_bytes, 0);
}

#[rstest]
#[case(SwapMode::Arena)]
#[case(SwapMode::Seed(SeedAdvice::Cold))]
#[case(SwapMode::Seed(SeedAdvice::PageOut))]
fn a_thousand_and_twenty_five_chunks_are_one_payload(#[case] mode: SwapMode) {
    let registry = registry(mode);
    let chunk_words = if cfg!(miri) { 2 } else { 600 };
    let expected = words(1, 1025 * chunk_words);
    let mut chunks: Vec<Vec<u64>> = expected.chunks(chunk_words).map(<[u64]>::to_vec).collect();
    let handle = registry.pageout(&mut chunks).unwrap();
    handle.prefetch_at(chunk_words - 1, chunk_words + 2);
    let mut read = Vec::new();
    for at in [0, chunk_words - 1, 500 * chunk_words + 1] {
        read.clear();
        handle.read_at(at, 2 * chunk_words, &mut read).unwrap();
        assert_words(&read, &expected[at..at + 2 * chunk_words], "across chunks");
    }
    let mut back = ChunkBuf::new();
    handle.take(&mut back).unwrap();
    assert_words(&back, &expected, "whole");
}

#[rstest]
#[case(SwapMode::Arena)]
#[case(SwapMode::Seed(SeedAdvice::PageOut))]
fn a_chunk_buf_comes_back_as_the_same_memory(#[case] mode: SwapMode) {
    let registry = registry(mode);
    let mut buf = ChunkBuf::with_capacity(HUGE_WORDS).unwrap();
    buf.extend_from_slice(&words(2, HUGE_WORDS)).unwrap();
    let address = buf.as_ptr();
    let handle = registry.pageout(std::slice::from_mut(&mut buf)).unwrap();
    assert!(buf.is_empty());
    handle.take(&mut buf).unwrap();
    assert_eq!(buf.as_ptr(), address);
    assert_words(&buf, &words(2, HUGE_WORDS), "adopted");
    // Refilled in place and paged out again: nothing of the past remains.
    buf.clear();
    buf.extend_from_slice(&words(3, HUGE_WORDS)).unwrap();
    let handle = registry.pageout(std::slice::from_mut(&mut buf)).unwrap();
    let mut back = Vec::new();
    handle.take(&mut back).unwrap();
    assert_words(&back, &words(3, HUGE_WORDS), "again");
}

#[test]
fn arena_mode_leaves_vecs_their_capacity_and_the_allocator_its_memory() {
    let registry = registry(SwapMode::Arena);
    let mut chunks = [Vec::with_capacity(5000), Vec::new()];
    chunks[0].extend(0..4000u64);
    let address = chunks[0].as_ptr();
    let _handle = registry.pageout(&mut chunks).unwrap();
    assert_eq!(chunks[0].capacity(), 5000);
    assert_eq!(chunks[0].as_ptr(), address);
    assert_eq!(registry.backend().stats().copied_bytes, 32_000);
}

#[test]
fn an_empty_payload_leaves_no_trace() {
    for mode in [SwapMode::Arena, SwapMode::Seed(SeedAdvice::Cold)] {
        let registry = registry(mode);
        let handle = registry
            .pageout(&mut [Vec::<u64>::new(), Vec::new()])
            .unwrap();
        handle.prefetch();
        let stats = registry.backend().stats();
        assert_eq!((stats.live_payloads, stats.hint_count), (0, 0));
        let mut back = vec![1];
        handle.take(&mut back).unwrap();
        assert!(back.is_empty());
    }
}

#[test]
fn what_is_in_memory_and_what_is_on_swap_add_up() {
    let registry = registry(SwapMode::Arena);
    let handles: Vec<_> = (0..8)
        .map(|seed| registry.pageout(&mut [words(seed, 4096)]).unwrap())
        .collect();
    let stats = registry.backend().stats();
    assert_eq!(stats.logical_bytes, 8 * 4096 * 8);
    assert_eq!(stats.live_payloads, 8);
    if stats.observed {
        let located = stats.resident_bytes + stats.swapped_bytes;
        assert_eq!(located, stats.logical_bytes, "{stats}");
    } else {
        assert_eq!(stats.resident_bytes, stats.logical_bytes);
        assert!(registry.stats().backend.how.contains("cannot be observed"));
    }
    drop(handles);
    let stats = registry.backend().stats();
    assert_eq!((stats.logical_bytes, stats.resident_bytes), (0, 0));
    assert_eq!(stats.unreclaimable_bytes, 0);
}

#[test]
fn a_wish_for_more_memory_than_there_is_leaves_the_chunks_untouched() {
    // Only what fails before the copy can fail at all: the slot.
    let registry = registry(SwapMode::Arena);
    let chunk = words(1, 100);
    let mut chunks = vec![chunk.clone()];
    let handle = registry.pageout(&mut chunks).unwrap();
    assert!(handle.read_at(99, 2, &mut chunks[0]).is_err());
    assert!(chunks[0].is_empty());
    handle.take(&mut chunks[0]).unwrap();
    assert_eq!(chunks[0], chunk);
}

#[test]
fn settings_follow_the_mode() {
    let arena = SwapBackend::default();
    assert_eq!(arena.mode(), SwapMode::Arena);
    let seed = SwapBackend::builder()
        .mode(SwapMode::Seed(SeedAdvice::default()))
        .build();
    assert_eq!(seed.name(), "swap");
    assert_eq!(seed.mode().to_string(), "seed with MADV_COLD");
}

#[test]
fn stats_may_be_asked_while_threads_come_and_go() {
    let registry = registry(SwapMode::Arena);
    let (threads, rounds) = if cfg!(miri) { (2, 3) } else { (4, 200) };
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let registry = &registry;
            scope.spawn(move || {
                for round in 0..rounds {
                    let expected = words(thread * 1000 + round, 2000);
                    let handle = registry.pageout(&mut [expected.clone()]).unwrap();
                    let mut part = Vec::new();
                    handle.read_at(700, 600, &mut part).unwrap();
                    assert_words(&part, &expected[700..1300], "part");
                    let stats = registry.backend().stats();
                    assert!(stats.live_payloads >= 1);
                }
            });
        }
    });
    assert_eq!(registry.backend().stats().live_payloads, 0);
}
