//! The fault layer: a plan for the whole process that lets system calls of pager
//! fail, or move fewer bytes than they were asked to.
//!
//! Every call of the crates that can fail asks the seam (`pager_core::seam`) first, on
//! whichever thread it is made, background threads included. A plan counts the
//! calls of each kind and strikes at the n-th of one kind, once or from there on
//! for good. Calls are numbered in the order in which threads make them, so a
//! scenario with background threads need not be struck at the same place twice.
//!
//! One plan is in force at a time; whoever installs another waits. Tests that use
//! plans belong in a binary of their own, for the calls of other tests are
//! counted as well.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

pub use pager_core::seam::Call;
use pager_core::{Error, seam};

/// An error that a call is made to fail with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Errno {
    /// `EIO`: the device failed.
    Io,
    /// `ENOSPC`: the device is full.
    NoSpace,
    /// `EINTR`: a signal came.
    Interrupted,
    /// `EAGAIN`: not now.
    Again,
    /// `ENOMEM`: the kernel has no memory.
    NoMemory,
}

impl Errno {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Io,
        Self::NoSpace,
        Self::Interrupted,
        Self::Again,
        Self::NoMemory,
    ];

    /// Its number on Linux.
    #[must_use]
    pub fn number(self) -> i32 {
        match self {
            Self::Io => 5,
            Self::NoSpace => 28,
            Self::Interrupted => 4,
            Self::Again => 11,
            Self::NoMemory => 12,
        }
    }
}

/// How much of a transfer is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Short {
    /// Half of the bytes, rounded down.
    Half,
    /// The first 4 KiB.
    Block,
    /// The first byte.
    Byte,
    /// Nothing, and no error either.
    Zero,
}

impl Short {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Half, Self::Block, Self::Byte, Self::Zero];

    /// What is left of `wanted` bytes.
    fn of(self, wanted: usize) -> usize {
        match self {
            Self::Half => wanted / 2,
            Self::Block => wanted.min(pager_core::PAGE_BYTES),
            Self::Byte => wanted.min(1),
            Self::Zero => 0,
        }
    }
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mishap {
    /// It fails, and does nothing.
    Fails(Errno),
    /// It succeeds and moves fewer bytes. Other calls than transfers are spared.
    Short(Short),
}

/// One entry of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fault {
    /// Which kind of call.
    pub call: Call,
    /// Which one of them, from 1 on.
    pub nth: usize,
    /// What happens to it.
    pub mishap: Mishap,
    /// Whether it happens to all that follow as well.
    pub for_good: bool,
}

impl Fault {
    /// Whether an error says what the fault was, and has the variant for it.
    #[must_use]
    pub fn is_told_by(&self, error: &Error) -> bool {
        let Mishap::Fails(errno) = self.mishap else {
            return matches!(error, Error::Io { .. } | Error::Corrupt { .. });
        };
        let is_cause = |source: &io::Error| source.raw_os_error() == Some(errno.number());
        match error {
            // A mapping that cannot be had is no memory, whatever the reason.
            Error::OutOfMemory { .. } => errno == Errno::NoMemory || self.call == Call::Mmap,
            Error::OutOfSpace { source, .. } => errno == Errno::NoSpace && is_cause(source),
            Error::Io { source, .. } => is_cause(source),
            Error::ScratchUnavailable { source, .. } => source.as_ref().is_some_and(is_cause),
            _ => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extent = if self.for_good { " and all later" } else { "" };
        write!(f, "{:?} {}{extent}: {:?}", self.call, self.nth, self.mishap)
    }
}

/// Whether a plan is in force: the one question that a call asks without one.
/// Relaxed: a test installs its plan before it makes the calls it is about, and
/// the lock below orders the rest.
static ARMED: AtomicBool = AtomicBool::new(false);

/// The plan in force, and what it has seen.
static PLAN: Mutex<Plan> = Mutex::new(Plan::none());

/// Held by whoever has a plan in force.
static TURN: Mutex<()> = Mutex::new(());

#[derive(Debug)]
struct Plan {
    faults: Vec<Fault>,
    counts: [usize; Call::ALL.len()],
    struck: usize,
    healed: bool,
}

impl Plan {
    const fn none() -> Self {
        Self {
            faults: Vec::new(),
            counts: [0; Call::ALL.len()],
            struck: 0,
            healed: false,
        }
    }

    /// Counts the call, and says what is planned for it.
    fn next(&mut self, call: Call) -> Option<Mishap> {
        let count = &mut self.counts[call as usize];
        *count += 1;
        let count = *count;
        let planned = self.faults.iter().find(|fault| {
            let is_its_turn = count == fault.nth || (fault.for_good && count > fault.nth);
            fault.call == call && is_its_turn
        });
        planned.filter(|_| !self.healed).map(|fault| fault.mishap)
    }
}

fn plan() -> MutexGuard<'static, Plan> {
    // Whole after every statement.
    PLAN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A plan in force; none when it is dropped.
#[derive(Debug)]
pub struct Injection {
    _turn: MutexGuard<'static, ()>,
}

impl Injection {
    /// Puts `faults` in force; with none of them, calls are counted and that is
    /// all. Waits for other plans to end.
    #[must_use]
    pub fn begin(faults: &[Fault]) -> Self {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| seam::install(&Planned));
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        *plan() = Plan {
            faults: faults.to_vec(),
            ..Plan::none()
        };
        ARMED.store(true, Ordering::Relaxed);
        Self { _turn: turn }
    }

    /// Lets everything succeed again, and goes on counting.
    pub fn heal(&self) {
        plan().healed = true;
    }

    /// How often a fault has struck.
    #[must_use]
    pub fn struck(&self) -> usize {
        plan().struck
    }

    /// How many calls of each kind were made, struck ones included, in the order
    /// of [`Call::ALL`].
    #[must_use]
    pub fn counts(&self) -> Vec<(Call, usize)> {
        let counts = plan().counts;
        Call::ALL.into_iter().zip(counts).collect()
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        ARMED.store(false, Ordering::Relaxed);
    }
}

/// What the seam asks once a plan has ever been in force.
struct Planned;

impl seam::Hooks for Planned {
    fn enter(&self, call: Call) -> Result<(), i32> {
        if !ARMED.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut plan = plan();
        match plan.next(call) {
            Some(Mishap::Fails(errno)) => {
                plan.struck += 1;
                Err(errno.number())
            }
            Some(Mishap::Short(_)) | None => Ok(()),
        }
    }

    fn transfer(&self, call: Call, wanted: usize) -> Result<Option<usize>, i32> {
        if !ARMED.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let mut plan = plan();
        match plan.next(call) {
            Some(Mishap::Fails(errno)) => {
                plan.struck += 1;
                Err(errno.number())
            }
            Some(Mishap::Short(short)) if short.of(wanted) < wanted => {
                plan.struck += 1;
                Ok(Some(short.of(wanted)))
            }
            Some(Mishap::Short(_)) | None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pager_core::seam::enter;

    fn transfer(call: Call, wanted: usize) -> Result<Option<usize>, i32> {
        seam::transfer(call, || wanted)
    }

    fn fault(call: Call, nth: usize, mishap: Mishap, for_good: bool) -> Fault {
        Fault {
            call,
            nth,
            mishap,
            for_good,
        }
    }

    // Calls that the core makes none of, so that other tests do not count.
    #[test]
    fn a_fault_strikes_the_nth_call_of_its_kind_and_no_other() {
        let io = Mishap::Fails(Errno::Io);
        let injection = Injection::begin(&[fault(Call::Flock, 2, io, false)]);
        let outcomes: Vec<_> = (0..3).map(|_| enter(Call::Flock)).collect();
        assert_eq!(outcomes, [Ok(()), Err(5), Ok(())]);
        assert_eq!(enter(Call::Statx), Ok(()));
        assert_eq!(injection.struck(), 1);
        let counts = injection.counts();
        assert!(counts.contains(&(Call::Flock, 3)) && counts.contains(&(Call::Statx, 1)));
    }

    #[test]
    fn a_fault_for_good_lasts_until_it_is_healed() {
        let io = Mishap::Fails(Errno::NoSpace);
        let injection = Injection::begin(&[fault(Call::Fallocate, 2, io, true)]);
        let outcomes: Vec<_> = (0..3).map(|_| enter(Call::Fallocate)).collect();
        assert_eq!(outcomes, [Ok(()), Err(28), Err(28)]);
        injection.heal();
        assert_eq!(enter(Call::Fallocate), Ok(()));
        drop(injection);
        assert_eq!(enter(Call::Fallocate), Ok(()));
    }

    #[test]
    fn an_error_tells_its_own_fault_and_no_other() {
        let of = |call, errno| fault(call, 1, Mishap::Fails(errno), false);
        let full = io::Error::from_raw_os_error(Errno::NoSpace.number());
        let error = Error::from_io("file", "write", None, 1, full);
        assert!(of(Call::Pwritev, Errno::NoSpace).is_told_by(&error));
        assert!(!of(Call::Pwritev, Errno::Io).is_told_by(&error));
        let error = Error::OutOfMemory { needed_bytes: 1 };
        assert!(of(Call::Mmap, Errno::Again).is_told_by(&error));
        assert!(!of(Call::Pread, Errno::Io).is_told_by(&error));
        assert!(!of(Call::Pread, Errno::Io).is_told_by(&Error::ShutDown));
    }

    #[test]
    fn a_short_transfer_is_shorter_than_what_was_wanted() {
        for (short, wanted, left) in [
            (Short::Half, 9001, Some(4500)),
            (Short::Block, 9000, Some(4096)),
            (Short::Block, 4096, None),
            (Short::Byte, 9000, Some(1)),
            (Short::Byte, 1, None),
            (Short::Zero, 1, Some(0)),
        ] {
            let mishap = Mishap::Short(short);
            let injection = Injection::begin(&[fault(Call::Pwritev2, 1, mishap, false)]);
            assert_eq!(transfer(Call::Pwritev2, wanted), Ok(left), "{short:?}");
            assert_eq!(transfer(Call::Pwritev2, wanted), Ok(None));
            assert_eq!(injection.struck(), usize::from(left.is_some()));
        }
    }
}
