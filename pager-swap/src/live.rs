//! [`Live`]: the addresses of all live payloads, to be looked up in the page
//! table. Sharded by address; a lock is held for a slab operation or a copy of a
//! few addresses, never across a system call.

use std::sync::{Mutex, MutexGuard, PoisonError};

use slab::Slab;

use crate::pagemap::Span;

/// Enough that sixteen threads seldom meet; a power of two.
const SHARD_COUNT: usize = 32;

/// Where the bytes of one payload are.
#[derive(Debug)]
pub(crate) enum Spans {
    /// In one piece.
    One(Span),
    /// In several.
    Many(Box<[Span]>),
}

impl Spans {
    fn as_slice(&self) -> &[Span] {
        match self {
            Self::One(span) => std::slice::from_ref(span),
            Self::Many(spans) => spans,
        }
    }
}

/// Where an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    shard: usize,
    index: usize,
}

/// The addresses of all live payloads.
#[derive(Debug)]
pub(crate) struct Live(Box<[Shard]>);

/// Aligned so that neighbours share no cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Slab<Spans>>);

impl Live {
    pub(crate) fn new() -> Self {
        Self((0..SHARD_COUNT).map(|_| Shard::default()).collect())
    }

    pub(crate) fn insert(&self, spans: Spans) -> Key {
        let shard = shard_of(&spans);
        let index = self.lock(shard).insert(spans);
        Key { shard, index }
    }

    pub(crate) fn remove(&self, key: Key) {
        // The value is dropped after the lock.
        let removed = self.lock(key.shard).try_remove(key.index);
        drop(removed);
    }

    /// Number of payloads; each shard is exact, the sum is of nearly one moment.
    pub(crate) fn len(&self) -> usize {
        (0..SHARD_COUNT).map(|shard| self.lock(shard).len()).sum()
    }

    /// All addresses, sorted; `None` if there is no memory for the list.
    pub(crate) fn sorted(&self) -> Option<Vec<Span>> {
        let mut all = Vec::new();
        for shard in 0..SHARD_COUNT {
            for (_, spans) in &*self.lock(shard) {
                all.try_reserve(spans.as_slice().len()).ok()?;
                all.extend_from_slice(spans.as_slice());
            }
        }
        all.sort_unstable();
        Some(all)
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, Slab<Spans>> {
        // A slab is whole between its calls.
        self.0[shard]
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Spreads addresses that differ by any slot size.
fn shard_of(spans: &Spans) -> usize {
    let page = spans
        .as_slice()
        .first()
        .map_or(0, |span| span.pages(crate::advise::Rounding::Outward).start);
    let mixed = (page as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    usize::try_from(mixed >> (u64::BITS - SHARD_COUNT.ilog2())).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_sorted_until_removed() {
        let words = vec![0u8; 32_768];
        let live = Live::new();
        let (front, back) = words.split_at(8192);
        let many = live.insert(Spans::Many([Span::of(back)].into()));
        let one = live.insert(Spans::One(Span::of(front)));
        assert_eq!(live.sorted().unwrap(), [Span::of(front), Span::of(back)]);
        live.remove(many);
        assert_eq!(live.sorted().unwrap(), [Span::of(front)]);
        live.remove(one);
        assert_eq!(live.len(), 0);
    }
}
