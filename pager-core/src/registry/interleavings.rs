//! Every interleaving of the operations that can race on one payload, by model
//! checker: `RUSTFLAGS="--cfg shuttle" cargo test -p pager-core --lib interleavings`.
//!
//! The background threads are played by threads of the test, which do one step
//! each. What races is the state lock of the entry, the queues and the ledger.
//! The depth-first search visits every schedule of each scene; a scene of three
//! threads has too many, and is sampled at random on top.

use std::ops::Range;
use std::sync::Arc;

use shuttle::thread;

use super::{Handle, Registry};
use crate::residency::Residency;
use crate::sync::{AtomicU64, Ordering};
use crate::{Backend, Payload, Result, Usage, Window};

const WORDS: [u64; 3] = [11, 22, 33];

/// Schedules that a depth-first search visits at most; scenes of two threads end
/// by themselves before.
const MAX_SCHEDULES: usize = 400_000;

/// Schedules that a scene of many threads draws, with each of two ways to draw.
const DRAWN_SCHEDULES: usize = 20_000;

/// `usual`, or less if the variable `PAGER_SCHEDULES` says so, for a short run.
fn at_most(usual: usize) -> usize {
    let asked = std::env::var("PAGER_SCHEDULES").ok();
    asked
        .map(|asked| asked.parse().expect("PAGER_SCHEDULES must be a number"))
        .map_or(usual, |asked: usize| asked.min(usual))
}

/// Keeps payloads in memory, lets others run in the middle of its I/O, and
/// counts what it holds.
#[derive(Debug, Default)]
struct Yielding {
    held: Arc<AtomicU64>,
}

impl Backend for Yielding {
    type Slot = Vec<u64>;

    fn name(&self) -> &'static str {
        "yielding"
    }

    fn page_out(&self, payload: &mut Payload<'_>) -> Result<Vec<u64>> {
        let slot: Vec<u64> = payload.chunks().flatten().copied().collect();
        thread::yield_now();
        payload.clear();
        self.held.fetch_add(1, Ordering::SeqCst);
        Ok(slot)
    }

    fn read(
        &self,
        slot: &Vec<u64>,
        ranges: &[Range<usize>],
        window: &mut Window<'_>,
    ) -> Result<()> {
        thread::yield_now();
        for range in ranges {
            window.copy_from(&slot[range.clone()]);
        }
        Ok(())
    }

    fn free(&self, _: Vec<u64>) {
        self.held.fetch_sub(1, Ordering::SeqCst);
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

struct Scene {
    registry: Registry<Yielding>,
    residency: Residency,
    held: Arc<AtomicU64>,
}

impl Scene {
    fn new() -> Self {
        let residency = Residency::builder()
            .budget_bytes(1000)
            .watermarks(0, 75)
            .io_threads(0)
            .build();
        let backend = Yielding::default();
        let held = Arc::clone(&backend.held);
        Self {
            registry: Registry::with_residency(backend, &residency),
            residency,
            held,
        }
    }

    fn pageout(&self) -> Handle<Yielding> {
        self.registry
            .pageout(&mut [WORDS.to_vec()])
            .expect("there is room")
    }

    /// A payload that has been stored and left memory.
    fn stored(&self) -> Handle<Yielding> {
        let handle = self.pageout();
        self.residency.evict_one();
        handle
    }

    /// A thread that does `act` with the residency layer.
    fn background(&self, act: fn(&Residency)) -> thread::JoinHandle<()> {
        let residency = self.residency.clone();
        thread::spawn(move || act(&residency))
    }

    /// Once everybody is done: nothing is held, nothing is counted.
    fn assert_empty(&self) {
        assert_eq!(self.held.load(Ordering::SeqCst), 0, "slots are leaked");
        assert_eq!(self.residency.stats().resident_bytes, 0, "bytes are leaked");
        assert_eq!(self.registry.live_handles(), 0);
    }
}

fn take(handle: Handle<Yielding>) {
    let mut words = Vec::new();
    handle.take(&mut words).expect("a take must succeed");
    assert_eq!(words, WORDS);
}

fn read(handle: &Handle<Yielding>) {
    let mut words = Vec::new();
    handle
        .read_at(1, 2, &mut words)
        .expect("a read must succeed");
    assert_eq!(words, WORDS[1..]);
}

/// Visits every schedule, and says how many there were.
fn exhaust(scene: fn()) {
    let most = at_most(MAX_SCHEDULES);
    let name = thread_name();
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let counted = move || {
        counter.fetch_add(1, Ordering::Relaxed);
        scene();
    };
    shuttle::check_dfs(counted, Some(most));
    let visited = count.load(Ordering::Relaxed);
    let how = if visited < most { "all" } else { "the first" };
    println!("{name}: {how} {visited} schedules");
}

fn thread_name() -> String {
    std::thread::current()
        .name()
        .unwrap_or("a scene")
        .to_owned()
}

#[test]
fn a_take_races_an_eviction() {
    exhaust(|| {
        let scene = Scene::new();
        let handle = scene.pageout();
        let evictor = scene.background(Residency::evict_one);
        take(handle);
        evictor.join().expect("no panic");
        scene.assert_empty();
    });
}

#[test]
fn a_drop_races_an_eviction() {
    exhaust(|| {
        let scene = Scene::new();
        let handle = scene.pageout();
        let evictor = scene.background(Residency::evict_one);
        drop(handle);
        evictor.join().expect("no panic");
        scene.assert_empty();
    });
}

#[test]
fn a_read_and_a_take_race_an_eviction() {
    exhaust(|| {
        let scene = Scene::new();
        let handle = scene.pageout();
        let evictor = scene.background(Residency::evict_one);
        read(&handle);
        take(handle);
        evictor.join().expect("no panic");
        scene.assert_empty();
    });
}

#[test]
fn a_take_races_a_fetch() {
    exhaust(|| {
        let scene = Scene::new();
        let handle = scene.stored();
        handle.request_fetch();
        let fetcher = scene.background(Residency::step);
        take(handle);
        fetcher.join().expect("no panic");
        scene.assert_empty();
    });
}

#[test]
fn a_drop_races_a_fetch() {
    exhaust(|| {
        let scene = Scene::new();
        let handle = scene.stored();
        handle.request_fetch();
        let fetcher = scene.background(Residency::step);
        drop(handle);
        fetcher.join().expect("no panic");
        scene.assert_empty();
    });
}

#[test]
fn a_read_races_a_fetch_and_a_smaller_budget() {
    exhaust(|| {
        let scene = Scene::new();
        let handle = scene.stored();
        handle.request_fetch();
        let fetcher = scene.background(|residency| {
            residency.change_budget(10);
            residency.step();
        });
        read(&handle);
        fetcher.join().expect("no panic");
        drop(handle);
        scene.assert_empty();
    });
}

#[test]
fn a_take_races_an_eviction_of_what_was_fetched() {
    exhaust(|| {
        let scene = Scene::new();
        let handle = scene.stored();
        handle.request_fetch();
        scene.residency.step();
        let evictor = scene.background(Residency::evict_one);
        take(handle);
        evictor.join().expect("no panic");
        scene.assert_empty();
    });
}

#[test]
fn a_read_races_the_eviction_of_what_was_fetched_and_hides_nothing() {
    exhaust(|| {
        let scene = Scene::new();
        let handle = scene.stored();
        handle.request_fetch();
        scene.residency.step();
        let evictor = scene.background(Residency::evict_one);
        read(&handle);
        evictor.join().expect("no panic");
        // Whoever won, what is in memory can still be sent away.
        scene.residency.evict_one();
        assert_eq!(
            scene.residency.stats().resident_bytes,
            0,
            "bytes are hidden"
        );
        drop(handle);
        scene.assert_empty();
    });
}

/// Everything at once: too many schedules to visit, so they are drawn.
fn everything_at_once() {
    let scene = Scene::new();
    let first = scene.pageout();
    let second = scene.stored();
    second.request_fetch();
    let background = [
        scene.background(|residency| {
            residency.step();
            residency.evict_one();
        }),
        scene.background(|residency| {
            residency.change_budget(40);
            residency.evict_one();
            residency.step();
        }),
    ];
    read(&first);
    let reader = thread::spawn(move || {
        read(&second);
        take(second);
    });
    take(first);
    reader.join().expect("no panic");
    for thread in background {
        thread.join().expect("no panic");
    }
    scene.assert_empty();
}

#[test]
fn take_read_drop_evict_fetch_and_budget_race_on_two_payloads() {
    let schedules = at_most(DRAWN_SCHEDULES);
    shuttle::check_random(everything_at_once, schedules);
    shuttle::check_pct(everything_at_once, schedules, 3);
    println!("{}: {} schedules, drawn", thread_name(), 2 * schedules);
}
