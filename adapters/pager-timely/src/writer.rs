//! [`Writer`]: the policy that makes batches of a queue's end.

use std::collections::VecDeque;
use std::sync::Arc;

use timely::bytes::arc::Bytes;
use timely::communication::allocator::zero_copy::bytes_exchange::QueueEntry;
use timely::communication::allocator::zero_copy::spill::SpillPolicy;

use crate::batch::{Batch, Claim};
use crate::lock;
use crate::spill::{Lane, Shared};

/// Runs after each push, under the queue's lock, and moves pointers.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    lane: Lane,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, lane: Lane) -> Self {
        Self { shared, lane }
    }

    /// From where on entries may become batches, if there are enough of them. The last one
    /// stays, for the engine merges into it what comes next.
    fn spills_from(&self, queue: &VecDeque<QueueEntry>) -> Option<usize> {
        let settings = &self.shared.settings;
        let last = queue.len().checked_sub(1)?;
        let start = queue
            .iter()
            .rposition(|entry| matches!(entry, QueueEntry::Paged(_)))
            .map_or(0, |paged| paged + 1);
        let (limit_bytes, kept_bytes) = match start {
            0 => (settings.threshold_bytes, settings.head_bytes),
            // The queue has spilled and is not through with it.
            _ => (settings.batch_bytes, 0),
        };
        let mut behind = queue.range(start..last.max(start));
        if behind.clone().map(len_bytes).sum::<usize>() <= limit_bytes {
            return None;
        }
        let mut kept = 0;
        let first = behind.position(|entry| {
            kept += len_bytes(entry);
            kept > kept_bytes
        });
        first.map(|first| start + first)
    }
}

impl SpillPolicy for Writer {
    fn apply(&mut self, queue: &mut VecDeque<QueueEntry>) {
        let Some(start) = self.spills_from(queue) else {
            return;
        };
        let batch_bytes = self.shared.settings.batch_bytes;
        let mut behind = queue.split_off(start);
        let last = behind.pop_back();
        let mut batches = Vec::new();
        let (mut entries, mut bytes) = (Vec::<Bytes>::new(), 0);
        for entry in behind {
            // Nothing behind the last paged entry is paged.
            let QueueEntry::Bytes(entry) = entry else {
                continue;
            };
            if !entries.is_empty() && bytes + entry.len() > batch_bytes {
                batches.push(std::mem::take(&mut entries));
                bytes = 0;
            }
            bytes += entry.len();
            entries.push(entry);
        }
        let mut lane = lock(&self.lane);
        for entries in batches {
            let batch = Arc::new(Batch::new(entries));
            self.shared.tally.batched(batch.len_bytes());
            self.shared.outbox.push(&batch);
            lane.push_back(Arc::clone(&batch));
            queue.push_back(QueueEntry::Paged(Box::new(Claim(batch))));
        }
        // Less than a batch stays, until more has come.
        queue.extend(entries.into_iter().map(QueueEntry::Bytes));
        queue.extend(last);
    }
}

fn len_bytes(entry: &QueueEntry) -> usize {
    match entry {
        QueueEntry::Bytes(bytes) => bytes.len(),
        QueueEntry::Paged(_) => 0,
    }
}
