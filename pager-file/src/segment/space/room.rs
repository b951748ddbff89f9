//! What a page-out does when the medium is full: it makes room of what is free here.
//!
//! There are two places where "full" shows, the promise of storage and the write
//! itself: on a file system without `fallocate` (ext2, ext3), or where overwriting
//! takes new storage (copies on write), only the write can tell. Both make room in the
//! same way: what was freed is joined and cut anew, which costs nothing; if that does
//! not do, holes are punched, and the file system has the storage back.

use pager_core::SizeClass;

use super::super::file::Outcome;
use super::super::span::Extent;
use super::Space;

/// How often a page-out that finds the medium full makes room and tries again: others
/// may take or free extents in between.
const MAX_ATTEMPTS: usize = 16;

impl Space {
    /// Bytes that the file system has got back so far.
    pub(in super::super) fn given_bytes(&self) -> u64 {
        self.punches.given_bytes()
    }

    /// Makes room for an extent of `class` after `attempts` that found the medium full;
    /// whether another is worth while. There were `given_bytes` before the last one.
    pub(in super::super) fn makes_room(
        &self,
        class: SizeClass,
        given_bytes: u64,
        attempts: usize,
    ) -> bool {
        if attempts > MAX_ATTEMPTS {
            return false;
        }
        {
            let mut allocator = self.lock();
            allocator.rejoin();
            if allocator.has_fresh(class) {
                return true;
            }
        }
        // What cannot be given back stays for reuse.
        let _ = self.trim();
        self.punches.have_given_since(given_bytes)
    }

    /// Gives the storage of an extent that could not be written back to the file
    /// system, if the medium `is_full`, since part of it was written. Otherwise, and
    /// where that cannot be done, the extent comes back.
    pub(in super::super) fn give_back(&self, extent: Extent, is_full: bool) -> Option<Extent> {
        if !is_full || !matches!(self.punch(extent.span()), Ok(Outcome::Done)) {
            return Some(extent);
        }
        self.lock().withdraw(&extent);
        None
    }
}
