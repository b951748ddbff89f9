//! [`GatedBackend`]: a wrapper whose operations wait at a gate, so that a test
//! decides when a page-out or a read happens and in which order.

use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Operation;
use pager_core::{Backend, InPlace, Payload, Preferences, Result, TransferMemory, Usage, Window};

/// How long anybody waits before a test counts as stuck. Far more than a loaded
/// machine needs, and less than a test runner's patience.
const PATIENCE: Duration = Duration::from_secs(30);

/// Forwards to another backend; page-outs and reads pass a [`Gate`] first.
///
/// The gate is open until it is [held](Gate::hold). An operation waits before
/// the backend beneath has seen it; freeing, hints and questions never wait.
///
/// ```
/// use pager_testkit::{Gate, GatedBackend, MemoryBackend, Operation};
/// use pager_core::Registry;
///
/// let gate = Gate::new();
/// let registry = Registry::new(GatedBackend::new(MemoryBackend::new(), &gate));
/// let held = gate.hold(Operation::PageOut);
/// std::thread::scope(|scope| {
///     let writer = scope.spawn(|| registry.pageout(&mut [vec![1, 2, 3]]).map(drop));
///     gate.await_waiting(Operation::PageOut, 1);
///     assert_eq!(registry.live_handles(), 0); // it has not happened yet
///     gate.release_one(Operation::PageOut);
///     writer.join().unwrap().unwrap();
/// });
/// drop(held); // open again
/// ```
#[derive(Debug)]
pub struct GatedBackend<B> {
    inner: B,
    gate: Gate,
}

impl<B> GatedBackend<B> {
    /// A wrapper whose operations pass `gate`.
    pub fn new(inner: B, gate: &Gate) -> Self {
        Self {
            inner,
            gate: gate.clone(),
        }
    }

    /// The backend beneath.
    pub fn inner(&self) -> &B {
        &self.inner
    }

    /// The gate.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }
}

/// Where the operations of a [`GatedBackend`] wait. A clone is the same gate.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    lanes: Mutex<[Lane; 2]>,
    /// Something in `lanes` changed.
    changed: Condvar,
}

/// The state of the gate for one kind of operation.
#[derive(Debug, Default)]
struct Lane {
    held: bool,
    /// Operations that may pass although the gate is held.
    permits: usize,
    waiting: usize,
    passed: u64,
}

/// Keeps a [`Gate`] shut for one kind of operation. Opens it on drop, so that a
/// test that fails does not leave a thread waiting.
#[derive(Debug)]
#[must_use = "the gate opens when this is dropped"]
pub struct Held {
    gate: Gate,
    operation: Operation,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gate.release_all(self.operation);
    }
}

impl Gate {
    /// An open gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Shuts the gate for this kind of operation, until the result is dropped.
    pub fn hold(&self, operation: Operation) -> Held {
        self.change(operation, |lane| lane.held = true);
        Held {
            gate: self.clone(),
            operation,
        }
    }

    /// Lets one operation pass: one that waits, else the next that comes. Does
    /// nothing while the gate is open.
    pub fn release_one(&self, operation: Operation) {
        self.change(operation, |lane| {
            if lane.held {
                lane.permits += 1;
            }
        });
    }

    /// Opens the gate for this kind of operation.
    pub fn release_all(&self, operation: Operation) {
        self.change(operation, |lane| {
            lane.held = false;
            lane.permits = 0;
        });
    }

    /// Operations that wait at this moment.
    #[must_use]
    pub fn waiting(&self, operation: Operation) -> usize {
        self.lanes()[index(operation)].waiting
    }

    /// Operations that have passed so far.
    #[must_use]
    pub fn passed(&self, operation: Operation) -> u64 {
        self.lanes()[index(operation)].passed
    }

    /// Returns once at least `count` operations wait.
    ///
    /// # Panics
    ///
    /// If they do not within half a minute.
    pub fn await_waiting(&self, operation: Operation, count: usize) {
        let arrived = self.await_lane(operation, |lane| lane.waiting >= count);
        assert!(arrived, "{count} operations should wait at the gate");
    }

    /// Returns once at least `count` operations have passed since the gate was
    /// made.
    ///
    /// # Panics
    ///
    /// If they have not within half a minute.
    pub fn await_passed(&self, operation: Operation, count: u64) {
        let arrived = self.await_lane(operation, |lane| lane.passed >= count);
        assert!(arrived, "{count} operations should have passed the gate");
    }

    /// Waits until the gate lets one operation through.
    fn pass(&self, operation: Operation) {
        self.change(operation, |lane| lane.waiting += 1);
        let let_through = self.await_lane(operation, |lane| {
            let free = !lane.held || lane.permits > 0;
            if free {
                lane.permits = lane.permits.saturating_sub(1);
                lane.waiting -= 1;
                lane.passed += 1;
            }
            free
        });
        assert!(let_through, "nobody released {operation:?} at the gate");
        self.shared.changed.notify_all();
    }

    fn change(&self, operation: Operation, change: impl FnOnce(&mut Lane)) {
        change(&mut self.lanes()[index(operation)]);
        self.shared.changed.notify_all();
    }

    /// Waits until `arrived` says so, or patience ends.
    fn await_lane(&self, operation: Operation, mut arrived: impl FnMut(&mut Lane) -> bool) -> bool {
        let pending = |lanes: &mut [Lane; 2]| !arrived(&mut lanes[index(operation)]);
        let waited = self
            .shared
            .changed
            .wait_timeout_while(self.lanes(), PATIENCE, pending);
        let (_lanes, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
        !outcome.timed_out()
    }

    fn lanes(&self) -> MutexGuard<'_, [Lane; 2]> {
        // Numbers only: whole after every statement.
        self.shared
            .lanes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn index(operation: Operation) -> usize {
    match operation {
        Operation::PageOut => 0,
        Operation::Read => 1,
    }
}

#[deny(clippy::missing_trait_methods)]
impl<B: Backend> Backend for GatedBackend<B> {
    type Slot = B::Slot;

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn page_out(&self, payload: &mut Payload<'_>) -> Result<B::Slot> {
        self.gate.pass(Operation::PageOut);
        self.inner.page_out(payload)
    }

    fn read(&self, slot: &B::Slot, ranges: &[Range<usize>], window: &mut Window<'_>) -> Result<()> {
        self.gate.pass(Operation::Read);
        self.inner.read(slot, ranges, window)
    }

    super::forwarded!();
}
