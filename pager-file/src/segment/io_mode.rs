//! [`SegmentIo`]: how bytes move between memory and segment files, and why so.
//!
//! Direct I/O wherever the file system says how and a trial succeeds, because
//! the page cache costs a copy, and memory that the process is billed for.
//! Otherwise buffered, with the pages dropped behind. The trial is made once,
//! when the store is opened, on a file of its own.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;

use pager_core::{PAGE_BYTES, Result};

use super::file::SegmentFile;
use super::staging::StagingPool;
use crate::config::IoChoice;
use crate::{size_limit, sys};

/// Unit of reading and writing: every transfer starts and ends at a multiple.
pub(super) const BLOCK_BYTES: usize = PAGE_BYTES;

/// How bytes move between memory and segment files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SegmentIo {
    /// `O_DIRECT`: between the device and the caller's memory, or a staging
    /// buffer where that memory is not aligned. The page cache is not involved.
    Direct {
        /// What an address must be a multiple of.
        memory_align_bytes: usize,
    },
    /// Through the page cache, whose pages the kernel drops as soon as they
    /// are written (`RWF_DONTCACHE`, Linux 6.14).
    DontCache,
    /// Through the page cache, written out and dropped every few MiB. Dropping
    /// is Linux's; elsewhere the pages stay.
    DropBehind,
}

impl SegmentIo {
    /// What the address of memory must be a multiple of to be read or written
    /// without a staging buffer.
    pub(super) fn memory_align_bytes(self) -> usize {
        match self {
            Self::Direct { memory_align_bytes } => memory_align_bytes,
            Self::DontCache | Self::DropBehind => 1,
        }
    }

    pub(super) fn is_direct(self) -> bool {
        matches!(self, Self::Direct { .. })
    }
}

impl fmt::Display for SegmentIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct { memory_align_bytes } => {
                write!(f, "direct I/O, memory aligned to {memory_align_bytes}")
            }
            Self::DontCache => f.write_str("buffered I/O, uncached by the kernel"),
            Self::DropBehind => f.write_str("buffered I/O, page cache dropped behind"),
        }
    }
}

/// A mode and the reason for it.
#[derive(Debug, Clone)]
pub(super) struct IoPlan {
    pub(super) mode: SegmentIo,
    pub(super) reason: String,
}

impl IoPlan {
    /// Tries what the file system of `directory` can do.
    ///
    /// # Errors
    ///
    /// Those of creating a file, and the reason against direct I/O where it is
    /// asked for and cannot be had.
    pub(super) fn choose(
        choice: IoChoice,
        directory: BorrowedFd<'_>,
        staging: &StagingPool,
    ) -> Result<Self, PlanError> {
        // Trying means writing a block.
        size_limit::check(BLOCK_BYTES as u64)?;
        let buffered = |reason: String| -> Result<Self, PlanError> {
            let file = SegmentFile::create_in(directory)?;
            Ok(Self {
                mode: buffered_mode(&file),
                reason,
            })
        };
        if choice == IoChoice::Buffered {
            return buffered("buffered I/O was asked for".to_owned());
        }
        let file = SegmentFile::create_in(directory)?;
        if choice == IoChoice::Auto && is_memory(&file) {
            return buffered("the file system is memory already".to_owned());
        }
        match try_direct(&file, staging) {
            Ok(memory_align_bytes) => Ok(Self {
                mode: SegmentIo::Direct { memory_align_bytes },
                reason: "the file system supports it".to_owned(),
            }),
            Err(refusal) if choice == IoChoice::Direct => Err(PlanError(refusal.into())),
            Err(refusal) => buffered(refusal.why),
        }
    }

    /// Sets a new segment file up for the mode.
    ///
    /// # Errors
    ///
    /// What the system said.
    pub(super) fn prepare(&self, file: &SegmentFile) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if self.mode.is_direct() {
            file.set_direct()?;
        } else {
            // No read-ahead: a read of one block brings one block. Advice that
            // is refused changes no result.
            let _ = sys::fadvise(file, 0, None, rustix::fs::Advice::Random);
        }
        let _ = file;
        Ok(())
    }
}

/// What kept a plan from being made.
#[derive(Debug)]
pub(super) struct PlanError(pub(super) io::Error);

impl<E: Into<io::Error>> From<E> for PlanError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// Why direct I/O is not to be had.
#[derive(Debug)]
struct Refusal {
    why: String,
    /// What the system said, unless that is what it says where there is no direct
    /// I/O: a failure that may be over the next time.
    failure: Option<rustix::io::Errno>,
}

impl Refusal {
    /// A call of the trial failed.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn of_call(what: &str, errno: rustix::io::Errno) -> Self {
        use rustix::io::Errno;

        let is_lasting = matches!(errno, Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS);
        Self {
            why: format!("{what} ({errno})"),
            failure: Some(errno).filter(|_| !is_lasting),
        }
    }
}

impl From<&str> for Refusal {
    fn from(why: &str) -> Self {
        why.to_owned().into()
    }
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self { why, failure: None }
    }
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        match refusal.failure {
            Some(errno) => errno.into(),
            None => Self::new(
                io::ErrorKind::Unsupported,
                format!("direct I/O is not to be had: {}", refusal.why),
            ),
        }
    }
}

/// Writes a block directly and reads it back; says what memory must be aligned
/// to, or why not.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn try_direct(file: &SegmentFile, staging: &StagingPool) -> Result<usize, Refusal> {
    use rustix::io::Errno;

    let advertised = advertised_align_bytes(file)?;
    file.set_direct()
        .map_err(|errno| Refusal::of_call("the file system refuses O_DIRECT", errno))?;
    let align_bytes = advertised.unwrap_or(BLOCK_BYTES);
    let mut staging = staging
        .get()
        .map_err(|_| Refusal::of_call("there is no memory for a trial", Errno::NOMEM))?;
    let (written, rest) = staging.bytes().split_at_mut(BLOCK_BYTES);
    let read = &mut rest[..BLOCK_BYTES];
    written.fill(0xa5);
    read.fill(0);
    match rustix::io::retry_on_intr(|| sys::pwrite(file, written, 0)) {
        Ok(BLOCK_BYTES) => {}
        Ok(len) => return Err(format!("a direct write of a block wrote {len} bytes").into()),
        // A full medium says nothing against a file system that says how.
        Err(errno) if advertised.is_some() && is_full(&errno.into()) => return Ok(align_bytes),
        Err(errno) => return Err(Refusal::of_call("a direct write failed", errno)),
    }
    match rustix::io::retry_on_intr(|| sys::pread(file, &mut *read, 0)) {
        Ok(BLOCK_BYTES) if read == written => Ok(align_bytes),
        Ok(_) => Err("a direct read did not return what was written".into()),
        Err(errno) => Err(Refusal::of_call("a direct read failed", errno)),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn try_direct(_file: &SegmentFile, _staging: &StagingPool) -> Result<usize, Refusal> {
    Err("direct I/O is used on Linux only".into())
}

/// What the file system says memory must be aligned to; `None` if it does not
/// say (`STATX_DIOALIGN`, Linux 6.1).
#[cfg(any(target_os = "linux", target_os = "android"))]
fn advertised_align_bytes(file: &SegmentFile) -> Result<Option<usize>, String> {
    use rustix::fs::StatxFlags;

    /// Not among the flags of rustix yet.
    const DIOALIGN: u32 = 0x2000;
    let flags = StatxFlags::from_bits_retain(DIOALIGN);
    let Ok(found) = sys::statx(file, flags) else {
        return Ok(None);
    };
    if found.stx_mask & DIOALIGN == 0 {
        return Ok(None);
    }
    let (memory, offset) = (found.stx_dio_mem_align, found.stx_dio_offset_align);
    if memory == 0 || offset == 0 {
        return Err("the file system has no direct I/O for this file".to_owned());
    }
    let fits = |align: u32| align.is_power_of_two() && align as usize <= BLOCK_BYTES;
    if fits(memory) && fits(offset) {
        Ok(Some(memory as usize))
    } else {
        Err(format!(
            "direct I/O would need memory aligned to {memory} and offsets to {offset}"
        ))
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn buffered_mode(file: &SegmentFile) -> SegmentIo {
    const SOME: [u8; 512] = [0; 512];
    // A call that writes nothing proves nothing.
    match sys::pwritev2(
        file,
        &[io::IoSlice::new(&SOME)],
        0,
        super::transfer::DONTCACHE,
    ) {
        Ok(written) if written == SOME.len() => SegmentIo::DontCache,
        _ => SegmentIo::DropBehind,
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn buffered_mode(_file: &SegmentFile) -> SegmentIo {
    SegmentIo::DropBehind
}

/// Whether the file lies on tmpfs or ramfs, which accept `O_DIRECT` in vain.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_memory(file: &SegmentFile) -> bool {
    const TMPFS_MAGIC: u64 = 0x0102_1994;
    const RAMFS_MAGIC: u64 = 0x8584_58f6;
    sys::fstatfs(file).is_ok_and(|found| {
        // The type is signed or unsigned, short or long, by platform.
        let magic = found.f_type as u64 & 0xffff_ffff;
        magic == TMPFS_MAGIC || magic == RAMFS_MAGIC
    })
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn is_memory(_file: &SegmentFile) -> bool {
    false
}

/// Whether an error says that there is no space: medium, quota or file size.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
