//! [`Watcher`]: follows how short memory is, for this process and around it, and moves
//! the budget accordingly (feature `pressure`).
//!
//! A thread sleeps until an alarm rings, or until the nearest bound could have been
//! reached; it looks at what each bound leaves, and lowers or raises the ceiling of the
//! budget. What is beyond a lower ceiling is dropped and written at once, by this thread
//! and by those of the budget.
//!
//! ```text
//! bounds   what the machine and the cgroups leave
//! alarms   what wakes the thread: stalls, levels, events
//! policy   what to do about it
//! reread   the files of both
//! ```
//!
//! Refuses to guess: where nothing can be read, nothing is watched, and
//! [`PressureStats::watched`] says so. Linux only.

#[cfg(target_os = "linux")]
mod alarms;
#[cfg(target_os = "linux")]
mod bounds;
#[cfg(any(target_os = "linux", test))]
mod policy;
#[cfg(target_os = "linux")]
mod reread;
mod stats;
#[cfg(target_os = "linux")]
mod thread;

pub use stats::PressureStats;
pub(super) use stats::Tally;

use std::sync::Arc;
#[cfg(target_os = "linux")]
use std::sync::PoisonError;

use super::engine::Engine;

/// The thread, as its owner has it.
#[derive(Debug)]
pub(super) struct Watcher {
    tally: Arc<Tally>,
    #[cfg(target_os = "linux")]
    running: std::sync::Mutex<Option<thread::Running>>,
}

impl Watcher {
    /// Begins to watch for `engine`.
    #[cfg(target_os = "linux")]
    pub(super) fn start(engine: &Arc<Engine>, floor_bytes: usize) -> Self {
        let tally = Arc::new(Tally::new(floor_bytes));
        let running = thread::start(engine, &tally, floor_bytes);
        Self {
            tally,
            running: std::sync::Mutex::new(running),
        }
    }

    /// Says that nothing can be watched here.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn start(_: &Arc<Engine>, floor_bytes: usize) -> Self {
        let tally = Arc::new(Tally::new(floor_bytes));
        tally.set_watched("nothing: this is not Linux".to_owned());
        Self { tally }
    }

    /// Ends the thread and waits for it. Not for forked children, which have none.
    pub(super) fn stop(&self) {
        #[cfg(target_os = "linux")]
        {
            let running = self.running.lock();
            let running = running.unwrap_or_else(PoisonError::into_inner).take();
            if let Some(running) = running {
                running.stop();
            }
        }
    }

    /// What has been seen and done; the budget that was asked for is `asked_bytes`.
    pub(super) fn stats(&self, asked_bytes: usize) -> PressureStats {
        self.tally.snapshot(asked_bytes)
    }
}
