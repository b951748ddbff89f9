//! [`advise`]: hints to the kernel about memory, none of which can change it.
//!
//! The only unsafe module of the crate. [`Hint`] has no destructive member, so
//! whatever is advised keeps its content, and the caller proves by a shared
//! slice that the memory is mapped. Off Linux, and under Miri, hints do nothing.

use std::io;

use crate::pagemap::Span;

/// Advice that never changes what memory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hint {
    /// `MADV_COLD` (Linux 5.4): reclaim these pages before others.
    Cold,
    /// `MADV_PAGEOUT` (Linux 5.4): write these pages to swap now.
    PageOut,
    /// `MADV_WILLNEED`: begin to read these pages from swap.
    WillNeed,
    /// `MADV_POPULATE_READ` (Linux 5.14): map these pages, reading what is on
    /// swap; a device that fails is an error here and a `SIGBUS` otherwise.
    PopulateRead,
}

/// What becomes of pages that the bytes cover in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// They are left alone: other owners' bytes are on them.
    Inward,
    /// They are included.
    Outward,
}

/// Gives `hint` about the pages of `bytes`. No page, no system call.
///
/// # Errors
///
/// What `madvise` says: `EINVAL` from a kernel that does not know the hint or
/// for locked memory, `EFAULT` if swap could not be read, `ENOMEM`.
///
/// # References
///
/// <https://man7.org/linux/man-pages/man2/madvise.2.html>
pub(crate) fn advise(bytes: &[u8], hint: Hint, rounding: Rounding) -> io::Result<()> {
    let pages = Span::of(bytes).pages(rounding);
    if pages.is_empty() {
        return Ok(());
    }
    system::advise(bytes, &pages, hint)
}

/// Bytes of a page of this system.
pub(crate) fn page_bytes() -> usize {
    system::page_bytes()
}

#[cfg(all(target_os = "linux", not(miri)))]
mod system {
    #![allow(unsafe_code, reason = "advises memory that the caller borrows")]

    use std::io;
    use std::ops::Range;

    use rustix::mm::{self, Advice};

    use super::Hint;
    use crate::sys;
    use pager_core::seam::Call;

    pub(super) fn advise(bytes: &[u8], pages: &Range<usize>, hint: Hint) -> io::Result<()> {
        let advice = match hint {
            Hint::Cold => Advice::LinuxCold,
            Hint::PageOut => Advice::LinuxPageOut,
            Hint::WillNeed => Advice::WillNeed,
            Hint::PopulateRead => Advice::LinuxPopulateRead,
        };
        let page_bytes = page_bytes();
        let start = bytes.as_ptr().with_addr(pages.start * page_bytes);
        sys::ask(Call::Madvise)?;
        // SAFETY:
        // - every page of the range holds at least one of `bytes` or lies
        //   between two that do, so all of it is mapped while they are borrowed;
        // - each of the hints leaves the content of every page as it is.
        unsafe { mm::madvise(start.cast_mut().cast(), pages.len() * page_bytes, advice) }?;
        Ok(())
    }

    pub(super) fn page_bytes() -> usize {
        rustix::param::page_size()
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
mod system {
    use std::io;
    use std::ops::Range;

    use super::Hint;

    pub(super) fn advise(_: &[u8], _: &Range<usize>, _: Hint) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn page_bytes() -> usize {
        pager_core::PAGE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HINTS: [Hint; 4] = [
        Hint::Cold,
        Hint::PageOut,
        Hint::WillNeed,
        Hint::PopulateRead,
    ];

    #[test]
    fn no_hint_changes_a_byte() {
        let bytes: Vec<u8> = (0..=250u8).cycle().take(32_768).collect();
        let before = bytes.clone();
        for hint in HINTS {
            for rounding in [Rounding::Inward, Rounding::Outward] {
                // An old kernel may refuse; the bytes stay all the same.
                let _ = advise(&bytes, hint, rounding);
                let _ = advise(&bytes[4095..12_301], hint, rounding);
                assert!(bytes == before, "{hint:?} {rounding:?}");
            }
        }
    }

    #[test]
    fn less_than_a_page_is_left_alone_inward() {
        let bytes = [1; 8];
        for hint in HINTS {
            advise(&bytes, hint, Rounding::Inward).unwrap();
            advise(&[], hint, Rounding::Outward).unwrap();
        }
    }
}
