//! [`Victims`]: payloads in memory in the order in which they became cold.

use std::collections::VecDeque;

use super::pageable::WeakPageable;
use crate::registry::shard::{home_shard, shard_count};
use crate::sync::{AtomicU64, AtomicUsize, Mutex, Ordering, lock};

/// Below this many entries a queue is never searched for dead ones.
const COMPACT_MIN: usize = 64;

/// First-in-first-out queues, two per shard: those that are said to be wanted
/// later than all others, which go first, and the rest.
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
    /// The late ones among them. Relaxed, likewise.
    late: AtomicUsize,
    /// Bytes of those. Relaxed, likewise.
    late_bytes: AtomicUsize,
}

/// A payload in memory, and when it became cold.
pub(super) struct Victim {
    /// When it came into memory: a flush asks for it.
    pub(super) turn: u64,
    /// Its place in the queue: its turn, or later if it got a second chance.
    rank: u64,
    /// Whether it goes before all that are not.
    is_late: bool,
    bytes: usize,
    pub(super) payload: WeakPageable,
}

impl std::fmt::Debug for Victim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "victim of turn {}", self.turn)
    }
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Queues>);

#[derive(Debug, Default)]
struct Queues {
    late: VecDeque<Victim>,
    others: VecDeque<Victim>,
    compact_at: usize,
}

impl Queues {
    fn of(&mut self, is_late: bool) -> &mut VecDeque<Victim> {
        if is_late {
            &mut self.late
        } else {
            &mut self.others
        }
    }
}

impl Victims {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..shard_count()).map(|_| Shard::default()).collect(),
            next_turn: AtomicU64::new(1),
            queued: AtomicUsize::new(0),
            late: AtomicUsize::new(0),
            late_bytes: AtomicUsize::new(0),
        }
    }

    /// The turn of a payload that becomes cold now.
    pub(super) fn next_turn(&self) -> u64 {
        self.next_turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Adds a payload of `bytes` that becomes cold now.
    pub(super) fn push_new(&self, payload: WeakPageable, bytes: usize, is_late: bool) {
        let turn = self.next_turn();
        let victim = Victim {
            turn,
            rank: turn,
            is_late,
            bytes,
            payload,
        };
        self.insert(victim, VecDeque::push_back);
    }

    /// Adds a payload that was in other queues before, with a turn of this one.
    pub(super) fn push_from(&self, mut victim: Victim) {
        victim.turn = self.next_turn();
        victim.rank = victim.turn;
        self.insert(victim, VecDeque::push_back);
    }

    /// Adds a payload again, as the warmest there is.
    pub(super) fn push_warmest(&self, mut victim: Victim) {
        victim.rank = self.next_turn();
        victim.is_late = false;
        self.insert(victim, VecDeque::push_back);
    }

    /// Adds a payload again, as the next to go.
    pub(super) fn push_coldest(&self, mut victim: Victim) {
        victim.rank = 0;
        victim.is_late = true;
        self.insert(victim, VecDeque::push_front);
    }

    fn insert(&self, victim: Victim, end: fn(&mut VecDeque<Victim>, Victim)) {
        let mut queues = lock(&self.shards[home_shard()].0);
        self.count_in(&victim);
        end(queues.of(victim.is_late), victim);
        self.compact(&mut queues);
    }

    /// Removes the coldest payload: a late one if there is any, else the oldest.
    pub(super) fn pop(&self) -> Option<Victim> {
        self.pop_late(0)
            .or_else(|| self.pop_oldest(false, u64::MAX))
    }

    /// Removes the oldest late payload, if more than `kept_count` are late.
    pub(super) fn pop_late(&self, kept_count: usize) -> Option<Victim> {
        if self.late_len() <= kept_count {
            return None;
        }
        self.pop_oldest(true, u64::MAX)
    }

    /// Removes the oldest payload if it came, or last got a second chance, before
    /// `turn`. For queues without late ones.
    pub(super) fn pop_before(&self, turn: u64) -> Option<Victim> {
        self.pop_oldest(false, turn)
    }

    /// Removes the oldest of one kind, nearly: the oldest front of all queues, as
    /// they were when each was looked at.
    fn pop_oldest(&self, is_late: bool, turn: u64) -> Option<Victim> {
        while self.len() > 0 {
            let (_, shard) = (0..self.shards.len())
                .filter_map(|shard| {
                    let mut queues = lock(&self.shards[shard].0);
                    let front = queues.of(is_late).front()?.rank;
                    Some((front, shard))
                })
                .min()
                .filter(|(oldest, _)| *oldest < turn)?;
            let popped = lock(&self.shards[shard].0).of(is_late).pop_front();
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
            let mut queues = lock(&shard.0);
            for is_late in [true, false] {
                let queue = queues.of(is_late);
                let (older, rest): (VecDeque<_>, _) = std::mem::take(queue)
                    .into_iter()
                    .partition(|victim| victim.turn < turn);
                *queue = rest;
                older.iter().for_each(|victim| self.count_out(victim));
                drained.extend(older);
            }
        }
        drained
    }

    /// An upper bound of the payloads that wait here.
    pub(super) fn len(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// An upper bound of the late ones among them.
    pub(super) fn late_len(&self) -> usize {
        self.late.load(Ordering::Relaxed)
    }

    /// An upper bound of the bytes of the late ones.
    pub(super) fn late_bytes(&self) -> usize {
        self.late_bytes.load(Ordering::Relaxed)
    }

    fn compact(&self, queues: &mut Queues) {
        let count = queues.late.len() + queues.others.len();
        if count < queues.compact_at.max(COMPACT_MIN) {
            return;
        }
        for is_late in [true, false] {
            queues.of(is_late).retain(|victim| {
                let lives = victim.payload.strong_count() > 0;
                if !lives {
                    self.count_out(victim);
                }
                lives
            });
        }
        queues.compact_at = 2 * (queues.late.len() + queues.others.len());
    }

    fn count_in(&self, victim: &Victim) {
        self.queued.fetch_add(1, Ordering::Relaxed);
        if victim.is_late {
            self.late.fetch_add(1, Ordering::Relaxed);
            self.late_bytes.fetch_add(victim.bytes, Ordering::Relaxed);
        }
    }

    fn count_out(&self, victim: &Victim) {
        self.queued.fetch_sub(1, Ordering::Relaxed);
        if victim.is_late {
            self.late.fetch_sub(1, Ordering::Relaxed);
            self.late_bytes.fetch_sub(victim.bytes, Ordering::Relaxed);
        }
    }
}
