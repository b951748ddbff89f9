//! [`Class`]: the slots of one size that nobody holds, and the regions of address
//! space that they are cut from.
//!
//! A region is *idle* when all of its slots are free and cold. Cold slots are taken
//! from the region with the lowest number that has one, so that the others run
//! empty and become idle; an idle region can be given back whole.
//!
//! Knows no lock and makes no system call but by what it hands out: whoever drops
//! the pieces of a region unmaps it, and does so when no lock is held.

use std::collections::BTreeSet;

use slab::Slab;

use super::mapping::Piece;

/// One slot, and which region of its class it belongs to.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) piece: Piece,
    region: usize,
}

/// The free slots of one size.
#[derive(Debug, Default)]
pub(super) struct Class {
    /// Last in first out.
    warm: Vec<Slot>,
    regions: Slab<Region>,
    /// The regions that have a cold slot.
    with_cold: BTreeSet<usize>,
    /// Address space of all regions.
    mapped_bytes: usize,
}

/// Slots that were mapped together.
#[derive(Debug)]
struct Region {
    /// Has room for all of them from the beginning on.
    cold: Vec<Piece>,
    count: usize,
}

/// What becomes of a region that has just become idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Idle {
    /// It stays mapped.
    Kept,
    /// It goes.
    Unmapped,
}

impl Region {
    fn is_idle(&self) -> bool {
        self.cold.len() == self.count
    }

    fn mapped_bytes(&self) -> usize {
        self.cold.first().map_or(0, Piece::len_bytes) * self.count
    }
}

impl Class {
    /// Address space of this size, held or free.
    pub(super) fn mapped_bytes(&self) -> usize {
        self.mapped_bytes
    }

    /// The slot that became free last.
    pub(super) fn take_warm(&mut self) -> Option<Slot> {
        self.warm.pop()
    }

    pub(super) fn put_warm(&mut self, slot: Slot) {
        self.warm.push(slot);
    }

    /// A cold slot, and the bytes of the region that is no longer idle by that.
    pub(super) fn take_cold(&mut self) -> Option<(Slot, usize)> {
        let key = *self.with_cold.first()?;
        let region = &mut self.regions[key];
        let idle_bytes = if region.is_idle() {
            region.mapped_bytes()
        } else {
            0
        };
        let piece = region.cold.pop()?;
        if region.cold.is_empty() {
            self.with_cold.remove(&key);
        }
        Some((Slot { piece, region: key }, idle_bytes))
    }

    /// Takes a cold slot back. If its region is idle by that, `judge` is told its
    /// bytes and says what becomes of it; the pieces of one that goes are returned,
    /// and unmap it when they are dropped.
    pub(super) fn put_cold(
        &mut self,
        slot: Slot,
        judge: impl FnOnce(usize) -> Idle,
    ) -> Option<Vec<Piece>> {
        let key = slot.region;
        let region = &mut self.regions[key];
        if region.cold.is_empty() {
            self.with_cold.insert(key);
        }
        region.cold.push(slot.piece);
        let is_going = region.is_idle() && judge(region.mapped_bytes()) == Idle::Unmapped;
        is_going.then(|| self.remove(key))
    }

    /// Adds a region of pieces just mapped, and takes the first of them.
    ///
    /// `None` and nothing changed if there are none.
    pub(super) fn add_region(&mut self, mut pieces: Vec<Piece>) -> Option<Slot> {
        // The rest is taken from its end: in the order of addresses.
        pieces.reverse();
        let count = pieces.len();
        let piece = pieces.pop()?;
        self.mapped_bytes += piece.len_bytes() * count;
        let key = self.regions.insert(Region {
            cold: pieces,
            count,
        });
        if count > 1 {
            self.with_cold.insert(key);
        }
        Some(Slot { piece, region: key })
    }

    /// An idle region, which unmaps itself when its pieces are dropped, and its
    /// bytes. Allocates nothing: it is asked for when memory is short.
    pub(super) fn take_idle(&mut self) -> Option<(Vec<Piece>, usize)> {
        let is_idle = |key: &usize| self.regions[*key].is_idle();
        let key = self.with_cold.iter().copied().find(is_idle)?;
        let idle_bytes = self.regions[key].mapped_bytes();
        Some((self.remove(key), idle_bytes))
    }

    fn remove(&mut self, key: usize) -> Vec<Piece> {
        let region = self.regions.remove(key);
        self.with_cold.remove(&key);
        self.mapped_bytes -= region.mapped_bytes();
        region.cold
    }
}
