//! [`Order`]: what was stored after what.
//!
//! A batch's chunks are stored one after the other when it is made, and loaded in that order
//! when it is merged or read. Each has a number; whoever is loaded asks for the next ones.

use std::collections::BTreeMap;

use pager::Hint;

/// The live chunks of one worker by number. Keeps no payload alive.
#[derive(Default)]
pub(crate) struct Order {
    next: u64,
    chunks: BTreeMap<u64, Stored>,
}

struct Stored {
    hint: Hint,
    len_bytes: usize,
    is_asked: bool,
}

impl Order {
    /// Notes a chunk that has just been stored, and gives it a number.
    pub(crate) fn push(&mut self, hint: Hint, len_bytes: usize) -> u64 {
        let number = self.next;
        self.next += 1;
        let stored = Stored {
            hint,
            len_bytes,
            is_asked: false,
        };
        self.chunks.insert(number, stored);
        number
    }

    /// Forgets a chunk.
    pub(crate) fn remove(&mut self, number: u64) {
        self.chunks.remove(&number);
    }

    /// Asks for the chunks after this one, up to `ahead_bytes`, each once for each time that
    /// it is loaded.
    pub(crate) fn read_ahead(&mut self, number: u64, ahead_bytes: usize) {
        let mut bytes = 0;
        for stored in self
            .chunks
            .range_mut(number + 1..)
            .map(|(_, stored)| stored)
        {
            bytes += stored.len_bytes;
            if bytes > ahead_bytes {
                break;
            }
            if !std::mem::replace(&mut stored.is_asked, true) {
                stored.hint.prefetch();
            }
        }
        if let Some(loaded) = self.chunks.get_mut(&number) {
            loaded.is_asked = false;
        }
    }
}
