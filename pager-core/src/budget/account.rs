//! [`MemoryAccount`]: memory that is somebody else's, and [`Lender`], what the budget
//! has borrowed of it.
//!
//! The ledger counts what is held, and nobody else does: an account is one more bound
//! on that figure, beside the budget. It is asked for more in steps, when what is about
//! to be held exceeds what it lent, and gets back what is not needed. So the two books,
//! ours and the account's, agree but for a step or two, and the account is asked once
//! for many page-outs.
//!
//! A refusal is a smaller budget for a while: watermarks and shares are then those of
//! what was lent, the background writes accordingly, and the account is asked again
//! later. An account that panics has refused.

use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::memory::{PAGE_BYTES, ProcessStamp};
use crate::sync::{AtomicU64, AtomicUsize, Mutex, Ordering, fence, lock};

/// How long a refusal holds before the account is asked again.
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// Whose memory a budget uses: a pool that queries share, a tenant's allowance, the
/// limit of whoever embeds pager.
///
/// Given to [`ResidencyBuilder::account`](crate::ResidencyBuilder::account). What pager
/// holds stays within what the account has lent, as it stays within the budget: beyond
/// it lie at most the first mebibyte of what is remembered of payloads, and the buffers
/// of two transfers. Pager asks in steps of a sixteenth of the budget (64 KiB to 8 MiB)
/// and gives back what it does not need; when the last clone of the budget and its last
/// payload are gone, all of it.
///
/// Both methods may be called on any thread, on several at once, while a payload is
/// being dropped, and with locks of pager's held: they are short and never call pager.
/// A panic in either is caught and counted; one in `try_grow` counts as a refusal.
///
/// ```
/// # mod in_memory { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/in_memory.inc")); }
/// # use in_memory::InMemory;
/// use std::error::Error;
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use pager_core::{MemoryAccount, Registry, Residency};
///
/// /// So many bytes are left.
/// struct Pool(AtomicUsize);
///
/// impl MemoryAccount for Pool {
///     fn try_grow(&self, bytes: usize) -> Result<(), Box<dyn Error + Send + Sync>> {
///         let less = |left: usize| left.checked_sub(bytes);
///         let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
///         taken.map(drop).map_err(|left| format!("{left} bytes are left").into())
///     }
///
///     fn shrink(&self, bytes: usize) {
///         self.0.fetch_add(bytes, Ordering::Relaxed);
///     }
/// }
///
/// let pool = Arc::new(Pool(AtomicUsize::new(64 << 20)));
/// let residency = Residency::builder().account(Arc::clone(&pool)).build();
/// let registry = Registry::with_residency(InMemory, &residency);
/// let handle = registry.pageout(&mut [vec![7; 1 << 20]])?;
/// assert!(residency.stats().lent_bytes >= 8 << 20);
/// drop((handle, registry, residency));
/// assert_eq!(pool.0.load(Ordering::Relaxed), 64 << 20);
/// # Ok::<(), pager_core::Error>(())
/// ```
pub trait MemoryAccount: Send + Sync + 'static {
    /// Lends `bytes` more.
    ///
    /// # Errors
    ///
    /// Why not. Pager then does with what it has: it drops copies, writes, has callers
    /// help or wait, or stores at once what it cannot keep. The text of the last refusal
    /// is in [`ResidencyStats`](crate::ResidencyStats).
    fn try_grow(&self, bytes: usize) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// Gets `bytes` back of what it has lent.
    fn shrink(&self, bytes: usize);
}

impl<A: MemoryAccount + ?Sized> MemoryAccount for Arc<A> {
    fn try_grow(&self, bytes: usize) -> Result<(), Box<dyn Error + Send + Sync>> {
        (**self).try_grow(bytes)
    }

    fn shrink(&self, bytes: usize) {
        (**self).shrink(bytes);
    }
}

/// An account, and what it has lent.
pub(super) struct Lender {
    account: Arc<dyn MemoryAccount>,
    step_bytes: usize,
    /// Never more than the account has given: raised after it gave, lowered before it
    /// gets back.
    lent_bytes: AtomicUsize,
    /// What it had lent when it last refused, and no bound if it has not since. Relaxed:
    /// a guess at what it would lend.
    ceiling_bytes: AtomicUsize,
    /// When it is to be asked again, in microseconds since `begun`. Relaxed, as the
    /// statistics are.
    ask_at_micros: AtomicU64,
    begun: Instant,
    refusals: AtomicU64,
    panics: AtomicU64,
    last_refusal: Mutex<Option<String>>,
    owner: ProcessStamp,
}

impl Lender {
    /// The step in which a budget of this size borrows.
    pub(super) fn step_bytes_of(budget_bytes: usize) -> usize {
        (budget_bytes / 16)
            .clamp(64 << 10, 8 << 20)
            .next_multiple_of(PAGE_BYTES)
    }

    /// Nothing is lent yet.
    pub(super) fn new(account: Arc<dyn MemoryAccount>, step_bytes: usize) -> Self {
        Self {
            account,
            step_bytes,
            lent_bytes: AtomicUsize::new(0),
            ceiling_bytes: AtomicUsize::new(usize::MAX),
            ask_at_micros: AtomicU64::new(0),
            begun: Instant::now(),
            refusals: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            last_refusal: Mutex::new(None),
            owner: ProcessStamp::current(),
        }
    }

    pub(super) fn lent_bytes(&self) -> usize {
        self.lent_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    pub(super) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    pub(super) fn last_refusal(&self) -> Option<String> {
        lock(&self.last_refusal).clone()
    }

    /// What the account would lend, as far as is known.
    pub(super) fn ceiling_bytes(&self) -> usize {
        self.ceiling_bytes.load(Ordering::Relaxed)
    }

    /// Has the account lend what `held_bytes` needs, which the caller has raised before;
    /// `false` if it does not.
    ///
    /// Who raises looks at what is lent afterwards, who takes back looks at what is held
    /// afterwards, each past a fence: one of the two sees the other.
    pub(super) fn covers(&self, held_bytes: impl Fn() -> usize, budget_bytes: usize) -> bool {
        loop {
            fence(Ordering::SeqCst);
            let (held_bytes, lent_bytes) = (held_bytes(), self.lent_bytes());
            if held_bytes <= lent_bytes {
                return true;
            }
            if !self.grow(held_bytes - lent_bytes, budget_bytes) {
                return false;
            }
        }
    }

    /// Asks for a step if the account has refused and its time has come; `true` if it
    /// lends more now.
    pub(super) fn ask_again(&self, budget_bytes: usize) -> bool {
        let room_bytes = budget_bytes.saturating_sub(self.lent_bytes());
        self.ceiling_bytes() < budget_bytes
            && room_bytes > 0
            && self.grow(self.step_bytes.min(room_bytes), budget_bytes)
    }

    /// Borrows `needed_bytes`, and more up to a step if it can be had.
    fn grow(&self, needed_bytes: usize, budget_bytes: usize) -> bool {
        if !self.may_ask() {
            return false;
        }
        let room_bytes = budget_bytes.saturating_sub(self.lent_bytes());
        let whole_bytes = needed_bytes
            .checked_next_multiple_of(self.step_bytes)
            .unwrap_or(needed_bytes)
            .min(room_bytes)
            .max(needed_bytes);
        let mut asked_bytes = whole_bytes;
        while self.borrow(asked_bytes).is_err() {
            if asked_bytes == needed_bytes {
                self.lower_ceiling();
                let retry_at = self.begun.elapsed() + RETRY_AFTER;
                let micros = u64::try_from(retry_at.as_micros()).unwrap_or(u64::MAX);
                self.ask_at_micros.store(micros, Ordering::Relaxed);
                return false;
            }
            // Less than a step may be left.
            asked_bytes = (asked_bytes / 2).max(needed_bytes);
        }
        if asked_bytes == whole_bytes {
            self.ceiling_bytes.store(usize::MAX, Ordering::Relaxed);
        } else {
            self.lower_ceiling();
        }
        true
    }

    fn lower_ceiling(&self) {
        self.ceiling_bytes
            .store(self.lent_bytes(), Ordering::Relaxed);
    }

    /// Whether the account has not refused of late. The model checker has no clock:
    /// there it may always be asked.
    fn may_ask(&self) -> bool {
        let ask_at = self.ask_at_micros.load(Ordering::Relaxed);
        ask_at == 0 || cfg!(pager_shuttle) || self.begun.elapsed() >= Duration::from_micros(ask_at)
    }

    fn borrow(&self, bytes: usize) -> Result<(), ()> {
        let asked = catch_unwind(AssertUnwindSafe(|| self.account.try_grow(bytes)));
        let refusal = match asked {
            Ok(Ok(())) => {
                self.lent_bytes.fetch_add(bytes, Ordering::Relaxed);
                return Ok(());
            }
            Ok(Err(refusal)) => refusal.to_string(),
            Err(_) => {
                self.panics.fetch_add(1, Ordering::Relaxed);
                "the account panicked".to_owned()
            }
        };
        self.refusals.fetch_add(1, Ordering::Relaxed);
        *lock(&self.last_refusal) = Some(refusal);
        Err(())
    }

    /// Gives back what is not needed: all where nothing is held, else what exceeds it by
    /// two steps, but for one.
    pub(super) fn settle(&self, held_bytes: impl Fn() -> usize) {
        let (held, lent_bytes) = (held_bytes(), self.lent_bytes());
        let kept_bytes = if held == 0 { 0 } else { held + self.step_bytes };
        let spare_bytes = lent_bytes.saturating_sub(kept_bytes);
        if spare_bytes >= self.step_bytes || (held == 0 && spare_bytes > 0) {
            self.give_back(spare_bytes, held_bytes);
        }
    }

    /// Gives `bytes` back, or what of it is not needed; returns how many.
    pub(super) fn give_back(&self, bytes: usize, held_bytes: impl Fn() -> usize) -> usize {
        if !self.owner.is_current() {
            // The account is the parent's, and its locks may be held there.
            return 0;
        }
        let lent_bytes = self.lent_bytes();
        let spare_bytes = lent_bytes.saturating_sub(held_bytes()).min(bytes);
        let lowered = lent_bytes - spare_bytes;
        let changed = self.lent_bytes.compare_exchange(
            lent_bytes,
            lowered,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        if spare_bytes == 0 || changed.is_err() {
            // Whoever changed it looks, too.
            return 0;
        }
        fence(Ordering::SeqCst);
        if held_bytes() > lowered {
            self.lent_bytes.fetch_add(spare_bytes, Ordering::Relaxed);
            return 0;
        }
        self.repay(spare_bytes);
        spare_bytes
    }

    fn repay(&self, bytes: usize) {
        if catch_unwind(AssertUnwindSafe(|| self.account.shrink(bytes))).is_err() {
            self.panics.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Lender {
    fn drop(&mut self) {
        let lent_bytes = *self.lent_bytes.get_mut();
        if lent_bytes > 0 && self.owner.is_current() {
            self.repay(lent_bytes);
        }
    }
}

impl fmt::Debug for Lender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes lent", self.lent_bytes())
    }
}
