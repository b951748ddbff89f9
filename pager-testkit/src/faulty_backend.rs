//! [`FaultyBackend`]: a wrapper that fails on demand, before any byte moves.

use std::io;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pager_core::{
    Backend, Error, InPlace, Payload, Preferences, Result, TransferMemory, Usage, Window,
};

/// An operation of a backend that may fail, or be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`Backend::page_out`].
    PageOut,
    /// [`Backend::read`], by a read or a take.
    Read,
}

/// Which error an operation fails with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Failure {
    /// [`Error::OutOfSpace`]: the medium is full.
    OutOfSpace,
    /// [`Error::QuotaExceeded`].
    QuotaExceeded,
    /// [`Error::OutOfMemory`].
    OutOfMemory,
    /// [`Error::Corrupt`]: the bytes that came back are not those that went out.
    Corrupt,
    /// [`Error::Io`]: the device said `EIO`.
    Io,
    /// [`Error::Backend`]: the backend's own means failed.
    Backend,
}

impl Failure {
    /// Every failure there is, for tests that try them all.
    pub const ALL: [Self; 6] = [
        Self::OutOfSpace,
        Self::QuotaExceeded,
        Self::OutOfMemory,
        Self::Corrupt,
        Self::Io,
        Self::Backend,
    ];

    /// Whether `error` is what this failure makes.
    #[must_use]
    pub fn matches(self, error: &Error) -> bool {
        matches!(
            (self, error),
            (Self::OutOfSpace, Error::OutOfSpace { .. })
                | (Self::QuotaExceeded, Error::QuotaExceeded { .. })
                | (Self::OutOfMemory, Error::OutOfMemory { .. })
                | (Self::Corrupt, Error::Corrupt { .. })
                | (Self::Io, Error::Io { .. })
                | (Self::Backend, Error::Backend { .. })
        )
    }

    fn error(self, backend: &'static str, operation: &'static str, bytes: usize) -> Error {
        let needed_bytes = bytes as u64;
        match self {
            Self::OutOfSpace => Error::OutOfSpace {
                backend,
                needed_bytes,
                path: None,
                source: io::ErrorKind::StorageFull.into(),
            },
            Self::QuotaExceeded => Error::QuotaExceeded {
                backend,
                needed_bytes,
                used_bytes: 0,
                quota_bytes: needed_bytes.saturating_sub(1),
                path: None,
            },
            Self::OutOfMemory => Error::OutOfMemory {
                needed_bytes: bytes,
            },
            Self::Corrupt => Error::Corrupt {
                backend,
                handle: None,
                offset_bytes: 0,
                expected: 1,
                found: 2,
                path: None,
            },
            Self::Io => Error::Io {
                backend,
                operation,
                path: None,
                source: io::Error::other("failed on demand"),
            },
            Self::Backend => Error::from_backend(backend, operation, "failed on demand"),
        }
    }
}

/// Forwards to another backend, and fails the operations it is told to.
///
/// A page-out that fails has not touched its chunks nor the backend beneath. A
/// read that fails has filled part of its window with rubbish first, as a read
/// that breaks off half-way does. Everything can be switched at run time
/// through [`Registry::backend`](pager_core::Registry::backend); a payload that the
/// backend beneath [detaches](InPlace::detach) is not read, so that does not
/// fail.
///
/// ```
/// use pager_testkit::{Failure, FaultyBackend, MemoryBackend, Operation};
/// use pager_core::Registry;
///
/// let registry = Registry::new(FaultyBackend::new(MemoryBackend::new()));
/// registry.backend().fail_every(Operation::PageOut, 1, Failure::OutOfSpace);
/// let mut chunks = [vec![1, 2, 3]];
/// assert!(registry.pageout(&mut chunks).unwrap_err().is_out_of_space());
/// assert_eq!(chunks[0], [1, 2, 3]);
///
/// registry.backend().heal(Operation::PageOut); // there is room again
/// assert!(registry.pageout(&mut chunks).is_ok());
/// ```
#[derive(Debug, Default)]
pub struct FaultyBackend<B> {
    inner: B,
    page_outs: Mutex<Faults>,
    reads: Mutex<Faults>,
}

/// What is to fail, and what has happened, of one kind of operation.
#[derive(Debug, Default)]
struct Faults {
    calls: u64,
    failures: u64,
    plan: Option<Plan>,
}

#[derive(Debug, Clone, Copy)]
struct Plan {
    /// Number of the next call that fails; calls are counted from one.
    next: u64,
    /// Calls from one failure to the next; `None` to fail once.
    period: Option<u64>,
    failure: Failure,
}

impl Faults {
    /// Counts a call, and says whether it fails.
    fn call(&mut self) -> Option<Failure> {
        self.calls += 1;
        let plan = self.plan.as_mut()?;
        if self.calls < plan.next {
            return None;
        }
        let failure = plan.failure;
        match plan.period {
            Some(period) => plan.next += period,
            None => self.plan = None,
        }
        self.failures += 1;
        Some(failure)
    }
}

impl<B> FaultyBackend<B> {
    /// A wrapper that fails nothing yet.
    pub fn new(inner: B) -> Self {
        Self {
            inner,
            page_outs: Mutex::default(),
            reads: Mutex::default(),
        }
    }

    /// The backend beneath.
    pub fn inner(&self) -> &B {
        &self.inner
    }

    /// Fails the `nth` operation of this kind from now on, once. The next one
    /// is the first; zero counts as one. Replaces the plan before it.
    pub fn fail_nth(&self, operation: Operation, nth: u64, failure: Failure) {
        self.plan(operation, nth, None, failure);
    }

    /// Fails every `nth` operation of this kind from now on; one fails all of
    /// them, and zero counts as one. Replaces the plan before it.
    pub fn fail_every(&self, operation: Operation, nth: u64, failure: Failure) {
        self.plan(operation, nth, Some(nth.max(1)), failure);
    }

    /// Fails nothing of this kind any more.
    pub fn heal(&self, operation: Operation) {
        self.faults(operation).plan = None;
    }

    /// Operations of this kind so far, those that failed included.
    pub fn calls(&self, operation: Operation) -> u64 {
        self.faults(operation).calls
    }

    /// Operations of this kind that failed on demand.
    pub fn failures(&self, operation: Operation) -> u64 {
        self.faults(operation).failures
    }

    fn plan(&self, operation: Operation, nth: u64, period: Option<u64>, failure: Failure) {
        let mut faults = self.faults(operation);
        faults.plan = Some(Plan {
            next: faults.calls + nth.max(1),
            period,
            failure,
        });
    }

    fn faults(&self, operation: Operation) -> MutexGuard<'_, Faults> {
        let faults = match operation {
            Operation::PageOut => &self.page_outs,
            Operation::Read => &self.reads,
        };
        // Numbers only: whole after every statement.
        faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[deny(clippy::missing_trait_methods)]
impl<B: Backend> Backend for FaultyBackend<B> {
    type Slot = B::Slot;

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn page_out(&self, payload: &mut Payload<'_>) -> Result<B::Slot> {
        let failure = self.faults(Operation::PageOut).call();
        match failure {
            Some(failure) => Err(failure.error(self.name(), "write", payload.len_bytes())),
            None => self.inner.page_out(payload),
        }
    }

    fn read(&self, slot: &B::Slot, ranges: &[Range<usize>], window: &mut Window<'_>) -> Result<()> {
        let failure = self.faults(Operation::Read).call();
        let Some(failure) = failure else {
            return self.inner.read(slot, ranges, window);
        };
        let wanted_bytes = window.remaining_bytes();
        for _ in 0..window.len() / 2 {
            window.copy_from(&[0xBA]);
        }
        Err(failure.error(self.name(), "read", wanted_bytes))
    }

    super::forwarded!();
}
