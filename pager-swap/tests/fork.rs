//! A swap backend in forked children of a process that never rests: it is refused,
//! holds nothing, and waits for no lock that a thread of the parent held.

#![cfg(all(target_os = "linux", not(miri)))]
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]
#![allow(unsafe_code, reason = "forks")]

#[path = "common/every_call.rs"]
mod every_call;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use every_call::{Call, assert_complete, in_child, methods};
use pager_core::{Backend, ChunkKind, Destination, Error, InPlace, Payload, Result, Window};
use pager_swap::{SeedAdvice, SwapBackend, SwapMode, SwapSlot};
use rstest::rstest;

/// Children of each mode.
const ROUNDS: usize = 60;

const WORDS: usize = 5000;

struct Inherited {
    backend: &'static SwapBackend,
    slot: Option<SwapSlot>,
}

fn is_refused<T>(outcome: Result<T>) -> bool {
    matches!(outcome, Err(Error::ForeignProcess))
}

fn read(backend: &SwapBackend, slot: &SwapSlot) -> Result<Vec<u64>> {
    fn append<D: Destination>(
        dst: &mut D,
        fill: impl FnOnce(&mut Window<'_>) -> Result<()>,
    ) -> Result<()> {
        dst.append(WORDS * 8, fill)
    }
    let mut words = Vec::new();
    append(&mut words, |window| {
        backend.read(slot, std::slice::from_ref(&(0..WORDS * 8)), window)
    })?;
    Ok(words)
}

/// By the names of the type's own functions; those of the trait come after.
const CALLS: &[Call<Inherited>] = &[
    ("SwapBackend::new", |_| {
        SwapBackend::new().stats().live_payloads == 0
    }),
    ("SwapBackend::builder", |_| {
        let own = SwapBackend::builder().core_dumps(true).build();
        let slot = own
            .page_out(&mut Payload::new(&mut [vec![1u64; WORDS]]))
            .unwrap();
        let is_read = read(&own, &slot).is_ok_and(|words| words == [1; WORDS]);
        own.free(slot);
        is_read
    }),
    ("SwapBackend::mode", |it| {
        it.backend.mode() == it.backend.stats().mode
    }),
    ("SwapBackend::diagnose", |_| {
        SwapBackend::diagnose().len() < 100
    }),
    ("SwapBackend::arena_usage", |it| {
        it.backend.arena_usage().used_bytes == 0
    }),
    ("SwapBackend::trim", |it| it.backend.trim() == 0),
    ("SwapBackend::stats", |it| {
        let stats = it.backend.stats();
        (stats.live_payloads, stats.logical_bytes) == (0, 0)
    }),
];

const OF_THE_TRAIT: &[Call<Inherited>] = &[
    ("page_out", |it| {
        let mut chunks = [vec![1u64, 2, 3]];
        is_refused(it.backend.page_out(&mut Payload::new(&mut chunks)))
            && is_refused(
                it.backend
                    .page_out(&mut Payload::new(&mut [Vec::<u64>::new()])),
            )
            && chunks[0] == [1, 2, 3]
    }),
    ("read", |it| {
        is_refused(read(it.backend, it.slot.as_ref().unwrap()))
    }),
    ("page_in", |it| {
        is_refused(it.backend.page_in(it.slot.as_ref().unwrap(), 0..WORDS * 8))
    }),
    ("prefetch, release", |it| {
        it.backend.prefetch(it.slot.as_ref().unwrap(), 0..WORDS * 8);
        it.backend
            .release(it.slot.as_ref().unwrap(), 0..WORDS * 8, 0..WORDS * 8);
        true
    }),
    ("usage, stored_bytes, print", |it| {
        let _ = it.backend.stored_bytes(it.slot.as_ref().unwrap());
        let printed = format!("{:?} {:?}", it.backend, it.slot);
        it.backend.usage().logical_bytes == 0 && !printed.is_empty()
    }),
    ("detach", |it| {
        let slot = it.slot.take().unwrap();
        it.slot = it.backend.detach(slot, ChunkKind::Vec).err();
        it.slot.is_some()
    }),
    ("free", |it| {
        it.backend.free(it.slot.take().unwrap());
        true
    }),
];

#[rstest]
fn every_function_answers_in_a_child_whatever_its_parent_is_doing(
    #[values(SwapMode::Arena, SwapMode::Seed(SeedAdvice::Cold))] mode: SwapMode,
) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    assert_complete(CALLS, &methods(&["SwapBackend"], &source));

    let settings = SwapBackend::builder().mode(mode);
    let backend: &SwapBackend = Box::leak(Box::new(settings.build()));
    let slot = backend.page_out(&mut Payload::new(&mut [vec![3u64; WORDS]]));
    let mut inherited = Inherited {
        backend,
        slot: Some(slot.unwrap()),
    };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = StopAtEnd(&done);
        for _ in 0..3 {
            scope.spawn(|| page_out_and_free(backend, &done));
        }
        for round in 0..ROUNDS {
            for calls in [CALLS, OF_THE_TRAIT] {
                let outcome = in_child(calls, &mut inherited);
                assert_eq!(outcome, Ok(()), "in round {round}");
            }
        }
    });
    let slot = inherited.slot.unwrap();
    assert_eq!(read(backend, &slot).unwrap(), [3; WORDS]);
    backend.free(slot);
    assert_eq!(backend.stats().live_payloads, 0);
}

/// Lets the workers end, also when the test fails.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        // Relaxed, here and where it is read: a flag that publishes nothing.
        self.0.store(true, Ordering::Relaxed);
    }
}

fn page_out_and_free(backend: &SwapBackend, done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        let slots: Vec<_> = (1..9)
            .map(|len| {
                backend
                    .page_out(&mut Payload::new(&mut [vec![1u64; 600 * len]]))
                    .unwrap()
            })
            .collect();
        let _ = backend.stats();
        slots.into_iter().for_each(|slot| backend.free(slot));
    }
}
