//! Ranges: what a read appends, in which order, and what it refuses.

use std::ops::Range;
use std::slice;

use super::{pageout, pageout_words, read, taken};
use crate::content::{assert_words, words};
use pager_core::{Backend, ChunkBuf, Error, Handle, Registry};

/// Words of a payload that spans several pages and no whole number of them.
const LEN: usize = if cfg!(miri) { 700 } else { 5000 };

/// A payload of `LEN` words in chunks that begin and end anywhere.
fn ragged<B: Backend>(registry: &Registry<B>, seed: u64) -> (Handle<B>, Vec<u64>) {
    let content = words(seed, LEN);
    let mut chunks = Vec::new();
    let mut rest = &content[..];
    for len in [1, 0, 2, 40, 90, 300].into_iter().cycle() {
        let (chunk, behind) = rest.split_at(len.min(rest.len()));
        chunks.push(chunk.to_vec());
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    (pageout(registry, &mut chunks), content)
}

pub(super) fn every_range_reads_back<B: Backend>(registry: Registry<B>) {
    let content = words(1, 12);
    let mut chunks: Vec<Vec<u64>> = [0..3, 3..3, 3..4, 4..9, 9..12]
        .map(|range: Range<usize>| content[range].to_vec())
        .into();
    let handle = pageout(&registry, &mut chunks);
    for offset in 0..=content.len() {
        for end in offset..=content.len() {
            let what = format!("words {offset}..{end} of 12");
            assert_words(
                &read(&handle, offset, end - offset),
                &content[offset..end],
                &what,
            );
        }
    }
    let (handle, content) = ragged(&registry, 2);
    let offsets = [0, 1, 2, 3, 42, 132, 133, 433, 511, 512, 513, LEN - 1, LEN];
    for offset in offsets {
        for len in [1, 2, 41, 511, 512, 513, LEN] {
            let end = LEN.min(offset + len);
            let what = format!("words {offset}..{end} of {LEN}");
            assert_words(
                &read(&handle, offset, end - offset),
                &content[offset..end],
                &what,
            );
        }
    }
}

pub(super) fn reads_append_to_the_destination<B: Backend>(registry: Registry<B>) {
    let (handle, content) = ragged(&registry, 3);
    let mut expected = words(4, 77);
    let mut found = expected.clone();
    let mut found_buf = ChunkBuf::try_from(&expected[..]).expect("memory for a test");
    for range in [0..1, 30..600, LEN - 5..LEN, 10..10, 0..LEN] {
        let (offset, len) = (range.start, range.len());
        expected.extend_from_slice(&content[range]);
        handle
            .read_at(offset, len, &mut found)
            .expect("a read must succeed");
        assert_words(&found, &expected, "a Vec that was read into");
        registry
            .read_at(&handle, offset, len, &mut found_buf)
            .expect("a read must succeed");
        assert_words(&found_buf, &expected, "a ChunkBuf that was read into");
    }
}

pub(super) fn empty_reads_append_nothing<B: Backend>(registry: Registry<B>) {
    let (handle, _) = ragged(&registry, 5);
    let mut found = vec![7];
    for offset in [0, 1, 512, LEN - 1, LEN] {
        handle
            .read_at(offset, 0, &mut found)
            .expect("an empty read within the payload must succeed");
    }
    for ranges in [&[][..], slice::from_ref(&(0..0)), &[LEN..LEN, 3..3]] {
        handle
            .read_at_many(ranges, &mut found)
            .expect("empty reads within the payload must succeed");
    }
    assert_eq!(found, [7]);
}

pub(super) fn many_ranges_come_back_in_request_order<B: Backend>(registry: Registry<B>) {
    let (handle, content) = ragged(&registry, 6);
    let requests: [&[Range<usize>]; 9] = [
        &[0..10, 10..20, 20..600],
        &[20..600, 10..20, 0..10],
        &[5..300, 100..200, 150..520, 0..1],
        &[7..8, 7..8, 7..8],
        &[LEN - 1..LEN, 0..1],
        &[3..3, 3..4, 4..4, 4..5, 5..5],
        &[0..LEN, 0..LEN],
        &[511..513, 512..512, 100..101, 500..LEN],
        &[0..1, 2..3, 4..5, 600..601, 602..603, 40..44],
    ];
    for ranges in requests {
        let expected = pick(&content, ranges);
        let mut found = Vec::new();
        handle
            .read_at_many(ranges, &mut found)
            .expect("a read must succeed");
        assert_words(&found, &expected, &format!("{ranges:?}"));
    }
    let every_third: Vec<Range<usize>> = (0..LEN / 3).rev().map(|i| 3 * i..3 * i + 1).collect();
    let mut found = Vec::new();
    registry
        .read_at_many(&handle, &every_third, &mut found)
        .expect("a read must succeed");
    assert_words(
        &found,
        &pick(&content, &every_third),
        "single words, backwards",
    );
}

pub(super) fn bad_ranges_are_typed_errors_and_append_nothing<B: Backend>(registry: Registry<B>) {
    let (handle, content) = ragged(&registry, 7);
    let empty = pageout(&registry, &mut [Vec::new()]);
    for (handle, offset, len) in [
        (&handle, 0, LEN + 1),
        (&handle, LEN, 1),
        (&handle, LEN + 1, 0),
        (&handle, 1, LEN),
        (&handle, usize::MAX, 0),
        (&handle, usize::MAX, 1),
        (&handle, 1, usize::MAX),
        (&handle, usize::MAX, usize::MAX),
        (&empty, 0, 1),
        (&empty, 1, 0),
    ] {
        let mut found = vec![7];
        let outcome = handle.read_at(offset, len, &mut found);
        assert_out_of_bounds(outcome, handle.len(), &format!("{len} words at {offset}"));
        assert_eq!(found, [7], "a refused read appended something");
    }
    #[allow(clippy::reversed_empty_ranges, reason = "that is what must be refused")]
    let refused: [&[Range<usize>]; 6] = [
        slice::from_ref(&(5..4)),
        &[0..1, 5..4, 1..2],
        &[0..10, 0..LEN + 1],
        &[LEN + 1..LEN + 1, 0..1],
        slice::from_ref(&(usize::MAX..0)),
        &[0..usize::MAX, 0..usize::MAX],
    ];
    for ranges in refused {
        let mut found = vec![7];
        let outcome = handle.read_at_many(ranges, &mut found);
        assert_out_of_bounds(outcome, LEN, &format!("{ranges:?}"));
        assert_eq!(found, [7], "a refused read appended something");
        let mut found = ChunkBuf::try_from(&[7][..]).expect("memory for a test");
        let outcome = handle.read_at_many(ranges, &mut found);
        assert_out_of_bounds(outcome, LEN, &format!("{ranges:?}"));
        assert_eq!(*found, [7], "a refused read appended something");
    }
    assert_words(&taken(handle), &content, "the payload afterwards");
}

pub(super) fn reading_changes_nothing<B: Backend>(registry: Registry<B>) {
    let (handle, content) = ragged(&registry, 8);
    let neighbour = pageout_words(&registry, 9, LEN);
    for _ in 0..3 {
        assert_words(&read(&handle, 0, LEN), &content, "a repeated read");
        assert_words(&read(&handle, 30, 5), &content[30..35], "a repeated read");
    }
    assert_words(&taken(handle), &content, "a take after reads");
    assert_words(&taken(neighbour), &words(9, LEN), "the neighbour");
}

pub(super) fn prefetch_never_changes_a_result<B: Backend>(registry: Registry<B>) {
    let (handle, content) = ragged(&registry, 10);
    for (offset, len) in [
        (0, LEN),
        (100, 50),
        (LEN - 1, 1),
        (0, 0),
        (LEN, 0),
        (LEN, 10),
        (LEN - 1, 10),
        (usize::MAX, 1),
        (1, usize::MAX),
        (usize::MAX, usize::MAX),
    ] {
        handle.prefetch_at(offset, len);
        registry.prefetch_at(&handle, offset, len);
        assert_words(&read(&handle, 0, LEN), &content, "a read after a hint");
    }
    handle.prefetch();
    handle.prefetch();
    assert_words(&taken(handle), &content, "a take after hints");

    let handle = pageout_words(&registry, 11, LEN);
    handle.prefetch();
    assert_words(&taken(handle), &words(11, LEN), "a take after one hint");

    let unread = pageout_words(&registry, 12, LEN);
    unread.prefetch();
    drop(unread);

    let empty = pageout(&registry, &mut [Vec::new()]);
    empty.prefetch();
    empty.prefetch_at(3, 5);
    assert_eq!(taken(empty), []);
    assert_eq!(registry.live_handles(), 0);
}

fn pick(content: &[u64], ranges: &[Range<usize>]) -> Vec<u64> {
    let parts = ranges.iter().map(|range| &content[range.clone()]);
    parts.flatten().copied().collect()
}

#[track_caller]
fn assert_out_of_bounds(outcome: Result<(), Error>, payload_len: usize, what: &str) {
    match outcome {
        Err(Error::OutOfBounds {
            payload_len: said, ..
        }) => assert_eq!(said, payload_len, "{what}: the error knows the payload"),
        other => panic!("{what} of {payload_len} words: {other:?} instead of `OutOfBounds`"),
    }
}
