//! [`TransferMemory`]: the buffers that a backend's transfers need, within the budget.

use std::fmt;
use std::sync::Arc;

use super::charge::Charge;
use super::engine::Engine;
use super::kind::Kind;
use super::room::STALL_SLICE;

/// Room for the buffers of transfers, which a backend gets from its registry
/// ([`Backend::attach`](crate::Backend::attach)).
///
/// Buffers in use are bounded: an eighth of the budget, or two of them. So a backend
/// that needs more for its threads is slower under a small budget, and never dead, as
/// long as nobody who holds one waits for another.
#[derive(Clone)]
pub struct TransferMemory {
    engine: Arc<Engine>,
}

/// Bytes of a transfer's buffer, counted until this is dropped.
#[must_use]
pub struct TransferCharge(Charge);

impl TransferCharge {
    /// Counts the buffer as one that is kept for the next transfer; `false` if as many
    /// are held as may be in use, and it has to go.
    #[must_use]
    pub fn try_rest(&self) -> bool {
        self.0.try_rest()
    }

    /// Counts it as in use again; `false` if as many are in use as may be.
    #[must_use]
    pub fn try_resume(&self) -> bool {
        self.0.try_resume()
    }
}

impl TransferMemory {
    pub(crate) fn new(engine: &Arc<Engine>) -> Self {
        Self {
            engine: Arc::clone(engine),
        }
    }

    /// Counts a buffer of `bytes` that is about to be used; `None` if as many are in
    /// use as may be.
    pub fn try_hold(&self, bytes: usize) -> Option<TransferCharge> {
        let charge = self.engine.room_for_transfer(Kind::Transfer, bytes);
        charge.map(TransferCharge)
    }

    /// Counts a workspace of `bytes` that a backend is about to make and to keep; `None`
    /// if there are as many as may be. Who waits for a buffer of a transfer does not wait
    /// for this, whose holder may wait for such a buffer.
    pub fn try_keep_workspace(&self, bytes: usize) -> Option<TransferCharge> {
        let charge = self.engine.room_for_transfer(Kind::Workspace, bytes);
        charge.map(TransferCharge)
    }

    /// Counts `bytes` of an encoded payload that is about to be kept in memory; `None` if
    /// as much is held so as may be.
    #[cfg(feature = "codec")]
    pub(crate) fn try_keep_encoded(&self, bytes: usize) -> Option<TransferCharge> {
        self.engine.room_for_encoded(bytes).map(TransferCharge)
    }

    /// Whether anything may be kept encoded.
    #[cfg(feature = "codec")]
    pub(crate) fn has_tier_share(&self) -> bool {
        self.engine.ledger.encoded_limit_bytes() > 0
    }

    /// Has more of the budget, or less, be for what is kept encoded.
    #[cfg(feature = "codec")]
    pub(crate) fn shift_tier_share(&self, is_more: bool) {
        self.engine.ledger.encoded_share.shift(is_more);
    }

    /// Has `tier` give way when room is wanted.
    #[cfg(feature = "codec")]
    pub(crate) fn has_tier(&self, tier: &std::sync::Weak<dyn super::tiers::Reclaim>) {
        self.engine.tiers.add(tier);
    }

    /// Counts what is remembered of a payload, which no budget can refuse.
    #[cfg(feature = "codec")]
    pub(crate) fn remember(&self, bytes: usize) -> super::charge::Bookkeeping {
        self.engine.bookkeeping(bytes)
    }

    /// Counts a buffer of `bytes` that is about to be used, and waits until it may be.
    pub fn hold(&self, bytes: usize) -> TransferCharge {
        if let Some(charge) = self.try_hold(bytes) {
            return charge;
        }
        self.engine.tally.read_stalls.time(|| {
            loop {
                self.wait();
                if let Some(charge) = self.try_hold(bytes) {
                    return charge;
                }
            }
        })
    }

    /// Waits until one of them may have been given back: for a millisecond at most.
    pub fn wait(&self) {
        self.engine.ledger.wait(STALL_SLICE);
    }
}

impl fmt::Debug for TransferMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory for transfers")
    }
}

impl fmt::Debug for TransferCharge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
