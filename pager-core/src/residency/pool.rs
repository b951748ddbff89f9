//! [`Pool`]: the named I/O threads, started at first use.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::engine::{Engine, Preferred, Step};
use crate::memory::ProcessStamp;
use crate::sync::{AtomicBool, AtomicUsize, Condvar, Mutex, Ordering, lock, thread, wait_for};

/// How long a thread sleeps when it is not woken: the pace at which writing is
/// tried again after a failure, and a bound on what a lost wake-up costs.
const NAP: Duration = Duration::from_millis(20);

/// The threads, and the bell that wakes them.
#[derive(Debug)]
pub(super) struct Pool {
    thread_count: usize,
    /// Set once the threads run. Acquire and Release are not needed: the threads
    /// see the engine through their own `Weak`.
    started: AtomicBool,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
    stopping: AtomicBool,
    sleepers: AtomicUsize,
    bell: Mutex<()>,
    rung: Condvar,
    owner: ProcessStamp,
}

impl Pool {
    pub(super) fn new(thread_count: usize) -> Self {
        Self {
            thread_count,
            started: AtomicBool::new(false),
            threads: Mutex::new(Vec::new()),
            stopping: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            bell: Mutex::new(()),
            rung: Condvar::new(),
            owner: ProcessStamp::current(),
        }
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

    /// Wakes one thread if one sleeps.
    pub(super) fn ring(&self) {
        if self.sleepers.load(Ordering::Relaxed) > 0 {
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
            let engine = Arc::downgrade(engine);
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

    fn nap(&self) {
        let bell = lock(&self.bell);
        if self.has_stopped() {
            return;
        }
        self.sleepers.fetch_add(1, Ordering::Relaxed);
        drop(wait_for(&self.rung, bell, NAP));
        self.sleepers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What each thread does until the engine is gone.
fn run(engine: &Weak<Engine>, preferred: Preferred) {
    while let Some(engine) = engine.upgrade() {
        if engine.pool().has_stopped() {
            return;
        }
        // A backend that panics has a bug, which is printed by now; its payload is
        // where it was, and the others still want to be moved.
        let step = catch_unwind(AssertUnwindSafe(|| engine.step(preferred)));
        if step.is_err() {
            engine.tally.count_error("a backend panicked".to_owned());
        }
        if !matches!(step, Ok(Step::Done)) {
            engine.pool().nap();
        }
    }
}
