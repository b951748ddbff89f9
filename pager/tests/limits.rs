//! What the limits of the process do (`setrlimit`): an error that a program can
//! tell apart, or success; never a signal, an abort or a panic, and nothing lost.
//!
//! Each limit is set in a child of its own, which uses both backends in both
//! presets, with and without a budget, and lifts the limit at the end: then every
//! payload that was accepted must come back.

#![cfg(all(target_os = "linux", feature = "swap", feature = "file"))]
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

#[path = "common/kept.rs"]
mod kept;
#[path = "common/process.rs"]
mod process;

use std::path::PathBuf;

use kept::{Kept, assert_nothing_is_left};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use pager::{BackendKind, Error, Pager, Preset};
use process::{Role, role};

/// Words of the payloads: from a word to two mebibytes and a word.
const LENS: [usize; 5] = [1, 513, 8192, 40_001, (1 << 18) + 1];

/// Payloads of each length.
const ROUNDS: u64 = 1;

/// Where the child finds its scratch root.
const ROOT: &str = "PAGER_LIMITS_ROOT";

#[test]
fn a_limited_file_size_is_out_of_space_and_no_signal() {
    let test = "a_limited_file_size_is_out_of_space_and_no_signal";
    if let Some(bytes) = role() {
        return play(Resource::RLIMIT_FSIZE, bytes.parse().unwrap(), |error| {
            matches!(error, Error::OutOfSpace { .. })
        });
    }
    for bytes in [4095, 65_537, 1 << 20] {
        run(test, bytes);
    }
}

#[test]
fn sixteen_descriptors_are_enough() {
    let test = "sixteen_descriptors_are_enough";
    if role().is_some() {
        return play(Resource::RLIMIT_NOFILE, 16, |_| false);
    }
    run(test, 16);
}

#[test]
fn without_descriptors_there_is_an_error_and_no_loss() {
    let test = "without_descriptors_there_is_an_error_and_no_loss";
    if let Some(count) = role() {
        return play(Resource::RLIMIT_NOFILE, count.parse().unwrap(), |error| {
            matches!(error, Error::Io { .. } | Error::ScratchUnavailable { .. })
        });
    }
    // Three are the standard streams.
    for count in [3, 6] {
        run(test, count);
    }
}

#[test]
fn without_address_space_there_is_an_error_and_no_abort() {
    let test = "without_address_space_there_is_an_error_and_no_abort";
    if let Some(spare_mib) = role() {
        let _room = Room::for_small_allocations();
        let spare_bytes = spare_mib.parse::<u64>().unwrap() << 20;
        return play(Resource::RLIMIT_AS, spare_bytes, |error| {
            matches!(error, Error::OutOfMemory { .. })
        });
    }
    for spare_mib in [0, 3, 40] {
        run(test, spare_mib);
    }
}

/// Runs the child of `test` with this limit, in a root of its own.
fn run(test: &str, limit: u64) {
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let printed = Role::new(test, &limit.to_string())
        .env(ROOT, root.path())
        // All threads allocate where the room is.
        .env("MALLOC_ARENA_MAX", "1")
        .run();
    let told = printed.lines().find(|line| line.contains("accepted"));
    println!("{limit}: {}", told.unwrap_or_default());
    let left: Vec<_> = std::fs::read_dir(root.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The child: everything under the limit, then everything back without it.
fn play(resource: Resource, limit: u64, is_expected: fn(&Error) -> bool) {
    let (_, hard) = getrlimit(resource).unwrap();
    let is_memory = resource == Resource::RLIMIT_AS;
    let (mut accepted, mut refused) = (0, 0);
    for preset in Preset::ALL {
        for budget_bytes in [0, 2 << 20] {
            // A thread that finds no memory for its stacks aborts in the standard
            // library, so they are started before memory is short.
            let ready = is_memory.then(|| warmed_up(preset, budget_bytes));
            let spare_from = if is_memory { mapped_bytes() } else { 0 };
            setrlimit(resource, spare_from + limit, hard).unwrap();
            let mut errors = Vec::with_capacity(1000);
            let built = ready.map_or_else(|| build(preset, budget_bytes), Ok);
            let pager = built.map_err(|error| errors.push(error)).ok();
            let kept = pager.as_ref().map(|pager| use_it(pager, &mut errors));
            setrlimit(resource, hard, hard).unwrap();
            for error in &errors {
                assert!(is_expected(error), "{error:?}");
            }
            refused += errors.len();
            let (Some(pager), Some(kept)) = (pager, kept) else {
                continue;
            };
            accepted += kept.len();
            for one in kept {
                one.read().unwrap();
                one.take().map_err(|failed| failed.0).unwrap();
            }
            assert_nothing_is_left(&pager);
            pager.shutdown().unwrap();
        }
    }
    println!("{accepted} payloads accepted, {refused} operations refused");
}

fn build(preset: Preset, budget_bytes: usize) -> Result<Pager, Error> {
    Pager::builder()
        .preset(preset)
        .budget_bytes(budget_bytes)
        .scratch_dir(PathBuf::from(std::env::var_os(ROOT).unwrap()))
        .build()
}

/// A pager whose threads run.
fn warmed_up(preset: Preset, budget_bytes: usize) -> Pager {
    let pager = build(preset, budget_bytes).unwrap();
    for kind in BackendKind::ALL {
        let kept = Kept::new(&pager, kind, 1, 200_000).unwrap();
        pager.flush().unwrap();
        kept.handle.prefetch();
        kept.read().unwrap();
    }
    assert_nothing_is_left(&pager);
    pager
}

/// Pages out, reads and takes as far as the limit allows; what is still alive
/// then.
fn use_it(pager: &Pager, errors: &mut Vec<Error>) -> Vec<Kept> {
    let mut kept = Vec::with_capacity(100);
    for (seed, len) in (0..ROUNDS).flat_map(|seed| LENS.map(|len| (seed, len))) {
        for kind in BackendKind::ALL {
            match Kept::new(pager, kind, seed, len) {
                Ok(one) => kept.push(one),
                Err(error) => errors.push(error),
            }
        }
    }
    errors.extend(pager.flush().err());
    for one in &kept {
        one.handle.prefetch();
        errors.extend(one.read().err());
    }
    // A third of them leaves while the limit holds.
    for index in (0..kept.len()).rev().step_by(3) {
        if let Err(failed) = kept.swap_remove(index).take() {
            let (error, one) = *failed;
            errors.push(error);
            kept.push(one);
        }
    }
    let _ = pager.stats();
    kept
}

/// Address space of this process.
fn mapped_bytes() -> u64 {
    let sizes = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = sizes.split(' ').next().unwrap().parse().unwrap();
    pages * 4096
}

/// Holes in the allocator's memory, none of them large: room for what a program
/// allocates on the side, and for no payload.
struct Room {
    _between: Vec<Box<[u8]>>,
}

impl Room {
    fn for_small_allocations() -> Self {
        let mut holes: Vec<Box<[u8]>> = Vec::new();
        let mut between = Vec::new();
        for _ in 0..256 {
            holes.push(vec![1; 32 << 10].into());
            between.push(vec![1; 64].into());
        }
        drop(holes);
        Self { _between: between }
    }
}
