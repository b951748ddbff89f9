//! [`Pool`]: the named I/O threads, started at first use.
//!
//! A thread that finds nothing to do sleeps until it is woken; only one that found
//! something which cannot be done at that moment looks again by itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::engine::{Engine, Preferred, Step};
use crate::memory::ProcessStamp;
use crate::sync::{
    AtomicBool, AtomicU64, AtomicUsize, Condvar, Mutex, Ordering, lock, thread, wait, wait_for,
};

/// The longest that a backend may have what failed wait.
const MAX_NAP_MILLIS: u64 = 60_000;

/// The threads, and the bell that wakes them.
#[derive(Debug)]
pub(super) struct Pool {
    thread_count: usize,
    /// How long a thread sleeps that has something to do and cannot: the pace at which
    /// writing is tried again after a failure. Relaxed: a preference.
    nap_millis: AtomicU64,
    /// Set once the threads run. Acquire and Release are not needed: the threads
    /// see the engine through their own `Arc`.
    started: AtomicBool,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
    stopping: AtomicBool,
    /// How often the bell was rung. Sequentially consistent, as `sleepers` is: a
    /// thread counts itself as asleep and then looks at this, who rings counts here
    /// and then looks for sleepers, so one of the two sees the other.
    rings: AtomicU64,
    sleepers: AtomicUsize,
    bell: Mutex<()>,
    rung: Condvar,
    owner: ProcessStamp,
}

impl Pool {
    pub(super) fn new(thread_count: usize) -> Self {
        Self {
            thread_count,
            nap_millis: AtomicU64::new(MAX_NAP_MILLIS),
            started: AtomicBool::new(false),
            threads: Mutex::new(Vec::new()),
            stopping: AtomicBool::new(false),
            rings: AtomicU64::new(0),
            sleepers: AtomicUsize::new(0),
            bell: Mutex::new(()),
            rung: Condvar::new(),
            owner: ProcessStamp::current(),
        }
    }

    /// Has threads try again what failed after this time, if it is shorter than what
    /// others have asked for.
    pub(super) fn retry_after(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(MAX_NAP_MILLIS);
        self.nap_millis.fetch_min(millis.max(1), Ordering::Relaxed);
    }

    /// Whether this is the process that the threads are of, and not its child.
    pub(super) fn is_own(&self) -> bool {
        self.owner.is_current()
    }

    pub(super) fn has_threads(&self) -> bool {
        self.thread_count > 0 && !self.has_stopped()
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Wakes one thread, starting all of them if none runs yet.
    ///
    /// A thread that cannot be started is done without: the callers then do its
    /// work, as they do with a count of zero.
    pub(super) fn wake(&self, engine: &Arc<Engine>) {
        if !self.started.load(Ordering::Relaxed) {
            self.start(engine);
        }
        self.ring();
    }

    /// Wakes one thread if one sleeps, and has every other one look once more before
    /// it goes to sleep.
    pub(super) fn ring(&self) {
        self.rings.fetch_add(1, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.bell));
            self.rung.notify_one();
        }
    }

    fn start(&self, engine: &Arc<Engine>) {
        let mut threads = lock(&self.threads);
        if self.started.swap(true, Ordering::Relaxed) || self.has_stopped() {
            return;
        }
        for number in 0..self.thread_count {
            let engine = Arc::clone(engine);
            let preferred = match number {
                0 => Preferred::Fetch,
                1 => Preferred::Write,
                _ => Preferred::Either,
            };
            let thread = thread::Builder::new()
                .name(format!("pager-io-{number}"))
                .spawn(move || run(&engine, preferred));
            match thread {
                Ok(thread) => threads.push(thread),
                Err(_) => break,
            }
        }
    }

    /// Ends the threads, each after what it is doing, and waits for them.
    pub(super) fn stop(&self) {
        if !self.is_own() {
            // A forked child has no threads, and their parent's locks may be held.
            return;
        }
        self.stopping.store(true, Ordering::Relaxed);
        let threads = std::mem::take(&mut *lock(&self.threads));
        drop(lock(&self.bell));
        self.rung.notify_all();
        let this = thread::current().id();
        for thread in threads {
            // The last owner may be one of the threads: it cannot wait for itself.
            if thread.thread().id() != this {
                // A thread ends by returning; its panic would be a bug that has
                // been printed already.
                let _ = thread.join();
            }
        }
    }

    /// Sleeps until the bell is rung, if it has not been since `heard`, and no longer
    /// than a nap if there is something to do.
    fn sleep(&self, heard: u64, is_blocked: bool) {
        let mut bell = lock(&self.bell);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        if is_blocked {
            // Its own ringing may be what it has not heard yet; a nap loses little.
            if !self.has_stopped() {
                let nap = Duration::from_millis(self.nap_millis.load(Ordering::Relaxed));
                drop(wait_for(&self.rung, bell, nap));
            }
        } else {
            while self.rings.load(Ordering::SeqCst) == heard && !self.has_stopped() {
                bell = wait(&self.rung, bell);
            }
            drop(bell);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What each thread does until it is told to end.
fn run(engine: &Arc<Engine>, preferred: Preferred) {
    let pool = engine.pool();
    while !pool.has_stopped() {
        let heard = pool.rings.load(Ordering::SeqCst);
        // A backend that panics has a bug, which is printed by now; its payload is
        // where it was, and the others still want to be moved.
        let step = catch_unwind(AssertUnwindSafe(|| engine.step(preferred)));
        if step.is_err() {
            engine.tally.count_error("a backend panicked".to_owned());
        }
        match step {
            Ok(Step::Done) => {}
            Ok(Step::Idle) => pool.sleep(heard, false),
            Ok(Step::Blocked) | Err(_) => pool.sleep(heard, true),
        }
    }
}
