//! Payloads of bytes, of any length and any plain element.

use std::sync::Arc;

use pager_core::{Backend, ChunkBuf, Handle, Pod, Registry, Shared};

use crate::content::{assert_bytes, bytes};

/// Around a byte, a word, a page and a chunk.
const LENS: &[usize] = if cfg!(miri) {
    &[0, 1, 7, 8, 4097]
} else {
    &[
        0,
        1,
        7,
        8,
        4095,
        4096,
        4097,
        (2 << 20) - 1,
        2 << 20,
        (2 << 20) + 1,
    ]
};

/// Reads `handle`, which holds `expected`, in parts and takes it.
fn check<B: Backend>(handle: Handle<B, u8>, expected: &[u8], what: &str) {
    let len = expected.len();
    assert_eq!((handle.len(), handle.len_bytes()), (len, len), "{what}");
    for range in [
        0..len,
        len / 2..len,
        len / 3..(len / 3 + 5001).min(len),
        len.saturating_sub(1)..len,
        len.min(3)..len.min(4),
    ] {
        let mut found = vec![0xEE];
        handle
            .read_at(range.start, range.len(), &mut found)
            .expect("a read must succeed");
        assert_eq!(found.remove(0), 0xEE, "{what}: what was there stays");
        assert_bytes(&found, &expected[range], what);
    }
    let ranges = [len / 2..len, 0..len.min(9), 0..0, len.min(1)..len.min(8)];
    let mut found = ChunkBuf::new();
    handle
        .read_at_many(&ranges, &mut found)
        .expect("a read must succeed");
    let joined = ranges.map(|range| &expected[range]).concat();
    assert_bytes(&found, &joined, what);
    assert!(
        handle.read_at(len, 1, &mut found).is_err(),
        "{what}: bounds"
    );
    let mut taken = vec![1, 2, 3];
    handle.take(&mut taken).expect("a take must succeed");
    assert_bytes(&taken, expected, what);
}

pub(super) fn bytes_of_every_length_come_back<B: Backend>(registry: Registry<B>) {
    for (&len, seed) in LENS.iter().zip(1..) {
        let expected = bytes(seed, len);
        let what = |how| format!("{len} bytes, {how}");
        let pageout = |chunks: &mut [Vec<u8>]| {
            let handle = registry.pageout(chunks).expect("a page-out must succeed");
            assert!(chunks.iter().all(Vec::is_empty), "chunks are emptied");
            handle
        };
        check(pageout(&mut [expected.clone()]), &expected, &what("a Vec"));
        let (front, back) = expected.split_at(len / 3);
        let mut parts = [front.to_vec(), Vec::new(), back.to_vec()];
        check(pageout(&mut parts), &expected, &what("two Vecs"));
        let buf = ChunkBuf::try_from(&expected[..]).expect("memory for a test");
        let handle = registry
            .pageout(&mut [buf])
            .expect("a page-out must succeed");
        check(handle, &expected, &what("a ChunkBuf"));
        let handle = registry
            .pageout_with(len, |window| {
                let (front, back) = expected.split_at(len / 2);
                window.copy_from(front);
                window.copy_from(back);
                Ok(())
            })
            .expect("a page-out must succeed");
        check(handle, &expected, &what("filled in place"));
    }
    assert_eq!(registry.stats().logical_bytes, 0);
}

/// `count` elements of bytes that any element may have.
fn elements<T: Pod>(seed: u64, count: usize) -> Vec<T> {
    bytes(seed, count * size_of::<T>())
        .chunks_exact(size_of::<T>())
        .map(bytemuck::pod_read_unaligned)
        .collect()
}

fn elements_come_back<T: Pod + Eq + std::fmt::Debug, B: Backend>(registry: &Registry<B>) {
    for count in [0, 1, 5, 1365, if cfg!(miri) { 9 } else { 300_001 }] {
        let expected: Vec<T> = elements(7, count);
        let what = format!("{count} elements of {} bytes", size_of::<T>());
        let handle = registry
            .pageout(&mut [expected.clone()])
            .expect("a page-out must succeed");
        assert_eq!(handle.len(), count, "{what}");
        assert_eq!(handle.len_bytes(), count * size_of::<T>(), "{what}");
        let (at, len) = (count / 3, count / 2);
        let mut found = ChunkBuf::new();
        handle
            .read_at(at, len, &mut found)
            .expect("a read must succeed");
        assert!(found[..] == expected[at..at + len], "{what}: a range");
        let handle = match handle.cast::<u8>() {
            Ok(handle) => handle.cast::<T>().expect("as many bytes as before"),
            Err(_) => panic!("any bytes are bytes"),
        };
        let mut taken = Vec::new();
        handle.take(&mut taken).expect("a take must succeed");
        assert!(taken == expected, "{what}: a take");
        let handle = registry
            .pageout(&mut [taken])
            .expect("a page-out must succeed");
        let mut buf = ChunkBuf::new();
        handle.take(&mut buf).expect("a take must succeed");
        assert!(buf[..] == expected, "{what}: a take into a ChunkBuf");
    }
}

pub(super) fn elements_of_every_width_come_back<B: Backend>(registry: Registry<B>) {
    elements_come_back::<u8, B>(&registry);
    elements_come_back::<i16, B>(&registry);
    elements_come_back::<[u8; 3], B>(&registry);
    elements_come_back::<i32, B>(&registry);
    elements_come_back::<[u16; 5], B>(&registry);
    elements_come_back::<u64, B>(&registry);
    elements_come_back::<i128, B>(&registry);
    let odd = registry
        .pageout(&mut [vec![1u8; 7]])
        .expect("a page-out must succeed");
    let odd = odd.cast::<u16>().expect_err("seven bytes are no elements");
    assert_eq!(odd.len(), 7, "it is as good as before");
}

pub(super) fn shared_bytes_come_back<B: Backend>(registry: Registry<B>) {
    for (&len, seed) in LENS.iter().zip(30..) {
        let expected = bytes(seed, len);
        let owner: Arc<[u8]> = Arc::from(&expected[..]);
        let mut chunks = [
            Shared::new(Arc::clone(&owner)),
            Shared::new(Arc::clone(&owner)),
        ];
        let handle = registry
            .pageout(&mut chunks)
            .expect("a page-out must succeed");
        let has_gone = chunks.into_iter().all(|chunk| chunk.into_inner().is_none());
        assert!(has_gone || len == 0, "the owners have moved out");
        let both = [&expected[..], &expected[..]].concat();
        check(handle, &both, &format!("twice {len} shared bytes"));
        assert_eq!(Arc::strong_count(&owner), 1, "a take lets go of the owner");
    }
}
