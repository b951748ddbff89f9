//! [`Spares`]: a few warm, empty buffers of `Vec`s, within the budget.
//!
//! A `Vec` that was paged out in the background, or that a take put aside, is
//! handed to the next caller in place of the one it gave away. So neither side
//! pays for page faults on fresh memory, and nothing is zeroed.

use super::charge::Charge;
use crate::memory::{ElementLayout, HeapBuf, PAGE_BYTES, release_buf};
use crate::sync::{Mutex, lock};

/// Vecs kept at most, so that a search is short.
const MAX_COUNT: usize = 16;

/// Smaller ones are not worth keeping: the allocator has them warm.
const MIN_BYTES: usize = 8 << 10;

/// A buffer that somebody has a use for: room for so many bytes of such elements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fit {
    pub(crate) len_bytes: usize,
    pub(crate) element: ElementLayout,
}

impl Fit {
    /// None has a use.
    pub(crate) const NONE: Self = Self {
        len_bytes: usize::MAX,
        element: ElementLayout::BYTES,
    };

    /// Whether `buf` can become a `Vec` of these elements, has room for them and for at
    /// most a page more: what is held is what is charged.
    pub(super) fn is_served_by(self, buf: &HeapBuf) -> bool {
        let most = self.len_bytes.saturating_add(PAGE_BYTES);
        (self.len_bytes..=most).contains(&buf.capacity_bytes())
            && buf.align_bytes() == self.element.align_bytes()
            && buf.capacity_bytes().is_multiple_of(self.element.bytes())
    }
}

/// A bounded stock of empty buffers with capacity.
#[derive(Debug)]
pub(super) struct Spares {
    stock: Mutex<Vec<(HeapBuf, Charge)>>,
}

impl Spares {
    pub(super) fn new() -> Self {
        Self {
            stock: Mutex::new(Vec::new()),
        }
    }

    /// Keeps `buf` for later, with a charge of its own or with the one that `hold`
    /// gets for it; gives it back to the system if there is none, or the stock is full.
    pub(super) fn put(&self, mut buf: HeapBuf, hold: impl FnOnce() -> Option<Charge>) {
        buf.clear();
        let charge = if buf.capacity_bytes() >= MIN_BYTES {
            hold()
        } else {
            None
        };
        if let Some(charge) = charge {
            let mut stock = lock(&self.stock);
            if stock.len() < MAX_COUNT {
                stock.push((buf, charge));
                return;
            }
        }
        // Freed outside the lock.
        release_buf(buf);
    }

    /// An empty buffer that fits: the one put here last.
    pub(super) fn get(&self, fit: Fit) -> Option<HeapBuf> {
        let mut stock = lock(&self.stock);
        let found = stock.iter().rposition(|(buf, _)| fit.is_served_by(buf))?;
        let (buf, charge) = stock.swap_remove(found);
        drop(stock);
        drop(charge);
        Some(buf)
    }

    /// Takes one buffer out, whatever its size: its room is wanted.
    pub(super) fn take_one(&self) -> Option<(HeapBuf, Charge)> {
        lock(&self.stock).pop()
    }
}
