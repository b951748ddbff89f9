//! Anonymous mappings, cut into pieces that own their range.
//!
//! The only module of the workspace that maps memory. A [`Piece`] is the unique
//! owner of its bytes, so nothing here can be reached twice, and it keeps the
//! mapping it was cut from alive. A mapping is private: a forked child finds in
//! pages of its own what it held, and cannot reach its parent's.
//!
//! No advice is needed for any of that. What the kernel, or a sandbox, does not
//! know costs speed, or space in a core dump, and nothing else.
//!
//! Under Miri, and where there is no `mmap`, a mapping is an allocation.

#![allow(unsafe_code, reason = "maps, unmaps and discards anonymous memory")]

use std::io;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::Arc;

use bytemuck::Pod;

use super::{ElementLayout, HUGE_PAGE_BYTES};

/// One mapping, aligned to [`HUGE_PAGE_BYTES`], unmapped on drop.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    len_bytes: usize,
}

// SAFETY: a `Mapping` only unmaps its range on drop, from whichever thread.
unsafe impl Send for Mapping {}
// SAFETY: as above; there is no access through a shared reference.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: every `Piece` holds an `Arc` of its mapping, so none is left
        // that could reach the range, and it was made by `system::map`.
        unsafe { system::unmap(self.start, self.len_bytes) }
    }
}

/// What the kernel is told of a new mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Advice {
    /// Whether huge pages are wanted behind it (`MADV_HUGEPAGE`).
    pub(super) huge_pages: bool,
    /// Whether a core dump contains it, or not (`MADV_DONTDUMP`).
    pub(super) core_dumps: bool,
}

/// A range of a mapping with exactly one owner. Its bytes are uninitialised as
/// far as anybody may know.
#[derive(Debug)]
pub(super) struct Piece {
    /// Aligned to a page.
    start: NonNull<u8>,
    len_bytes: usize,
    _mapping: Arc<Mapping>,
}

// SAFETY: a `Piece` is the unique owner of plain memory.
unsafe impl Send for Piece {}
// SAFETY: through a shared reference its memory can only be read.
unsafe impl Sync for Piece {}

impl Piece {
    /// Maps `count` pieces of `piece_bytes` each, a multiple of the page size,
    /// lying one after the other from a huge-page boundary on.
    ///
    /// # Errors
    ///
    /// `ENOMEM` and what else `mmap` may say; no memory for the list.
    pub(super) fn map(piece_bytes: usize, count: usize, advice: Advice) -> io::Result<Vec<Self>> {
        let len_bytes = piece_bytes * count;
        let mut pieces = Vec::new();
        pieces
            .try_reserve_exact(count)
            .map_err(|_| io::ErrorKind::OutOfMemory)?;
        let start = system::map(len_bytes, advice)?;
        let mapping = Arc::new(Mapping { start, len_bytes });
        pieces.extend((0..count).map(|index| Self {
            // SAFETY: `index * piece_bytes` is within the mapping.
            start: unsafe { start.add(index * piece_bytes) },
            len_bytes: piece_bytes,
            _mapping: Arc::clone(&mapping),
        }));
        Ok(pieces)
    }

    /// Bytes that fit.
    pub(super) fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// The first `len` elements.
    ///
    /// # Safety
    ///
    /// Their bytes have been written since the piece was mapped or discarded.
    pub(super) unsafe fn elements<T: Pod>(&self, len: usize) -> &[T] {
        let start = self.of_elements(len);
        // SAFETY: the range is within the piece, which the reference keeps
        // borrowed, and aligned; any bytes make an element, and the caller vouches
        // that there are some.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
    }

    /// The first `len` elements, to be changed in place.
    ///
    /// # Safety
    ///
    /// As for [`Piece::elements`].
    pub(super) unsafe fn elements_mut<T: Pod>(&mut self, len: usize) -> &mut [T] {
        let start = self.of_elements(len);
        // SAFETY: as for `elements`, and the piece is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), len) }
    }

    /// All whole elements of the piece, to be written.
    pub(super) fn spare<T: Pod>(&mut self) -> &mut [MaybeUninit<T>] {
        let len = self.len_bytes / ElementLayout::of::<T>().bytes();
        let start = self.of_elements::<T>(len);
        // SAFETY: the piece is valid for its length, aligned, exclusively borrowed, and
        // `MaybeUninit` asks nothing of its content.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr().cast(), len) }
    }

    /// Where `len` elements begin, which fit.
    fn of_elements<T: Pod>(&self, len: usize) -> NonNull<T> {
        // Refuses types that a page is not aligned for.
        let element = ElementLayout::of::<T>();
        debug_assert!(
            len * element.bytes() <= self.len_bytes,
            "the piece is shorter"
        );
        self.start.cast()
    }

    /// Gives the memory, and the swap space behind it, back to the system
    /// without I/O (`MADV_DONTNEED`); the piece stays usable and reads as zeros.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the process has locked its memory (`mlockall`); the memory
    /// then stays as it was.
    pub(super) fn discard(&mut self) -> io::Result<()> {
        let len_bytes = self.len_bytes();
        // SAFETY: the range belongs to this piece alone, and its content is lost
        // by contract.
        unsafe { system::discard(self.start, len_bytes) }
    }
}

/// A page with counters that say whether a process is that which it was.
#[cfg(all(target_os = "linux", not(miri)))]
#[derive(Debug)]
pub(super) struct StampPage {
    piece: Piece,
    is_wiped: bool,
}

#[cfg(all(target_os = "linux", not(miri)))]
impl StampPage {
    /// Maps one such page.
    ///
    /// # Errors
    ///
    /// No memory.
    pub(super) fn new() -> io::Result<Self> {
        let advice = Advice {
            huge_pages: false,
            core_dumps: true,
        };
        let piece = Piece::map(rustix::param::page_size(), 1, advice)?.remove(0);
        let is_wiped = system::wipe_on_fork(piece.start, piece.len_bytes()).is_ok();
        Ok(Self { piece, is_wiped })
    }

    /// Whether the kernel wipes it in every forked child.
    pub(super) fn is_wiped(&self) -> bool {
        self.is_wiped
    }

    /// A number that is zero at first, and in every child if the page is wiped.
    pub(super) fn cell(&self) -> &std::sync::atomic::AtomicU64 {
        // SAFETY: the page is mapped for as long as `self`, aligned, zeroed by
        // the system, and reached through this cell only.
        unsafe { std::sync::atomic::AtomicU64::from_ptr(self.piece.start.as_ptr().cast()) }
    }
}

#[cfg(all(unix, not(miri)))]
mod system {
    use super::{Advice, HUGE_PAGE_BYTES, NonNull, io};
    use crate::seam::{self, Call};
    use rustix::mm::{self, MapFlags, ProtFlags};

    /// Whether the call may be made: always, except in tests that let it fail.
    fn ask(call: Call) -> io::Result<()> {
        seam::enter(call).map_err(io::Error::from_raw_os_error)
    }

    /// Maps `len_bytes`, a multiple of the page size, at one of the huge page size.
    pub(super) fn map(len_bytes: usize, advice: Advice) -> io::Result<NonNull<u8>> {
        // Anonymous mappings come page-aligned: map one huge page more and cut
        // both ends off.
        let wide_bytes = len_bytes + HUGE_PAGE_BYTES;
        let flags = MapFlags::PRIVATE | reserve_flags();
        ask(Call::Mmap)?;
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let wide = unsafe {
            mm::mmap_anonymous(
                std::ptr::null_mut(),
                wide_bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                flags,
            )
        }?;
        let wide = NonNull::new(wide.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let head_bytes = wide.addr().get().next_multiple_of(HUGE_PAGE_BYTES) - wide.addr().get();
        // SAFETY: `head_bytes` is less than a huge page, so within the mapping.
        let start = unsafe { wide.add(head_bytes) };
        // SAFETY: the end of the wanted range is within the mapping as well.
        let end = unsafe { start.add(len_bytes) };
        // SAFETY: nobody knows these addresses yet.
        unsafe { unmap(wide, head_bytes) };
        // SAFETY: as above.
        unsafe { unmap(end, wide_bytes - head_bytes - len_bytes) };
        advise_new(start, len_bytes, advice);
        Ok(start)
    }

    #[cfg(target_os = "linux")]
    fn reserve_flags() -> MapFlags {
        // Most of a mapping is cold slots without memory behind them.
        MapFlags::NORESERVE
    }

    #[cfg(not(target_os = "linux"))]
    fn reserve_flags() -> MapFlags {
        MapFlags::empty()
    }

    /// Gives advice that nothing depends on: whoever refuses it is not told again.
    #[cfg(target_os = "linux")]
    fn advise_new(start: NonNull<u8>, len_bytes: usize, advice: Advice) {
        let give = |advice| {
            if ask(Call::Madvise).is_ok() {
                // SAFETY: the range was mapped by the caller, and none of the two
                // pieces of advice below changes any content.
                let _ = unsafe { mm::madvise(start.as_ptr().cast(), len_bytes, advice) };
            }
        };
        if advice.huge_pages {
            // A kernel without huge pages says EINVAL; the memory works all the
            // same, and the swap backend's diagnosis tells.
            give(mm::Advice::LinuxHugepage);
        }
        if !advice.core_dumps {
            give(mm::Advice::LinuxDontDump);
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn advise_new(_: NonNull<u8>, _: usize, _: Advice) {}

    /// Asks for zeros in every forked child (`MADV_WIPEONFORK`, Linux 4.14).
    #[cfg(target_os = "linux")]
    pub(super) fn wipe_on_fork(start: NonNull<u8>, len_bytes: usize) -> io::Result<()> {
        ask(Call::Madvise)?;
        // SAFETY: the range was mapped by the caller; the advice takes effect in
        // children only.
        unsafe {
            mm::madvise(
                start.as_ptr().cast(),
                len_bytes,
                mm::Advice::LinuxWipeOnFork,
            )
        }?;
        Ok(())
    }

    /// # Safety
    ///
    /// The range was mapped by [`map`] and nobody will reach it again.
    pub(super) unsafe fn unmap(start: NonNull<u8>, len_bytes: usize) {
        if len_bytes == 0 {
            return;
        }
        // SAFETY: by contract.
        let unmap = || unsafe { mm::munmap(start.as_ptr().cast(), len_bytes) };
        // It can only fail by splitting a mapping when the process is at its limit
        // of mappings. The address space is then leaked, but no memory with it.
        if ask(Call::Munmap).is_err() || unmap().is_err() {
            // SAFETY: by contract.
            let _ = unsafe { discard(start, len_bytes) };
        }
    }

    /// # Safety
    ///
    /// The range was mapped by [`map`], and its content is not needed any more.
    pub(super) unsafe fn discard(start: NonNull<u8>, len_bytes: usize) -> io::Result<()> {
        ask(Call::Madvise)?;
        #[cfg(target_os = "linux")]
        // SAFETY: by contract.
        unsafe {
            mm::madvise(start.as_ptr().cast(), len_bytes, mm::Advice::LinuxDontNeed)?;
        }
        #[cfg(not(target_os = "linux"))]
        // SAFETY: by contract; on other systems the advice keeps or drops the
        // content as the system likes.
        unsafe {
            mm::madvise(start.as_ptr().cast(), len_bytes, mm::Advice::DontNeed)?;
        }
        Ok(())
    }
}

#[cfg(not(all(unix, not(miri))))]
mod system {
    use super::{Advice, HUGE_PAGE_BYTES, NonNull, io};
    use std::alloc::{self, Layout};

    fn layout(len_bytes: usize) -> io::Result<Layout> {
        Layout::from_size_align(len_bytes, HUGE_PAGE_BYTES)
            .map_err(|_| io::ErrorKind::OutOfMemory.into())
    }

    pub(super) fn map(len_bytes: usize, _: Advice) -> io::Result<NonNull<u8>> {
        let layout = layout(len_bytes)?;
        // SAFETY: mappings are never empty.
        let start = unsafe { alloc::alloc_zeroed(layout) };
        NonNull::new(start).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// # Safety
    ///
    /// The range was mapped by [`map`] and nobody will reach it again.
    pub(super) unsafe fn unmap(start: NonNull<u8>, len_bytes: usize) {
        if let Ok(layout) = layout(len_bytes) {
            // SAFETY: by contract, allocated with this layout.
            unsafe { alloc::dealloc(start.as_ptr(), layout) }
        }
    }

    /// # Safety
    ///
    /// The range was mapped by [`map`], and its content is not needed any more.
    pub(super) unsafe fn discard(start: NonNull<u8>, len_bytes: usize) -> io::Result<()> {
        // SAFETY: by contract.
        unsafe { start.write_bytes(0, len_bytes) };
        Ok(())
    }
}
