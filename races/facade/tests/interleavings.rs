//! The interleavings of what can race on the choice of a backend and on the
//! scratch directory, by model checker:
//! `cargo test --release --manifest-path races/Cargo.toml -p pager --test interleavings`.
//!
//! What is interleaved is the selector, the lock around the file registry, and
//! whatever the registries and the residency layer lock. Each schedule opens real
//! scratch directories, in memory where the machine has such a place.

#![allow(
    clippy::result_large_err,
    reason = "what a take gives back when it fails is returned by value"
)]

use std::path::Path;

use pager::{BackendKind, Error, Handle, Pager, Result, ScratchProblem};
use shuttle::sync::Arc;
use shuttle::thread;
use tempfile::TempDir;

const WORDS: [u64; 3] = [11, 22, 33];

/// Schedules that a depth-first search visits at most. It begins with what differs
/// last, so a scene that has more is drawn as often again at random.
const MAX_SCHEDULES: usize = 4_000;

/// Schedules that a scene of many threads draws, with each of two ways to draw.
const DRAWN_SCHEDULES: usize = 2_000;

/// `usual`, or less for a short run: a tenth of what the variable `PAGER_SCHEDULES`
/// grants each scene, because these open directories in each schedule.
fn at_most(usual: usize) -> usize {
    let asked = std::env::var("PAGER_SCHEDULES").ok();
    asked
        .map(|asked| asked.parse().expect("PAGER_SCHEDULES must be a number"))
        .map_or(usual, |asked: usize| asked.div_ceil(10).min(usual))
}

/// A pager, and two scratch roots that it may use.
struct Scene {
    pager: Arc<Pager>,
    roots: Arc<TempDir>,
}

impl Scene {
    /// No file registry is open, and swap is selected.
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let roots = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let pager = Pager::builder()
            .backend(BackendKind::Swap)
            .allow_memory_fs(true)
            .budget_bytes(0)
            .io_threads(0)
            .build();
        Self {
            pager: Arc::new(pager.expect("no directory is opened yet")),
            roots: Arc::new(roots.expect("a temporary directory")),
        }
    }

    /// The file registry is open in the first root.
    fn opened() -> Self {
        let scene = Self::new();
        scene.move_to("a").expect("nothing is live");
        scene
    }

    fn move_to(&self, root: &str) -> Result<()> {
        self.pager.set_scratch_dir(self.roots.path().join(root))
    }

    fn pageout_to_file(&self) -> Handle {
        let paged_out = self
            .pager
            .options()
            .backend(BackendKind::File)
            .pageout(&mut [WORDS.to_vec()]);
        paged_out.expect("there is room")
    }

    /// A thread that does `act` with the scene.
    fn spawn<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let scene = Self {
            pager: Arc::clone(&self.pager),
            roots: Arc::clone(&self.roots),
        };
        thread::spawn(move || act(&scene))
    }

    fn take(&self, handle: Handle) {
        let mut words = Vec::new();
        self.pager
            .take(handle, &mut words)
            .expect("a take must succeed");
        assert_eq!(words, WORDS);
    }

    /// Once everybody is done: nothing is held, so many were paged out to files,
    /// and one directory at most is in use.
    fn assert_empty(&self, pageouts: u64) {
        let stats = self.pager.stats();
        assert_eq!(stats.total.live_handles, 0, "handles are leaked");
        assert_eq!(stats.total.backend.logical_bytes, 0, "bytes are leaked");
        let file = stats.file.map_or(0, |file| file.pageouts);
        assert_eq!(file, pageouts, "page-outs that were counted");
        let used = self.roots.path().read_dir().expect("it can be listed");
        let used = used.flat_map(|root| root.expect("it can be listed").path().read_dir());
        let used: usize = used.map(Iterator::count).sum();
        assert!(used <= 1, "{used} directories are in use");
    }
}

/// Whether a move was made; what refuses it is a live handle and nothing else.
fn is_moved(moved: Result<()>) -> bool {
    match moved {
        Ok(()) => true,
        Err(Error::ScratchUnavailable {
            problem: ScratchProblem::InUse,
            ..
        }) => false,
        Err(error) => panic!("a move failed: {error}"),
    }
}

/// Visits every schedule, and says how many there were.
fn exhaust(scene: fn()) {
    let most = at_most(MAX_SCHEDULES);
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&count);
    let counted = move || {
        // Relaxed: one thread counts, and reads when all is over.
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        scene();
    };
    shuttle::check_dfs(counted, Some(most));
    let visited = count.load(std::sync::atomic::Ordering::Relaxed);
    let name = thread_name();
    if visited < most {
        println!("{name}: all {visited} schedules");
    } else {
        shuttle::check_random(scene, most);
        println!("{name}: the first {visited} schedules, and {most} drawn");
    }
}

fn thread_name() -> String {
    let name = std::thread::current().name().map(str::to_owned);
    name.unwrap_or_else(|| "a scene".to_owned())
}

#[test]
fn a_pageout_races_a_flip_and_goes_wholly_to_one_backend() {
    exhaust(|| {
        let scene = Scene::opened();
        let flipper = scene.spawn(|scene| {
            scene.pager.set_backend(BackendKind::File).expect("enabled");
            scene.pager.set_backend(BackendKind::Swap).expect("enabled");
            scene.pager.set_backend(BackendKind::File).expect("enabled");
        });
        let handle = scene.pager.pageout(&mut [WORDS.to_vec()]);
        let handle = handle.expect("there is room");
        let backend = handle.backend();
        flipper.join().expect("no panic");
        assert_eq!(scene.pager.backend(), BackendKind::File);
        assert_eq!(handle.backend(), backend, "a handle is pinned");
        let stats = scene.pager.stats();
        let live = stats.of(backend).map(|stats| stats.live_handles);
        assert_eq!((live, stats.total.live_handles), (Some(1), 1));
        scene.take(handle);
        scene.assert_empty(u64::from(backend == BackendKind::File));
    });
}

#[test]
fn a_pageout_races_a_move_of_the_scratch_directory() {
    exhaust(|| {
        let scene = Scene::opened();
        let mover = scene.spawn(|scene| is_moved(scene.move_to("b")));
        let handle = scene.pageout_to_file();
        let moved = mover.join().expect("no panic");
        // Moved before the handle was, or not at all.
        assert_eq!(
            is_moved(scene.move_to("b")),
            moved,
            "a live handle's directory"
        );
        scene.take(handle);
        scene.assert_empty(1);
    });
}

#[test]
fn a_drop_races_a_move_of_the_scratch_directory() {
    exhaust(|| {
        let scene = Scene::opened();
        let handle = scene.pageout_to_file();
        let mover = scene.spawn(|scene| is_moved(scene.move_to("b")));
        drop(handle);
        mover.join().expect("no panic");
        assert!(is_moved(scene.move_to("b")), "nothing is live");
        scene.assert_empty(1);
    });
}

#[test]
fn two_moves_race_and_one_directory_stays() {
    exhaust(|| {
        let scene = Scene::opened();
        let mover = scene.spawn(|scene| is_moved(scene.move_to("b")));
        let here = is_moved(scene.move_to("c"));
        let there = mover.join().expect("no panic");
        assert!(here && there, "nothing was live");
        scene.take(scene.pageout_to_file());
        scene.assert_empty(1);
    });
}

#[test]
fn two_first_moves_to_one_directory_race_and_both_succeed() {
    exhaust(|| {
        let scene = Scene::new();
        let mover = scene.spawn(|scene| is_moved(scene.move_to("a")));
        assert!(is_moved(scene.move_to("a")));
        assert!(mover.join().expect("no panic"));
        scene.assert_empty(0);
    });
}

#[test]
fn totals_never_fall_while_the_scratch_directory_moves() {
    exhaust(|| {
        let scene = Scene::opened();
        scene.take(scene.pageout_to_file());
        let mover = scene.spawn(|scene| is_moved(scene.move_to("b")));
        for _ in 0..2 {
            let file = scene.pager.stats().file.expect("it is open");
            assert_eq!((file.pageouts, file.takes), (1, 1), "totals while moving");
        }
        assert!(mover.join().expect("no panic"));
        scene.assert_empty(1);
    });
}

/// Everything at once: too many schedules to visit, so they are drawn.
fn everything_at_once() {
    let scene = Scene::opened();
    let workers = [0, 1].map(|worker| {
        scene.spawn(move |scene| {
            let kind = BackendKind::ALL[worker];
            scene.pager.set_backend(kind).expect("enabled");
            let handle = scene.pager.pageout(&mut [WORDS.to_vec()]);
            let handle = handle.expect("there is room");
            let is_file = handle.backend() == BackendKind::File;
            let mut words = Vec::new();
            handle
                .read_at(1, 2, &mut words)
                .expect("a read must succeed");
            assert_eq!(words, WORDS[1..]);
            scene.take(handle);
            u64::from(is_file)
        })
    });
    let mover = scene.spawn(|scene| is_moved(scene.move_to("b")));
    let listed = scene.pager.handles();
    assert!(listed.iter().all(|info| info.len == WORDS.len()));
    let pageouts = workers.map(|worker| worker.join().expect("no panic"));
    mover.join().expect("no panic");
    scene.assert_empty(pageouts.iter().sum());
}

#[test]
fn flips_pageouts_reads_takes_moves_and_listings_race() {
    let schedules = at_most(DRAWN_SCHEDULES);
    shuttle::check_random(everything_at_once, schedules);
    shuttle::check_pct(everything_at_once, schedules, 3);
    println!("{}: {} schedules, drawn", thread_name(), 2 * schedules);
}
