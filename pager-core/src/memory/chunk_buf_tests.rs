//! Buffers, against a `Vec` as their model.

use super::*;
use crate::memory::PAGE_BYTES;
use proptest::prelude::*;

#[test]
fn an_empty_buffer_holds_no_memory() {
    let mut buf = ChunkBuf::<u64>::new();
    buf.clear();
    buf.truncate(7);
    buf.reserve(0).unwrap();
    buf.extend_from_slice(&[]).unwrap();
    buf.resize(0, 1).unwrap();
    buf.mark_paged_out();
    assert_eq!(buf.capacity(), 0);
    assert_eq!(buf.capacity_bytes(), 0);
    assert_eq!(*buf, []);
    assert_eq!(*std::mem::take(&mut buf), []);
}

#[test]
fn a_buffer_has_at_least_the_room_that_was_asked_for() {
    let arena = Arena::new(0);
    for words in [0, 1, 511, 512, 513, 5000] {
        let mut buf = ChunkBuf::<u64>::with_capacity_in(&arena, words).unwrap();
        assert!(buf.capacity() >= words);
        assert_eq!(buf.capacity_bytes(), 8 * buf.capacity());
        assert!(buf.is_empty());
        let place = buf.as_ptr();
        buf.resize(words, 3).unwrap();
        assert_eq!(buf.as_ptr(), place, "filling what is there moves nothing");
    }
}

#[test]
fn growing_moves_seldom_and_stays_in_the_arena() {
    let arena = Arena::new(1 << 20);
    let mut buf = ChunkBuf::<u64>::with_capacity_in(&arena, 1).unwrap();
    let pushes = if cfg!(miri) { 700 } else { 100_000 };
    let (mut moves, mut place) = (0, buf.as_ptr());
    for word in 0..pushes {
        buf.push(word).unwrap();
        if buf.as_ptr() != place {
            place = buf.as_ptr();
            moves += 1;
        }
    }
    assert!(buf.iter().copied().eq(0..pushes));
    assert!(moves <= 10, "{moves} moves");
    assert_eq!(arena.usage().used_bytes, buf.capacity() * 8);
}

#[test]
fn clearing_keeps_the_room() {
    let arena = Arena::new(0);
    let mut buf = ChunkBuf::copy_of(&arena, &[1u64; 700]).unwrap();
    let (capacity, place) = (buf.capacity(), buf.as_ptr());
    buf.clear();
    assert_eq!((buf.len(), buf.capacity()), (0, capacity));
    buf.push(2).unwrap();
    assert_eq!(buf.as_ptr(), place);
}

#[test]
fn a_failed_growth_leaves_the_buffer_as_it_was() {
    let mut buf = ChunkBuf::copy_of(&Arena::new(0), &[1u64, 2, 3]).unwrap();
    for additional in [usize::MAX, usize::MAX / 8, isize::MAX as usize] {
        let error = buf.reserve(additional).unwrap_err();
        assert!(matches!(error, Error::OutOfMemory { .. }));
        let error = buf.resize(additional, 1).unwrap_err();
        assert!(matches!(error, Error::OutOfMemory { .. }));
    }
    assert_eq!(*buf, [1, 2, 3]);
    let error = ChunkBuf::<u64>::with_capacity(usize::MAX).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { .. }));
}

#[test]
fn buffers_are_equal_by_their_words() {
    let arena = Arena::new(0);
    let short = ChunkBuf::copy_of(&arena, &[1, 2]).unwrap();
    let mut roomy = ChunkBuf::with_capacity_in(&arena, PAGE_BYTES).unwrap();
    assert_ne!(short, roomy);
    roomy.extend_from_slice(&[1, 2]).unwrap();
    assert_eq!(short, roomy);
    assert_eq!(ChunkBuf::<u64>::new(), ChunkBuf::default());
    assert!(format!("{short:?}").contains("len: 2"));
}

#[test]
fn elements_of_any_width_lie_in_one_slot() {
    let mut bytes = ChunkBuf::<u8>::new();
    bytes.extend_from_slice(&[1, 0, 0, 0, 2, 0, 0]).unwrap();
    let mut bytes = bytes.cast::<u32>().unwrap_err();
    bytes.push(0).unwrap();
    let place = bytes.as_ptr().addr();
    let ints = bytes.cast::<u32>().unwrap();
    assert_eq!(ints.as_ptr().addr(), place);
    assert!(ints.iter().copied().map(u32::from_le).eq([1, 2]));
    assert_eq!(ints.capacity() * 4, ints.capacity_bytes());
    let triples = ChunkBuf::<[u8; 3]>::with_capacity(1000).unwrap();
    assert_eq!(triples.capacity(), triples.capacity_bytes() / 3);
    assert_eq!(ints.into_bytes().len(), 8);
}

#[derive(Debug, Clone)]
enum Step {
    Push(u64),
    Extend(Vec<u64>),
    Resize(usize, u64),
    Truncate(usize),
    Clear,
    Reserve(usize),
    Sort,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    const LONGEST: usize = if cfg!(miri) { 40 } else { 300 };
    let step = prop_oneof![
        4 => any::<u64>().prop_map(Step::Push),
        4 => prop::collection::vec(any::<u64>(), 0..LONGEST).prop_map(Step::Extend),
        2 => (0..10 * LONGEST, any::<u64>()).prop_map(|(len, word)| Step::Resize(len, word)),
        2 => (0..10 * LONGEST).prop_map(Step::Truncate),
        1 => Just(Step::Clear),
        1 => (0..20 * LONGEST).prop_map(Step::Reserve),
        1 => Just(Step::Sort),
    ];
    prop::collection::vec(step, 0..if cfg!(miri) { 6 } else { 60 })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 1 } else { 128 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_buffer_behaves_as_a_vec_does(steps in steps()) {
        let arena = Arena::new(1 << 16);
        let mut buf = ChunkBuf::with_capacity_in(&arena, 0).unwrap();
        let mut vec: Vec<u64> = Vec::new();
        for step in steps {
            match step {
                Step::Push(word) => {
                    buf.push(word).unwrap();
                    vec.push(word);
                }
                Step::Extend(words) => {
                    buf.extend_from_slice(&words).unwrap();
                    vec.extend_from_slice(&words);
                }
                Step::Resize(len, word) => {
                    buf.resize(len, word).unwrap();
                    vec.resize(len, word);
                }
                Step::Truncate(len) => {
                    buf.truncate(len);
                    vec.truncate(len);
                }
                Step::Clear => {
                    buf.clear();
                    vec.clear();
                }
                Step::Reserve(additional) => {
                    buf.reserve(additional).unwrap();
                    assert!(buf.capacity() >= vec.len() + additional);
                }
                Step::Sort => {
                    buf.sort_unstable();
                    vec.sort_unstable();
                }
            }
            assert_eq!(*buf, *vec);
            assert_eq!(arena.usage().used_bytes, buf.capacity() * 8);
        }
    }
}
