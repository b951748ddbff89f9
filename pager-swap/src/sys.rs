//! The system calls of this crate that can fail, except `madvise`, which is in
//! `advise`: the page table is opened and read. Nothing else touches a file but the
//! diagnosis, which takes what it cannot read for unknown.

use std::fs::File;
use std::io;
use std::path::Path;

use pager_core::seam::{self, Call};

/// Whether the call may be made: always, except in tests that let it fail.
pub(crate) fn ask(call: Call) -> io::Result<()> {
    seam::enter(call).map_err(io::Error::from_raw_os_error)
}

/// Opens a file for reading, closed on `exec`.
pub(crate) fn open(path: impl AsRef<Path>) -> io::Result<File> {
    ask(Call::Openat)?;
    File::open(path)
}

/// Reads at `offset`, perhaps less than all of `buffer`.
#[cfg(unix)]
pub(crate) fn pread(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    use std::os::unix::fs::FileExt;

    let limit =
        seam::transfer(Call::Pread, || buffer.len()).map_err(io::Error::from_raw_os_error)?;
    let read = file.read_at(buffer, offset)?;
    Ok(limit.map_or(read, |limit| read.min(limit)))
}

#[cfg(not(unix))]
pub(crate) fn pread(_: &File, _: &mut [u8], _: u64) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}
