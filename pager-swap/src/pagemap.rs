//! [`Pagemap`]: which pages of this process are in memory, and which on swap.
//!
//! `MADV_PAGEOUT` returns success whatever it achieved, and `mincore` counts the
//! swap cache as memory of the process; the page table tells the truth. Reading
//! it stops nobody and touches no page. Where it cannot be read there is no
//! [`Pagemap`], and callers say so instead of guessing.
//!
//! Entry format: <https://docs.kernel.org/admin-guide/mm/pagemap.html>.

use std::fs::File;
use std::io;
use std::ops::Range;

use pager_core::ProcessStamp;

use crate::advise::{Rounding, page_bytes};
use crate::sys;

const ENTRY_BYTES: usize = size_of::<u64>();
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;

/// Pages between two spans that are cheaper to read over than to skip.
const GAP_PAGES: usize = 512;

/// Addresses, without any right to what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    start: usize,
    len_bytes: usize,
}

impl Span {
    /// Where `bytes` are.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self {
            start: bytes.as_ptr().addr(),
            len_bytes: bytes.len(),
        }
    }

    /// Its pages, as page numbers; none for no bytes.
    pub(crate) fn pages(self, rounding: Rounding) -> Range<usize> {
        let end = self.start + self.len_bytes;
        if self.len_bytes == 0 {
            return 0..0;
        }
        match rounding {
            Rounding::Outward => self.start / page_bytes()..end.div_ceil(page_bytes()),
            Rounding::Inward => {
                let first = self.start.div_ceil(page_bytes());
                first..(end / page_bytes()).max(first)
            }
        }
    }

    /// Bytes that it has on this page.
    fn bytes_on(self, page: usize) -> usize {
        let page_start = page * page_bytes();
        let end = (self.start + self.len_bytes).min(page_start + page_bytes());
        end.saturating_sub(self.start.max(page_start))
    }
}

/// Where the bytes of some spans are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Residency {
    /// On pages that are mapped and in memory.
    pub(crate) resident_bytes: usize,
    /// On pages that are on swap, or on their way.
    pub(crate) swapped_bytes: usize,
}

/// The page table of this process, open for reading.
#[derive(Debug)]
pub(crate) struct Pagemap {
    file: File,
    /// The file shows the process that opened it, in a forked child as well.
    owner: ProcessStamp,
}

impl Pagemap {
    /// Opens it and checks that it tells the truth about a page in use. `None`
    /// where there is none, or it is closed to this process.
    pub(crate) fn open() -> Option<Self> {
        if cfg!(any(miri, not(target_os = "linux"))) {
            return None;
        }
        let pagemap = Self {
            file: sys::open("/proc/self/pagemap").ok()?,
            owner: ProcessStamp::current(),
        };
        let in_use = [1; 1];
        let seen = pagemap.observe(&[Span::of(std::hint::black_box(&in_use))], &mut [0; 8])?;
        (seen.resident_bytes == size_of_val(&in_use)).then_some(pagemap)
    }

    /// Where the bytes of `spans` are, which must be sorted. `None` if that
    /// cannot be read now, or in a forked child.
    ///
    /// Costs one `pread` for each `buffer` full of entries of eight bytes.
    pub(crate) fn observe(&self, spans: &[Span], buffer: &mut [u8]) -> Option<Residency> {
        if !self.owner.is_current() {
            return None;
        }
        let mut seen = Residency::default();
        let mut loaded = 0..0;
        for (index, span) in spans.iter().enumerate() {
            for page in span.pages(Rounding::Outward) {
                if !loaded.contains(&page) {
                    let count_max = buffer.len() / ENTRY_BYTES;
                    loaded = page..batch_end(&spans[index..], page + count_max);
                    let entries = &mut buffer[..loaded.len() * ENTRY_BYTES];
                    self.read(page, entries).ok()?;
                }
                let entry = entry_at(buffer, page - loaded.start);
                if entry & PRESENT != 0 {
                    seen.resident_bytes += span.bytes_on(page);
                } else if entry & SWAPPED != 0 {
                    seen.swapped_bytes += span.bytes_on(page);
                }
            }
        }
        Some(seen)
    }

    /// Fills all of `entries`.
    fn read(&self, page: usize, entries: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < entries.len() {
            let offset = (page * ENTRY_BYTES + done) as u64;
            match sys::pread(&self.file, &mut entries[done..], offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// End of the pages to read at once: over all of the first span and what
/// follows closely, but not past `limit`.
fn batch_end(spans: &[Span], limit: usize) -> usize {
    let mut end = 0;
    for span in spans {
        let pages = span.pages(Rounding::Outward);
        if end > 0 && pages.start > end + GAP_PAGES {
            break;
        }
        end = end.max(pages.end);
        if end >= limit {
            return limit;
        }
    }
    end
}

fn entry_at(buffer: &[u8], index: usize) -> u64 {
    buffer[index * ENTRY_BYTES..]
        .first_chunk()
        .map_or(0, |bytes| u64::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: usize, len_bytes: usize) -> Span {
        Span { start, len_bytes }
    }

    #[test]
    fn whole_pages_are_inside_and_touched_pages_cover() {
        let page = page_bytes();
        let unaligned = span(10 * page + 8, 3 * page);
        assert_eq!(unaligned.pages(Rounding::Inward), 11..13);
        assert_eq!(unaligned.pages(Rounding::Outward), 10..14);
        assert!(span(page + 8, 16).pages(Rounding::Inward).is_empty());
        assert!(span(page + 8, 0).pages(Rounding::Outward).is_empty());
    }

    #[test]
    fn bytes_on_all_pages_add_up_to_the_span() {
        let span = span(5 * page_bytes() + 24, 2 * page_bytes() + 8);
        let pages = span.pages(Rounding::Outward);
        let sum: usize = pages.map(|page| span.bytes_on(page)).sum();
        assert_eq!(sum, span.len_bytes);
        assert_eq!(span.bytes_on(4), 0);
        assert_eq!(span.bytes_on(9), 0);
    }

    #[test]
    fn spans_that_lie_close_are_read_together() {
        let page = page_bytes();
        let spans = [span(0, page), span(2 * page, page), span(9000 * page, page)];
        assert_eq!(batch_end(&spans, 100), 3);
        assert_eq!(batch_end(&spans, 2), 2);
    }

    #[cfg(all(target_os = "linux", not(miri)))]
    #[test]
    fn memory_in_use_is_resident_however_small_the_buffer() {
        let Some(pagemap) = Pagemap::open() else {
            println!("skipped: /proc/self/pagemap cannot be read");
            return;
        };
        let bytes = vec![7u8; 40_000];
        let spans = [Span::of(&bytes[..16_000]), Span::of(&bytes[24_000..])];
        for buffer_bytes in [8, 24, 4096] {
            let seen = pagemap.observe(&spans, &mut vec![0; buffer_bytes]).unwrap();
            assert_eq!(seen.resident_bytes, 4000 * 8);
            assert_eq!(seen.swapped_bytes, 0);
        }
    }
}
