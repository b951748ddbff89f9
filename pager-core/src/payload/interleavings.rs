//! Every interleaving of the operations that can race on one payload, by model
//! checker: `cargo test --release --manifest-path races/Cargo.toml -p pager-core interleavings`.
//!
//! The background threads are played by threads of the test, which do one step
//! each. What races is the state lock of the entry, the queues and the ledger.
//! The depth-first search visits every schedule of each scene; a scene of three
//! threads has too many, and is sampled at random on top.

use std::ops::Range;
use std::sync::Arc;

use shuttle::thread;

use crate::sync::{AtomicU64, Ordering};
use crate::{Backend, Payload, Result, Usage, Window};
use crate::{Handle, Registry};
use crate::{Residency, View};

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
pub(crate) struct Yielding {
    held: Arc<AtomicU64>,
}

impl Backend for Yielding {
    type Slot = Vec<u8>;

    fn name(&self) -> &'static str {
        "yielding"
    }

    fn page_out(&self, payload: &mut Payload<'_>) -> Result<Vec<u8>> {
        let slot: Vec<u8> = payload.chunks().flatten().copied().collect();
        thread::yield_now();
        payload.clear();
        self.held.fetch_add(1, Ordering::SeqCst);
        Ok(slot)
    }

    fn read(&self, slot: &Vec<u8>, ranges: &[Range<usize>], window: &mut Window<'_>) -> Result<()> {
        thread::yield_now();
        for range in ranges {
            window.copy_from(&slot[range.clone()]);
        }
        Ok(())
    }

    fn free(&self, _: Vec<u8>) {
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

    /// A payload that has been stored and is in memory still.
    fn clean(&self) -> Handle<Yielding> {
        let handle = self.pageout();
        self.residency.write_one();
        handle
    }

    /// A payload that has been stored and left memory.
    fn stored(&self) -> Handle<Yielding> {
        let handle = self.clean();
        self.residency.drop_one();
        handle
    }

    /// A stored payload that read-ahead has brought back.
    fn fetched(&self) -> Handle<Yielding> {
        let handle = self.stored();
        handle.queue_fetch(0..3);
        self.residency.step();
        handle
    }

    /// A thread that does `act` with the residency layer.
    fn background(&self, act: impl Fn(&Residency) + Send + 'static) -> thread::JoinHandle<()> {
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

/// Visits every schedule, and says how many there were. Where there are too many, the
/// first ones differ at their end alone: as many again are drawn.
pub(crate) fn exhaust(scene: impl Fn() + Send + Sync + 'static) {
    let most = at_most(MAX_SCHEDULES);
    let name = thread_name();
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let scene = Arc::new(scene);
    let (counter, counted) = (Arc::clone(&count), Arc::clone(&scene));
    let counted = move || {
        counter.fetch_add(1, Ordering::Relaxed);
        counted();
    };
    shuttle::check_dfs(counted, Some(most));
    let visited = count.load(Ordering::Relaxed);
    if visited < most {
        println!("{name}: all {visited} schedules");
        return;
    }
    let drawn = at_most(DRAWN_SCHEDULES);
    let again = Arc::clone(&scene);
    shuttle::check_random(move || scene(), drawn);
    shuttle::check_pct(move || again(), drawn, 3);
    println!(
        "{name}: the first {visited} schedules, and {} drawn",
        2 * drawn
    );
}

/// Draws schedules of a scene that has too many to visit.
pub(crate) fn draw(scene: impl Fn() + Send + Sync + 'static) {
    let schedules = at_most(DRAWN_SCHEDULES);
    let scene = Arc::new(scene);
    let again = Arc::clone(&scene);
    shuttle::check_random(move || scene(), schedules);
    shuttle::check_pct(move || again(), schedules, 3);
    println!("{}: {} schedules, drawn", thread_name(), 2 * schedules);
}

fn thread_name() -> String {
    std::thread::current()
        .name()
        .unwrap_or("a scene")
        .to_owned()
}

/// Visits every schedule of `prepare`d payload, with `background` on one thread
/// and `caller` on another; afterwards nothing is left.
fn race(
    prepare: fn(&Scene) -> Handle<Yielding>,
    background: fn(&Residency),
    caller: fn(Handle<Yielding>),
) {
    exhaust(move || {
        let scene = Scene::new();
        let handle = prepare(&scene);
        let background = scene.background(background);
        caller(handle);
        background.join().expect("no panic");
        scene.assert_empty();
    });
}

fn read_and_take(handle: Handle<Yielding>) {
    read(&handle);
    take(handle);
}

/// Asks for read-ahead of a payload that has left memory.
fn awaiting_fetch(scene: &Scene) -> Handle<Yielding> {
    let handle = scene.stored();
    handle.queue_fetch(0..3);
    handle
}

#[test]
fn a_take_races_a_write() {
    race(Scene::pageout, Residency::write_one, take);
}

#[test]
fn a_drop_races_a_write() {
    race(Scene::pageout, Residency::write_one, drop);
}

#[test]
fn a_read_and_a_take_race_a_write() {
    race(Scene::pageout, Residency::write_one, read_and_take);
}

#[test]
fn a_take_races_a_write_and_the_drop_of_its_copy() {
    race(Scene::pageout, write_and_drop, take);
}

fn write_and_drop(residency: &Residency) {
    residency.write_one();
    residency.drop_one();
}

#[test]
fn a_take_races_the_drop_of_a_clean_copy() {
    race(Scene::clean, Residency::drop_one, take);
}

#[test]
fn a_read_and_a_take_race_the_drop_of_a_clean_copy() {
    race(Scene::clean, Residency::drop_one, read_and_take);
}

#[test]
fn a_take_races_a_fetch() {
    race(awaiting_fetch, Residency::step, take);
}

#[test]
fn a_drop_races_a_fetch() {
    race(awaiting_fetch, Residency::step, drop);
}

#[test]
fn a_read_races_a_fetch_and_a_smaller_budget() {
    let shrink = |residency: &Residency| {
        residency.change_budget(10);
        residency.step();
    };
    race(awaiting_fetch, shrink, |handle| read(&handle));
}

#[test]
fn a_take_races_the_drop_of_what_was_fetched() {
    race(Scene::fetched, Residency::drop_one, take);
}

#[test]
fn a_read_and_a_take_race_the_drop_of_what_was_fetched() {
    race(Scene::fetched, Residency::drop_one, read_and_take);
}

/// As [`race`], with room for the copy that a view of what is stored is.
fn race_views(
    prepare: fn(&Scene) -> Handle<Yielding>,
    background: fn(&Residency),
    caller: fn(Handle<Yielding>),
) {
    exhaust(move || {
        let scene = Scene::new();
        scene.residency.change_budget(32 << 10);
        let handle = prepare(&scene);
        let background = scene.background(background);
        caller(handle);
        background.join().expect("no panic");
        scene.assert_empty();
    });
}

fn view(handle: &Handle<Yielding>) -> View {
    let view = handle.view(1..3).expect("there is room");
    assert_eq!(*view, WORDS[1..]);
    view
}

/// What is taken while it is looked at stays where it is looked at.
fn view_and_take(handle: Handle<Yielding>) {
    let first = view(&handle);
    let second = first.clone();
    take(handle);
    assert_eq!(*first, WORDS[1..]);
    drop(first);
    assert_eq!(*second, WORDS[1..]);
}

fn view_and_drop(handle: Handle<Yielding>) {
    let view = view(&handle);
    drop(handle);
    assert_eq!(*view, WORDS[1..]);
}

#[test]
fn a_view_and_a_take_race_a_write_and_the_drop_of_its_copy() {
    race_views(Scene::pageout, write_and_drop, view_and_take);
}

#[test]
fn a_view_and_a_drop_race_a_write_and_the_drop_of_its_copy() {
    race_views(Scene::pageout, write_and_drop, view_and_drop);
}

#[test]
fn a_view_and_a_take_race_the_drop_of_a_clean_copy() {
    race_views(Scene::clean, Residency::drop_one, view_and_take);
}

#[test]
fn a_view_and_a_drop_race_a_fetch() {
    race_views(awaiting_fetch, Residency::step, view_and_drop);
}

#[test]
fn a_view_and_a_take_race_the_drop_of_what_was_fetched() {
    race_views(Scene::fetched, Residency::drop_one, view_and_take);
}

#[test]
fn views_of_one_payload_race_each_other_and_what_drops_it() {
    draw(|| {
        let scene = Scene::new();
        scene.residency.change_budget(32 << 10);
        let handle = Arc::new(scene.clean());
        let looking = [(); 2].map(|()| {
            let handle = Arc::clone(&handle);
            thread::spawn(move || view(&handle))
        });
        let background = scene.background(Residency::drop_one);
        drop(handle);
        let views = looking.map(|looks| looks.join().expect("no panic"));
        background.join().expect("no panic");
        scene.residency.drop_one();
        assert!(views.iter().all(|view| **view == WORDS[1..]));
        drop(views);
        scene.assert_empty();
    });
}

#[test]
fn a_page_out_races_a_fetch_for_the_last_room() {
    exhaust(|| {
        let scene = Scene::new();
        let handle = awaiting_fetch(&scene);
        // Room for one payload more, be it one that is new or one that is fetched.
        scene.residency.change_budget(40);
        let background = scene.background(Residency::step);
        let other = scene.pageout();
        background.join().expect("no panic");
        assert!(scene.residency.stats().resident_bytes <= 40);
        take(handle);
        take(other);
        scene.assert_empty();
    });
}

#[test]
fn a_read_races_the_drop_of_a_copy_and_hides_nothing() {
    for prepare in [Scene::clean, Scene::fetched] {
        exhaust(move || {
            let scene = Scene::new();
            let handle = prepare(&scene);
            let evictor = scene.background(Residency::drop_one);
            read(&handle);
            evictor.join().expect("no panic");
            // Whoever won, what is in memory can still be sent away, if only at
            // the second try: a read gets it a second chance.
            scene.residency.drop_one();
            let left = scene.residency.stats().resident_bytes;
            assert_eq!(left, 0, "bytes are hidden");
            drop(handle);
            scene.assert_empty();
        });
    }
}

#[test]
fn a_flush_races_a_write_and_misses_nothing() {
    exhaust(|| {
        let scene = Scene::new();
        let handles = [scene.pageout(), scene.pageout()];
        let background = scene.background(Residency::write_one);
        scene.residency.flush().expect("the backend takes all");
        // Whoever writes it, it is stored by now.
        assert_eq!(scene.held.load(Ordering::SeqCst), 2, "a victim was missed");
        assert_eq!(scene.residency.stats().dirty_bytes, 0);
        background.join().expect("no panic");
        handles.into_iter().for_each(take);
        scene.assert_empty();
    });
}

#[test]
fn a_write_back_races_a_write_that_gives_second_chances() {
    exhaust(|| {
        let scene = Scene::new();
        let first = scene.pageout();
        let second = scene.pageout();
        read(&first);
        let background = scene.background(Residency::step);
        scene.residency.write_back().expect("the backend takes all");
        assert_eq!(scene.held.load(Ordering::SeqCst), 2, "a victim was missed");
        background.join().expect("no panic");
        take(first);
        take(second);
        scene.assert_empty();
    });
}

#[test]
fn a_take_races_a_flush() {
    race(
        Scene::pageout,
        |residency| residency.flush().expect("the backend takes all"),
        take,
    );
}

#[test]
fn a_drop_races_a_flush_of_what_was_fetched() {
    race(
        Scene::fetched,
        |residency| residency.flush().expect("the backend takes all"),
        drop,
    );
}

#[test]
fn two_budgets_race_and_what_is_held_keeps_to_the_last() {
    exhaust(|| {
        let scene = Scene::new();
        let handles = [scene.pageout(), scene.clean()];
        let set = |residency: &Residency, bytes| {
            residency.set_budget_bytes(bytes).expect("all is written");
        };
        let background = scene.background(move |residency| set(residency, 0));
        set(&scene.residency, 30);
        background.join().expect("no panic");
        let stats = scene.residency.stats();
        assert!(stats.resident_bytes <= stats.budget_bytes);
        handles.into_iter().for_each(take);
        scene.assert_empty();
    });
}

#[test]
fn a_page_out_races_a_write_of_what_was_just_listed() {
    exhaust(|| {
        let scene = Scene::new();
        let background = scene.background(write_and_drop);
        let handle = scene.pageout();
        background.join().expect("no panic");
        scene.residency.flush().expect("the backend takes all");
        assert_eq!(
            scene.residency.stats().resident_bytes,
            0,
            "bytes are hidden"
        );
        take(handle);
        scene.assert_empty();
    });
}

/// Words of which the first is fetched, and then the rest is read.
fn half_fetched(scene: &Scene) -> Handle<Yielding> {
    let handle = scene.stored();
    handle.queue_fetch(0..1);
    scene.residency.step();
    handle.queue_fetch(1..3);
    handle
}

#[test]
fn a_read_of_what_is_here_races_a_fetch_of_the_rest_and_its_eviction() {
    let fetch_and_drop = |residency: &Residency| {
        residency.step();
        residency.drop_one();
    };
    race(half_fetched, fetch_and_drop, |handle| {
        let mut words = Vec::new();
        handle.read_at(0, 1, &mut words).expect("it is here");
        assert_eq!(words, WORDS[..1]);
        take(handle);
    });
}

#[test]
fn a_read_of_what_is_queued_races_its_fetch_and_cancels_or_waits() {
    race(half_fetched, Residency::step, |handle| {
        read(&handle);
        read(&handle);
    });
}

#[test]
fn a_take_races_a_fetch_of_a_part() {
    race(half_fetched, Residency::step, take);
}

/// Everything at once: too many schedules to visit, so they are drawn.
fn everything_at_once() {
    let scene = Scene::new();
    let first = scene.pageout();
    let second = scene.stored();
    second.queue_fetch(0..3);
    let background = [
        scene.background(|residency| {
            residency.step();
            write_and_drop(residency);
        }),
        scene.background(|residency| {
            residency.change_budget(40);
            write_and_drop(residency);
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
    draw(everything_at_once);
}
