//! Threads that page out, read, take and drop while others flip the backend: each
//! handle keeps its bytes and its backend.

#![cfg(all(unix, feature = "swap", feature = "file"))]
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};

use common::{Scratched, scratched, words};
use pager::{BackendKind, Handle, Pager, Preset};
use rstest::rstest;

const WORKERS: u64 = 6;
const FLIPPERS: usize = 2;
const ROUNDS: u64 = 400;

/// A small deterministic source of choices.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    fn size(&mut self, below: usize) -> usize {
        usize::try_from(self.roll(below as u64)).expect("smaller than a usize")
    }
}

struct Kept {
    handle: Handle,
    backend: BackendKind,
    seed: u64,
    len: usize,
}

#[rstest]
fn handles_stay_pinned_while_the_backend_flips(
    #[values(Preset::Fast, Preset::Seed)] preset: Preset,
    #[values(0, 256 << 10)] budget_bytes: usize,
) {
    let Scratched { pager, root: _root } = scratched(BackendKind::Swap, preset);
    // Far less than what is alive: most payloads leave memory and come back.
    pager.set_budget(budget_bytes).unwrap();
    let done = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        for flipper in 0..FLIPPERS {
            let (pager, done) = (&pager, &done);
            scope.spawn(move || flip(pager, done, flipper));
        }
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let pager = &pager;
                scope.spawn(move || work(pager, worker))
            })
            .collect();
        let seen: Vec<_> = workers
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        // Relaxed: the flippers need only see it some time.
        done.store(true, Ordering::Relaxed);
        seen
    });
    let (mut swap, mut file) = (0, 0);
    for pageouts in seen {
        let (more_swap, more_file) = pageouts.expect("a worker found everything in place");
        swap += more_swap;
        file += more_file;
    }
    let stats = pager.stats();
    assert_eq!(stats.swap.unwrap().pageouts, swap);
    assert_eq!(stats.file.unwrap().pageouts, file);
    assert_eq!(stats.total.live_handles, 0);
    assert_eq!(stats.total.backend.logical_bytes, 0);
    assert!(
        swap > 0 && file > 0,
        "both backends were used: {swap}, {file}"
    );
}

fn flip(pager: &Pager, done: &AtomicBool, flipper: usize) {
    let mut next = flipper;
    // Relaxed: nothing but the flag itself is awaited.
    while !done.load(Ordering::Relaxed) {
        pager.set_backend(BackendKind::ALL[next % 2]).unwrap();
        next += 1;
        std::thread::yield_now();
    }
}

/// Returns how many payloads went to swap, and how many to file.
fn work(pager: &Pager, worker: u64) -> (u64, u64) {
    let mut dice = Dice(worker + 1);
    let mut kept: Vec<Kept> = Vec::new();
    let mut pageouts = (0, 0);
    for round in 0..ROUNDS {
        let seed = worker * ROUNDS + round;
        let len = dice.size(3000);
        let handle = pager.pageout(&mut [words(seed, len)]).unwrap();
        let backend = handle.backend();
        match backend {
            BackendKind::Swap => pageouts.0 += 1,
            _ => pageouts.1 += 1,
        }
        kept.push(Kept {
            handle,
            backend,
            seed,
            len,
        });
        let chosen = dice.size(kept.len());
        match dice.roll(4) {
            0 => look_at(&kept[chosen], &mut dice),
            1 => take(pager, kept.swap_remove(chosen)),
            2 => drop(kept.swap_remove(chosen)),
            _ => kept[chosen].handle.prefetch(),
        }
    }
    for one in kept {
        take(pager, one);
    }
    pageouts
}

fn look_at(kept: &Kept, dice: &mut Dice) {
    let start = dice.size(kept.len + 1);
    let mut read = Vec::new();
    kept.handle
        .read_at(start, kept.len - start, &mut read)
        .unwrap();
    assert_eq!(read, words(kept.seed, kept.len)[start..]);
    assert_eq!(kept.handle.backend(), kept.backend);
}

fn take(pager: &Pager, kept: Kept) {
    assert_eq!(kept.handle.backend(), kept.backend);
    let mut taken = Vec::new();
    pager.take(kept.handle, &mut taken).unwrap();
    assert_eq!(taken, words(kept.seed, kept.len));
}

#[test]
fn without_a_budget_those_who_make_bytes_do_not_wait_for_each_other() {
    let Scratched { pager, root: _root } = scratched(BackendKind::File, Preset::Fast);
    pager.set_budget(0).unwrap();
    std::thread::scope(|scope| {
        for worker in 0..4u8 {
            let pager = &pager;
            scope.spawn(move || {
                let bytes = vec![worker; 2 << 20];
                for _ in 0..16 {
                    let made = pager.pageout_with(bytes.len(), |window| {
                        window.copy_from(&bytes);
                        Ok(())
                    });
                    let mut back = Vec::new();
                    pager.take(made.unwrap(), &mut back).unwrap();
                    assert_eq!(back, bytes);
                }
            });
        }
    });
}
