//! Anonymous mappings, cut into pieces that own their range.
//!
//! The only module of the workspace that maps memory. A [`Piece`] is the unique
//! owner of its bytes, so nothing here can be reached twice, and it keeps the
//! mapping it was cut from alive. On Linux a mapping is wiped in a forked child:
//! the child finds zeros in pages of its own and cannot reach its parent's.
//!
//! Under Miri, and where there is no `mmap`, a mapping is an allocation.

#![allow(unsafe_code, reason = "maps, unmaps and discards anonymous memory")]

use std::io;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::Arc;

use super::HUGE_PAGE_BYTES;

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

/// A range of a mapping with exactly one owner. Its bytes are uninitialised as
/// far as anybody may know.
#[derive(Debug)]
pub(super) struct Piece {
    start: NonNull<u64>,
    len_words: usize,
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
    pub(super) fn map(piece_bytes: usize, count: usize, huge: bool) -> io::Result<Vec<Self>> {
        let len_bytes = (piece_bytes * count).next_multiple_of(HUGE_PAGE_BYTES);
        let mut pieces = Vec::new();
        pieces
            .try_reserve_exact(count)
            .map_err(|_| io::ErrorKind::OutOfMemory)?;
        let start = system::map(len_bytes, huge)?;
        let mapping = Arc::new(Mapping { start, len_bytes });
        pieces.extend((0..count).map(|index| Self {
            // SAFETY: `index * piece_bytes` is within the mapping.
            start: unsafe { start.add(index * piece_bytes) }.cast(),
            len_words: piece_bytes / size_of::<u64>(),
            _mapping: Arc::clone(&mapping),
        }));
        Ok(pieces)
    }

    /// Words that fit.
    pub(super) fn len_words(&self) -> usize {
        self.len_words
    }

    /// Bytes that fit.
    pub(super) fn len_bytes(&self) -> usize {
        self.len_words * size_of::<u64>()
    }

    /// The first `len` words.
    ///
    /// # Safety
    ///
    /// They have been written since the piece was mapped or discarded, or
    /// nothing but whole initialised words was ever written to them.
    pub(super) unsafe fn words(&self, len: usize) -> &[u64] {
        debug_assert!(len <= self.len_words, "the piece is shorter");
        // SAFETY: the range is within the piece, which the reference keeps
        // borrowed; the caller vouches for the content.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), len) }
    }

    /// The first `len` words, to be changed in place.
    ///
    /// # Safety
    ///
    /// As for [`Piece::words`].
    pub(super) unsafe fn words_mut(&mut self, len: usize) -> &mut [u64] {
        debug_assert!(len <= self.len_words, "the piece is shorter");
        // SAFETY: as for `words`, and the piece is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), len) }
    }

    /// All words of the piece, to be written.
    pub(super) fn spare(&mut self) -> &mut [MaybeUninit<u64>] {
        // SAFETY: the piece is valid for its length, exclusively borrowed, and
        // `MaybeUninit` asks nothing of its content.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.len_words) }
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
        unsafe { system::discard(self.start.cast(), len_bytes) }
    }
}

/// A page that the kernel wipes in every forked child.
#[cfg(all(target_os = "linux", not(miri)))]
#[derive(Debug)]
pub(super) struct WipedOnFork(Piece);

#[cfg(all(target_os = "linux", not(miri)))]
impl WipedOnFork {
    /// Maps one such page.
    ///
    /// # Errors
    ///
    /// No memory, or a kernel before 4.14.
    pub(super) fn new() -> io::Result<Self> {
        let mut pieces = Piece::map(super::PAGE_BYTES, 1, false)?;
        Ok(Self(pieces.remove(0)))
    }

    /// A number that is zero at first, and in every child.
    pub(super) fn cell(&self) -> &std::sync::atomic::AtomicU64 {
        // SAFETY: the page is mapped for as long as `self`, aligned, zeroed by
        // the system, and reached through this cell only.
        unsafe { std::sync::atomic::AtomicU64::from_ptr(self.0.start.as_ptr()) }
    }
}

#[cfg(all(unix, not(miri)))]
mod system {
    use super::{HUGE_PAGE_BYTES, NonNull, io};
    use crate::seam::{self, Call};
    use rustix::mm::{self, MapFlags, ProtFlags};

    /// Whether the call may be made: always, except in tests that let it fail.
    fn ask(call: Call) -> io::Result<()> {
        seam::enter(call).map_err(io::Error::from_raw_os_error)
    }

    /// Maps `len_bytes`, a multiple of the huge page size, at such a multiple.
    pub(super) fn map(len_bytes: usize, huge: bool) -> io::Result<NonNull<u8>> {
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
        if let Err(error) = advise_new(start, len_bytes, huge) {
            // SAFETY: the mapping was made above and has not been handed out.
            unsafe { unmap(start, len_bytes) };
            return Err(error);
        }
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

    #[cfg(target_os = "linux")]
    fn advise_new(start: NonNull<u8>, len_bytes: usize, huge: bool) -> io::Result<()> {
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
        if huge && ask(Call::Madvise).is_ok() {
            // A kernel without huge pages says EINVAL; the memory works all the
            // same, and the swap backend's diagnosis tells.
            // SAFETY: as above; this advice changes no content.
            let _ =
                unsafe { mm::madvise(start.as_ptr().cast(), len_bytes, mm::Advice::LinuxHugepage) };
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn advise_new(_: NonNull<u8>, _: usize, _: bool) -> io::Result<()> {
        Ok(())
    }

    /// # Safety
    ///
    /// The range was mapped by [`map`] and nobody will reach it again.
    pub(super) unsafe fn unmap(start: NonNull<u8>, len_bytes: usize) {
        if len_bytes > 0 && ask(Call::Munmap).is_ok() {
            // SAFETY: by contract. It can only fail by splitting a mapping when
            // the process is at its limit of mappings; the range is then leaked.
            let _ = unsafe { mm::munmap(start.as_ptr().cast(), len_bytes) };
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
    use super::{HUGE_PAGE_BYTES, NonNull, io};
    use std::alloc::{self, Layout};

    fn layout(len_bytes: usize) -> io::Result<Layout> {
        Layout::from_size_align(len_bytes, HUGE_PAGE_BYTES)
            .map_err(|_| io::ErrorKind::OutOfMemory.into())
    }

    pub(super) fn map(len_bytes: usize, _huge: bool) -> io::Result<NonNull<u8>> {
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
