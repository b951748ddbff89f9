//! The table of live handles and the totals, looked at while handles are made and
//! dropped, by model checker:
//! `cargo test --release --manifest-path races/Cargo.toml -p pager-core table_`.
//!
//! The table's own lock and the counters are those of `std` even here, because each
//! step that the model checker sees multiplies the schedules of every other scene:
//! what is interleaved is one whole step on the table with the next.

use std::ops::Range;
use std::sync::Arc;

use shuttle::thread;

use super::{Handle, Registry, Stats};
use crate::payload::interleavings::exhaust;
use crate::sync::{AtomicU64, Ordering};
use crate::{Backend, Payload, Result, Usage, Window};

const WORDS: [u64; 3] = [11, 22, 33];

/// Keeps nothing, lets others run in the middle of each call, and counts how many
/// backends there are.
#[derive(Debug)]
struct Yielding {
    alive: Arc<AtomicU64>,
}

impl Backend for Yielding {
    type Slot = ();

    fn name(&self) -> &'static str {
        "yielding"
    }

    fn page_out(&self, payload: &mut Payload<'_>) -> Result<()> {
        thread::yield_now();
        payload.clear();
        Ok(())
    }

    fn read(&self, (): &(), ranges: &[Range<usize>], window: &mut Window<'_>) -> Result<()> {
        thread::yield_now();
        for range in ranges {
            window.copy_from(&bytemuck::cast_slice(&WORDS)[range.clone()]);
        }
        Ok(())
    }

    fn free(&self, (): ()) {
        thread::yield_now();
    }

    fn usage(&self) -> Usage {
        thread::yield_now();
        Usage::default()
    }
}

impl Drop for Yielding {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A registry, and how many of its backend are alive.
fn registry() -> (Registry<Yielding>, Arc<AtomicU64>) {
    let alive = Arc::new(AtomicU64::new(1));
    let backend = Yielding {
        alive: Arc::clone(&alive),
    };
    (Registry::new(backend), alive)
}

fn pageout(registry: &Registry<Yielding>) -> Handle<Yielding> {
    let paged_out = registry.pageout(&mut [WORDS.to_vec()]);
    paged_out.expect("it never fails")
}

fn take(handle: Handle<Yielding>) {
    let mut words = Vec::new();
    handle.take(&mut words).expect("it never fails");
    assert_eq!(words, WORDS);
}

/// What one look at the registry must show, whatever goes on: `most` handles at
/// most, each whole, and none that is neither live nor gone.
fn look(registry: &Registry<Yielding>, most: usize) -> Stats {
    let listed = registry.handles();
    assert!(listed.len() <= most, "{} handles are listed", listed.len());
    assert!(listed.iter().all(|info| info.len == WORDS.len()));
    let mut ids: Vec<u64> = listed.iter().map(|info| info.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), listed.len(), "two handles have one number");
    let stats = registry.stats();
    assert!(stats.live_handles <= most);
    assert_eq!(stats.logical_bytes, 24 * stats.live_handles as u64);
    stats
}

#[test]
fn a_listing_races_a_handle_that_is_made_and_dropped() {
    exhaust(|| {
        let (registry, _) = registry();
        let maker = {
            let registry = registry.clone();
            thread::spawn(move || drop(pageout(&registry)))
        };
        look(&registry, 1);
        look(&registry, 1);
        maker.join().expect("no panic");
        let stats = look(&registry, 0);
        assert_eq!((stats.pageouts, stats.drops), (1, 1));
    });
}

#[test]
fn a_listing_races_a_take_and_a_handle_is_live_or_taken() {
    exhaust(|| {
        let (registry, _) = registry();
        let handle = pageout(&registry);
        let taker = thread::spawn(move || take(handle));
        for _ in 0..2 {
            let stats = look(&registry, 1);
            assert!(stats.live_handles as u64 + stats.takes >= 1, "{stats:?}");
        }
        taker.join().expect("no panic");
        let stats = look(&registry, 0);
        assert_eq!((stats.pageouts, stats.takes, stats.drops), (1, 1, 0));
    });
}

#[test]
fn two_pageouts_race_and_their_handles_differ() {
    exhaust(|| {
        let (registry, _) = registry();
        let other = {
            let registry = registry.clone();
            thread::spawn(move || pageout(&registry))
        };
        let (mine, theirs) = (pageout(&registry), other.join().expect("no panic"));
        assert_ne!(mine.id(), theirs.id());
        assert_eq!(look(&registry, 2).live_handles, 2);
        drop(mine);
        take(theirs);
        assert_eq!(look(&registry, 0).pageouts, 2);
    });
}

#[test]
fn the_last_handle_races_the_end_of_its_registry_and_the_backend_goes_once() {
    exhaust(|| {
        let (registry, alive) = registry();
        let (first, second) = (pageout(&registry), pageout(&registry));
        let dropper = thread::spawn(move || drop(first));
        let ender = thread::spawn(move || drop(registry));
        assert_eq!(
            alive.load(Ordering::SeqCst),
            1,
            "a handle keeps its backend"
        );
        take(second);
        dropper.join().expect("no panic");
        ender.join().expect("no panic");
        assert_eq!(alive.load(Ordering::SeqCst), 0, "the backend is leaked");
    });
}
