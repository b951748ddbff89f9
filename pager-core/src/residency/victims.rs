//! [`Victims`]: resident payloads in the order in which they became cold.

use std::collections::VecDeque;

use super::pageable::WeakPageable;
use crate::registry::shard::{home_shard, shard_count};
use crate::sync::{AtomicU64, AtomicUsize, Mutex, Ordering, lock};

/// Below this many entries a queue is never searched for dead ones.
const COMPACT_MIN: usize = 64;

/// First-in-first-out queues, one per shard, each payload in at most one of them
/// and at most once.
///
/// A queue holds weak references, so a payload that is taken or dropped simply
/// vanishes; dead references are swept out when a queue has doubled.
#[derive(Debug)]
pub(super) struct Victims {
    shards: Box<[Shard]>,
    /// Relaxed: the order of two page-outs on two threads is nobody's business.
    next_turn: AtomicU64,
    /// Live and dead references together. Relaxed: a hint to skip the search.
    queued: AtomicUsize,
}

/// A payload in memory, and when it became cold.
pub(super) struct Victim {
    /// When it came into memory: a flush asks for it.
    pub(super) turn: u64,
    /// Its place in the queue: its turn, or later if it got a second chance.
    rank: u64,
    pub(super) payload: WeakPageable,
}

impl std::fmt::Debug for Victim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "victim of turn {}", self.turn)
    }
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Victim>,
    compact_at: usize,
}

impl Victims {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..shard_count()).map(|_| Shard::default()).collect(),
            next_turn: AtomicU64::new(1),
            queued: AtomicUsize::new(0),
        }
    }

    /// The turn of a payload that becomes cold now.
    pub(super) fn next_turn(&self) -> u64 {
        self.next_turn.fetch_add(1, Ordering::Relaxed)
    }

    /// A payload that becomes cold now.
    pub(super) fn newcomer(&self, payload: WeakPageable) -> Victim {
        let turn = self.next_turn();
        Victim {
            turn,
            rank: turn,
            payload,
        }
    }

    /// Adds a payload as the warmest there is.
    pub(super) fn push(&self, mut victim: Victim) {
        victim.rank = self.next_turn();
        let mut queue = lock(&self.shards[home_shard()].0);
        self.queued.fetch_add(1, Ordering::Relaxed);
        queue.waiting.push_back(victim);
        self.compact(&mut queue);
    }

    /// Adds a payload as the coldest there is: the next to go.
    pub(super) fn push_coldest(&self, mut victim: Victim) {
        victim.rank = 0;
        let mut queue = lock(&self.shards[home_shard()].0);
        self.queued.fetch_add(1, Ordering::Relaxed);
        queue.waiting.push_front(victim);
        self.compact(&mut queue);
    }

    /// Removes the coldest payload, nearly: the oldest front of all queues, as
    /// they were when each was looked at.
    pub(super) fn pop(&self) -> Option<Victim> {
        while self.queued.load(Ordering::Relaxed) > 0 {
            let oldest = (0..self.shards.len())
                .filter_map(|shard| {
                    let front = lock(&self.shards[shard].0).waiting.front()?.rank;
                    Some((front, shard))
                })
                .min()?
                .1;
            if let Some(victim) = lock(&self.shards[oldest].0).waiting.pop_front() {
                self.queued.fetch_sub(1, Ordering::Relaxed);
                if victim.payload.strong_count() > 0 {
                    return Some(victim);
                }
            }
        }
        None
    }

    /// Removes every payload that became cold before `turn`.
    pub(super) fn drain_before(&self, turn: u64) -> Vec<Victim> {
        let mut drained = Vec::new();
        for shard in &self.shards {
            let mut queue = lock(&shard.0);
            let (older, rest): (VecDeque<_>, _) = std::mem::take(&mut queue.waiting)
                .into_iter()
                .partition(|victim| victim.turn < turn);
            queue.waiting = rest;
            self.queued.fetch_sub(older.len(), Ordering::Relaxed);
            drained.extend(older);
        }
        drained
    }

    /// An upper bound of the payloads that wait here.
    pub(super) fn len(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    fn compact(&self, queue: &mut Queue) {
        if queue.waiting.len() < queue.compact_at.max(COMPACT_MIN) {
            return;
        }
        let before = queue.waiting.len();
        queue
            .waiting
            .retain(|victim| victim.payload.strong_count() > 0);
        self.queued
            .fetch_sub(before - queue.waiting.len(), Ordering::Relaxed);
        queue.compact_at = queue.waiting.len() * 2;
    }
}
