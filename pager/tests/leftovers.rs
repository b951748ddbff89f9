//! What was freed is never shown: not by a read of what took its place, not by a
//! buffer that is grown over it, not in the file behind the last word.
//!
//! Everything a reader can get is looked at, for words that were paged out before
//! and freed.

#![cfg(all(target_os = "linux", feature = "swap", feature = "file"))]
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

mod common;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use common::words;
use pager::pager_core::PAGE_BYTES;
use pager::{BackendKind, ChunkBuf, Error, FileMode, Handle, IoChoice, Pager, Preset};
use rstest::rstest;

/// What must not be seen again.
const SECRET: u64 = 0x5ec2_e75e_c2e7_5ec2;
/// Payloads that held it.
const SECRETS: usize = 24;
/// Lengths with odd tails: around a word, a block, a size class, a huge page.
const LENS: [usize; 10] = [1, 2, 511, 513, 1023, 4095, 40_001, 70_003, 262_143, 262_145];

fn build(root: &Path, preset: Preset, budget_bytes: usize, io: IoChoice) -> Pager {
    let settings = Pager::builder().preset(preset).budget_bytes(budget_bytes);
    settings.io(io).scratch_dir(root).build().unwrap()
}

/// Fills the storage that later payloads will get with secrets, and frees it.
fn leave_secrets(pager: &Pager, kind: BackendKind, len: usize) {
    let mut handles = Vec::new();
    for number in 0..SECRETS.min(2 + (1 << 18) / len) {
        let handle = if number % 2 == 0 {
            pager
                .options()
                .backend(kind)
                .pageout(&mut [vec![SECRET; len]])
        } else {
            let buf = ChunkBuf::try_from(&vec![SECRET; len][..]).unwrap();
            pager.options().backend(kind).pageout(&mut [buf])
        };
        handles.push(handle.unwrap());
    }
    pager.flush().unwrap();
    for (number, handle) in handles.into_iter().enumerate() {
        match number % 3 {
            0 => drop(handle),
            1 => handle.take(&mut ChunkBuf::new()).unwrap(),
            _ => handle.take(&mut Vec::new()).unwrap(),
        }
    }
}

fn assert_no_secret(found: &[u64], what: &str) {
    assert!(!found.contains(&SECRET), "{what} shows what was freed");
}

/// Everything that the safe interface lets a reader see.
fn look_at_everything(handle: Handle, expected: &[u64]) {
    let len = expected.len();
    let (mut vec, mut buf) = (Vec::new(), ChunkBuf::new());
    for (start, end) in [(0, len), (len - 1, len), (len / 2, len), (0, 1)] {
        handle.read_at(start, end - start, &mut vec).unwrap();
        handle.read_at(start, end - start, &mut buf).unwrap();
        assert!(vec == expected[start..end] && buf[..] == expected[start..end]);
        // What lies behind the last word is made before it is shown.
        let capacity = buf.capacity();
        buf.resize(capacity, 0).unwrap();
        assert!(buf[end - start..].iter().all(|word| *word == 0));
        vec.clear();
        buf.clear();
    }
    for beyond in [len, len + 1, len + 511, usize::MAX / 8] {
        let error = handle.read_at(beyond, 1, &mut vec).unwrap_err();
        assert!(matches!(error, Error::OutOfBounds { .. }) && vec.is_empty());
    }
    handle.take(&mut buf).unwrap();
    assert!(buf[..] == *expected);
    let capacity = buf.capacity();
    buf.resize(capacity, 0).unwrap();
    assert!(buf[len..].iter().all(|word| *word == 0));
    assert_no_secret(&buf, "a buffer");
}

#[rstest]
fn a_reader_sees_nothing_of_what_was_freed(
    #[values(Preset::Fast, Preset::Seed)] preset: Preset,
    #[values(BackendKind::Swap, BackendKind::File)] kind: BackendKind,
    #[values(0, 1 << 20)] budget_bytes: usize,
) {
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let pager = build(root.path(), preset, budget_bytes, IoChoice::Auto);
    for (seed, len) in (0..).zip(LENS) {
        leave_secrets(&pager, kind, len + 300);
        let expected = words(seed, len);
        let handle = pager
            .options()
            .backend(kind)
            .pageout(&mut [expected.clone()])
            .unwrap();
        pager.flush().unwrap();
        look_at_everything(handle, &expected);
    }
}

/// The segment files of this process that have no name any more.
fn nameless_files(root: &Path) -> Vec<File> {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap();
    let links = descriptors.filter_map(|entry| {
        let path: PathBuf = entry.unwrap().path();
        let target = fs::read_link(&path).ok()?;
        let is_ours = target.starts_with(root) && target.to_str()?.ends_with(" (deleted)");
        is_ours.then_some(path)
    });
    links.map(|path| File::open(path).unwrap()).collect()
}

#[rstest]
fn the_last_block_of_an_extent_holds_the_payload_and_zeros(
    #[values(IoChoice::Auto, IoChoice::Buffered)] io: IoChoice,
    #[values(0, 1 << 20)] budget_bytes: usize,
) {
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let pager = build(root.path(), Preset::Fast, budget_bytes, io);
    for (seed, len) in (0..).zip(LENS) {
        leave_secrets(&pager, BackendKind::File, len + 300);
        let expected = words(seed, len);
        let (front, back) = expected.split_at(len / 2);
        let mut chunks = [front.to_vec(), back.to_vec()];
        let handle = pager
            .options()
            .backend(BackendKind::File)
            .pageout(&mut chunks)
            .unwrap();
        pager.flush().unwrap();

        let padding = padding_on_disk(root.path(), &expected);

        assert_eq!(
            padding.len(),
            (len * 8).next_multiple_of(PAGE_BYTES) - len * 8
        );
        assert!(padding.iter().all(|byte| *byte == 0), "{len} words");
        drop(handle);
    }
}

/// What lies in the file between the last word of this payload and the end of its
/// block.
fn padding_on_disk(root: &Path, expected: &[u64]) -> Vec<u8> {
    let bytes: Vec<u8> = expected
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect();
    let padded_len = bytes.len().next_multiple_of(PAGE_BYTES);
    for file in nameless_files(root) {
        let mut offset = 0;
        let mut first = vec![0; PAGE_BYTES.min(bytes.len())];
        while file.read_exact_at(&mut first, offset).is_ok() {
            if first == bytes[..first.len()] {
                let mut stored = vec![0; padded_len];
                file.read_exact_at(&mut stored, offset).unwrap();
                assert!(stored[..bytes.len()] == bytes);
                return stored.split_off(bytes.len());
            }
            offset += PAGE_BYTES as u64;
        }
    }
    panic!("a payload of {} words is on no disk", expected.len());
}

#[test]
fn a_file_of_the_seed_mode_holds_the_payload_and_nothing_else() {
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let pager = build(root.path(), Preset::Seed, 0, IoChoice::Auto);
    assert_eq!(FileMode::Seed.to_string(), pager.preset().to_string());
    for (seed, len) in (0..).zip(LENS) {
        leave_secrets(&pager, BackendKind::File, len + 300);
        let expected = words(seed, len);
        let handle = pager
            .options()
            .backend(BackendKind::File)
            .pageout(&mut [expected.clone()])
            .unwrap();
        let files: Vec<_> = fs::read_dir(pager.scratch_dir().unwrap())
            .unwrap()
            .collect();
        assert_eq!(files.len(), 1);
        let stored = fs::read(files[0].as_ref().unwrap().path()).unwrap();
        assert!(
            stored
                .chunks(8)
                .map(<[u8]>::to_vec)
                .eq(expected.iter().map(|word| word.to_ne_bytes().to_vec()))
        );
        drop(handle);
    }
}
