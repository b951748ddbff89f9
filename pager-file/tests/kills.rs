//! Writers under load that share a root are killed at random moments, again and
//! again: whoever starts next leaves no byte of the dead, and every byte of the
//! living.
//!
//! The root lies on a file system of its own where that can be had (root), and
//! its blocks are counted; elsewhere the directory is looked at. The long variant:
//! `cargo test --release -p pager-file --test kills -- --include-ignored --nocapture`

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::disk::SmallDisk;
use common::*;
use pager_core::{Handle, Registry, Residency};
use pager_file::{FileBackend, FileMode};

const MODES: [FileMode; 2] = [FileMode::Seed, FileMode::Segments];
/// Writers at a time; both modes are among them.
const WRITERS: usize = 3;
/// Words of the payloads that the living hold.
const HELD_WORDS: [usize; 5] = [1, 511, 513, 20_000, 70_001];

#[test]
fn twenty_five_kills_leave_nothing_of_the_dead_and_all_of_the_living() {
    kill_writers(
        "twenty_five_kills_leave_nothing_of_the_dead_and_all_of_the_living",
        25,
    );
}

#[test]
#[ignore = "takes half a minute and 600 processes"]
fn two_hundred_kills_leave_nothing_of_the_dead_and_all_of_the_living() {
    kill_writers(
        "two_hundred_kills_leave_nothing_of_the_dead_and_all_of_the_living",
        200,
    );
}

/// A small deterministic source of choices.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// A process that lives through all kills, or this one as another such.
struct Living {
    registry: Registry<FileBackend>,
    handles: Vec<Handle<FileBackend>>,
    name: String,
}

impl Living {
    fn new(root: &Path, mode: FileMode) -> Self {
        let registry = registry(root, mode);
        let handles = (0..).zip(HELD_WORDS).map(|(seed, len)| {
            let mut chunks = [words(seed, len)];
            registry.pageout(&mut chunks).unwrap()
        });
        Self {
            handles: handles.collect(),
            name: name_of(&registry),
            registry,
        }
    }

    /// Every word is as it was written.
    fn verify(&self) {
        for ((seed, len), handle) in (0..).zip(HELD_WORDS).zip(&self.handles) {
            let mut found = Vec::new();
            self.registry.read_at(handle, 0, len, &mut found).unwrap();
            assert!(found == words(seed, len), "payload of {len} words");
        }
    }
}

fn name_of(registry: &Registry<FileBackend>) -> String {
    let directory = registry.backend().directory();
    directory.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Where the kills happen.
struct Place {
    disk: Option<SmallDisk>,
    root: PathBuf,
    _dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = scratch();
        let disk = SmallDisk::of_mib(512);
        let root = match &disk {
            Some(disk) => disk.root(),
            None => dir.path().join("scratch"),
        };
        // Opened once, so that what the root itself takes is there before.
        drop(open(&root, FileMode::Seed));
        Self {
            disk,
            root,
            _dir: dir,
        }
    }

    /// Blocks of the file system in use, if it is our own.
    fn used_blocks(&self) -> Option<u64> {
        let disk = self.disk.as_ref()?;
        Some(u64::MAX - disk.free_blocks())
    }
}

fn kill_writers(test: &str, kill_count: u64) {
    if let Some(role) = role() {
        return play(&role);
    }
    let place = Place::new();
    let root = place.root.as_path();
    let empty = place.used_blocks();
    let ours: Vec<Living> = MODES.iter().map(|mode| Living::new(root, *mode)).collect();
    let (neighbour, neighbours_name) = start(test, "neighbour seed", root).start();
    let mut lasting: Vec<String> = ours.iter().map(|living| living.name.clone()).collect();
    lasting.push(neighbours_name);
    let with_the_living = place.used_blocks();

    let began = Instant::now();
    let mut dice = Dice(kill_count + 0x9e37_79b9);
    let mut writers: VecDeque<_> = (0..WRITERS as u64)
        .map(|number| start(test, writer(number), root).start())
        .collect();
    for number in WRITERS as u64..WRITERS as u64 + kill_count {
        std::thread::sleep(Duration::from_micros(dice.roll(40_000)));
        writers.rotate_left(usize::try_from(dice.roll(WRITERS as u64)).unwrap());
        let (mut victim, dead) = writers.pop_front().unwrap();
        victim.kill();
        assert!(
            names(root).contains(&dead),
            "a killed process cannot tidy up"
        );
        // One in four dies while it starts, and before it has said its name.
        if dice.roll(4) == 0 {
            let mut child = start(test, writer(number), root).spawn();
            std::thread::sleep(Duration::from_micros(dice.roll(15_000)));
            child.kill();
        }

        writers.push_back(start(test, writer(number), root).start());

        let mut expected = lasting.clone();
        expected.extend(writers.iter().map(|(_, name)| name.clone()));
        expected.sort();
        assert_eq!(names(root), expected, "after kill {number}");
        ours.iter().for_each(Living::verify);
    }
    writers.iter_mut().for_each(|(writer, _)| writer.kill());
    drop(open(root, FileMode::Seed));
    println!("{kill_count} writers were killed in {:?}", began.elapsed());
    lasting.sort();
    assert_eq!(names(root), lasting);
    settles_at(&place, with_the_living);

    ours.iter().for_each(Living::verify);
    neighbour.finish();
    drop(ours);
    assert!(names(root).is_empty());
    settles_at(&place, empty);
}

/// The file system counts as used what it did before, once its journal is written.
#[track_caller]
fn settles_at(place: &Place, before: Option<u64>) {
    eventually(|| place.used_blocks() == before);
    if let Some(blocks) = before {
        let free = u64::MAX - blocks;
        println!("free blocks before and after: {free}");
    }
}

/// Writers take turns at the modes.
fn writer(number: u64) -> &'static str {
    ["writer seed", "writer segments"][usize::from(number.is_multiple_of(2))]
}

fn start(test: &str, role: &str, root: &Path) -> Role {
    Role::new(test, role).env("PAGER_TEST_ROOT", root)
}

/// What the processes do that a test has started.
fn play(role: &str) {
    let root = PathBuf::from(std::env::var_os("PAGER_TEST_ROOT").unwrap());
    let (part, mode) = role.split_once(' ').unwrap();
    let mode = mode.parse().unwrap();
    if part == "neighbour" {
        let living = Living::new(&root, mode);
        say(&living.name);
        wait_to_be_told();
        return living.verify();
    }
    let residency = Residency::builder().budget_bytes(1 << 20).build();
    let registry = Registry::with_residency(open(&root, mode), &residency);
    say(name_of(&registry));
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let registry = &registry;
            scope.spawn(move || work(registry, Dice(thread + 7)));
        }
    });
}

/// Pages out, reads, takes and drops, for ever.
fn work(registry: &Registry<FileBackend>, mut dice: Dice) {
    let mut held = VecDeque::new();
    loop {
        let len = usize::try_from(dice.roll(60_000)).unwrap();
        held.push_back(registry.pageout(&mut [vec![7; 10], vec![9; len]]).unwrap());
        let oldest: &Handle<FileBackend> = &held[0];
        let mut found = Vec::new();
        oldest.prefetch();
        oldest.read_at(0, 10, &mut found).unwrap();
        assert_eq!(found, [7; 10]);
        if held.len() > 4 {
            let oldest = held.pop_front().unwrap();
            match dice.roll(2) {
                0 => registry.take(oldest, &mut found).unwrap(),
                _ => drop(oldest),
            }
        }
    }
}
