//! What goes out comes back: sizes, chunks, and both kinds of memory.

use super::{pageout, pageout_words, taken};
use crate::content::{assert_words, words};
use pager_core::{Arena, Backend, ChunkBuf, Handle, Registry};

/// Words of a chunk of 2 MiB; less under Miri, which takes a second for that.
const HUGE_WORDS: usize = if cfg!(miri) { 1024 } else { (2 << 20) / 8 };

/// Chunks of a payload that takes more than `IOV_MAX` segments.
const MANY_CHUNKS: usize = if cfg!(miri) { 65 } else { 1025 };

/// Around every boundary that some mechanism has: nothing, a word, a page, a
/// huge page, and more than one of those.
const SIZES: [usize; 12] = [
    0,
    1,
    63,
    511,
    512,
    513,
    1024,
    HUGE_WORDS - 1,
    HUGE_WORDS,
    HUGE_WORDS + 1,
    HUGE_WORDS + 512,
    2 * HUGE_WORDS + 3,
];

pub(super) fn payloads_come_back_word_for_word<B: Backend>(registry: Registry<B>) {
    for (seed, len) in (0..).zip(SIZES) {
        let expected = words(seed, len);
        let handle = pageout_words(&registry, seed, len);
        assert_eq!(handle.len(), len, "the handle knows its length");
        assert_eq!(handle.len_bytes(), len * 8);
        assert_eq!(handle.is_empty(), len == 0);
        assert_words(&taken(handle), &expected, &format!("a take of {len} words"));
    }
}

pub(super) fn chunks_come_back_joined_in_order<B: Backend>(registry: Registry<B>) {
    let shapes: [Vec<usize>; 6] = [
        vec![1, 1],
        vec![0, 5, 0, 0, 7, 0],
        vec![511, 1, 512, 513, 3],
        vec![HUGE_WORDS, 1, HUGE_WORDS - 1],
        vec![1, HUGE_WORDS + 1, 0, 1],
        (0..MANY_CHUNKS).map(|i| [1, 0, 2, 9][i % 4]).collect(),
    ];
    for (seed, shape) in (0..).zip(shapes) {
        let len: usize = shape.iter().sum();
        let expected = words(seed, len);
        let handle = pageout(&registry, &mut cut(&expected, &shape));
        assert_eq!(handle.len(), len);
        let what = format!("{} chunks of {len} words together", shape.len());
        assert_words(&taken(handle), &expected, &what);
    }
}

pub(super) fn a_pageout_leaves_every_chunk_empty<B: Backend>(registry: Registry<B>) {
    let mut chunks = vec![words(1, 700), vec![], words(2, 1), words(3, HUGE_WORDS)];
    let handle = pageout(&registry, &mut chunks);
    for (index, chunk) in chunks.iter().enumerate() {
        assert!(chunk.is_empty(), "chunk {index} still has words");
    }
    drop(handle);

    let mut bufs = [chunk_buf(&words(1, 700)), ChunkBuf::new(), chunk_buf(&[5])];
    let handle = registry
        .pageout(&mut bufs)
        .expect("a page-out must succeed");
    for (index, buf) in bufs.iter().enumerate() {
        assert!(buf.is_empty(), "chunk buffer {index} still has words");
    }
    drop(handle);
}

pub(super) fn chunks_keep_their_capacity_where_promised<B: Backend>(registry: Registry<B>) {
    let mut chunks = vec![words(1, 700), words(2, HUGE_WORDS), Vec::with_capacity(50)];
    let before: Vec<usize> = chunks.iter().map(Vec::capacity).collect();
    let handle = pageout(&registry, &mut chunks);
    let after: Vec<usize> = chunks.iter().map(Vec::capacity).collect();
    assert_eq!(after, before, "capacities before and after a page-out");
    drop(handle);
}

pub(super) fn refilled_chunks_do_not_change_the_payload<B: Backend>(registry: Registry<B>) {
    let (first, second) = (words(1, HUGE_WORDS), words(2, HUGE_WORDS));
    let mut chunks = vec![first.clone(), first[..600].to_vec()];
    let older = pageout(&registry, &mut chunks);
    chunks[0].extend_from_slice(&second);
    chunks[1].extend_from_slice(&second[..600]);
    let newer = pageout(&registry, &mut chunks);
    // Scribbles over the memory that the chunks kept, if they kept any.
    for chunk in &mut chunks {
        chunk.resize(600, u64::MAX);
    }
    let expected = |words: &[u64]| [words, &words[..600]].concat();
    assert_words(&taken(older), &expected(&first), "the older payload");
    assert_words(&taken(newer), &expected(&second), "the newer payload");
    assert!(chunks.iter().flatten().all(|word| *word == u64::MAX));
}

pub(super) fn one_chunk_comes_back_as_the_same_allocation_where_promised<B: Backend>(
    registry: Registry<B>,
) {
    for (len, room) in [(1, 0), (700, 0), (HUGE_WORDS, 10), (700, 2 * HUGE_WORDS)] {
        let chunk = words(3, len);
        let (address, capacity) = (chunk.as_ptr().addr(), chunk.capacity());
        let handle = pageout(&registry, &mut [chunk]);
        let mut destination = Vec::with_capacity(room);
        handle.take(&mut destination).expect("a take must succeed");
        assert_words(&destination, &words(3, len), "the payload");
        assert_eq!(
            destination.as_ptr().addr(),
            address,
            "{len} words moved on their way into a destination with room for {room}"
        );
        assert_eq!(destination.capacity(), capacity);
    }
}

pub(super) fn chunk_bufs_and_vecs_come_back_as_either<B: Backend>(registry: Registry<B>) {
    for len in [1, 513, HUGE_WORDS - 1, HUGE_WORDS] {
        let expected = words(4, len);
        let pageout_bufs = |shape: &[usize]| {
            let mut bufs: Vec<ChunkBuf> = cut(&expected, shape)
                .iter()
                .map(|chunk| chunk_buf(chunk))
                .collect();
            registry
                .pageout(&mut bufs)
                .expect("a page-out must succeed")
        };
        let shapes = [vec![len], vec![0, len / 3, 0, len - len / 3]];
        for shape in &shapes {
            let what = format!("{len} words in {} chunks", shape.len());
            assert_words(&taken(pageout_bufs(shape)), &expected, &what);
            assert_words(&taken_buf(pageout_bufs(shape)), &expected, &what);
            let vecs = pageout(&registry, &mut cut(&expected, shape));
            assert_words(&taken_buf(vecs), &expected, &what);
        }
    }
    assert_eq!(registry.live_handles(), 0);
}

pub(super) fn a_take_replaces_what_the_destination_held<B: Backend>(registry: Registry<B>) {
    for len in [0, 1, 700] {
        for held in [1, 700, 3000] {
            let mut destination = words(9, held);
            let handle = pageout_words(&registry, 5, len);
            handle.take(&mut destination).expect("a take must succeed");
            let what = format!("{len} words over {held}");
            assert_words(&destination, &words(5, len), &what);

            let mut destination = chunk_buf(&words(9, held));
            let handle = pageout_words(&registry, 5, len);
            handle.take(&mut destination).expect("a take must succeed");
            assert_words(&destination, &words(5, len), &what);
        }
    }
}

pub(super) fn a_take_works_with_any_capacity<B: Backend>(registry: Registry<B>) {
    let len = 1500;
    for room in [0, 1, len - 1, len, len + 1, 2 * HUGE_WORDS] {
        for shape in [vec![len], vec![100, len - 100]] {
            let handle = pageout(&registry, &mut cut(&words(6, len), &shape));
            let mut destination = Vec::with_capacity(room);
            handle.take(&mut destination).expect("a take must succeed");
            let what = format!("{len} words into room for {room}");
            assert_words(&destination, &words(6, len), &what);

            let handle = pageout(&registry, &mut cut(&words(7, len), &shape));
            let mut destination = ChunkBuf::with_capacity(room).expect("memory for a test");
            handle.take(&mut destination).expect("a take must succeed");
            assert_words(&destination, &words(7, len), &what);
        }
    }
}

/// `content` in chunks of the lengths that `shape` says.
fn cut(content: &[u64], shape: &[usize]) -> Vec<Vec<u64>> {
    let mut rest = content;
    let chunks = shape.iter().map(|len| {
        let (chunk, behind) = rest.split_at(*len);
        rest = behind;
        chunk.to_vec()
    });
    chunks.collect()
}

fn chunk_buf(words: &[u64]) -> ChunkBuf {
    ChunkBuf::copy_of(&Arena::shared(), words).expect("memory for a test")
}

#[track_caller]
fn taken_buf<B: Backend>(handle: Handle<B>) -> ChunkBuf {
    let mut words = ChunkBuf::new();
    handle.take(&mut words).expect("a take must succeed");
    words
}
