//! [`Outbox`]: batches that are to be copied into the pager.
//!
//! A policy runs under its queue's lock, so it only notes what there is. The copying, and the
//! waiting for room, is done where the engine asks for a buffer to write more messages into:
//! there no lock is held, and whoever produces is whoever has to wait. A buffer that is in a
//! batch cannot be used again until the batch is copied, so the engine asks as soon as a few
//! are.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};

use crate::batch::Batch;
use crate::lock;
use crate::spill::Shared;

/// What waits to be copied, the oldest first; those that were consumed meanwhile are nothing.
#[derive(Default)]
pub(crate) struct Outbox(Mutex<VecDeque<Weak<Batch>>>);

impl Outbox {
    pub(crate) fn push(&self, batch: &Arc<Batch>) {
        lock(&self.0).push_back(Arc::downgrade(batch));
    }

    /// Copies all that waits into the pager; waits where the pager does. A failure ends it:
    /// what is left stays in memory, and is tried again the next time.
    pub(crate) fn page_out(&self, shared: &Shared) {
        while let Some(waiting) = self.pop() {
            let Some(batch) = waiting.upgrade() else {
                continue;
            };
            match batch.page_out(&shared.pager) {
                Ok(true) => shared.tally.spilled(batch.len_bytes()),
                Ok(false) => {}
                Err(error) => {
                    lock(&self.0).push_front(waiting);
                    shared.tally.write_failed();
                    shared.tell(&error);
                    return;
                }
            }
        }
    }

    fn pop(&self) -> Option<Weak<Batch>> {
        lock(&self.0).pop_front()
    }
}
