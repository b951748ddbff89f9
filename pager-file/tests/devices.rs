//! Three devices of which one is filled, made read-only, throttled to a tenth, or pulled
//! away in the middle of verified work: small ext4 file systems on loop devices. Needs
//! root; the throttle, a `blkio` cgroup of version 1.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::disk::SmallDisk;
use common::throttle::Throttle;
use common::*;
use pager_core::{Error, Handle, Registry, Residency};
use pager_file::{DirectoryState, DirectoryStats, FileConfig, FileSet};

/// 256 KiB payloads.
const WORDS: usize = 1 << 15;
const BYTES: u64 = (WORDS * 8) as u64;

/// Three small disks; `None`, and a word about it, where the machine does not let us.
fn three_disks() -> Option<[SmallDisk; 3]> {
    Some([SmallDisk::new()?, SmallDisk::new()?, SmallDisk::new()?])
}

/// On these disks, of which `preferred` takes all that it can, if one is.
fn open(disks: &[SmallDisk], budget_bytes: usize, preferred: Option<usize>) -> Registry<FileSet> {
    let configs = disks.iter().enumerate().map(|(index, disk)| {
        let weight = if preferred == Some(index) { 1000 } else { 1 };
        FileConfig::new(disk.root()).weight(weight)
    });
    let residency = Residency::builder()
        .budget_bytes(budget_bytes)
        .io_threads(4);
    Registry::with_residency(FileSet::open(configs).unwrap(), &residency.build())
}

fn page_out_all(
    registry: &Registry<FileSet>,
    seeds: std::ops::Range<u64>,
) -> Vec<(u64, Handle<FileSet>)> {
    let one = |seed| (seed, registry.pageout(&mut [words(seed, WORDS)]).unwrap());
    seeds.map(one).collect()
}

fn verify(kept: &[(u64, Handle<FileSet>)]) {
    for (seed, handle) in kept {
        let mut read = Vec::new();
        handle.read_at(0, WORDS, &mut read).unwrap();
        assert!(read == words(*seed, WORDS), "payload {seed}");
    }
}

fn directory(registry: &Registry<FileSet>, index: usize) -> DirectoryStats {
    registry.backend().directories().swap_remove(index)
}

fn tell(registry: &Registry<FileSet>) {
    for directory in registry.backend().directories() {
        println!("{directory}; {} page-outs", directory.page_outs);
    }
}

#[test]
fn a_disk_that_somebody_fills_is_left_out_and_used_again_when_there_is_room() {
    let Some(disks) = three_disks() else { return };
    let registry = open(&disks, 0, Some(0));
    let before = page_out_all(&registry, 0..60);
    let filler = disks[0].mount_point.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    let filled = std::io::copy(&mut std::io::repeat(7), &mut file);
    assert_eq!(filled.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    drop(file);

    let meanwhile = page_out_all(&registry, 60..160);
    tell(&registry);
    let full = directory(&registry, 0);
    assert_eq!(full.state, DirectoryState::Full);
    assert!(
        full.last_error
            .unwrap()
            .contains(disks[0].mount_point.to_str().unwrap())
    );
    verify(&before);
    verify(&meanwhile);

    fs::remove_file(&filler).unwrap();
    drop(meanwhile);
    eventually(|| {
        drop(page_out_all(&registry, 300..310));
        directory(&registry, 0).page_outs > full.page_outs
    });
    assert_eq!(directory(&registry, 0).state, DirectoryState::InUse);
    verify(&before);
}

#[test]
fn when_every_disk_is_full_that_is_an_error_and_nothing_is_lost() {
    let Some(disks) = three_disks() else { return };
    let registry = open(&disks, 0, None);
    let mut kept = Vec::new();
    let error = loop {
        let seed = kept.len() as u64;
        let mut chunk = [words(seed, WORDS)];
        match registry.pageout(&mut chunk) {
            Ok(handle) => kept.push((seed, handle)),
            Err(error) => {
                assert!(chunk[0] == words(seed, WORDS), "chunks stay as they were");
                break error;
            }
        }
    };
    tell(&registry);
    assert!(matches!(error, Error::OutOfSpace { .. }), "{error}");
    // All three, but for what their file systems take.
    assert!(kept.len() as u64 * BYTES > 3 * (50 << 20), "{}", kept.len());
    verify(&kept);
    kept.truncate(10);
    kept.extend(page_out_all(&registry, 1000..1100));
    verify(&kept);
}

#[test]
fn a_disk_that_turns_read_only_is_left_out_and_what_is_on_it_stays_readable() {
    let Some(disks) = three_disks() else { return };
    let registry = open(&disks, 0, Some(1));
    let before = page_out_all(&registry, 0..60);
    if !disks[1].abort() {
        return skip("the file system cannot be aborted");
    }
    let after = page_out_all(&registry, 60..160);
    tell(&registry);
    let aborted = directory(&registry, 1);
    assert_eq!(aborted.state, DirectoryState::Failing);
    assert!(aborted.stored_bytes > 0 && aborted.failures > 0);
    verify(&before);
    verify(&after);
}

#[test]
fn of_a_disk_that_is_pulled_away_in_the_middle_only_what_was_on_it_is_lost() {
    let Some(disks) = three_disks() else { return };
    let registry = open(&disks, 4 << 20, None);
    let is_pulled = AtomicBool::new(false);
    let rounds = AtomicU64::new(0);
    let lost_path = disks[2].mount_point.clone();
    let begun = Instant::now();
    // Four threads keep what they can verify, and go on over what is lost.
    let lost: u64 = std::thread::scope(|scope| {
        let worker = |thread: u64| {
            let (registry, is_pulled, rounds, lost_path) =
                (&registry, &is_pulled, &rounds, lost_path.as_path());
            scope.spawn(move || work(registry, thread, is_pulled, rounds, lost_path))
        };
        let workers: Vec<_> = (0..4).map(worker).collect();
        while rounds.load(Ordering::Relaxed) < 200 {
            assert!(begun.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(disks[2].pull_away(), "losetup sets a capacity");
        is_pulled.store(true, Ordering::Relaxed);
        let lost = workers.into_iter().map(|worker| worker.join().unwrap());
        lost.sum()
    });
    tell(&registry);
    println!(
        "{lost} payloads were on it; {} rounds",
        rounds.load(Ordering::Relaxed)
    );
    assert!(lost > 0, "some were on it");
    let pulled = directory(&registry, 2);
    assert_eq!(pulled.state, DirectoryState::Failing);
    assert!(
        pulled
            .last_error
            .unwrap()
            .contains(lost_path.to_str().unwrap())
    );
    assert_eq!(registry.stats().logical_bytes, 0);
}

/// Pages out, reads and takes, until a while after the disk is gone; how many payloads
/// were lost with it.
fn work(
    registry: &Registry<FileSet>,
    thread: u64,
    is_pulled: &AtomicBool,
    rounds: &AtomicU64,
    lost_path: &Path,
) -> u64 {
    let mut kept = Vec::new();
    let (mut lost, mut seed, mut after) = (0, thread * 1_000_000, 0);
    while after < 100 {
        after += u64::from(is_pulled.load(Ordering::Relaxed));
        rounds.fetch_add(1, Ordering::Relaxed);
        seed += 1;
        // Somewhere there is room, whatever has gone.
        kept.push((seed, registry.pageout(&mut [words(seed, WORDS)]).unwrap()));
        if kept.len() > 40 {
            let (seed, handle) = kept.remove((seed % 40) as usize);
            lost += take(seed, handle, is_pulled, lost_path);
        }
    }
    for (seed, handle) in kept {
        lost += take(seed, handle, is_pulled, lost_path);
    }
    lost
}

/// Takes a payload and verifies it; 1 if it was lost, which must be said.
fn take(seed: u64, handle: Handle<FileSet>, is_pulled: &AtomicBool, lost_path: &Path) -> u64 {
    let mut taken = Vec::new();
    let was_pulled = is_pulled.load(Ordering::Relaxed);
    match handle.take(&mut taken) {
        Ok(()) => {
            assert!(taken == words(seed, WORDS), "payload {seed}");
            0
        }
        Err(failed) => {
            let (error, handle) = failed.into_parts();
            assert!(taken.is_empty());
            let told = error.to_string().contains(lost_path.to_str().unwrap());
            match error {
                Error::Io { .. } => assert!(told, "{error}"),
                // A device that shrinks answers with zeros for a moment.
                Error::Corrupt { .. } => assert!(told && !was_pulled, "{error}"),
                _ => panic!("{error}"),
            }
            eventually(|| is_pulled.load(Ordering::Relaxed));
            assert_eq!(handle.len(), WORDS, "the handle lives on");
            1
        }
    }
}

/// Where the child finds its cgroup and its disks.
const THROTTLE: &str = "PAGER_TEST_THROTTLE";
const ROOTS: &str = "PAGER_TEST_ROOTS";

#[test]
fn a_disk_that_is_throttled_to_a_tenth_gets_about_as_much_less() {
    const TEST: &str = "a_disk_that_is_throttled_to_a_tenth_gets_about_as_much_less";
    const FAST: u64 = 40 << 20;
    if role().is_some() {
        return page_out_throttled();
    }
    // Each has room for all.
    let disk = || SmallDisk::of_mib(160);
    let (Some(one), Some(other), Some(slow)) = (disk(), disk(), disk()) else {
        return;
    };
    let disks = [one, other, slow];
    let Some(throttle) = Throttle::new("throttle") else {
        return;
    };
    for (disk, bytes_per_second) in disks.iter().zip([FAST, FAST, FAST / 10]) {
        throttle.limit(disk, bytes_per_second);
    }
    let roots = std::env::join_paths(disks.iter().map(SmallDisk::root)).unwrap();
    let child = Role::new(TEST, "throttled").env(THROTTLE, throttle.path());
    let printed = child.env(ROOTS, roots).run();
    print!("{printed}");
}

fn page_out_throttled() {
    Throttle::join(Path::new(&std::env::var_os(THROTTLE).unwrap()));
    let roots = std::env::var_os(ROOTS).unwrap();
    let configs: Vec<FileConfig> = std::env::split_paths(&roots).map(Into::into).collect();
    // Others may use the machine meanwhile: one good round shows what it can.
    let rounds: Vec<_> = (0..3)
        .map_while(|_| {
            let (shares, took) = page_out_round(&configs);
            println!("{shares:?} in {took:?}");
            let is_good = shares[2] * 8 < shares.iter().sum() && took < Duration::from_secs(10);
            (!is_good).then_some((shares, took))
        })
        .collect();
    assert!(rounds.len() < 3, "{rounds:?}");
}

/// What each directory got of 100 MiB, and in which time.
fn page_out_round(configs: &[FileConfig]) -> (Vec<u64>, Duration) {
    let residency = Residency::builder().budget_bytes(8 << 20).io_threads(6);
    let set = FileSet::open(configs.iter().cloned()).unwrap();
    let registry = Registry::with_residency(set, &residency.build());
    let begun = Instant::now();
    let kept = page_out_all(&registry, 0..400);
    registry.residency().flush().unwrap();
    let took = begun.elapsed();
    tell(&registry);
    verify(&kept);
    let shares = registry.backend().directories();
    (shares.iter().map(|it| it.paged_out_bytes).collect(), took)
}
