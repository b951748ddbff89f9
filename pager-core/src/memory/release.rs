//! [`release_buf`]: frees the buffer of a `Vec` so that its memory reaches the system.
//!
//! A general allocator keeps much of what is freed: glibc gives back what it had
//! mapped by itself, and otherwise only the top of its heap, so one live word
//! above holds everything below. A `Vec` whose words have moved elsewhere would
//! go on to be memory of the process, and no budget would count it. Its whole
//! pages are therefore given back before it is freed; the allocator finds them
//! again, zeroed, if it hands out that range.
//!
//! Guarantees that the `Vec` is freed, whatever the system says about its pages.
//! Refuses nothing: small vectors, other systems than Linux and Miri are freed
//! and that is all.

#![allow(unsafe_code, reason = "discards the pages of a vector that is going")]

use super::HeapBuf;

/// A smaller vector is not worth a system call: allocators reuse such sizes.
const LEAST_BYTES: usize = 64 << 10;

/// Frees `buf`, and gives the whole pages inside its capacity back to the system
/// at once if it is large.
///
/// The first and the last page are shared with the allocator's books and with
/// other owners, and stay.
pub(crate) fn release_buf(mut buf: HeapBuf) {
    buf.clear();
    let spare = buf.spare();
    if spare.len() >= LEAST_BYTES {
        system::discard_inner_pages(spare);
    }
}

#[cfg(all(target_os = "linux", not(miri)))]
mod system {
    use std::mem::MaybeUninit;

    use rustix::mm;

    use crate::seam::{self, Call};

    /// Discards the pages that lie wholly within `spare`.
    pub(super) fn discard_inner_pages(spare: &mut [MaybeUninit<u8>]) {
        let page_bytes = rustix::param::page_size();
        let head_bytes = spare.as_ptr().addr().wrapping_neg() % page_bytes;
        let Some(inner) = spare.get_mut(head_bytes..) else {
            return;
        };
        let inner_bytes = inner.len() / page_bytes * page_bytes;
        let inner = &mut inner[..inner_bytes];
        if inner.is_empty() || seam::enter(Call::Madvise).is_err() {
            return;
        }
        // A refusal (`EINVAL` for locked memory, or from a sandbox) leaves the
        // memory with the allocator, as an ordinary drop would have.
        // SAFETY:
        // - the range is borrowed exclusively and lies within one allocation, so
        //   it is mapped, and neither another owner nor the allocator's books
        //   have a byte in it while that allocation lives;
        // - afterwards it holds zeros, or what it held before: `MaybeUninit`
        //   admits either, and the vector has no length over it;
        // - the mapping itself stays as it is, so the allocator's claim on the
        //   range holds, and an allocator promises nothing of what it hands out.
        let _ = unsafe {
            mm::madvise(
                inner.as_mut_ptr().cast(),
                inner.len(),
                mm::Advice::LinuxDontNeed,
            )
        };
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
mod system {
    use std::mem::MaybeUninit;

    pub(super) fn discard_inner_pages(_: &mut [MaybeUninit<u8>]) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_of_any_size_is_freed() {
        for capacity in [0, 1, 8191, 8192, 8193, 100_000] {
            release_buf(HeapBuf::of_vec(Vec::<u64>::with_capacity(capacity)));
            release_buf(HeapBuf::of_vec(vec![7u8; capacity]));
        }
    }

    #[cfg(all(target_os = "linux", not(miri)))]
    mod on_linux {
        use super::super::*;

        const MIB: usize = 1 << 20;

        /// Anonymous memory of this process.
        fn rss_anon_bytes() -> usize {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("RssAnon:"));
            let kib = line.unwrap().split_whitespace().nth(1).unwrap();
            kib.parse::<usize>().unwrap() << 10
        }

        /// Vectors of 1 MiB, each below an allocation that goes on living.
        fn vectors_below_others(count: usize) -> (Vec<Vec<u64>>, Vec<Vec<u64>>) {
            // The C library maps large sizes by themselves until it has seen one
            // of them freed.
            drop(std::hint::black_box(vec![1u64; 16 * MIB / 8]));
            (0..count)
                .map(|_| (vec![1u64; MIB / 8], vec![2u64; 64]))
                .unzip()
        }

        #[test]
        fn the_memory_of_released_vectors_leaves_the_process() {
            const COUNT: usize = 256;
            let (vectors, above) = vectors_below_others(COUNT);
            let before = rss_anon_bytes();
            vectors
                .into_iter()
                .for_each(|vec| release_buf(HeapBuf::of_vec(vec)));
            let after = rss_anon_bytes();
            // Other tests of this process hold a few MiB now and then.
            assert!(
                after + COUNT * MIB * 3 / 4 < before,
                "{before} bytes became {after}"
            );
            assert!(above.iter().flatten().all(|word| *word == 2));
        }

        #[test]
        fn only_whole_pages_within_the_words_are_discarded() {
            let page_words = rustix::param::page_size() / 8;
            let mut vec = vec![3u64; 5 * page_words];
            for (start, len) in [
                (0, 5 * page_words),
                (1, 4 * page_words),
                (page_words - 1, 3 * page_words),
                (7, page_words - 8),
                (3, 0),
            ] {
                vec.fill(3);
                let place = vec[start..].as_ptr().addr();
                let spare = &mut vec[start..start + len];
                // SAFETY: any content is a byte, and it is written over next.
                let (_, spare, _) = unsafe { spare.align_to_mut() };
                system::discard_inner_pages(spare);
                let whole_pages = {
                    let page_bytes = page_words * 8;
                    let first = place.next_multiple_of(page_bytes);
                    let end = (place + len * 8) / page_bytes * page_bytes;
                    first..end.max(first)
                };
                for (index, word) in vec.iter().enumerate() {
                    let is_inner = whole_pages.contains(&(vec.as_ptr().addr() + index * 8));
                    let expected = if is_inner { 0 } else { 3 };
                    assert_eq!(*word, expected, "word {index} of {start}+{len}");
                }
            }
        }
    }
}
