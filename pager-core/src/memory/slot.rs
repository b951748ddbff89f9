//! [`ArenaSlot`]: memory of an arena, as a value that goes back into it.

use std::mem::ManuallyDrop;

use super::Arena;
use super::class::Slot;
use super::mapping::Piece;

/// A slot of an arena, freed into it on drop.
#[derive(Debug)]
pub(super) struct ArenaSlot {
    slot: ManuallyDrop<Slot>,
    arena: Arena,
    cold_on_drop: bool,
}

impl ArenaSlot {
    pub(super) fn new(slot: Slot, arena: Arena) -> Self {
        Self {
            slot: ManuallyDrop::new(slot),
            arena,
            cold_on_drop: false,
        }
    }

    pub(super) fn piece(&self) -> &Piece {
        &self.slot.piece
    }

    pub(super) fn piece_mut(&mut self) -> &mut Piece {
        &mut self.slot.piece
    }

    pub(super) fn arena(&self) -> &Arena {
        &self.arena
    }

    /// Marks the slot as one that may have swap space behind it, to be given
    /// back with the memory when the slot is freed.
    pub(super) fn chill_on_drop(&mut self) {
        self.cold_on_drop = true;
    }

    /// Whether that was said.
    pub(super) fn chills_on_drop(&self) -> bool {
        self.cold_on_drop
    }
}

impl Drop for ArenaSlot {
    #[allow(unsafe_code, reason = "moves a field out on drop")]
    fn drop(&mut self) {
        if !self.arena.is_own() {
            // A forked child: its own copy of the memory goes, but the place is the
            // parent's arena's, whose locks may be held by threads that are not
            // here. What is refused stays until the child ends.
            let _ = self.slot.piece.discard();
            return;
        }
        // SAFETY: the slot is being dropped, so the field is not used again.
        let slot = unsafe { ManuallyDrop::take(&mut self.slot) };
        self.arena.take_back(slot, self.cold_on_drop);
    }
}
