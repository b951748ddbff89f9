//! Encrypted files: every guarantee, nothing to be read on the medium, and whatever is
//! changed, swapped, replayed or cut there is [`Error::Corrupt`].
//!
//! One who has the file but not the process finds it among this process's descriptors.

#![cfg(all(target_os = "linux", feature = "encryption"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

use common::scratch;
use pager_core::codec::{Codec, Compressed, Scheme};
use pager_core::{Backend, ChunkBuf, Error, Handle, Registry, Residency};
use pager_file::{FileBackend, FileConfig, FileMode, IoChoice};
use pager_testkit::Expectations;
use pager_testkit::content::{assert_words, words};
use rstest::rstest;
use tempfile::TempDir;

const BLOCK_BYTES: usize = 4096;
const BLOCK_WORDS: usize = BLOCK_BYTES / 8;
const CHUNK_WORDS: usize = 1 << 18;

fn backend(io: IoChoice, encryption: bool) -> (FileBackend, TempDir) {
    let root = scratch();
    let config = FileConfig::new(root.path()).io(io).encryption(encryption);
    (FileBackend::open(config).unwrap(), root)
}

fn open(io: IoChoice) -> (Registry<FileBackend>, TempDir) {
    let (backend, root) = backend(io, true);
    (Registry::new(backend), root)
}

pager_testkit::conformance_tests! {
    expecting Expectations::none().keeps_capacity();
    fn encrypted_segments_conform(
        #[values(IoChoice::Auto, IoChoice::Direct, IoChoice::Buffered)] io: IoChoice,
    ) -> (Registry<FileBackend>, TempDir) {
        open(io)
    }
}

pager_testkit::conformance_tests! {
    fn encrypted_segments_conform_under_a_budget(
        #[values(0, 100 << 10, 64 << 20)] budget_bytes: usize,
    ) -> (Registry<FileBackend>, TempDir) {
        let (backend, root) = backend(IoChoice::Auto, true);
        let residency = Residency::builder().budget_bytes(budget_bytes).build();
        (Registry::with_residency(backend, &residency), root)
    }
}

pager_testkit::conformance_tests! {
    fn encrypted_segments_conform_beneath_a_codec(
        #[values(Codec::Auto, Codec::Always(Scheme::Pack))] codec: Codec,
    ) -> (Registry<Compressed<FileBackend>>, TempDir) {
        let (backend, root) = backend(IoChoice::Auto, true);
        (Registry::new(Compressed::new(backend, codec)), root)
    }
}

#[test]
fn seed_refuses_encryption() {
    let root = scratch();
    let config = FileConfig::new(root.path())
        .mode(FileMode::Seed)
        .encryption(true);
    let error = FileBackend::open(config).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    assert!(common::names(root.path()).is_empty(), "nothing is left");
}

/// The only segment file of a backend.
fn medium(backend: &FileBackend) -> File {
    let directory = backend.directory();
    let opened = |path: &std::path::PathBuf| {
        let target = std::fs::read_link(path).ok()?;
        (target.starts_with(directory) && target != directory).then_some(target)
    };
    let paths = std::fs::read_dir("/proc/self/fd").unwrap();
    let found: Vec<_> = paths
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| opened(&path).map(|target| (target, path)))
        .collect();
    let (target, path) = found.first().expect("a segment file is open");
    // A test may have it open as well.
    assert!(found.iter().all(|(other, _)| other == target));
    let mut options = OpenOptions::new();
    options.read(true).write(true).open(path).unwrap()
}

fn content(file: &File) -> Vec<u8> {
    let len = file.metadata().unwrap().len();
    let mut bytes = vec![0; len.try_into().unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Planted where a reader would look: text, at every place of a block and across two.
const PLANTED: &[u8] = b"the quick brown secret jumps ove";

fn planted(len: usize) -> Vec<u64> {
    let mut planted = words(1, len);
    for at in (0..len - 4).step_by(509) {
        for (word, bytes) in planted[at..].iter_mut().zip(PLANTED.chunks_exact(8)) {
            *word = u64::from_ne_bytes(bytes.try_into().unwrap());
        }
    }
    planted
}

fn finds_planted(file: &File) -> bool {
    content(file)
        .windows(PLANTED.len())
        .any(|window| window == PLANTED)
}

#[rstest]
fn what_was_planted_is_nowhere_on_the_medium(
    #[values(IoChoice::Auto, IoChoice::Buffered)] io: IoChoice,
    #[values(false, true)] in_arena: bool,
    #[values(Codec::Off, Codec::Always(Scheme::Lz4))] codec: Codec,
) {
    for encryption in [false, true] {
        let (backend, _root) = backend(io, encryption);
        let registry = Registry::new(Compressed::new(backend, codec));
        let expected = planted(CHUNK_WORDS + 77);
        let handle = match in_arena {
            true => registry.pageout(&mut [ChunkBuf::try_from(&expected[..]).unwrap()]),
            false => registry.pageout(&mut [expected.clone()]),
        }
        .unwrap();
        // Whole in what is plain, and in pieces at least in what was encoded.
        let file = medium(registry.backend().inner());
        assert_eq!(finds_planted(&file), !encryption, "encrypted: {encryption}");
        let mut found = Vec::new();
        handle.read_at(500, 3000, &mut found).unwrap();
        assert_words(&found, &expected[500..3500], "a range");
        handle.take(&mut found).unwrap();
        assert_words(&found, &expected, "all of it");
    }
}

#[test]
fn equal_payloads_have_nothing_in_common_on_the_medium() {
    let (registry, _root) = open(IoChoice::Auto);
    let handles: Vec<_> = (0..3)
        .map(|_| {
            registry
                .pageout(&mut [vec![0u64; 64 * BLOCK_WORDS]])
                .unwrap()
        })
        .collect();
    let bytes = content(&medium(registry.backend()));
    let mut blocks: Vec<&[u8]> = bytes
        .chunks(BLOCK_BYTES)
        .filter(|block| block.iter().any(|byte| *byte != 0))
        .collect();
    assert_eq!(blocks.len(), 3 * 64);
    blocks.sort_unstable();
    blocks.dedup();
    assert_eq!(blocks.len(), 3 * 64, "no two blocks are alike");
    drop(handles);
}

#[track_caller]
fn assert_corrupt(handle: &Handle<FileBackend>, offset: usize, len: usize, block: usize) {
    let mut words = vec![1, 2, 3];
    let error = handle.read_at(offset, len, &mut words).unwrap_err();
    assert_eq!(words, [1, 2, 3], "a failed read appends nothing");
    let Error::Corrupt {
        handle: id,
        offset_bytes,
        expected,
        found,
        ..
    } = error
    else {
        panic!("not corrupt: {error:?}");
    };
    let at = (block * BLOCK_BYTES) as u64;
    assert_eq!((id, offset_bytes), (Some(handle.id()), at));
    assert_ne!(expected, found);
}

/// Pages a payload out, and says where it is: where the file was not zero before.
fn page_out(registry: &Registry<FileBackend>, words: &[u64]) -> (Handle<FileBackend>, u64) {
    let before = if registry.live_handles() == 0 {
        Vec::new()
    } else {
        content(&medium(registry.backend()))
    };
    let handle = registry.pageout(&mut [words.to_vec()]).unwrap();
    let after = content(&medium(registry.backend()));
    let is_new = |at: &usize| {
        let block = *at..*at + BLOCK_BYTES;
        let was = before.get(block.clone());
        was.map_or(after[block.clone()].iter().any(|it| *it != 0), |was| {
            was != &after[block]
        })
    };
    let at = (0..after.len()).step_by(BLOCK_BYTES).find(is_new);
    (handle, at.expect("something was written") as u64)
}

#[rstest]
fn a_flipped_bit_of_any_position_is_found_by_whoever_reads_its_block(
    #[values(IoChoice::Auto, IoChoice::Buffered)] io: IoChoice,
) {
    let (registry, _root) = open(io);
    let expected = words(1, 2 * BLOCK_WORDS + 3);
    let (handle, start) = page_out(&registry, &expected);
    let file = medium(registry.backend());
    for position in (0..3 * BLOCK_BYTES).step_by(37) {
        let (block, at) = (position / BLOCK_BYTES, start + position as u64);
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1 << (position % 8)], at)
            .unwrap();
        for read in 0..3 {
            if read == block {
                assert_corrupt(&handle, block * BLOCK_WORDS, 1, block);
            } else {
                let mut found = Vec::new();
                handle.read_at(read * BLOCK_WORDS, 3, &mut found).unwrap();
                assert_eq!(found, expected[read * BLOCK_WORDS..][..3]);
            }
        }
        assert_corrupt(&handle, 0, expected.len(), block);
        file.write_all_at(&byte, at).unwrap();
    }
    let mut found = Vec::new();
    registry.take(handle, &mut found).unwrap();
    assert_words(&found, &expected, "mended again");
}

#[rstest]
fn swapped_moved_replayed_and_missing_blocks_are_found(
    #[values(IoChoice::Auto, IoChoice::Buffered)] io: IoChoice,
) {
    let (registry, _root) = open(io);
    // Of equal content, so that only their places and times differ.
    let expected = vec![7; CHUNK_WORDS];
    let (first, at) = page_out(&registry, &expected);
    let file = medium(registry.backend());
    let read = |at: u64| {
        let mut bytes = vec![0; CHUNK_WORDS * 8];
        file.read_exact_at(&mut bytes, at).unwrap();
        bytes
    };
    let old = read(at);
    registry.take(first, &mut Vec::new()).unwrap();
    let second = registry.pageout(&mut [expected.clone()]).unwrap();
    let new = read(at);
    assert_ne!(old, new, "the extent is used again, and sealed anew");
    let (third, other) = page_out(&registry, &expected);
    let others = read(other);

    let block = |bytes: &[u8], index: usize| bytes[index * BLOCK_BYTES..][..BLOCK_BYTES].to_vec();
    let damages = [
        ("replayed", block(&old, 9)),
        ("of another payload", block(&others, 9)),
        ("moved within its payload", block(&new, 10)),
        ("zeroed", vec![0; BLOCK_BYTES]),
        (
            "torn",
            [
                &old[9 * BLOCK_BYTES..][..512],
                &new[9 * BLOCK_BYTES + 512..][..3584],
            ]
            .concat(),
        ),
    ];
    for (what, damage) in damages {
        println!("{what}");
        file.write_all_at(&damage, at + 9 * BLOCK_BYTES as u64)
            .unwrap();
        assert_corrupt(&second, 9 * BLOCK_WORDS + 5, 1, 9);
        assert_corrupt(&second, 0, CHUNK_WORDS, 9);
        file.write_all_at(&new, at).unwrap();
    }
    // All of one payload in the place of the other, and all of it as it was before.
    file.write_all_at(&others, at).unwrap();
    assert_corrupt(&second, 0, CHUNK_WORDS, 0);
    file.write_all_at(&old, at).unwrap();
    assert_corrupt(&second, CHUNK_WORDS - 1, 1, 511);
    file.write_all_at(&new, at).unwrap();

    let (last, cut) = if other > at {
        (&third, other)
    } else {
        (&second, at)
    };
    file.set_len(cut + 5 * BLOCK_BYTES as u64 + 100).unwrap();
    assert_corrupt(last, 0, CHUNK_WORDS, 5);
    let mut found = Vec::new();
    last.read_at(0, 5 * BLOCK_WORDS, &mut found).unwrap();
    assert_words(&found, &expected[..5 * BLOCK_WORDS], "before the cut");
}

#[test]
fn one_of_many_ranges_that_is_damaged_fails_all_of_them() {
    let (registry, _root) = open(IoChoice::Auto);
    let expected = words(4, CHUNK_WORDS);
    let (handle, start) = page_out(&registry, &expected);
    let file = medium(registry.backend());
    file.write_all_at(&[0; 64], start + 40 * BLOCK_BYTES as u64)
        .unwrap();
    let mut ranges: Vec<_> = [39, 41, 100, 7]
        .map(|block| block * BLOCK_WORDS..block * BLOCK_WORDS + 9)
        .into();
    let mut found = Vec::new();
    handle.read_at_many(&ranges, &mut found).unwrap();
    let joined: Vec<u64> = ranges
        .iter()
        .flat_map(|range| expected[range.clone()].to_vec())
        .collect();
    assert_eq!(found, joined);
    ranges.push(40 * BLOCK_WORDS + 500..40 * BLOCK_WORDS + 501);
    let error = handle.read_at_many(&ranges, &mut found).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    assert_eq!(found, joined, "nothing was appended");
}

#[test]
fn tags_are_counted_and_the_stats_tell_of_the_key() {
    let (registry, _root) = open(IoChoice::Auto);
    let stats = registry.backend().stats();
    assert!(stats.segments.unwrap().verifies);
    let encryption = stats.encryption.expect("it is encrypted");
    assert_eq!(encryption.cipher, "AES-256-GCM");
    assert!(encryption.key.undumped && encryption.key.wiped);
    let how = registry.stats().backend.how;
    assert!(how.contains("AES-256-GCM, key "), "{how}");
    let slot = registry
        .backend()
        .page_out(&mut pager_core::Payload::new(&mut [vec![
            1u64;
            CHUNK_WORDS
        ]]))
        .unwrap();
    assert!(registry.backend().slot_bytes(&slot) >= 512 * 16);
    registry.backend().free(slot);

    let (plain, _root) = backend(IoChoice::Auto, false);
    assert_eq!(plain.stats().encryption, None);
    assert!(!Backend::usage(&plain).how.contains("AES"));
}

#[test]
fn a_key_serves_its_own_backend_only() {
    let ((one, _first), (two, _second)) =
        (backend(IoChoice::Auto, true), backend(IoChoice::Auto, true));
    let slot = |backend: &FileBackend| {
        let mut chunks = [vec![5u64; BLOCK_WORDS]];
        backend
            .page_out(&mut pager_core::Payload::new(&mut chunks))
            .unwrap()
    };
    let (of_one, of_two) = (slot(&one), slot(&two));
    let mut spare = vec![std::mem::MaybeUninit::uninit(); BLOCK_WORDS];
    let mut window = pager_core::Window::new(&mut spare);
    let error = two.read(
        &of_one,
        std::slice::from_ref(&(0..BLOCK_WORDS)),
        &mut window,
    );
    assert!(matches!(error, Err(Error::Corrupt { .. })), "{error:?}");
    one.free(of_one);
    two.free(of_two);
}
