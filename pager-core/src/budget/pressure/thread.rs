//! The thread of the watcher: waits, looks, and moves the ceiling of the budget.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

use super::Tally;
use super::alarms::{Alarms, Told};
use super::bounds::{Bounds, Look};
use super::policy::{Move, Policy, Room, Seen};
use crate::budget::engine::Engine;
use crate::observe;
use crate::seam::{self, Call};

/// How long it makes room before it looks again: others may want more meanwhile.
const SLICE: Duration = Duration::from_millis(50);

/// How soon it tries again to write what could not be written.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// What came of making room.
enum Shrunk {
    Within,
    /// Its time was over first.
    InPart,
    Failed,
}

/// A thread that runs.
#[derive(Debug)]
pub(super) struct Running {
    thread: JoinHandle<()>,
    /// Written to when it is to end.
    bell: Arc<OwnedFd>,
}

impl Running {
    /// Ends it, after what it is doing.
    pub(super) fn stop(self) {
        // A counter that holds nothing takes a one.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
        // The last owner of a budget may be a payload that this thread has written.
        if self.thread.thread().id() != thread::current().id() {
            // Its panic would be a bug that has been printed already.
            let _ = self.thread.join();
        }
    }
}

/// Starts the thread; says in `tally` what it watches, or why there is none.
pub(super) fn start(
    engine: &Arc<Engine>,
    tally: &Arc<Tally>,
    floor_bytes: usize,
) -> Option<Running> {
    let started = try_start(engine, tally, floor_bytes);
    match started {
        Ok(running) => Some(running),
        Err(why) => {
            tally.set_watched(format!("nothing: {why}"));
            None
        }
    }
}

fn try_start(
    engine: &Arc<Engine>,
    tally: &Arc<Tally>,
    floor_bytes: usize,
) -> Result<Running, String> {
    let mut bounds = Bounds::open();
    let rooms = bounds.look().rooms.len();
    if rooms == 0 {
        return Err("neither the machine nor a cgroup says how much memory there is".to_owned());
    }
    let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
    let bell = Arc::new(bell.map_err(|error| format!("no eventfd: {error}"))?);
    let alarms = Alarms::set(bounds.groups());
    let mut watched = format!("{rooms} bounds");
    for name in alarms.names() {
        watched.push_str(", ");
        watched.push_str(name);
    }
    seam::enter(Call::Clone)
        .map_err(|number| format!("no thread: {}", std::io::Error::from_raw_os_error(number)))?;
    let watch = Watch {
        engine: Arc::clone(engine),
        tally: Arc::clone(tally),
        bounds,
        alarms,
        policy: Policy::new(floor_bytes),
        begun: Instant::now(),
    };
    let thread_bell = Arc::clone(&bell);
    let thread = thread::Builder::new()
        .name("pager-pressure".to_owned())
        .spawn(move || watch.run(&thread_bell))
        .map_err(|error| format!("no thread: {error}"))?;
    tally.set_watched(watched);
    Ok(Running { thread, bell })
}

/// What the thread has.
struct Watch {
    engine: Arc<Engine>,
    tally: Arc<Tally>,
    bounds: Bounds,
    alarms: Alarms,
    policy: Policy,
    begun: Instant,
}

impl Watch {
    fn run(mut self, bell: &OwnedFd) {
        let mut told = Told::default();
        while !told.stop {
            let seen = self.look(told);
            self.tally.looked(seen.stalled);
            let now = self.begun.elapsed();
            match self.policy.step(now, &seen) {
                Move::Stay => {}
                Move::Lower(ceiling_bytes) => {
                    self.tally.lowered(ceiling_bytes);
                    self.engine.ledger.set_ceiling_bytes(ceiling_bytes);
                    observe::pressure(self.engine.ledger.budget_bytes(), true);
                    self.engine.pool().ring();
                }
                Move::Raise(ceiling_bytes) => {
                    self.tally.raised();
                    let ceiling_bytes = ceiling_bytes.unwrap_or(usize::MAX);
                    self.engine.ledger.set_ceiling_bytes(ceiling_bytes);
                    observe::pressure(self.engine.ledger.budget_bytes(), false);
                    self.engine.has_room();
                }
            }
            let pause = match self.shrink() {
                Shrunk::Within => self.policy.pause(self.begun.elapsed(), &seen),
                Shrunk::InPart => Duration::ZERO,
                Shrunk::Failed => PAUSE_AFTER_FAILURE,
            };
            told = self.alarms.wait(bell, pause);
        }
    }

    /// Drops and writes what is beyond the budget. An error is counted as that of any
    /// write in the background.
    fn shrink(&self) -> Shrunk {
        let since = Instant::now();
        match self.engine.shrink_while(|| since.elapsed() < SLICE) {
            Ok(()) if self.engine.ledger.is_over_budget() => Shrunk::InPart,
            Ok(()) => Shrunk::Within,
            Err(_) => Shrunk::Failed,
        }
    }

    fn look(&mut self, told: Told) -> Seen {
        let Look {
            rooms,
            anonymous_bytes,
        } = self.bounds.look();
        let anybodys = told.anybodys && rooms.iter().any(|room| Room::is_narrow(*room));
        let held_bytes = self.engine.ledger.held_bytes();
        // What the kernel has swapped out by itself cannot be given up once more.
        let anonymous_bytes = anonymous_bytes
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(usize::MAX);
        Seen {
            rooms,
            stalled: told.ours || anybodys,
            held_bytes: held_bytes.min(anonymous_bytes),
            asked_bytes: self.engine.ledger.asked_bytes(),
        }
    }
}
