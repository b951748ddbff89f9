//! Bytes that change behind the backend's back are [`Error::Corrupt`], with the
//! handle, the place and both checksums; never wrong data, and never a panic.
//!
//! A vandal finds segment files among this process's descriptors, and extents by
//! what is in them, so nothing inside the backend helps or hides the damage.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

use common::{eventually, scratch, words};
use pager_core::{ChunkBuf, Error, Handle, Registry, Residency};
use pager_file::{FileBackend, FileConfig, IoChoice};
use pager_testkit::content::assert_words;

use rstest::rstest;
use tempfile::TempDir;

const BLOCK_BYTES: usize = 4096;
const BLOCK_WORDS: usize = BLOCK_BYTES / 8;
const CHUNK_WORDS: usize = 1 << 18;

type Files = Registry<FileBackend>;

/// A backend on a disk, without a budget.
fn open(configure: impl FnOnce(FileConfig) -> FileConfig) -> (TempDir, Files) {
    let root = scratch();
    let config = configure(FileConfig::new(root.path()));
    let registry = Registry::new(FileBackend::open(config).unwrap());
    (root, registry)
}

/// Whether the backend says that it compares blocks with checksums.
fn verifies(registry: &Files) -> bool {
    let segments = registry.backend().stats().segments;
    segments.is_some_and(|segments| segments.verifies)
}

/// One who writes to the segment file of a backend.
struct Vandal {
    file: File,
}

impl Vandal {
    /// Opens the only segment file of `registry`.
    fn of(registry: &Files) -> Self {
        let directory = registry.backend().directory();
        let mut found = std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| {
                std::fs::read_link(path)
                    .is_ok_and(|target| target.starts_with(directory) && target != directory)
            });
        let path = found.next().expect("a segment file is open");
        assert!(found.next().is_none(), "there is one segment file");
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).open(path).unwrap();
        Self { file }
    }

    /// Where the payload that begins with `words` lies.
    fn find(&self, words: &[u64]) -> u64 {
        let mut block = [0; BLOCK_BYTES];
        let first = words[0].to_ne_bytes();
        let len = self.file.metadata().unwrap().len();
        (0..len)
            .step_by(BLOCK_BYTES)
            .find(|&offset| {
                self.file.read_exact_at(&mut block, offset).unwrap();
                block[..8] == first
            })
            .expect("the payload is in the file")
    }

    fn flip(&self, offset: u64, mask: u8) {
        let mut byte = [0];
        self.file.read_exact_at(&mut byte, offset).unwrap();
        self.file.write_all_at(&[byte[0] ^ mask], offset).unwrap();
    }

    fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, offset).unwrap();
        bytes
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        self.file.write_all_at(bytes, offset).unwrap();
    }
}

/// A number below `end`, drawn by `random`.
fn below(random: u64, end: usize) -> usize {
    (random % end as u64).try_into().unwrap()
}

/// Reads `len` words from `offset` on and expects the block at byte `at` to be
/// reported; nothing may have been appended.
#[track_caller]
fn assert_corrupt(handle: &Handle<FileBackend>, offset: usize, len: usize, at: usize) -> u64 {
    let mut words = vec![1, 2, 3];
    let error = handle.read_at(offset, len, &mut words).unwrap_err();
    assert_eq!(words, [1, 2, 3], "a failed read appends nothing");
    assert_is_corrupt(&error, handle.id(), at)
}

/// The checksum that was found.
#[track_caller]
fn assert_is_corrupt(error: &Error, id: u64, at: usize) -> u64 {
    let Error::Corrupt {
        backend: "file",
        handle,
        offset_bytes,
        expected,
        found,
        ref path,
    } = *error
    else {
        panic!("not corrupt: {error:?}");
    };
    assert_eq!((handle, offset_bytes), (Some(id), at as u64));
    let directory = path.as_deref().unwrap();
    assert!(directory.is_dir() && error.to_string().contains(directory.to_str().unwrap()));
    assert_ne!(expected, found);
    found
}

#[rstest]
fn a_flipped_byte_of_any_position_is_found_by_whoever_reads_its_block(
    #[values(IoChoice::Auto, IoChoice::Buffered)] io: IoChoice,
) {
    let (_root, registry) = open(|config| config.io(io));
    // Three blocks, the last one mostly padding.
    let expected = words(1, 2 * BLOCK_WORDS + 3);
    let handle = registry.pageout(&mut [expected.clone()]).unwrap();
    let vandal = Vandal::of(&registry);
    let start = vandal.find(&expected);
    // Every byte of a word, at both ends and in the middle of a block, and of the
    // payload; and of the padding behind its last word.
    let in_block = (0..16).chain(2040..2056).chain(4080..4096);
    let positions = (0..3)
        .flat_map(|block| in_block.clone().map(move |byte| block * BLOCK_BYTES + byte))
        .chain(2 * BLOCK_BYTES + 16..2 * BLOCK_BYTES + 40);
    let mut tried = 0;
    for position in positions {
        let block = position / BLOCK_BYTES;
        vandal.flip(start + position as u64, 1 << (position % 8));
        for read in 0..3 {
            if read == block {
                assert_corrupt(&handle, block * BLOCK_WORDS, 1, block * BLOCK_BYTES);
            } else {
                let mut found = Vec::new();
                handle.read_at(read * BLOCK_WORDS, 3, &mut found).unwrap();
                assert_eq!(found, expected[read * BLOCK_WORDS..][..3]);
            }
        }
        assert_corrupt(&handle, 0, expected.len(), block * BLOCK_BYTES);
        vandal.flip(start + position as u64, 1 << (position % 8));
        tried += 1;
    }
    println!("{tried} byte positions flipped, {io} I/O");
    let mut found = Vec::new();
    registry.take(handle, &mut found).unwrap();
    assert_words(&found, &expected, "mended again");
}

#[test]
fn ten_thousand_random_bits_of_large_payloads_are_found() {
    let (_root, registry) = open(|config| config);
    let payloads: Vec<_> = (0..8).map(|seed| words(seed, CHUNK_WORDS - 5)).collect();
    let handles: Vec<_> = payloads
        .iter()
        .map(|payload| registry.pageout(&mut [payload.clone()]).unwrap())
        .collect();
    let vandal = Vandal::of(&registry);
    let starts: Vec<_> = payloads.iter().map(|words| vandal.find(words)).collect();
    let random = words(9, 20_000);
    for (round, random) in random.chunks(2).enumerate() {
        let which = below(random[0], handles.len());
        let (payload, handle) = (&payloads[which], &handles[which]);
        let bit = below(random[1], payload.len() * 64);
        let (byte, word, block) = (bit / 8, bit / 64, bit / 64 / BLOCK_WORDS);
        let offset = starts[which] + byte as u64;
        vandal.flip(offset, 1 << (bit % 8));
        assert_corrupt(handle, word, 1, block * BLOCK_BYTES);
        if round % 500 == 0 {
            assert_corrupt(handle, 0, payload.len(), block * BLOCK_BYTES);
            let mut found = Vec::new();
            let rest = (block + 1) * BLOCK_WORDS..payload.len();
            handle
                .read_at(rest.start.min(rest.end), rest.len(), &mut found)
                .unwrap();
            assert_words(&found, &payload[payload.len() - rest.len()..], "the rest");
        }
        vandal.flip(offset, 1 << (bit % 8));
    }
    let stats = registry.backend().stats().segments.unwrap();
    assert_eq!(stats.corrupt_reads, 10_000 + 20);
}

#[rstest]
fn a_torn_a_stale_and_a_zeroed_block_are_found(
    #[values(IoChoice::Auto, IoChoice::Buffered)] io: IoChoice,
) {
    let (_root, registry) = open(|config| config.io(io));
    let old = words(1, CHUNK_WORDS);
    let new = words(2, CHUNK_WORDS);
    let first = registry.pageout(&mut [old.clone()]).unwrap();
    let vandal = Vandal::of(&registry);
    let start = vandal.find(&old);
    let was = vandal.read(start, CHUNK_WORDS * 8);
    registry.take(first, &mut Vec::new()).unwrap();
    let second = registry.pageout(&mut [new.clone()]).unwrap();
    assert_eq!(vandal.find(&new), start, "the extent is used again");
    let is = vandal.read(start, CHUNK_WORDS * 8);

    let block = 77 * BLOCK_BYTES;
    let at = start + block as u64;
    let torn = &was[block..block + 512];
    let stale = &was[block..block + BLOCK_BYTES];
    let zeroed = &[0; BLOCK_BYTES][..];
    for damage in [torn, stale, zeroed] {
        vandal.write(at, damage);
        assert_corrupt(&second, 77 * BLOCK_WORDS + 9, 1, block);
        assert_corrupt(&second, 0, CHUNK_WORDS, block);
        vandal.write(at, &is[block..block + BLOCK_BYTES]);
    }
    let mut found = ChunkBuf::new();
    registry.take(second, &mut found).unwrap();
    assert_words(&found, &new, "mended again");
}

#[test]
fn swapped_extents_and_a_truncated_one_are_found() {
    let (_root, registry) = open(|config| config);
    let (one, two) = (words(1, CHUNK_WORDS), words(2, CHUNK_WORDS));
    let first = registry.pageout(&mut [one.clone()]).unwrap();
    let second = registry.pageout(&mut [two.clone()]).unwrap();
    let vandal = Vandal::of(&registry);
    let (at, other) = (vandal.find(&one), vandal.find(&two));
    let (bytes, others) = (
        vandal.read(at, CHUNK_WORDS * 8),
        vandal.read(other, CHUNK_WORDS * 8),
    );
    vandal.write(at, &others);
    vandal.write(other, &bytes);
    assert_corrupt(&first, 0, CHUNK_WORDS, 0);
    assert_corrupt(&second, CHUNK_WORDS - 1, 1, CHUNK_WORDS * 8 - BLOCK_BYTES);
    vandal.write(at, &bytes);
    vandal.write(other, &others);

    // In mid-block: direct I/O finds the file's last, incomplete block.
    let cut = other.max(at) + 5 * BLOCK_BYTES as u64 + 100;
    let (last, expected) = if other > at {
        (&second, &two)
    } else {
        (&first, &one)
    };
    vandal.file.set_len(cut).unwrap();
    let found = assert_corrupt(last, 0, CHUNK_WORDS, 5 * BLOCK_BYTES);
    assert_eq!(found, 0, "what is not there has no checksum");
    let mut words = Vec::new();
    last.read_at(0, 5 * BLOCK_WORDS, &mut words).unwrap();
    assert_words(&words, &expected[..5 * BLOCK_WORDS], "before the cut");
}

#[rstest]
fn a_corrupt_payload_is_given_back_by_take_and_can_be_dropped(
    #[values(0, 64 << 20)] budget_bytes: usize,
    #[values(false, true)] prefetched: bool,
) {
    let root = scratch();
    let backend = FileBackend::open(FileConfig::new(root.path())).unwrap();
    let residency = Residency::builder().budget_bytes(budget_bytes).build();
    let registry = Registry::with_residency(backend, &residency);
    let expected = words(3, CHUNK_WORDS);
    let handle = registry.pageout(&mut [expected.clone()]).unwrap();
    residency.flush().unwrap();
    let vandal = Vandal::of(&registry);
    let at = vandal.find(&expected) + 9 * BLOCK_BYTES as u64 + 17;
    vandal.flip(at, 4);
    if prefetched {
        handle.prefetch();
    }

    let mut found = Vec::new();
    let id = handle.id();
    let error = registry.take(handle, &mut found).unwrap_err();
    assert!(found.is_empty());
    assert_is_corrupt(error.error(), id, 9 * BLOCK_BYTES);
    let handle = error.into_handle();

    vandal.flip(at, 4);
    registry.read_at(&handle, 0, 1, &mut found).unwrap();
    vandal.flip(at, 4);
    drop(handle);
    assert_eq!(registry.live_handles(), 0);
    // A background thread may hold the payload for one operation more.
    eventually(|| registry.stats().backend.stored_bytes == 0);
}

#[test]
fn scattered_reads_verify_the_blocks_they_need_and_no_others() {
    let (_root, registry) = open(|config| config);
    let expected = words(4, CHUNK_WORDS);
    let handle = registry.pageout(&mut [expected.clone()]).unwrap();
    let vandal = Vandal::of(&registry);
    let start = vandal.find(&expected);
    vandal.flip(start + 40 * BLOCK_BYTES as u64, 1);
    let beside: Vec<_> = [39, 41, 100, 7]
        .map(|block| block * BLOCK_WORDS..block * BLOCK_WORDS + 9)
        .into();
    let mut found = Vec::new();
    handle.read_at_many(&beside, &mut found).unwrap();
    let joined: Vec<u64> = beside
        .iter()
        .flat_map(|range| expected[range.clone()].to_vec())
        .collect();
    assert_eq!(found, joined);

    let mut through = beside;
    through.push(40 * BLOCK_WORDS + 500..40 * BLOCK_WORDS + 501);
    let error = handle.read_at_many(&through, &mut found).unwrap_err();
    assert_is_corrupt(&error, handle.id(), 40 * BLOCK_BYTES);
    assert_eq!(found, joined, "nothing was appended");
}

#[test]
fn without_checksums_a_flipped_bit_comes_back_flipped() {
    let (_root, registry) = open(|config| config.checksums(false));
    assert!(!verifies(&registry));
    let mut expected = words(5, CHUNK_WORDS);
    let handle = registry.pageout(&mut [expected.clone()]).unwrap();
    let vandal = Vandal::of(&registry);
    vandal.flip(vandal.find(&expected) + 8 * 1000, 1);
    expected[1000] ^= u64::from_ne_bytes([1, 0, 0, 0, 0, 0, 0, 0]);
    let mut found = Vec::new();
    registry.take(handle, &mut found).unwrap();
    assert_words(&found, &expected, "with the damage");
}

#[test]
fn a_corrupt_payload_is_described_in_a_sentence() {
    let (_root, registry) = open(|config| config);
    assert!(verifies(&registry));
    let expected = words(6, 9);
    let handle = registry.pageout(&mut [expected.clone()]).unwrap();
    let vandal = Vandal::of(&registry);
    vandal.flip(vandal.find(&expected), 1);
    let error = handle
        .read_at(0, 1, &mut Vec::new())
        .unwrap_err()
        .to_string();
    let start = format!(
        "file: corrupt bytes at byte 0 of payload {}: expected checksum 0x",
        handle.id()
    );
    assert!(error.starts_with(&start), "{error}");
}
