//! The bytes of one file: written in as few vectored calls as the system takes,
//! read straight into the window, with ranges that touch read as one.
//!
//! Short transfers and interruptions go on where they stopped. Nothing is
//! copied in between.

use std::io::IoSlice;
use std::ops::Range;
use std::os::fd::AsFd;

use pager_core::{Payload, Window};
use rustix::io::{Errno, Result, retry_on_intr};

use crate::ranges::joined;
use crate::sys;

/// Most buffers of one vectored write (`IOV_MAX` of Linux and the BSDs).
const MAX_SLICES: usize = 1024;

/// Writes the chunks one after the other from the beginning of `file` on.
///
/// # Errors
///
/// `NOMEM` if the list of chunks cannot be had; those of the system.
pub(super) fn write_payload(file: impl AsFd, payload: &Payload<'_>) -> Result<()> {
    let mut chunks = payload.chunks().filter(|bytes| !bytes.is_empty());
    let mut slices: Vec<IoSlice<'_>> = Vec::new();
    slices
        .try_reserve_exact(payload.chunk_count().min(MAX_SLICES))
        .map_err(|_| Errno::NOMEM)?;
    let mut offset = 0;
    loop {
        slices.clear();
        let batch = chunks.by_ref().take(MAX_SLICES);
        slices.extend(batch.map(IoSlice::new));
        if slices.is_empty() {
            return Ok(());
        }
        let mut unwritten = &mut slices[..];
        while !unwritten.is_empty() {
            let written = retry_on_intr(|| sys::pwritev(&file, unwritten, offset))?;
            if written == 0 {
                // Never seen on a file; going on would not end.
                return Err(Errno::IO);
            }
            offset += written as u64;
            IoSlice::advance_slices(&mut unwritten, written);
        }
    }
}

/// Fills `window` with `ranges`, one after the other.
///
/// # Errors
///
/// `NODATA` if the file ends early; those of the system.
pub(super) fn read_ranges(
    file: impl AsFd,
    ranges: &[Range<usize>],
    window: &mut Window<'_>,
) -> Result<()> {
    for range in joined(ranges) {
        let mut offset = range.start as u64;
        let mut missing_bytes = range.len();
        while missing_bytes > 0 {
            let filled = retry_on_intr_filling(window, missing_bytes, &file, offset)?;
            if filled == 0 {
                return Err(Errno::NODATA);
            }
            offset += filled as u64;
            missing_bytes -= filled;
        }
    }
    Ok(())
}

fn retry_on_intr_filling(
    window: &mut Window<'_>,
    max_bytes: usize,
    file: impl AsFd,
    offset: u64,
) -> Result<usize> {
    loop {
        let filled = window.fill_with(max_bytes, |unfilled| {
            sys::pread_uninit(&file, unfilled, offset)
        });
        if filled != Err(Errno::INTR) {
            return filled;
        }
    }
}

/// Has the kernel begin to read `range`.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn read_ahead(file: impl AsFd, range: Range<usize>) {
    let offset = range.start as u64;
    let len = std::num::NonZeroU64::new(range.len() as u64);
    let _ = sys::fadvise(file, offset, len, rustix::fs::Advice::WillNeed);
}

/// Elsewhere there is nobody to ask in one common way.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn read_ahead(_file: impl AsFd, _range: Range<usize>) {}
