//! [`LendingPool`]: one memory limit for queries and pager.
//!
//! Another pool decides which query gets how much, as ever. What queries do not use pager
//! borrows, for what they have spilled; when they want it, pager gives it back: it drops what
//! is stored, and writes what is not. So nothing leaves memory while there is room, whoever
//! needs that, and the sum stays within the limit.
//!
//! One book counts both, so that none of them can be given what the other has just got.

use std::error::Error;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use datafusion_common::{DataFusionError, Result, config_datafusion_err, human_readable_size};
use datafusion_execution::memory_pool::{
    GreedyMemoryPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
    TrackConsumersPool,
};
use pager::{MemoryAccount, Pager, PagerBuilder, Residency};

/// How many consumers an error names, as in a pool of DataFusion's own making.
const NAMED_CONSUMERS: NonZeroUsize = NonZeroUsize::new(5).expect("five is not zero");

/// What is reclaimed at a time, at least: so that a query that grows batch by batch does not
/// ask for each.
const STEP_BYTES: usize = 4 << 20;

/// How long is waited for what the pager is using at this moment.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long until it is asked again.
const MOMENT: Duration = Duration::from_millis(1);

/// A memory pool that lends a pager what queries do not use.
///
/// Made from a limit, or around a pool that there is; given to
/// [`Adapter::within`](crate::Adapter::within), which makes the pager. A share of the limit is
/// the pager's whatever queries want: the [reserve](Self::reserve_bytes).
///
/// ```
/// use std::sync::Arc;
/// use datafusion_execution::memory_pool::FairSpillPool;
/// use datafusion_execution::runtime_env::RuntimeEnvBuilder;
/// use pager::{BackendKind, Pager};
/// use pager_datafusion::{Adapter, LendingPool};
///
/// # let scratch = tempfile::tempdir_in("/var/tmp")?;
/// // 224 MiB for queries, divided fairly, and 32 MiB that are always pager's.
/// let fair = Arc::new(FairSpillPool::new(224 << 20));
/// let pool = LendingPool::around(fair, 32 << 20)?;
/// assert_eq!(pool.limit_bytes(), 256 << 20);
/// let pager = Pager::builder()
///     .backend(BackendKind::File)
///     .scratch_dir(scratch.path());
/// let adapter = Adapter::within(pool, pager)?;
/// let runtime = adapter.install(RuntimeEnvBuilder::new())?.build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LendingPool {
    /// Which query gets how much.
    queries: Arc<dyn MemoryPool>,
    book: Arc<Book>,
    reserve_bytes: usize,
    /// Whom to ask for memory: set once there is a pager.
    pager: OnceLock<Residency>,
}

/// What queries and the pager hold together.
#[derive(Debug)]
struct Book {
    limit_bytes: usize,
    /// Raised before it is looked at. Relaxed: the figure is all that it orders.
    held_bytes: AtomicUsize,
    /// Those of them that were lent. Relaxed, a statistic.
    lent_bytes: AtomicUsize,
}

impl Book {
    fn take(&self, bytes: usize) {
        self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: usize) {
        self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What is held beyond the limit.
    fn excess_bytes(&self) -> usize {
        let held_bytes = self.held_bytes.load(Ordering::Relaxed);
        held_bytes.saturating_sub(self.limit_bytes)
    }
}

impl MemoryAccount for Book {
    fn try_grow(&self, bytes: usize) -> Result<(), Box<dyn Error + Send + Sync>> {
        let more = |held: usize| {
            held.checked_add(bytes)
                .filter(|&sum| sum <= self.limit_bytes)
        };
        let taken = self
            .held_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map_err(|held| {
            let left = self.limit_bytes.saturating_sub(held);
            format!("queries leave {}", human_readable_size(left))
        })?;
        self.lent_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn shrink(&self, bytes: usize) {
        self.lent_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.give_back(bytes);
    }
}

impl LendingPool {
    /// A limit for both, of which an eighth, and at least 8 MiB, but never more than half, are
    /// the pager's. Queries get the rest as they ask, as with
    /// [`RuntimeEnvBuilder::with_memory_limit`](datafusion_execution::runtime_env::RuntimeEnvBuilder::with_memory_limit).
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        let reserve_bytes = (limit_bytes / 8).max(8 << 20).min(limit_bytes / 2);
        let queries_bytes = limit_bytes - reserve_bytes;
        let queries = GreedyMemoryPool::new(queries_bytes);
        let queries = TrackConsumersPool::new(queries, NAMED_CONSUMERS);
        Self::of(Arc::new(queries), queries_bytes, reserve_bytes)
    }

    /// A pool that decides over its memory as ever, and the pager's reserve on top of that.
    ///
    /// # Errors
    ///
    /// The pool has no limit that it tells of.
    pub fn around(queries: Arc<dyn MemoryPool>, reserve_bytes: usize) -> Result<Self> {
        match queries.memory_limit() {
            MemoryLimit::Finite(bytes) => Ok(Self::of(queries, bytes, reserve_bytes)),
            MemoryLimit::Infinite | MemoryLimit::Unknown => Err(config_datafusion_err!(
                "A memory pool without a limit has nothing to lend: {queries}"
            )),
        }
    }

    fn of(queries: Arc<dyn MemoryPool>, queries_bytes: usize, reserve_bytes: usize) -> Self {
        let book = Book {
            limit_bytes: queries_bytes.saturating_add(reserve_bytes),
            held_bytes: AtomicUsize::new(queries.reserved()),
            lent_bytes: AtomicUsize::new(0),
        };
        Self {
            queries,
            book: Arc::new(book),
            reserve_bytes,
            pager: OnceLock::new(),
        }
    }

    /// What queries and pager may hold together.
    #[must_use]
    pub fn limit_bytes(&self) -> usize {
        self.book.limit_bytes
    }

    /// What of it queries never get.
    #[must_use]
    pub fn reserve_bytes(&self) -> usize {
        self.reserve_bytes
    }

    /// What is lent at this moment.
    #[must_use]
    pub fn lent_bytes(&self) -> usize {
        self.book.lent_bytes.load(Ordering::Relaxed)
    }

    /// Makes a pager that borrows here: its budget is the limit.
    ///
    /// # Errors
    ///
    /// Those of [`PagerBuilder::build`].
    pub(crate) fn build(&self, pager: PagerBuilder) -> pager::Result<Pager> {
        let account = Arc::clone(&self.book);
        let pager = pager.budget_bytes(self.book.limit_bytes).account(account);
        let pager = pager.build()?;
        // There is none before: whoever has the pool has given it away.
        let _ = self.pager.set(pager.residency().clone());
        Ok(pager)
    }

    /// Has the pager give back what is held beyond the limit, as far as it can.
    ///
    /// What it is writing or reading at this moment it can give back in another, so this
    /// waits a little.
    ///
    /// # Errors
    ///
    /// A write that failed.
    fn reclaim(&self) -> pager::Result<()> {
        let Some(pager) = self.pager.get() else {
            return Ok(());
        };
        let begun = Instant::now();
        loop {
            let excess_bytes = self.book.excess_bytes();
            if excess_bytes == 0 {
                return Ok(());
            }
            let wanted_bytes = excess_bytes.max(STEP_BYTES.min(self.lent_bytes()));
            if pager.reclaim_bytes(wanted_bytes)? >= excess_bytes {
                continue;
            }
            if begun.elapsed() > PATIENCE {
                return Ok(());
            }
            std::thread::sleep(MOMENT);
        }
    }
}

impl MemoryPool for LendingPool {
    fn name(&self) -> &str {
        "lending"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.queries.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.queries.unregister(consumer);
    }

    /// Takes memory that is held already: beyond the limit, if the pager cannot give it back.
    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.queries.grow(reservation, additional);
        self.book.take(additional);
        // Whoever asks next, and can be refused, is told what went wrong.
        let _ = self.reclaim();
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.queries.shrink(reservation, shrink);
        self.book.give_back(shrink);
    }

    /// Takes memory if queries may have so much, and waits for the pager to give it back.
    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.queries.try_grow(reservation, additional)?;
        self.book.take(additional);
        let reclaimed = self.reclaim();
        let excess_bytes = self.book.excess_bytes();
        if excess_bytes == 0 {
            return Ok(());
        }
        self.queries.shrink(reservation, additional);
        self.book.give_back(additional);
        let why = match reclaimed {
            Ok(()) => "it is being read".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(DataFusionError::ResourcesExhausted(format!(
            "Failed to allocate additional {} for {}: {} of the {} that are lent cannot be \
             given back: {why}",
            human_readable_size(additional),
            reservation.consumer().name(),
            human_readable_size(excess_bytes),
            human_readable_size(self.lent_bytes()),
        )))
    }

    /// What queries have reserved; what is lent is none of that.
    fn reserved(&self) -> usize {
        self.queries.reserved()
    }

    /// What queries may reserve.
    fn memory_limit(&self) -> MemoryLimit {
        self.queries.memory_limit()
    }
}

impl fmt::Display for LendingPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "lending(lent: {}, limit: {}, queries: {})",
            human_readable_size(self.lent_bytes()),
            human_readable_size(self.limit_bytes()),
            self.queries
        )
    }
}
