//! The system calls of this crate: every one that can fail, and nobody else makes
//! any.
//!
//! Each function is the call of its name and no more: what to do about an
//! interruption, a short transfer or an error is the caller's affair. The two that
//! look at a file stand in for each other where a sandbox refuses one of them, and so
//! do the two that write. Before each call a test may say that it fails or falls short
//! (`pager_core::seam`); in other builds nothing is asked.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};

use pager_core::seam::{self, Call};
use rustix::fs::{self, AtFlags, FlockOperation, Mode, OFlags, Stat};
use rustix::io::{self, Errno, Result};
use rustix::path::Arg;

fn ask(call: Call) -> Result<()> {
    seam::enter(call).map_err(Errno::from_raw_os_error)
}

/// How many of `wanted` bytes may be moved at most, if not all.
fn ask_to_move(call: Call, wanted: impl FnOnce() -> usize) -> Result<Option<usize>> {
    seam::transfer(call, wanted).map_err(Errno::from_raw_os_error)
}

// ---- names ----

pub(crate) fn openat(dir: impl AsFd, path: impl Arg, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    ask(Call::Openat)?;
    fs::openat(dir, path, flags, mode)
}

pub(crate) fn mkdirat(dir: impl AsFd, path: impl Arg, mode: Mode) -> Result<()> {
    ask(Call::Mkdirat)?;
    fs::mkdirat(dir, path, mode)
}

pub(crate) fn unlinkat(dir: impl AsFd, path: impl Arg, flags: AtFlags) -> Result<()> {
    ask(Call::Unlinkat)?;
    fs::unlinkat(dir, path, flags)
}

/// Renames within `dir`.
pub(crate) fn renameat(dir: BorrowedFd<'_>, from: impl Arg, to: impl Arg) -> Result<()> {
    ask(Call::Renameat)?;
    fs::renameat(dir, from, dir, to)
}

/// Whether an error is what a sandbox, an old kernel or a file system says to a call
/// that it does not take at all: the same call will not succeed later.
pub(crate) fn is_refusal(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS
    )
}

/// What an error says was attempted: the call itself where that is refused, for that is
/// what has to be allowed, and otherwise the `operation` that it was part of.
pub(crate) fn attempted(operation: &'static str, call: &'static str, errno: Errno) -> &'static str {
    if is_refusal(errno) { call } else { operation }
}

/// Looks at a name, not through it.
pub(crate) fn lstatat(dir: impl AsFd, path: impl Arg + Copy) -> Result<Stat> {
    ask(Call::Newfstatat)?;
    match fs::statat(&dir, path, AtFlags::SYMLINK_NOFOLLOW) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Err(errno) if is_refusal(errno) => {
            // Where the name may not be looked up at all, this says so too.
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            fs::fstat(openat(dir, path, flags, Mode::empty())?)
        }
        looked => looked,
    }
}

/// Gives the owner of a new directory `name` all rights, if nobody else has any and
/// it is the caller's: an unusual umask has taken them. Whatever else the name leads
/// to by now keeps its mode.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn restore_rights(dir: impl AsFd, name: impl Arg + Copy) -> Result<()> {
    use std::os::fd::AsRawFd;

    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(dir, name, flags, Mode::empty())?;
    let stat = fstat(&opened)?;
    let mode = Mode::from_raw_mode(stat.st_mode);
    let is_mine = stat.st_uid == rustix::process::geteuid().as_raw();
    if !is_mine || mode.intersects(Mode::RWXG | Mode::RWXO) {
        return Err(Errno::ACCESS);
    }
    ask(Call::Fchmodat)?;
    // The descriptor names a place only, so `fchmod` does not take it; its link does.
    let link = format!("/proc/self/fd/{}", opened.as_raw_fd());
    match fs::chmodat(fs::CWD, link, Mode::RWXU, AtFlags::empty()) {
        // No such file system: the mode stays as it is.
        Err(Errno::NOENT | Errno::NOTDIR) => Err(Errno::ACCESS),
        changed => changed,
    }
}

/// The same, by the name: elsewhere no descriptor can be had without the rights.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn restore_rights(dir: impl AsFd, name: impl Arg + Copy) -> Result<()> {
    ask(Call::Fchmodat)?;
    fs::chmodat(dir, name, Mode::RWXU, AtFlags::SYMLINK_NOFOLLOW)
}

/// Where a link leads.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn readlink(path: &std::path::Path) -> Result<std::path::PathBuf> {
    use std::os::unix::ffi::OsStringExt;

    ask(Call::Readlinkat)?;
    let target = fs::readlinkat(fs::CWD, path, Vec::new())?;
    Ok(std::ffi::OsString::from_vec(target.into_bytes()).into())
}

/// The entries of a directory. An error is the last of them.
pub(crate) fn list(dir: impl AsFd) -> Result<Listing> {
    // Opened again, for it has a position of its own to read from; and the descriptor
    // may be one that only names the directory.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    fs::Dir::new(openat(dir, ".", flags, Mode::empty())?).map(|dir| Listing(Some(dir)))
}

/// See [`list`].
#[derive(Debug)]
pub(crate) struct Listing(Option<fs::Dir>);

impl Iterator for Listing {
    type Item = Result<fs::DirEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        let dir = self.0.as_mut()?;
        let entry = match ask(Call::Getdents) {
            Ok(()) => dir.next(),
            Err(errno) => Some(Err(errno)),
        };
        // Whoever skips what cannot be read would ask for it for ever.
        if !matches!(entry, Some(Ok(_))) {
            self.0 = None;
        }
        entry
    }
}

/// All of a small text that the kernel makes when it is read.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn read_text(path: &std::path::Path) -> Result<String> {
    const MAX_BYTES: usize = 4 << 20;
    let file = openat(
        fs::CWD,
        path,
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    while text.len() < MAX_BYTES {
        match pread(&file, &mut buffer, text.len() as u64)? {
            0 => break,
            len => text.extend_from_slice(&buffer[..len]),
        }
    }
    String::from_utf8(text).map_err(|_| Errno::ILSEQ)
}

// ---- descriptors ----

pub(crate) fn fstat(fd: impl AsFd) -> Result<Stat> {
    ask(Call::Fstat)?;
    match fs::fstat(&fd) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Err(errno) if is_refusal(errno) => fs::statat(fd, "", AtFlags::EMPTY_PATH),
        looked => looked,
    }
}

pub(crate) fn fchmod(fd: impl AsFd, mode: Mode) -> Result<()> {
    ask(Call::Fchmod)?;
    fs::fchmod(fd, mode)
}

pub(crate) fn flock(fd: impl AsFd, operation: FlockOperation) -> Result<()> {
    ask(Call::Flock)?;
    fs::flock(fd, operation)
}

/// Closes, and says what dropping would not. Whatever it says, the descriptor is
/// closed: <https://man7.org/linux/man-pages/man2/close.2.html>.
pub(crate) fn close(fd: OwnedFd) -> Result<()> {
    let asked = ask(Call::Close);
    nix::unistd::close(fd.into_raw_fd())
        .map_err(|errno| Errno::from_raw_os_error(errno as i32))
        .and(asked)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn fstatfs(fd: impl AsFd) -> Result<fs::StatFs> {
    ask(Call::Fstatfs)?;
    fs::fstatfs(fd)
}

/// What a file system has left.
pub(crate) fn statvfs(path: impl Arg) -> Result<fs::StatVfs> {
    ask(Call::Fstatfs)?;
    fs::statvfs(path)
}

/// Looks at a descriptor.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn statx(fd: impl AsFd, flags: fs::StatxFlags) -> Result<fs::Statx> {
    ask(Call::Statx)?;
    fs::statx(fd, "", AtFlags::EMPTY_PATH, flags)
}

/// Adds `flags` to those of a descriptor.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn fcntl_add_flags(fd: impl AsFd, flags: OFlags) -> Result<()> {
    ask(Call::Fcntl)?;
    let before = fs::fcntl_getfl(&fd)?;
    ask(Call::Fcntl)?;
    fs::fcntl_setfl(&fd, before | flags)
}

/// Has an empty file overwritten in place on a file system that would write
/// elsewhere each time (`FS_NOCOW_FL`).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn ioctl_set_nocow(fd: impl AsFd) -> Result<()> {
    ask(Call::Ioctl)?;
    let before = fs::ioctl_getflags(&fd)?;
    ask(Call::Ioctl)?;
    fs::ioctl_setflags(&fd, before | fs::IFlags::NOCOW)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn fallocate(
    fd: impl AsFd,
    flags: fs::FallocateFlags,
    offset_bytes: u64,
    len_bytes: u64,
) -> Result<()> {
    ask(Call::Fallocate)?;
    fs::fallocate(fd, flags, offset_bytes, len_bytes)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn fdatasync(fd: impl AsFd) -> Result<()> {
    ask(Call::Fdatasync)?;
    fs::fdatasync(fd)
}

/// `len_bytes` of `None` is all that follows.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn fadvise(
    fd: impl AsFd,
    offset_bytes: u64,
    len_bytes: Option<std::num::NonZeroU64>,
    advice: fs::Advice,
) -> Result<()> {
    ask(Call::Fadvise)?;
    fs::fadvise(fd, offset_bytes, len_bytes, advice)
}

// ---- bytes ----

pub(crate) fn pread(fd: impl AsFd, buffer: &mut [u8], offset_bytes: u64) -> Result<usize> {
    let limit = ask_to_move(Call::Pread, || buffer.len())?;
    let read = io::pread(fd, &mut *buffer, offset_bytes)?;
    Ok(cut(&mut buffer[..read], limit).len())
}

/// Returns what was read, the front part of `buffer`.
pub(crate) fn pread_uninit(
    fd: impl AsFd,
    buffer: &mut [MaybeUninit<u8>],
    offset_bytes: u64,
) -> Result<&mut [u8]> {
    let limit = ask_to_move(Call::Pread, || buffer.len())?;
    let (read, _) = io::pread(fd, buffer, offset_bytes)?;
    Ok(cut(read, limit))
}

pub(crate) fn pwrite(fd: impl AsFd, bytes: &[u8], offset_bytes: u64) -> Result<usize> {
    match ask_to_move(Call::Pwrite, || bytes.len())? {
        None => io::pwrite(fd, bytes, offset_bytes),
        Some(limit) => write_part(&[IoSlice::new(bytes)], limit, |slices| {
            io::pwritev(&fd, slices, offset_bytes)
        }),
    }
}

/// Writes the slices, the first of which is not empty. Where the call is refused, or
/// there is none, the first slice alone is a short write.
pub(crate) fn pwritev(fd: impl AsFd, slices: &[IoSlice<'_>], offset_bytes: u64) -> Result<usize> {
    #[cfg(not(target_vendor = "apple"))]
    let write = |slices: &[IoSlice<'_>]| match io::pwritev(&fd, slices, offset_bytes) {
        Err(errno) if is_refusal(errno) => pwrite(&fd, &slices[0], offset_bytes),
        written => written,
    };
    #[cfg(target_vendor = "apple")]
    let write = |slices: &[IoSlice<'_>]| pwrite(&fd, &slices[0], offset_bytes);
    match ask_to_move(Call::Pwritev, || total(slices))? {
        None => write(slices),
        Some(limit) => write_part(slices, limit, write),
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn pwritev2(
    fd: impl AsFd,
    slices: &[IoSlice<'_>],
    offset_bytes: u64,
    flags: io::ReadWriteFlags,
) -> Result<usize> {
    let write = |slices: &[IoSlice<'_>]| io::pwritev2(&fd, slices, offset_bytes, flags);
    match ask_to_move(Call::Pwritev2, || total(slices))? {
        None => write(slices),
        Some(limit) => write_part(slices, limit, write),
    }
}

fn total(slices: &[IoSlice<'_>]) -> usize {
    slices.iter().map(|slice| slice.len()).sum()
}

/// A read that a test cuts short: what lies behind it is rubbish.
fn cut(read: &mut [u8], limit: Option<usize>) -> &mut [u8] {
    let Some(limit) = limit else { return read };
    let (front, rest) = read.split_at_mut(limit.min(read.len()));
    rest.fill(0xee);
    front
}

/// A write that a test cuts short: no more than `limit` bytes arrive. Direct I/O
/// refuses parts of blocks; of those, whole ones arrive.
fn write_part(
    slices: &[IoSlice<'_>],
    limit: usize,
    write: impl Fn(&[IoSlice<'_>]) -> Result<usize>,
) -> Result<usize> {
    if limit == 0 {
        return Ok(0);
    }
    match write(&front(slices, limit)) {
        Err(Errno::INVAL) => {
            let blocks = front(slices, limit - limit % pager_core::PAGE_BYTES);
            if !blocks.is_empty() {
                write(&blocks)?;
            }
            Ok(limit)
        }
        written => written,
    }
}

fn front<'s>(slices: &'s [IoSlice<'_>], mut limit: usize) -> Vec<IoSlice<'s>> {
    let mut front = Vec::new();
    for slice in slices {
        let len = slice.len().min(limit);
        limit -= len;
        if len > 0 {
            front.push(IoSlice::new(&slice[..len]));
        }
    }
    front
}

// ---- threads ----

/// Starts a thread with a small stack.
pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    ask(Call::Clone)?;
    std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(128 << 10)
        .spawn(run)
        .map(drop)
}
