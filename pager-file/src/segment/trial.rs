//! A trial of what is later relied on: blocks out of memory that is aligned no better
//! than it has to be, across pages, in several pieces, and back again.
//!
//! What a file system advertises is not believed: some disks made of memory claim 512
//! bytes and mangle every piece that is not a whole page, without an error. Where the
//! advertised alignment does not hold, that of a page is tried, and then there is no
//! direct I/O.

use std::io;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::io::IoSlice;

use super::file::SegmentFile;
use super::io_mode::{BLOCK_BYTES, SegmentIo};
use super::staging::StagingPool;
#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::sys;

/// Blocks of each piece of the trial.
#[cfg(any(target_os = "linux", target_os = "android"))]
const PIECES: [usize; 3] = [2, 1, 2];

/// And of all of them.
const BLOCKS: usize = 5;

/// What the trial makes of its file.
pub(super) const FILE_BYTES: u64 = (BLOCKS * BLOCK_BYTES) as u64;

/// Why direct I/O is not to be had.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) why: String,
    /// What the system said, unless that is what it says where there is no direct
    /// I/O: a failure that may be over the next time.
    failure: Option<rustix::io::Errno>,
}

impl Refusal {
    /// A call of the trial failed.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn of_call(what: &str, errno: rustix::io::Errno) -> Self {
        let is_lasting = errno == rustix::io::Errno::INVAL || sys::is_refusal(errno);
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

/// What memory must be aligned to for direct I/O, or why there is none. Switches the
/// file to it.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn least_alignment(file: &SegmentFile, staging: &StagingPool) -> Result<usize, Refusal> {
    use rustix::io::Errno;

    let advertised = advertised_align_bytes(file)?;
    file.set_direct()
        .map_err(|errno| Refusal::of_call("the file system refuses O_DIRECT", errno))?;
    let mut staging = staging
        .get()
        .map_err(|_| Refusal::of_call("there is no memory for a trial", Errno::NOMEM))?;
    let mut refusal = None;
    for align_bytes in [advertised.unwrap_or(BLOCK_BYTES), BLOCK_BYTES] {
        match try_alignment(file, staging.bytes(), align_bytes) {
            Ok(()) => return Ok(align_bytes),
            // A full medium says nothing against a file system that says how; nor for
            // the least alignment.
            Err(Failure::Full) if advertised.is_some() => return Ok(BLOCK_BYTES),
            Err(failure) => refusal = Some(failure.into()),
        }
        if align_bytes == BLOCK_BYTES {
            break;
        }
    }
    Err(refusal.unwrap_or_else(|| "there was no trial".into()))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn least_alignment(
    _file: &SegmentFile,
    _staging: &StagingPool,
) -> Result<usize, Refusal> {
    Err("direct I/O is used on Linux only".into())
}

/// How a trial ended that did not succeed.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[derive(Debug)]
enum Failure {
    /// The medium is full.
    Full,
    Refused(Refusal),
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Full => Self::of_call("a direct write failed", rustix::io::Errno::NOSPC),
            Failure::Refused(refusal) => refusal,
        }
    }
}

/// Writes blocks out of memory that is aligned to `align_bytes` and no better, reads
/// them into such memory, all at once and one by itself, and compares.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn try_alignment(file: &SegmentFile, memory: &mut [u8], align_bytes: usize) -> Result<(), Failure> {
    use rustix::io::retry_on_intr;

    let refused = |why: &str| Failure::Refused(why.into());
    let off = align_bytes % BLOCK_BYTES;
    // Each piece in memory of its own; the second one lies as late in its page as it may.
    let (source, target) = memory.split_at_mut(16 * BLOCK_BYTES);
    fill(source);
    let starts = [off, 5 * BLOCK_BYTES - off, 8 * BLOCK_BYTES];
    let pieces: [&[u8]; 3] =
        std::array::from_fn(|index| &source[starts[index]..][..PIECES[index] * BLOCK_BYTES]);
    let expected = pieces.concat();
    write_all(file, pieces)?;
    for (block, blocks) in [(0, BLOCKS), (3, 1)] {
        let (start, len) = (block * BLOCK_BYTES, blocks * BLOCK_BYTES);
        let found = &mut target[off..off + len];
        found.fill(0);
        match retry_on_intr(|| sys::pread(file, &mut *found, start as u64)) {
            Ok(read) if read == len && *found == expected[start..start + len] => {}
            Ok(_) => return Err(refused("a direct read did not return what was written")),
            Err(errno) => {
                let refusal = Refusal::of_call("a direct read failed", errno);
                return Err(Failure::Refused(refusal));
            }
        }
    }
    Ok(())
}

/// Writes the pieces one after the other from the beginning of the file on.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn write_all(file: &SegmentFile, pieces: [&[u8]; 3]) -> Result<(), Failure> {
    let mut slices = pieces.map(IoSlice::new);
    let (mut rest, mut done) = (&mut slices[..], 0);
    while !rest.is_empty() {
        let written = match rustix::io::retry_on_intr(|| sys::pwritev(file, rest, done)) {
            Ok(len) => len - len % BLOCK_BYTES,
            Err(errno) if super::io_mode::is_full(&errno.into()) => return Err(Failure::Full),
            Err(errno) => {
                let refusal = Refusal::of_call("a direct write failed", errno);
                return Err(Failure::Refused(refusal));
            }
        };
        if written == 0 {
            let why = "a direct write wrote less than a block";
            return Err(Failure::Refused(why.into()));
        }
        IoSlice::advance_slices(&mut rest, written);
        done += written as u64;
    }
    Ok(())
}

/// Eight bytes that are nowhere else, over and over: what lands in the wrong place shows.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn fill(memory: &mut [u8]) {
    for (number, bytes) in (1_u64..).zip(memory.chunks_exact_mut(size_of::<u64>())) {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bytes.copy_from_slice(&mixed.to_ne_bytes());
    }
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

/// Uncached if the kernel can, and what it writes so comes back.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn buffered_mode(file: &SegmentFile) -> SegmentIo {
    let mut written = [0; 1024];
    fill(&mut written);
    let (front, back) = written.split_at(504);
    let slices = [IoSlice::new(front), IoSlice::new(back)];
    // A call that writes nothing proves nothing.
    match sys::pwritev2(file, &slices, 0, super::transfer::DONTCACHE) {
        Ok(len) if len == written.len() => {}
        _ => return SegmentIo::DropBehind,
    }
    let mut found = [0; 1024];
    match sys::pread(file, &mut found, 0) {
        Ok(len) if len == found.len() && found == written => SegmentIo::DontCache,
        _ => SegmentIo::DropBehind,
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn buffered_mode(_file: &SegmentFile) -> SegmentIo {
    SegmentIo::DropBehind
}
