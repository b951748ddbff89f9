//! [`Queue`]: what may leave memory, in the order in which it became cold.
//!
//! An entry is there as long as the charge that put it there, and no longer: what is
//! gone costs nothing. Whoever takes an entry out holds a [`Taken`], which is known
//! under the same lock under which the entry left, so that nobody who asks whether
//! something is left misses it in between.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::pageable::{Pageable, Place, WeakPageable};
use crate::registry::table::{home_shard, shard_count};
use crate::sync::{AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering, lock};

/// First-in-first-out queues, two per shard: what is said to be wanted later than
/// all else, which goes first, and the rest.
#[derive(Debug)]
pub(super) struct Queue {
    shards: Box<[Shard]>,
    /// Relaxed: the order of two page-outs on two threads is nobody's business.
    next_turn: AtomicU64,
    /// Relaxed, like the next: changed under a shard's lock, read as a hint.
    len: AtomicUsize,
    late_len: AtomicUsize,
    /// Relaxed: counted by the charges, read as a hint.
    late_bytes: AtomicUsize,
}

/// A place in a queue: a turn, and the shard that it is in. Unique, never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(u64);

impl Rank {
    fn new(turn: u64) -> Self {
        Self(turn * shard_count() as u64 + home_shard() as u64)
    }

    /// The same shard at a later turn.
    fn later(self, turn: u64) -> Self {
        Self(turn * shard_count() as u64 + self.shard() as u64)
    }

    pub(super) fn number(self) -> u64 {
        self.0
    }

    pub(super) fn of_number(number: u64) -> Option<Self> {
        (number > 0).then_some(Self(number))
    }

    fn turn(self) -> u64 {
        self.0 / shard_count() as u64
    }

    fn shard(self) -> usize {
        usize::try_from(self.0 % shard_count() as u64).unwrap_or_default()
    }
}

/// What is put into a queue: the part of `owner` that begins at word `piece`.
pub(super) struct Listing {
    pub(super) owner: WeakPageable,
    pub(super) piece: usize,
}

struct Entry {
    listing: Listing,
    /// When it became cold: a flush asks for it. Its rank is later if it got a
    /// second chance.
    turn: u64,
}

#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    late: BTreeMap<Rank, Entry>,
    others: BTreeMap<Rank, Entry>,
    /// What has been taken out and is still being looked at: rank, turn.
    taken: Vec<(Rank, u64)>,
}

impl Entries {
    fn of(&mut self, is_late: bool) -> &mut BTreeMap<Rank, Entry> {
        if is_late {
            &mut self.late
        } else {
            &mut self.others
        }
    }
}

/// Something that was taken out, until it is decided what becomes of it.
pub(super) struct Taken<'a> {
    queue: &'a Queue,
    rank: Rank,
    piece: usize,
    owner: WeakPageable,
}

impl Taken<'_> {
    /// The payload, if it is still wanted, and where in it the piece begins.
    pub(super) fn piece(&self) -> Option<(Arc<dyn Pageable>, usize)> {
        Some((self.owner.upgrade()?, self.piece))
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut entries = self.queue.lock(self.rank.shard());
        if let Some(at) = entries
            .taken
            .iter()
            .position(|(rank, _)| *rank == self.rank)
        {
            entries.taken.swap_remove(at);
        }
    }
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..shard_count()).map(|_| Shard::default()).collect(),
            next_turn: AtomicU64::new(1),
            len: AtomicUsize::new(0),
            late_len: AtomicUsize::new(0),
            late_bytes: AtomicUsize::new(0),
        }
    }

    /// The turn of what becomes cold now.
    pub(super) fn next_turn(&self) -> u64 {
        self.next_turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Adds what becomes cold now.
    pub(super) fn push_new(&self, listing: Listing, is_late: bool) -> Rank {
        let turn = self.next_turn();
        let rank = Rank::new(turn);
        let mut entries = self.lock(rank.shard());
        self.insert(&mut entries, rank, is_late, Entry { listing, turn });
        rank
    }

    /// Adds again what was taken out at `rank`; if it is still there, moves it.
    pub(super) fn push_again(
        &self,
        listing: Listing,
        rank: Rank,
        is_late: bool,
        place: Place,
    ) -> Rank {
        let mut entries = self.lock(rank.shard());
        let taken = entries.taken.iter().find(|(taken, _)| *taken == rank);
        let turn = taken.map_or(rank.turn(), |(_, turn)| *turn);
        for is_late in [true, false] {
            if entries.of(is_late).remove(&rank).is_some() {
                self.count_out(is_late);
            }
        }
        let rank = match place {
            Place::AsBefore => rank,
            Place::Warmest => rank.later(self.next_turn()),
        };
        self.insert(&mut entries, rank, is_late, Entry { listing, turn });
        rank
    }

    /// Removes what is at `rank`, if it is still there.
    pub(super) fn remove(&self, rank: Rank, is_late: bool) {
        let mut entries = self.lock(rank.shard());
        let removed = entries.of(is_late).remove(&rank);
        if let Some(entry) = removed {
            self.count_out(is_late);
            drop(entries);
            // The last reference to an entry that is gone frees its memory.
            drop(entry);
        }
    }

    /// Takes out the coldest: something late if there is any, else the oldest.
    pub(super) fn take(&self) -> Option<Taken<'_>> {
        self.take_late(0)
            .or_else(|| self.take_oldest(false, u64::MAX))
    }

    /// Takes out the oldest that is late, if more than `kept_count` are.
    pub(super) fn take_late(&self, kept_count: usize) -> Option<Taken<'_>> {
        if self.late_len() <= kept_count {
            return None;
        }
        self.take_oldest(true, u64::MAX)
    }

    /// Takes out the oldest if it came, or last got a second chance, before `turn`.
    pub(super) fn take_before(&self, turn: u64) -> Option<Taken<'_>> {
        self.take_oldest(false, turn)
    }

    /// Compares the fronts of all shards, as they were when each was looked at.
    fn take_oldest(&self, is_late: bool, turn: u64) -> Option<Taken<'_>> {
        while self.len() > 0 {
            let oldest = (0..self.shards.len())
                .filter_map(|shard| {
                    let mut entries = self.lock(shard);
                    let first = entries.of(is_late).first_key_value();
                    first.map(|(rank, _)| *rank)
                })
                .min()
                .filter(|rank| rank.turn() < turn)?;
            if let Some(taken) = self.take_at(oldest, is_late) {
                return Some(taken);
            }
        }
        None
    }

    /// Takes out what is at `rank`, if it is still there.
    pub(super) fn take_at(&self, rank: Rank, is_late: bool) -> Option<Taken<'_>> {
        let mut entries = self.lock(rank.shard());
        let entry = entries.of(is_late).remove(&rank)?;
        entries.taken.push((rank, entry.turn));
        self.count_out(is_late);
        drop(entries);
        let Listing { owner, piece } = entry.listing;
        Some(Taken {
            queue: self,
            rank,
            piece,
            owner,
        })
    }

    /// Where everything is that became cold before `turn`, late or not.
    pub(super) fn older_than(&self, turn: u64) -> Vec<(Rank, bool)> {
        let mut older = Vec::new();
        for shard in 0..self.shards.len() {
            let mut entries = self.lock(shard);
            for is_late in [true, false] {
                let of_kind = entries.of(is_late).iter();
                let old = of_kind.filter(|(_, entry)| entry.turn < turn);
                older.extend(old.map(|(rank, _)| (*rank, is_late)));
            }
        }
        older.sort_unstable();
        older
    }

    /// Whether anything that became cold before `turn` is still being looked at.
    pub(super) fn is_taken_before(&self, turn: u64) -> bool {
        (0..self.shards.len()).any(|shard| {
            let entries = self.lock(shard);
            entries.taken.iter().any(|(_, taken)| *taken < turn)
        })
    }

    /// How many are here.
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// How many of them are late.
    pub(super) fn late_len(&self) -> usize {
        self.late_len.load(Ordering::Relaxed)
    }

    /// Bytes of the late ones, and of those that are taken out and undecided.
    pub(super) fn late_bytes(&self) -> usize {
        self.late_bytes.load(Ordering::Relaxed)
    }

    /// Counts bytes of something late that is listed, as long as it is.
    pub(super) fn add_late(&self, bytes: usize) {
        self.late_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn sub_late(&self, bytes: usize) {
        self.late_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn insert(&self, entries: &mut Entries, rank: Rank, is_late: bool, entry: Entry) {
        self.len.fetch_add(1, Ordering::Relaxed);
        if is_late {
            self.late_len.fetch_add(1, Ordering::Relaxed);
        }
        entries.of(is_late).insert(rank, entry);
    }

    fn count_out(&self, is_late: bool) {
        self.len.fetch_sub(1, Ordering::Relaxed);
        if is_late {
            self.late_len.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, Entries> {
        lock(&self.shards[shard].0)
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a shard of a queue")
    }
}
