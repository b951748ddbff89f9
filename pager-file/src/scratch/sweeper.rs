//! [`Sweeper`]: who sweeps a root, and for how long.
//!
//! Opening a backend sweeps for a moment, which is enough for what a few crashes
//! leave. What remains after that (a service that was killed ten thousand times, a
//! directory of a million files) is left to a thread, so that it delays nobody's first
//! page-out; the thread ends with the sweep or with the backend, and the next start
//! goes on where it stopped.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pager_core::Result;

use super::reap::{self, Until};
use super::root::Root;
use crate::{Reaped, sys};

/// How long opening a backend sweeps.
const AT_ONCE: Duration = Duration::from_millis(250);

/// The sweep of one backend.
#[derive(Debug)]
pub(super) struct Sweeper {
    shared: Arc<Shared>,
    /// Whether the time was up before the sweep was.
    has_more: bool,
}

#[derive(Debug, Default)]
struct Shared {
    reaped: Mutex<Reaped>,
    /// Held while somebody sweeps: two would take each other's directories for alive.
    turn: Mutex<()>,
    /// Tells the thread to end. Relaxed: it may sweep one directory more.
    stops: AtomicBool,
}

impl Shared {
    fn turn(&self) -> MutexGuard<'_, ()> {
        // There is nothing behind it that a panic could leave half done.
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sweeper {
    /// Sweeps `root` for a moment. [`go_on`](Self::go_on) does the rest.
    ///
    /// # Errors
    ///
    /// Those of [`reap::sweep`].
    pub(super) fn begin(root: &Root) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let until = Until {
            deadline: Some(Instant::now() + AT_ONCE),
            stops: None,
        };
        reap::sweep(root, until, &shared.reaped)?;
        let has_passed = until.deadline.is_some_and(|at| Instant::now() >= at);
        let has_more = reap::lock(&shared.reaped).unfinished && has_passed;
        Ok(Self { shared, has_more })
    }

    /// Has a thread sweep what is left, if anything is. Called when the directory of this
    /// process is locked: before, the thread would take it for a dead one, and count it.
    pub(super) fn go_on(&self, root: &Arc<Root>) {
        if self.has_more {
            let (root, sweeping) = (Arc::clone(root), Arc::clone(&self.shared));
            // A thread that cannot be had leaves the rest to the next start.
            let _ = sys::spawn("pager-sweep", move || go_on(&root, &sweeping));
        }
    }

    /// One that has not swept, and does only when it is told to.
    pub(super) fn idle() -> Self {
        Self {
            shared: Arc::default(),
            has_more: false,
        }
    }

    /// What has been found so far.
    pub(super) fn reaped(&self) -> Reaped {
        *reap::lock(&self.shared.reaped)
    }

    /// Sweeps all of `root`, in place of the thread.
    ///
    /// # Errors
    ///
    /// Those of [`reap::sweep`].
    pub(super) fn sweep_all(&self, root: &Root) -> Result<Reaped> {
        self.shared.stops.store(true, Ordering::Relaxed);
        let _turn = self.shared.turn();
        let total = Mutex::default();
        reap::sweep(root, Until::DONE, &total)?;
        // What opening left is done with, unless it still is not.
        let is_unfinished = reap::lock(&total).unfinished;
        reap::lock(&self.shared.reaped).unfinished &= is_unfinished;
        Ok(total.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.shared.stops.store(true, Ordering::Relaxed);
    }
}

/// What the thread does.
fn go_on(root: &Root, shared: &Shared) {
    let _turn = shared.turn();
    if shared.stops.load(Ordering::Relaxed) {
        return;
    }
    let until = Until {
        deadline: None,
        stops: Some(&shared.stops),
    };
    // Listing was possible a moment ago; if it is not now, `unfinished` stays.
    let _ = reap::sweep(root, until, &shared.reaped);
}
