//! [`Residency`]: how much memory there is, and whose turn it is.
//!
//! Under a budget, `pageout` is a promise and not an I/O. The payload stays where it
//! is, owned by its entry, until the budget wants its memory; then a background
//! thread writes the coldest. Payloads taken or dropped before that are never
//! written. `prefetch` brings a payload back in the background, so that a `take` finds
//! it there. With a budget of zero every `pageout` stores at once, on its own thread.
//!
//! ```text
//! ledger    bytes held by kind (those are in kind), budget, watermarks, waiting for room
//! account   whose memory it is, if it is borrowed
//! group     which payloads belong together, and how much they may be
//! charge    memory that is held, as a value that gives itself back
//! queue     what may leave memory, oldest first
//! room      how room is made: for newcomers, read-ahead, transfers
//! leave     how bytes leave: dirty payloads are written, clean copies dropped
//! engine    one step in the background: fetch, or write
//! fetches   read-ahead asked for and not begun
//! pool      the I/O threads
//! pins      what views hold in memory
//! spares    warm empty Vecs that change hands
//! transfers the buffers of backends, within the budget (tiers: what is encoded and not stored)
//! pageable  a payload as the budget sees it
//! pressure  follows how short memory is, and moves the budget (feature `pressure`)
//! limit     how much memory this process may use (tally: what is counted)
//! ```

mod account;
#[cfg(all(test, pager_shuttle))]
mod account_interleavings;
mod charge;
mod engine;
mod fetches;
mod group;
mod kind;
mod leave;
mod ledger;
mod limit;
mod pageable;
mod pins;
mod pool;
#[cfg(feature = "pressure")]
mod pressure;
mod queue;
mod room;
mod spares;
#[cfg(all(test, pager_shuttle))]
mod steps;
mod tally;
pub(crate) mod tiers;
mod transfers;

use std::fmt;
use std::sync::Arc;

use account::Lender;
use ledger::{Ledger, Watermarks};
use pool::Pool;

pub use account::MemoryAccount;
pub(crate) use charge::{Bookkeeping, Charge};
pub(crate) use engine::Engine;
pub(crate) use group::Claim;
pub use group::{Group, GroupStats};
pub(crate) use kind::Kind;
pub use limit::default_budget_bytes;
pub(crate) use pageable::{Evicted, Outcome, Pageable, Place, WeakPageable};
#[cfg(feature = "pressure")]
pub use pressure::PressureStats;
pub(crate) use room::Wait;
pub(crate) use spares::Fit;
pub use tally::ResidencyStats;
pub use transfers::{TransferCharge, TransferMemory};

use crate::{Error, Result};

/// A memory budget, and the threads that keep it.
///
/// What pager holds stays within the budget: payloads by the capacity of their
/// buffers, copies that wait to be read again, warm buffers, buffers of transfers,
/// and what is remembered of each payload (the first mebibyte of which is on top).
///
/// A clone is the same budget. Give it to one registry or to several
/// ([`Registry::with_residency`](crate::Registry::with_residency)): their payloads
/// are bounded together, and the coldest of all goes first. Dropping the last
/// clone and registry ends the threads.
///
/// ```
/// # mod in_memory { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/in_memory.inc")); }
/// # use in_memory::InMemory;
/// use pager_core::{Registry, Residency};
///
/// let residency = Residency::builder().budget_bytes(64 << 20).build();
/// let registry = Registry::with_residency(InMemory, &residency);
/// let handle = registry.pageout(&mut [vec![7u64; 1000]])?;
/// assert_eq!(residency.stats().resident_bytes, 8000);
///
/// let mut words = Vec::new();
/// registry.take(handle, &mut words)?;
/// assert_eq!(residency.stats().elided_writes, 1);
/// # Ok::<(), pager_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Residency {
    owner: Arc<Owner>,
}

/// Ends the threads when the last clone is gone; the threads themselves hold the
/// engine alone.
#[derive(Debug)]
struct Owner {
    engine: Arc<Engine>,
    #[cfg(feature = "pressure")]
    watcher: Option<pressure::Watcher>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        #[cfg(feature = "pressure")]
        self.stop_watching();
        self.engine.pool().stop();
        if self.engine.pool().is_own() {
            // Spare buffers lie within the engine, and their charges hold it.
            self.engine.release_spares();
        }
    }
}

#[cfg(feature = "pressure")]
impl Owner {
    /// Ends the watcher of memory pressure; a forked child has none.
    fn stop_watching(&self) {
        if let Some(watcher) = &self.watcher
            && self.engine.pool().is_own()
        {
            watcher.stop();
        }
    }

    fn pressure_stats(&self) -> Option<PressureStats> {
        let watcher = self.watcher.as_ref()?;
        Some(watcher.stats(self.engine.ledger.asked_bytes()))
    }
}

/// How a [`Residency`] is to work.
#[derive(Debug, Clone)]
#[must_use]
pub struct ResidencyBuilder {
    budget_bytes: Option<usize>,
    low_percent: u8,
    high_percent: u8,
    io_threads: usize,
    account: Option<AccountRef>,
    #[cfg(feature = "pressure")]
    floor_bytes: Option<usize>,
}

#[derive(Clone)]
struct AccountRef(Arc<dyn MemoryAccount>);

impl fmt::Debug for AccountRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("somebody else's")
    }
}

impl Default for ResidencyBuilder {
    fn default() -> Self {
        Self {
            budget_bytes: None,
            low_percent: 50,
            high_percent: 75,
            io_threads: 2,
            account: None,
            #[cfg(feature = "pressure")]
            floor_bytes: None,
        }
    }
}

impl ResidencyBuilder {
    /// Bytes that may be held in memory. Default: [`default_budget_bytes`].
    pub fn budget_bytes(mut self, budget_bytes: usize) -> Self {
        self.budget_bytes = Some(budget_bytes);
        self
    }

    /// Shares of the budget, in percent, for what is not stored yet: above `low`
    /// the background writes, above `high` the caller of `pageout` helps or waits.
    /// What lies above `high` is kept for read-ahead; clean copies fill what
    /// neither needs. Values above 100 count as 100, and `low` above `high` as
    /// `high`. Default: 50 and 75.
    pub fn watermarks(mut self, low_percent: u8, high_percent: u8) -> Self {
        self.high_percent = high_percent.min(100);
        self.low_percent = low_percent.min(self.high_percent);
        self
    }

    /// Number of background threads, started at first use. With zero, callers do
    /// all the work above the high watermark and nothing is fetched ahead.
    /// Default: 2.
    pub fn io_threads(mut self, io_threads: usize) -> Self {
        self.io_threads = io_threads;
        self
    }

    /// Whose memory it is. What is held stays within what the account lends, and within
    /// the budget. Default: the process's own.
    pub fn account(mut self, account: impl MemoryAccount) -> Self {
        self.account = Some(AccountRef(Arc::new(account)));
        self
    }

    /// Follows how short memory is, and lowers the budget meanwhile, to `floor_bytes` at
    /// least. Default: the budget is what it was set to.
    ///
    /// A thread looks at what the machine and every memory cgroup above this process
    /// leave, the page cache counted as free, and is woken by what the kernel reports
    /// ([`PressureStats::watched`]). When less than an eighth of a bound is left (or a
    /// gibibyte), the budget goes down by what is missing; it comes back when there has been
    /// room for one or two seconds. The thread wakes once a second where every bound is
    /// more than a gibibyte away, and up to a hundred times near one. Linux only.
    #[cfg(feature = "pressure")]
    pub fn follow_pressure(mut self, floor_bytes: usize) -> Self {
        self.floor_bytes = Some(floor_bytes);
        self
    }

    /// The residency layer.
    #[must_use]
    pub fn build(self) -> Residency {
        let budget_bytes = self.budget_bytes.unwrap_or_else(default_budget_bytes);
        let watermarks = Watermarks {
            low: self.low_percent,
            high: self.high_percent,
        };
        let lender = self
            .account
            .map(|AccountRef(account)| Lender::new(account, Lender::step_bytes_of(budget_bytes)));
        let engine = Engine::new(
            Ledger::new(budget_bytes, watermarks, lender),
            Pool::new(self.io_threads),
        );
        let engine = Arc::new(engine);
        #[cfg(feature = "pressure")]
        let watch = |floor_bytes| pressure::Watcher::start(&engine, floor_bytes);
        Residency {
            owner: Arc::new(Owner {
                #[cfg(feature = "pressure")]
                watcher: self.floor_bytes.map(watch),
                engine,
            }),
        }
    }
}

impl Residency {
    /// How a residency layer is to work, with the defaults to begin with.
    pub fn builder() -> ResidencyBuilder {
        ResidencyBuilder::default()
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.owner.engine
    }

    /// The engine, for this process only: in a forked child its locks may be held
    /// by threads that are not there.
    fn own_engine(&self) -> Result<&Arc<Engine>> {
        let engine = self.engine();
        if engine.pool().is_own() {
            Ok(engine)
        } else {
            Err(Error::ForeignProcess)
        }
    }

    /// Without room: every `pageout` stores at once, and there are no threads.
    pub(crate) fn none() -> Self {
        Self::builder().budget_bytes(0).io_threads(0).build()
    }

    /// Bytes that may be held in memory: what was asked for, or less while memory is
    /// short and that is followed.
    #[must_use]
    pub fn budget_bytes(&self) -> usize {
        self.engine().ledger.budget_bytes()
    }

    /// Changes the budget. A smaller one is in force when this returns: what was
    /// resident beyond it has been paged out.
    ///
    /// # Errors
    ///
    /// That of a write that failed; the new budget stands, and the background
    /// goes on trying. [`Error::ForeignProcess`] in a forked child.
    pub fn set_budget_bytes(&self, budget_bytes: usize) -> Result<()> {
        let engine = self.own_engine()?;
        engine.ledger.set_budget_bytes(budget_bytes);
        engine.pool().ring();
        engine.keep_within_budget()
    }

    /// Gives at least `bytes` of what is held back, to its [account](MemoryAccount) if it
    /// has one and to the system otherwise: drops spare buffers and copies, writes what
    /// is not stored, and returns how many bytes went. Fewer where no more can go. The
    /// budget stays as it is: later page-outs may hold as much again.
    ///
    /// # Errors
    ///
    /// That of the first write that fails. [`Error::ForeignProcess`] in a forked child.
    pub fn reclaim_bytes(&self, bytes: usize) -> Result<usize> {
        self.own_engine()?.reclaim(bytes)
    }

    /// Gives the warm, empty buffers that are kept for reuse back to the system, and
    /// returns how many bytes they were.
    ///
    /// # Errors
    ///
    /// [`Error::ForeignProcess`] in a forked child.
    pub fn trim(&self) -> Result<usize> {
        Ok(self.own_engine()?.release_spares())
    }

    /// Stores everything that is resident: when this returns, every payload paged
    /// out before the call has left memory.
    ///
    /// # Errors
    ///
    /// That of the first write that fails; its payload stays resident and
    /// readable. [`Error::ForeignProcess`] in a forked child.
    pub fn flush(&self) -> Result<()> {
        self.own_engine()?.flush()
    }

    /// Stores everything that is resident, as [`flush`](Self::flush) does, and
    /// keeps it readable in memory as far as the budget allows.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn write_back(&self) -> Result<()> {
        self.own_engine()?.write_back()
    }

    /// Stores everything and ends the threads. Later page-outs say
    /// [`Error::ShutDown`]; handles stay readable and can be taken.
    ///
    /// # Errors
    ///
    /// As for [`flush`](Self::flush); the threads have ended all the same.
    pub fn shutdown(&self) -> Result<()> {
        let engine = self.own_engine()?;
        #[cfg(feature = "pressure")]
        self.owner.stop_watching();
        engine.pool().stop();
        self.flush()
    }

    /// Whether the last background write failed and none has succeeded since.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.engine().is_failing()
    }

    /// What is resident and what has been done, without stopping anybody. All zero
    /// in a forked child, which holds nothing of it.
    #[must_use]
    pub fn stats(&self) -> ResidencyStats {
        let Ok(engine) = self.own_engine() else {
            return ResidencyStats::default();
        };
        let ledger = &engine.ledger;
        let bytes_of = |kind| ledger.bytes_of(kind) as u64;
        let lender = ledger.lender.as_ref();
        ResidencyStats {
            lent_bytes: lender.map_or(0, |lender| lender.lent_bytes() as u64),
            account_refusals: lender.map_or(0, Lender::refusals),
            account_panics: lender.map_or(0, Lender::panics),
            last_account_refusal: lender.and_then(Lender::last_refusal),
            groups: engine.groups.stats(),
            budget_bytes: ledger.budget_bytes() as u64,
            held_bytes: ledger.held_bytes() as u64,
            peak_held_bytes: ledger.peak_held_bytes() as u64,
            resident_bytes: ledger.resident_bytes() as u64,
            peak_resident_bytes: ledger.peak_resident_bytes() as u64,
            dirty_bytes: bytes_of(Kind::Dirty),
            read_ahead_bytes: bytes_of(Kind::ReadAhead),
            spare_bytes: bytes_of(Kind::Spare),
            transfer_bytes: ledger.transfer_bytes() as u64,
            bookkeeping_bytes: bytes_of(Kind::Bookkeeping),
            spill_bytes: bytes_of(Kind::Spill),
            #[cfg(feature = "pressure")]
            pressure: self.owner.pressure_stats(),
            ..engine.tally.snapshot()
        }
    }
}
