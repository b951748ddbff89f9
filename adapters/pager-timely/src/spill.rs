//! [`Spill`]: what all queues of a process share, and how it is installed.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};

use pager::{Error, Pager};
use timely::communication::Hooks;
use timely::communication::allocator::zero_copy::bytes_slab::BytesRefill;
use timely::communication::allocator::zero_copy::spill::{SpillPolicy, SpillPolicyFn};

use crate::batch::Batch;
use crate::outbox::Outbox;
use crate::reader::Reader;
use crate::rescue::Rescue;
use crate::stats::{Failure, SpillStats, Tally};
use crate::writer::Writer;

/// Buffers that the engine keeps for reuse, of each endpoint that messages are written to.
/// Few, so that it asks for another, and is made to wait, before many of them are waiting.
const KEPT_BUFFERS: usize = 2;

/// When a queue spills, and how much of it is kept at hand.
#[derive(Clone)]
#[must_use]
pub struct Settings {
    pub(crate) threshold_bytes: usize,
    pub(crate) head_bytes: usize,
    pub(crate) batch_bytes: usize,
    pub(crate) ahead_bytes: usize,
    pub(crate) on_failure: Option<OnFailure>,
}

pub(crate) type OnFailure = Arc<dyn Fn(&Error) + Send + Sync>;

impl Default for Settings {
    fn default() -> Self {
        Self {
            threshold_bytes: 8 << 20,
            head_bytes: 4 << 20,
            batch_bytes: 2 << 20,
            ahead_bytes: 16 << 20,
            on_failure: None,
        }
    }
}

impl Settings {
    /// Bytes in memory from which on a queue spills. Default: 8 MiB. Spilling costs a copy
    /// as long as the pager has room, so there is little reason for more.
    pub fn threshold_bytes(mut self, bytes: usize) -> Self {
        self.threshold_bytes = bytes;
        self
    }

    /// Bytes at the front of a queue that stay when it first spills, and that the consumer
    /// gets at once when they come back. Default: 4 MiB.
    pub fn head_bytes(mut self, bytes: usize) -> Self {
        self.head_bytes = bytes;
        self
    }

    /// Bytes of a batch: what is written and read as one. A message that is larger is a batch
    /// of its own. Default: 2 MiB.
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.batch_bytes = bytes.max(1);
        self
    }

    /// Bytes behind the front of a queue that are read before they are wanted. The pager
    /// reads ahead in a quarter of its budget, for all queues together. Default: 16 MiB.
    pub fn ahead_bytes(mut self, bytes: usize) -> Self {
        self.ahead_bytes = bytes;
        self
    }

    /// Called with each failed write or read, on the thread that met it and without a lock:
    /// what failed is in memory, or is tried again.
    pub fn on_failure(mut self, told: impl Fn(&Error) + Send + Sync + 'static) -> Self {
        self.on_failure = Some(Arc::new(told));
        self
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("threshold_bytes", &self.threshold_bytes)
            .field("head_bytes", &self.head_bytes)
            .field("batch_bytes", &self.batch_bytes)
            .field("ahead_bytes", &self.ahead_bytes)
            .finish_non_exhaustive()
    }
}

/// The queues of a process that spill through one pager. Clones are the same.
///
/// ```no_run
/// use std::sync::Arc;
/// use pager::Pager;
/// use pager_timely::{Settings, Spill};
/// use timely::WorkerConfig;
///
/// let settings = Settings::default().on_failure(|error| eprintln!("spilling: {error}"));
/// let spill = Spill::new(Arc::new(Pager::new()), settings);
/// let (builders, guards) =
///     timely::CommunicationConfig::ProcessBinary(2).try_build_with(spill.hooks())?;
/// let workers = timely::execute::execute_from(builders, guards, WorkerConfig::default(), |worker| {
///     worker.index()
/// })?;
/// workers.join();
/// println!("{} bytes were spilled", spill.stats().spilled_bytes);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Spill(pub(crate) Arc<Shared>);

/// What the policies of all queues share.
pub(crate) struct Shared {
    pub(crate) pager: Arc<Pager>,
    pub(crate) settings: Settings,
    pub(crate) outbox: Outbox,
    pub(crate) rescue: Rescue,
    pub(crate) tally: Tally,
}

/// The batches of one queue, in order: what the engine's queue holds and cannot show.
pub(crate) type Lane = Arc<Mutex<VecDeque<Arc<Batch>>>>;

impl Spill {
    /// Queues that spill through `pager`.
    #[must_use]
    pub fn new(pager: Arc<Pager>, settings: Settings) -> Self {
        Self(Arc::new(Shared {
            pager,
            settings,
            outbox: Outbox::default(),
            rescue: Rescue::default(),
            tally: Tally::default(),
        }))
    }

    /// The engine's default hooks, with these policies.
    #[must_use]
    pub fn hooks(&self) -> Hooks {
        let mut hooks = Hooks::default();
        self.install(&mut hooks);
        hooks
    }

    /// Adds the policies to `hooks`, and the waiting to their buffers: what `refill` makes is
    /// what they are made of.
    pub fn install(&self, hooks: &mut Hooks) {
        let (shared, logic) = (Arc::clone(&self.0), Arc::clone(&hooks.refill.logic));
        hooks.refill = BytesRefill {
            logic: Arc::new(move |bytes| {
                shared.outbox.page_out(&shared);
                logic(bytes)
            }),
            limit: Some(hooks.refill.limit.unwrap_or(KEPT_BUFFERS).min(KEPT_BUFFERS)),
        };
        hooks.spill = Some(self.policies());
    }

    /// Pairs of policies, one pair for each queue: what [`install`](Self::install) puts in
    /// place. By themselves they make batches, and nobody pages them out.
    fn policies(&self) -> SpillPolicyFn {
        let shared = Arc::clone(&self.0);
        Arc::new(move || {
            let lane = Lane::default();
            let writer = Writer::new(Arc::clone(&shared), Arc::clone(&lane));
            let reader = Reader::new(Arc::clone(&shared), lane);
            let pair: (Box<dyn SpillPolicy>, Box<dyn SpillPolicy>) =
                (Box::new(writer), Box::new(reader));
            pair
        })
    }

    /// What was done so far, over all queues.
    #[must_use]
    pub fn stats(&self) -> SpillStats {
        self.0.tally.stats()
    }

    /// Why a worker failed, if one did: what could not be read back.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        self.0.tally.failure()
    }
}

impl Shared {
    /// Tells of a failure that lost nothing.
    pub(crate) fn tell(&self, error: &Error) {
        if let Some(told) = &self.settings.on_failure {
            told(error);
        }
    }
}

impl fmt::Debug for Spill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spill")
            .field("settings", &self.0.settings)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
