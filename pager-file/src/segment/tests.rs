//! The store as a whole, through a registry, in every way of I/O.

use std::fs::{read_dir, read_link};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use pager_core::{Backend, ChunkBuf, Handle, Registry};
use rstest::rstest;

use super::*;
use crate::config::{IoChoice, Slack};

const BLOCK_WORDS: usize = 512;
const CHUNK_WORDS: usize = 1 << 18;

/// The store and nothing else.
#[derive(Debug)]
struct Only(SegmentStore);

impl Backend for Only {
    type Slot = SegmentSlot;

    fn name(&self) -> &'static str {
        BACKEND
    }

    fn page_out(&self, payload: &mut Payload<'_>) -> Result<SegmentSlot> {
        self.0.page_out(payload)
    }

    fn read(
        &self,
        slot: &SegmentSlot,
        ranges: &[Range<usize>],
        window: &mut Window<'_>,
    ) -> Result<()> {
        self.0.read(slot, ranges, window)
    }

    fn free(&self, slot: SegmentSlot) {
        self.0.free(slot);
    }

    fn usage(&self) -> Usage {
        self.0.usage()
    }

    fn stored_bytes(&self, slot: &SegmentSlot) -> u64 {
        self.0.stored_bytes(slot)
    }
}

/// A store on a disk, and the directory that goes with it.
fn open(configure: impl FnOnce(FileConfig) -> FileConfig) -> (tempfile::TempDir, Registry<Only>) {
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let registry = open_at(root.path(), configure);
    (root, registry)
}

fn open_at(root: &Path, configure: impl FnOnce(FileConfig) -> FileConfig) -> Registry<Only> {
    Registry::new(Only(open_store(root, configure).unwrap()))
}

fn open_store(
    root: &Path,
    configure: impl FnOnce(FileConfig) -> FileConfig,
) -> Result<SegmentStore> {
    let config = configure(FileConfig::new(root));
    SegmentStore::open(Arc::new(ScratchDir::open(&config)?), &config)
}

fn stats(registry: &Registry<Only>) -> SegmentStats {
    registry.backend().0.stats()
}

fn words(seed: u64, len: usize) -> Vec<u64> {
    (0..len as u64)
        .map(|index| index.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (seed << 40 | seed))
        .collect()
}

fn store(registry: &Registry<Only>, words: &[u64]) -> Handle<Only> {
    registry.pageout(&mut [words.to_vec()]).unwrap()
}

/// Waits for what the punching thread does.
fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// Descriptors of this process that lie in the store's directory.
fn descriptors(registry: &Registry<Only>) -> usize {
    let directory = registry.backend().0.directory.path().to_owned();
    read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| read_link(entry.unwrap().path()).ok())
        .filter(|target| target.starts_with(&directory) && *target != directory)
        .count()
}

#[rstest]
fn every_size_comes_back_word_for_word(
    #[values(IoChoice::Auto, IoChoice::Buffered)] io: IoChoice,
    #[values(false, true)] in_arena: bool,
) {
    let (_root, registry) = open(|config| config.io(io));
    let sizes = [
        0,
        1,
        BLOCK_WORDS - 1,
        BLOCK_WORDS,
        BLOCK_WORDS + 1,
        CHUNK_WORDS - 1,
        CHUNK_WORDS,
        CHUNK_WORDS + 1,
        8 * CHUNK_WORDS,
    ];
    for (seed, len) in sizes.into_iter().enumerate() {
        let expected = words(seed as u64, len);
        let handle = if in_arena {
            let mut chunks = [ChunkBuf::try_from(&expected[..]).unwrap()];
            registry.pageout(&mut chunks).unwrap()
        } else {
            store(&registry, &expected)
        };
        let mut whole = vec![7];
        registry.read_at(&handle, 0, len, &mut whole).unwrap();
        assert_eq!(whole[1..], expected, "{len} words appended to a Vec");
        let mut aligned = ChunkBuf::new();
        registry.take(handle, &mut aligned).unwrap();
        assert_eq!(aligned[..], expected, "{len} words taken into a ChunkBuf");
    }
}

#[rstest]
fn many_chunks_are_joined(#[values(IoChoice::Auto, IoChoice::Buffered)] io: IoChoice) {
    let (_root, registry) = open(|config| config.io(io));
    for len in [1, 3, 511, 512, 700] {
        let mut chunks: Vec<_> = (0..1025).map(|seed| words(seed, len)).collect();
        let mut bufs: Vec<_> = chunks
            .iter()
            .map(|chunk| ChunkBuf::try_from(&chunk[..]).unwrap())
            .collect();
        let expected = chunks.concat();
        let from_vecs = registry.pageout(&mut chunks).unwrap();
        let from_bufs = registry.pageout(&mut bufs).unwrap();
        assert!(chunks.iter().all(Vec::is_empty) && bufs.iter().all(|buf| buf.is_empty()));
        for handle in [from_vecs, from_bufs] {
            let mut found = Vec::new();
            registry.take(handle, &mut found).unwrap();
            assert_eq!(found, expected, "1025 chunks of {len} words");
        }
    }
}

#[rstest]
fn ranges_in_any_order_are_appended_in_that_order(
    #[values(IoChoice::Auto, IoChoice::Buffered)] io: IoChoice,
    #[values(1, 8, 700, 9000, 40_000)] len: usize,
) {
    let (_root, registry) = open(|config| config.io(io));
    let expected = words(3, 2 * CHUNK_WORDS + 77);
    let handle = store(&registry, &expected);
    let ranges: Vec<_> = (0..150)
        .map(|index: usize| index.wrapping_mul(104_729 * 5) % (expected.len() - len))
        .map(|start| start..start + len)
        .chain([5..5, 10..12, 12..40, 0..expected.len(), 40..41])
        .collect();
    let (mut found, mut aligned) = (Vec::new(), ChunkBuf::new());
    registry.read_at_many(&handle, &ranges, &mut found).unwrap();
    registry
        .read_at_many(&handle, &ranges, &mut aligned)
        .unwrap();
    let wanted: Vec<u64> = ranges
        .into_iter()
        .flat_map(|range| expected[range].to_vec())
        .collect();
    assert!(found == wanted && aligned[..] == wanted[..]);
}

#[rstest]
fn a_chunk_costs_one_write_and_one_read(#[values(false, true)] in_arena: bool) {
    let (_root, registry) = open(|config| config);
    let expected = words(1, CHUNK_WORDS);
    let (handle, mut taken_vec, mut taken_buf);
    if in_arena {
        let mut chunks = [ChunkBuf::try_from(&expected[..]).unwrap()];
        handle = registry.pageout(&mut chunks).unwrap();
    } else {
        handle = store(&registry, &expected);
    }
    assert_eq!(stats(&registry).write_calls, 1);
    if in_arena {
        taken_buf = ChunkBuf::new();
        registry.take(handle, &mut taken_buf).unwrap();
    } else {
        taken_vec = Vec::new();
        registry.take(handle, &mut taken_vec).unwrap();
    }
    assert_eq!(stats(&registry).read_calls, 1);
}

#[test]
fn a_small_read_reads_only_the_blocks_it_needs() {
    let (_root, registry) = open(|config| config);
    let handle = store(&registry, &words(1, CHUNK_WORDS));
    let mut found = Vec::new();
    registry
        .read_at(&handle, 5 * BLOCK_WORDS + 3, 100, &mut found)
        .unwrap();
    assert_eq!(stats(&registry).read_bytes, 4096);
    registry
        .read_at(&handle, 6 * BLOCK_WORDS - 1, 2, &mut found)
        .unwrap();
    assert_eq!(stats(&registry).read_bytes, 3 * 4096);
}

#[test]
fn ranges_in_neighbouring_blocks_are_one_read() {
    let (_root, registry) = open(|config| config);
    let handle = store(&registry, &words(1, CHUNK_WORDS));
    let ranges: Vec<_> = (0..32)
        .rev()
        .map(|block| block * 512 + 7..block * 512 + 9)
        .collect();
    let mut found = Vec::new();
    registry.read_at_many(&handle, &ranges, &mut found).unwrap();
    let stats = stats(&registry);
    assert_eq!((stats.read_calls, stats.read_bytes), (1, 32 * 4096));
}

#[test]
fn an_empty_payload_makes_no_file() {
    let (_root, registry) = open(|config| config);
    let handle = store(&registry, &[]);
    assert_eq!(descriptors(&registry), 0);
    let mut found = vec![1];
    registry.read_at(&handle, 0, 0, &mut found).unwrap();
    registry.take(handle, &mut found).unwrap();
    let stats = stats(&registry);
    assert_eq!(
        (stats.segment_count, stats.write_calls, stats.read_calls),
        (0, 0, 0)
    );
}

#[test]
fn descriptors_do_not_grow_with_handles() {
    let (_root, registry) = open(|config| config);
    let first = store(&registry, &words(0, 4));
    let before = descriptors(&registry);
    assert_eq!(before, 1);
    let handles: Vec<_> = (1..10_000)
        .map(|seed| store(&registry, &words(seed, 4)))
        .collect();
    assert_eq!(descriptors(&registry), before);
    for (handle, seed) in handles.iter().zip(1..).step_by(997) {
        let mut found = Vec::new();
        registry.read_at(handle, 0, 4, &mut found).unwrap();
        assert_eq!(found, words(seed, 4));
    }
    drop((first, handles));
    assert_eq!(stats(&registry).stored_bytes, 0);
}

#[test]
fn freed_extents_are_reused_without_growth() {
    let (_root, registry) = open(|config| config);
    drop(store(&registry, &words(0, CHUNK_WORDS)));
    let before = stats(&registry);
    for seed in 0..50 {
        drop(store(&registry, &words(seed, CHUNK_WORDS)));
    }
    let after = stats(&registry);
    assert_eq!(after.allocate_calls, before.allocate_calls);
    assert_eq!(after.freed_bytes, before.freed_bytes);
}

#[rstest]
fn what_an_earlier_payload_left_is_never_seen(
    #[values(IoChoice::Auto, IoChoice::Buffered)] io: IoChoice,
) {
    let (root, registry) = open(|config| config.io(io));
    drop(store(&registry, &vec![u64::MAX; BLOCK_WORDS]));
    let handle = store(&registry, &[1, 2, 3]);
    let extent = handle_extent_bytes(&registry);
    assert_eq!(&extent[..24], bytemuck::cast_slice::<u64, u8>(&[1, 2, 3]));
    assert!(
        extent[24..].iter().all(|byte| *byte == 0),
        "the tail is zeros"
    );
    drop((handle, root));
}

/// The first block of the only segment file.
fn handle_extent_bytes(registry: &Registry<Only>) -> [u8; 4096] {
    let store = &registry.backend().0;
    let mut staging = store.io.staging.get().unwrap();
    let file = store.space.opened(0).unwrap();
    let block = &mut staging.bytes()[..4096];
    assert_eq!(rustix::io::pread(file, &mut *block, 0).unwrap(), 4096);
    block.try_into().unwrap()
}

#[test]
fn the_quota_is_exact_under_eight_threads() {
    const QUOTA_BYTES: u64 = 100 * 4096;
    let (_root, registry) = open(|config| config.quota_bytes(QUOTA_BYTES));
    let kept: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|seed| {
                let registry = &registry;
                scope.spawn(move || try_to_keep(registry, seed))
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(kept.len(), 100);
    assert_eq!(registry.stats().backend.stored_bytes, QUOTA_BYTES);
    let mut refused = [vec![1u64]];
    let error = registry.pageout(&mut refused).unwrap_err();
    assert!(matches!(
        error,
        Error::QuotaExceeded {
            used_bytes: QUOTA_BYTES,
            ..
        }
    ));
    assert_eq!(refused, [[1]]);
    drop(kept);
    assert_eq!(registry.stats().backend.stored_bytes, 0);
}

/// Stores, drops some, and keeps what the quota lets it.
fn try_to_keep(registry: &Registry<Only>, seed: u64) -> Vec<Handle<Only>> {
    let mut kept = Vec::new();
    for attempt in 0..200 {
        match registry.pageout(&mut [words(seed, 20)]) {
            Ok(handle) if attempt < 100 && attempt % 3 == 0 => drop(handle),
            Ok(handle) => kept.push(handle),
            Err(Error::QuotaExceeded {
                used_bytes,
                quota_bytes,
                ..
            }) => {
                assert!(used_bytes <= quota_bytes);
            }
            Err(other) => panic!("unexpected: {other}"),
        }
    }
    kept
}

#[test]
fn threads_do_not_see_each_others_payloads() {
    let (_root, registry) = open(|config| config.slack_bytes(1 << 20));
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let registry = &registry;
            scope.spawn(move || {
                for round in 0..40usize {
                    let expected = words(thread << 8 | round as u64, 1 + round * 7919 % 60_000);
                    let handle = store(registry, &expected);
                    let mut found = Vec::new();
                    registry.take(handle, &mut found).unwrap();
                    assert!(found == expected);
                }
            });
        }
    });
    assert_eq!(stats(&registry).stored_bytes, 0);
}

#[test]
fn storage_beyond_the_slack_goes_back() {
    let (_root, registry) = open(|config| config.slack_bytes(8 << 20));
    let handles: Vec<_> = (0..20)
        .map(|seed| store(&registry, &words(seed, CHUNK_WORDS)))
        .collect();
    let kept = store(&registry, &words(99, CHUNK_WORDS));
    drop(handles);
    if !stats(&registry).punches_holes {
        println!("skipped: this file system punches no holes");
        return;
    }
    assert!(eventually(|| stats(&registry).freed_bytes <= 8 << 20));
    assert!(eventually(|| stats(&registry).punched_bytes >= 32 << 20));
    // What was punched is used again, and what was kept is whole.
    let again: Vec<_> = (0..20)
        .map(|seed| store(&registry, &words(seed, CHUNK_WORDS)))
        .collect();
    for (seed, handle) in (0..).zip(again).chain([(99, kept)]) {
        let mut found = Vec::new();
        registry.take(handle, &mut found).unwrap();
        assert!(found == words(seed, CHUNK_WORDS));
    }
}

#[test]
fn as_much_as_is_stored_is_kept_for_reuse_unless_said_otherwise() {
    let slack = Slack::Stored {
        min_bytes: 16 << 20,
    };
    let (_root, registry) = open(|config| FileConfig { slack, ..config });
    let store_all = |count| -> Vec<_> {
        (0..count)
            .map(|seed| store(&registry, &words(seed, CHUNK_WORDS)))
            .collect()
    };
    let (kept, dropped) = (store_all(12), store_all(12));
    if !stats(&registry).punches_holes {
        println!("skipped: this file system punches no holes");
        return;
    }
    drop(dropped);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(stats(&registry).freed_bytes, 24 << 20);
    assert_eq!(stats(&registry).punched_bytes, 0);
    // Now little is stored.
    drop(kept);
    assert!(eventually(|| stats(&registry).freed_bytes <= 16 << 20));
}

#[test]
fn trim_gives_everything_free_back() {
    let (_root, registry) = open(|config| config);
    let kept = store(&registry, &words(1, CHUNK_WORDS));
    drop(store(&registry, &words(2, CHUNK_WORDS)));
    let before = stats(&registry);
    assert_eq!(before.freed_bytes, 2 << 20);
    let trimmed_bytes = registry.backend().0.trim().unwrap();
    if !stats(&registry).punches_holes {
        println!("skipped: this file system punches no holes");
        return;
    }
    assert_eq!(trimmed_bytes, before.freed_bytes + before.reserved_bytes);
    let after = stats(&registry);
    assert_eq!((after.freed_bytes, after.reserved_bytes), (0, 0));
    assert_eq!(registry.backend().0.trim().unwrap(), 0);
    let mut found = Vec::new();
    registry.take(kept, &mut found).unwrap();
    assert!(found == words(1, CHUNK_WORDS));
}

#[test]
fn the_way_of_io_and_its_reason_are_told() {
    let (_root, registry) = open(|config| config.io(IoChoice::Buffered));
    assert!(!stats(&registry).io.is_direct());
    assert_eq!(stats(&registry).reason, "buffered I/O was asked for");
    assert!(registry.stats().backend.how.contains("buffered"));
}

#[test]
fn memory_is_not_worth_direct_io() {
    let root = match tempfile::tempdir_in("/dev/shm") {
        Ok(root) => root,
        Err(error) => return println!("skipped: no /dev/shm ({error})"),
    };
    let registry = open_at(root.path(), |config| config.allow_memory_fs(true));
    assert!(!stats(&registry).io.is_direct());
    let handle = store(&registry, &words(5, CHUNK_WORDS + 1));
    let mut found = Vec::new();
    registry.take(handle, &mut found).unwrap();
    assert!(found == words(5, CHUNK_WORDS + 1));
}

/// Bytes of the first segment file in the page cache, as `fincore` tells.
fn cached_bytes(registry: &Registry<Only>) -> Option<u64> {
    use std::os::fd::{AsFd, AsRawFd};
    let file = registry.backend().0.space.opened(0)?.as_fd().as_raw_fd();
    let path = format!("/proc/{}/fd/{file}", std::process::id());
    let told = Command::new("fincore")
        .args(["--raw", "--bytes", "--noheadings", "-o", "RES", &path])
        .output()
        .ok()?;
    String::from_utf8(told.stdout).ok()?.trim().parse().ok()
}

#[rstest]
fn the_page_cache_stays_short(
    #[values(SegmentIo::DropBehind, SegmentIo::DontCache)] mode: SegmentIo,
) {
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let mut store = open_store(root.path(), |config| config.io(IoChoice::Buffered)).unwrap();
    if mode == SegmentIo::DontCache && store.plan.mode != mode {
        return println!("skipped: no RWF_DONTCACHE here");
    }
    store.plan.mode = mode;
    store.io.mode = mode;
    let registry = Registry::new(Only(store));
    let handles: Vec<_> = (0..32)
        .map(|seed| self::store(&registry, &words(seed, CHUNK_WORDS)))
        .collect();
    let Some(_) = cached_bytes(&registry) else {
        return println!("skipped: no fincore here");
    };
    let is_short = || cached_bytes(&registry).is_some_and(|bytes| bytes <= 8 << 20);
    assert!(
        eventually(is_short),
        "{:?} after writing",
        cached_bytes(&registry)
    );
    for (seed, handle) in (0..).zip(&handles) {
        let mut found = Vec::new();
        registry
            .read_at(handle, 0, CHUNK_WORDS, &mut found)
            .unwrap();
        assert!(found == words(seed, CHUNK_WORDS), "payload {seed}");
    }
    assert!(
        eventually(is_short),
        "{:?} after reading",
        cached_bytes(&registry)
    );
}

#[test]
fn a_file_system_without_fallocate_does_too() {
    let (_root, registry) = open(|config| config.slack_bytes(0));
    registry.backend().0.space.forget_fallocate();
    let kept = store(&registry, &words(1, 3000));
    for seed in 0..20 {
        drop(store(&registry, &words(seed, CHUNK_WORDS)));
    }
    assert_eq!(registry.backend().0.trim().unwrap(), 0);
    // What could not be punched is cut anew for other sizes.
    drop(store(&registry, &words(2, CHUNK_WORDS / 2)));
    let stats = stats(&registry);
    assert_eq!((stats.allocate_calls, stats.punched_bytes), (0, 0));
    assert!(!stats.allocates_ahead && !stats.punches_holes);
    let mut found = Vec::new();
    registry.take(kept, &mut found).unwrap();
    assert_eq!(found, words(1, 3000));
}

/// A small ext4 on a loop device, unmounted when dropped.
struct SmallDisk {
    mount_point: PathBuf,
    _directory: tempfile::TempDir,
}

impl SmallDisk {
    fn new(megabytes: u64) -> Option<Self> {
        Self::mounted(megabytes, "loop")
    }

    fn mounted(megabytes: u64, options: &str) -> Option<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        if !rustix::process::geteuid().is_root() {
            println!("skipped: not root");
            return None;
        }
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let image = directory.path().join(format!("image-{number}"));
        let mount_point = directory.path().join("mounted");
        std::fs::create_dir(&mount_point).unwrap();
        std::fs::File::create(&image)
            .unwrap()
            .set_len(megabytes << 20)
            .unwrap();
        let image = image.to_str().unwrap().to_owned();
        let made = run("mkfs.ext4", &["-q", "-F", "-m", "0", &image])
            && run(
                "mount",
                &["-o", options, &image, mount_point.to_str().unwrap()],
            );
        if !made {
            println!("skipped: no loop mount");
            return None;
        }
        Some(Self {
            mount_point,
            _directory: directory,
        })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run("umount", &["-l", self.mount_point.to_str().unwrap()]);
    }
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).status();
    status.is_ok_and(|status| status.success())
}

#[rstest]
fn a_full_disk_is_an_error_that_leaves_the_chunks_and_passes(
    #[values(IoChoice::Auto, IoChoice::Buffered)] io: IoChoice,
) {
    let Some(disk) = SmallDisk::new(96) else {
        return;
    };
    let registry = open_at(&disk.mount_point, |config| config.io(io));
    let mut handles = Vec::new();
    let error = loop {
        let mut chunks = [words(handles.len() as u64, CHUNK_WORDS)];
        match registry.pageout(&mut chunks) {
            Ok(handle) => handles.push(handle),
            Err(error) => {
                assert_eq!(chunks, [words(handles.len() as u64, CHUNK_WORDS)]);
                break error;
            }
        }
    };
    assert!(
        matches!(
            error,
            Error::OutOfSpace {
                needed_bytes: 0x20_0000,
                ..
            }
        ),
        "{error}"
    );
    assert!(handles.len() > 30, "only {} chunks fit", handles.len());
    let stored_bytes = registry.stats().backend.stored_bytes;
    assert_eq!(stored_bytes, (handles.len() as u64) << 21);

    // One freed, one fits again; and a size of its own takes the same room.
    drop(handles.pop());
    let mut small = Vec::new();
    for seed in 0..100 {
        small.push(store(&registry, &words(seed, BLOCK_WORDS)));
    }
    for (seed, handle) in (0..).zip(handles) {
        let mut found = Vec::new();
        registry.take(handle, &mut found).unwrap();
        assert!(found == words(seed, CHUNK_WORDS), "payload {seed}");
    }
    drop(store(&registry, &words(0, 16 * CHUNK_WORDS)));
    drop(small);
}

#[test]
fn a_disk_is_not_full_while_a_thread_gives_room_back() {
    let Some(disk) = SmallDisk::new(96) else {
        return;
    };
    let store = open_store(&disk.mount_point, |config| config).unwrap();
    // Three quarters of the disk at most, in sizes that cannot use each other's
    // extents.
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..200 {
                    let megabytes = 10 + (7 * thread + 5 * round) % 9;
                    let class = SizeClass::for_bytes(megabytes << 20);
                    let extent = store.space.acquire(class, &|| store.create_segment());
                    let extent = extent
                        .unwrap_or_else(|error| panic!("{megabytes} MiB, round {round}: {error}"));
                    store.space.release(extent);
                }
            });
        }
    });
    assert_eq!(store.space.usage().0.live, 0);
}

#[test]
fn failures_on_a_full_disk_leak_no_room() {
    let Some(disk) = SmallDisk::new(64) else {
        return;
    };
    let registry = open_at(&disk.mount_point, |config| config);
    let free_bytes = || {
        let found = rustix::fs::statvfs(&disk.mount_point).unwrap();
        found.f_bavail * found.f_frsize
    };
    drop(store(&registry, &[1]));
    registry.backend().0.trim().unwrap();
    let before = free_bytes();
    for _ in 0..5 {
        let mut chunks = [vec![1u64; 32 * CHUNK_WORDS]];
        let error = registry.pageout(&mut chunks).unwrap_err();
        assert!(error.is_out_of_space(), "{error}");
        assert_eq!(chunks[0].len(), 32 * CHUNK_WORDS);
    }
    // A punched hole may cost the file system a block of its own.
    assert!(
        free_bytes() + (64 << 10) >= before,
        "{} of {before}",
        free_bytes()
    );
    assert_eq!(stats(&registry).stored_bytes, 0);
}

#[test]
fn a_disk_that_fills_while_a_payload_is_written_leaves_the_chunks() {
    let Some(disk) = SmallDisk::new(64) else {
        return;
    };
    let registry = open_at(&disk.mount_point, |config| config);
    registry.backend().0.space.forget_fallocate();
    let kept = store(&registry, &words(1, CHUNK_WORDS));
    let mut chunks = [words(2, 32 * CHUNK_WORDS)];
    let error = registry.pageout(&mut chunks).unwrap_err();
    assert!(matches!(error, Error::OutOfSpace { .. }), "{error}");
    assert!(chunks == [words(2, 32 * CHUNK_WORDS)]);
    assert_eq!(stats(&registry).stored_bytes, 2 << 20);
    let mut found = Vec::new();
    registry.take(kept, &mut found).unwrap();
    assert!(found == words(1, CHUNK_WORDS));
}

/// Neither storage ahead nor holes: what was freed is cut anew, and writes tell.
#[test]
fn without_both_calls_a_full_disk_still_has_room_for_other_sizes() {
    let Some(disk) = SmallDisk::new(64) else {
        return;
    };
    let registry = open_at(&disk.mount_point, |config| config);
    registry.backend().0.space.forget_fallocate();
    let fill = |len: usize| {
        let mut kept = Vec::new();
        while let Ok(handle) = registry.pageout(&mut [words(kept.len() as u64, len)]) {
            kept.push(handle);
        }
        let count = kept.len();
        for (seed, handle) in (0..).zip(kept) {
            let mut found = Vec::new();
            registry.take(handle, &mut found).unwrap();
            assert!(found == words(seed, len), "{seed}");
        }
        (count * len * 8) >> 20
    };
    let first = fill(CHUNK_WORDS / 2);
    assert!(first > 30, "{first} MiB");
    for len in [3 * CHUNK_WORDS / 2, CHUNK_WORDS / 2, 2 * CHUNK_WORDS] {
        let again = fill(len);
        assert!(again + 8 >= first, "{again} of {first} MiB by {len} words");
    }
}

#[test]
fn a_file_system_without_direct_io_is_buffered_or_refused() {
    // ext4 that journals data takes O_DIRECT and does buffered I/O.
    let Some(disk) = SmallDisk::mounted(96, "loop,data=journal") else {
        return;
    };
    let root = &disk.mount_point;
    let error = open_store(root, |config| config.io(IoChoice::Direct)).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Io {
                operation: "set up I/O",
                ..
            }
        ),
        "{error}"
    );
    let registry = open_at(root, |config| config);
    assert!(!stats(&registry).io.is_direct());
    assert_eq!(
        stats(&registry).reason,
        "the file system has no direct I/O for this file"
    );
    let handle = store(&registry, &words(4, CHUNK_WORDS + 9));
    let mut found = Vec::new();
    registry.take(handle, &mut found).unwrap();
    assert!(found == words(4, CHUNK_WORDS + 9));
}

#[test]
fn a_long_list_of_frees_is_punched_in_few_calls() {
    let (_root, registry) = open(|config| config.slack_bytes(64 << 20));
    let handles: Vec<_> = (0..64)
        .map(|seed| store(&registry, &words(seed, CHUNK_WORDS)))
        .collect();
    drop(handles);
    let stats = || stats(&registry);
    if !stats().punches_holes {
        return println!("skipped: this file system punches no holes");
    }
    assert!(eventually(|| stats().freed_bytes <= 64 << 20));
    assert!(eventually(|| stats().punched_bytes >= 64 << 20));
    let calls = stats().punch_calls;
    assert!(calls <= 20, "{calls} calls to punch 32 extents");
}
