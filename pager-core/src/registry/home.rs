//! [`Home`]: what a registry shares, reached through a count of one's own.
//!
//! Every entry keeps its registry alive. If all of them counted on one `Arc`,
//! every page-out and every drop of every thread would write to one cache line;
//! so each group of threads has an `Arc` of its own to count on.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Shared;
use super::table::{home_shard, shard_count};

/// How long the last registry waits for background threads: longer than a write
/// takes on any device that works.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// One thread group's way to what the registry shares.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Home<B> {
    shared: Arc<Shared<B>>,
    /// The next number that this group gives to a handle: each group has those
    /// that leave the same remainder.
    next_id: AtomicU64,
}

impl<B> Home<B> {
    /// A number that no other handle of the registry has.
    pub(crate) fn next_id(&self) -> u64 {
        // Relaxed: numbers need only differ.
        self.next_id
            .fetch_add(shard_count() as u64, Ordering::Relaxed)
    }
}

impl<B> Deref for Home<B> {
    type Target = Shared<B>;

    fn deref(&self) -> &Shared<B> {
        &self.shared
    }
}

/// The homes of all thread groups.
#[derive(Debug)]
pub(super) struct Homes<B>(Box<[Arc<Home<B>>]>);

impl<B> Homes<B> {
    pub(super) fn new(shared: &Arc<Shared<B>>) -> Self {
        let home = |shard| {
            Arc::new(Home {
                shared: Arc::clone(shared),
                next_id: AtomicU64::new(shard as u64),
            })
        };
        Self((0..shard_count()).map(home).collect())
    }

    /// Waits until no entry is left, if no handle is: those are held by background
    /// threads for the rest of one operation. Not for long.
    pub(super) fn await_idle(&self, handle_count: usize) {
        // The model checker has no clock, and its scenes no such threads.
        let deadline = Instant::now() + MAX_WAIT;
        let is_idle = || self.0.iter().all(|home| Arc::strong_count(home) == 1);
        while handle_count == 0 && !cfg!(pager_shuttle) && !is_idle() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// That of the calling thread.
    pub(super) fn own(&self) -> &Arc<Home<B>> {
        &self.0[home_shard()]
    }
}
