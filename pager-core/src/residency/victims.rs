//! [`Victims`]: payloads in memory in the order in which they became cold.

use std::collections::VecDeque;

use super::pageable::WeakPageable;
use crate::registry::shard::{home_shard, shard_count};
use crate::sync::{AtomicU64, AtomicUsize, Mutex, Ordering, lock};

/// Below this many entries a queue is never searched for dead ones.
const COMPACT_MIN: usize = 64;

/// First-in-first-out queues, one per shard.
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
    /// Those among them that are wanted later than all others. Relaxed, likewise.
    late: AtomicUsize,
}

/// A payload in memory, and when it became cold.
pub(super) struct Victim {
    /// When it came into memory: a flush asks for it.
    pub(super) turn: u64,
    /// Its place in the queue: its turn, or later if it got a second chance, or
    /// zero if it is to go before all others.
    rank: u64,
    /// Whether it is said to be wanted later than all others.
    late: bool,
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
            late: AtomicUsize::new(0),
        }
    }

    /// The turn of a payload that becomes cold now.
    pub(super) fn next_turn(&self) -> u64 {
        self.next_turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Adds a payload that becomes cold now, as the warmest there is.
    pub(super) fn push_new(&self, payload: WeakPageable) {
        let turn = self.next_turn();
        let victim = Victim {
            turn,
            rank: turn,
            late: false,
            payload,
        };
        self.insert(victim, VecDeque::push_back);
    }

    /// Adds a payload that becomes cold now and is wanted later than all others.
    pub(super) fn push_late(&self, payload: WeakPageable) {
        let victim = Victim {
            turn: self.next_turn(),
            rank: 0,
            late: true,
            payload,
        };
        self.insert(victim, VecDeque::push_front);
    }

    /// Adds a payload again, as the warmest there is.
    pub(super) fn push(&self, mut victim: Victim) {
        victim.rank = self.next_turn();
        victim.late = false;
        self.insert(victim, VecDeque::push_back);
    }

    /// Adds a payload again, as the next to go.
    pub(super) fn push_coldest(&self, mut victim: Victim) {
        victim.rank = 0;
        victim.late = false;
        self.insert(victim, VecDeque::push_front);
    }

    /// Adds a payload that was in other queues before, where its age puts it.
    pub(super) fn push_from(&self, mut victim: Victim) {
        let was_late = victim.late || victim.rank == 0;
        victim.late = false;
        victim.turn = self.next_turn();
        if was_late {
            victim.rank = 0;
            self.insert(victim, VecDeque::push_front);
        } else {
            victim.rank = victim.turn;
            self.insert(victim, VecDeque::push_back);
        }
    }

    fn insert(&self, victim: Victim, end: fn(&mut VecDeque<Victim>, Victim)) {
        let mut queue = lock(&self.shards[home_shard()].0);
        self.count_in(&victim);
        end(&mut queue.waiting, victim);
        self.compact(&mut queue);
    }

    /// Removes the coldest payload, nearly: the oldest front of all queues, as
    /// they were when each was looked at.
    pub(super) fn pop(&self) -> Option<Victim> {
        self.pop_ranked_below(u64::MAX)
    }

    /// Removes the coldest payload if its rank, the turn at which it came or last
    /// got a second chance, is below `rank`.
    pub(super) fn pop_ranked_below(&self, rank: u64) -> Option<Victim> {
        while self.len() > 0 {
            let (_, shard) = (0..self.shards.len())
                .filter_map(|shard| {
                    let front = lock(&self.shards[shard].0).waiting.front()?.rank;
                    Some((front, shard))
                })
                .min()
                .filter(|(oldest, _)| *oldest < rank)?;
            let popped = lock(&self.shards[shard].0).waiting.pop_front();
            if let Some(victim) = popped {
                self.count_out(&victim);
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
            older.iter().for_each(|victim| self.count_out(victim));
            drained.extend(older);
        }
        drained
    }

    /// An upper bound of the payloads that wait here.
    pub(super) fn len(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Whether any of them is wanted later than all others.
    pub(super) fn has_late(&self) -> bool {
        self.late.load(Ordering::Relaxed) > 0
    }

    fn compact(&self, queue: &mut Queue) {
        if queue.waiting.len() < queue.compact_at.max(COMPACT_MIN) {
            return;
        }
        queue.waiting.retain(|victim| {
            let lives = victim.payload.strong_count() > 0;
            if !lives {
                self.count_out(victim);
            }
            lives
        });
        queue.compact_at = queue.waiting.len() * 2;
    }

    fn count_in(&self, victim: &Victim) {
        self.queued.fetch_add(1, Ordering::Relaxed);
        self.late
            .fetch_add(usize::from(victim.late), Ordering::Relaxed);
    }

    fn count_out(&self, victim: &Victim) {
        self.queued.fetch_sub(1, Ordering::Relaxed);
        self.late
            .fetch_sub(usize::from(victim.late), Ordering::Relaxed);
    }
}
