//! [`Reader`]: the policy that brings batches back at a queue's front.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Waker};

use timely::communication::allocator::zero_copy::bytes_exchange::QueueEntry;
use timely::communication::allocator::zero_copy::spill::SpillPolicy;

use crate::batch::{Batch, Found};
use crate::lock;
use crate::signal::Signal;
use crate::spill::{Lane, Shared};
use crate::stats::Failure;

/// Runs before each drain, under the queue's lock; begins I/O and waits for none.
pub(crate) struct Reader {
    shared: Arc<Shared>,
    lane: Lane,
    /// Of the thread that drains the queue.
    signal: Arc<Signal>,
    waker: Waker,
    /// How many batches at the front have been asked for.
    asked: usize,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, lane: Lane) -> Self {
        let signal = Arc::new(Signal::default());
        Self {
            shared,
            lane,
            waker: Waker::from(Arc::clone(&signal)),
            signal,
            asked: 0,
        }
    }

    /// The front batch, if it is here; otherwise it is on its way, and the consumer is woken
    /// when it has come.
    fn take(&self, batch: &Arc<Batch>) -> Option<Vec<timely::bytes::arc::Bytes>> {
        match batch.poll_take(&mut Context::from_waker(&self.waker)) {
            Ok(Found::Entries(entries, was_out)) => {
                if was_out {
                    self.shared.tally.returned(batch.len_bytes());
                }
                Some(entries)
            }
            Ok(Found::Coming) => None,
            Ok(Found::Stuck) => {
                self.shared.tally.rescued();
                self.shared.rescue.ask(&self.shared, batch, &self.waker);
                None
            }
            Err(failure) => self.fail(&failure),
        }
    }

    /// Asks for what comes next, as far as it is wanted ahead.
    fn read_ahead(&mut self) {
        let mut ahead_bytes = 0;
        for (index, batch) in lock(&self.lane).iter().enumerate() {
            ahead_bytes += batch.len_bytes();
            if ahead_bytes > self.shared.settings.ahead_bytes {
                return;
            }
            if index >= self.asked {
                if !batch.read_ahead() {
                    return;
                }
                self.asked = index + 1;
            }
        }
    }

    /// Ends the worker, and with it the computation: what it should have read is not there.
    fn fail(&self, failure: &Failure) -> ! {
        self.shared.tally.fail(failure);
        panic!("{failure}: {}", failure.cause());
    }
}

impl SpillPolicy for Reader {
    fn apply(&mut self, queue: &mut VecDeque<QueueEntry>) {
        self.signal.listen();
        let (mut at, mut ready_bytes) = (0, 0);
        while let Some(entry) = queue.get(at) {
            if let QueueEntry::Bytes(bytes) = entry {
                ready_bytes += bytes.len();
                at += 1;
                continue;
            }
            // At least one batch, however large.
            if ready_bytes > 0 && ready_bytes >= self.shared.settings.head_bytes {
                break;
            }
            let Some(front) = lock(&self.lane).front().cloned() else {
                break;
            };
            let Some(entries) = self.take(&front) else {
                break;
            };
            lock(&self.lane).pop_front();
            self.asked = self.asked.saturating_sub(1);
            queue.remove(at);
            for (index, entry) in entries.into_iter().enumerate() {
                queue.insert(at + index, QueueEntry::Bytes(entry));
            }
        }
        self.read_ahead();
        if at == 0 && !queue.is_empty() {
            self.shared.tally.stalled();
            queue.push_front(QueueEntry::Bytes(self.signal.pause()));
        }
    }
}
