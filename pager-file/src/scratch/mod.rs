//! The scratch directory: made for one backend, locked for life, removed at the
//! end; and the sweep that removes what dead processes left.
//!
//! ```text
//! root    the directory that the user names: opened once, examined, held open
//! medium  what lies under it: whether it is memory, and who serves it
//! own     a private directory in it, locked before it has its name
//! reap    the sweep: whose lock can be taken is dead
//! sweeper who sweeps, and for how long
//! names   what our directories are called
//! at_exit what nobody drops, when the process ends
//! ```
//!
//! All access is relative to a descriptor of the root or of the private
//! directory, never through a symbolic link, and every descriptor is closed on
//! `exec`. Directories are 0700 and files 0600 whatever the umask.
//!
//! # Why a sweep removes the dead and only the dead
//!
//! Each private directory is locked with `flock` on the directory itself. The
//! lock belongs to the open file description, so it ends when the last
//! descriptor of it is closed, however the process ends. A process id decides
//! nothing: it stands in the name for people.
//!
//! 1. *A directory whose name has no leading dot was locked before it had that
//!    name.* [`own`] makes it under a hidden name, locks it, and renames it.
//! 2. *Its lock stays taken while its owner lives*, because the owner keeps the
//!    descriptor until it has removed the directory. Renaming, replacing the
//!    process id, or forking does not touch the lock. Nothing ever unlocks it
//!    explicitly: that would unlock the parent's from a forked child.
//! 3. *A sweep removes only what it has locked.* By 1 and 2, a directory with a
//!    visible name that it can lock has no living owner.
//! 4. *A hidden name may be seen unlocked*: its maker died before locking, or is
//!    about to lock. A sweep treats it like any other. If it takes the lock
//!    first, the maker cannot lock, or locks a directory that has no name any
//!    more; its rename then fails, and it begins again with another name. If the
//!    maker locks first, the sweep leaves it alone.
//! 5. *Two sweeps at once* are one that locks and one that sees a living owner.
//!    A sweep that locks what another has just removed finds it empty, and the
//!    name gone or another directory's, and removes nothing: it compares device
//!    and inode before it removes a name.
//! 6. *A crash at any point* leaves a directory without an owner, hidden or
//!    visible, and the next sweep can lock it: 3 and 4. A sweep that dies half
//!    way leaves a smaller directory of the same kind.
//! 7. *Strangers* in a guarded root (ours or the administrator's, closed to other
//!    writers or with the sticky bit) cannot rename or remove what is ours. What they
//!    make under our kind of name is not owned by us, and a sweep passes it by; a
//!    name that they guess makes us choose another.
//!
//! # What strangers can do in a root that is not guarded
//!
//! A directory of mode 0777 (a volume of a container), one that the own group may
//! write to, one of another user: strangers may rename and exchange its entries.
//! They still cannot open a directory of ours, which is 0700, nor therefore lock it,
//! put anything into it or take anything out; and a running process has it open, and
//! needs its name no more. What is left to them:
//!
//! - *Removing our directory while it is empty*, so that no file can be made in it.
//!   It is never empty there: it holds a marker.
//! - *Giving another directory of ours our kind of name*, for a sweep to empty. There,
//!   a sweep empties only what holds the marker, a file of ours that a stranger cannot
//!   have put in.
//! - *Exchanging the new directory* before it is opened for another of ours, for us to
//!   change its mode, to use, and to remove in the end. Ours was made private and
//!   empty: one that is not is left as it is.
//! - *Moving our directory away*, so that no sweep finds it if we die: its name is
//!   lost, and its files stay until somebody removes them. Files of segments have no
//!   names, and leave nothing.
//!
//! # Forked children
//!
//! A child shares the lock with its parent. It removes nothing, whatever it
//! drops. While it lives (and has not called `exec`), the directory of a dead
//! parent still counts as alive, and is swept only after the child's end.

mod at_exit;
mod medium;
mod names;
mod own;
mod reap;
mod root;
mod sweeper;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pager_core::{Error, ProcessStamp, Result, ScratchProblem, observe};
use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::{FileConfig, Reaped, sys};
use root::Root;
use sweeper::Sweeper;

/// How every directory of ours is opened.
const OPEN_DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// The private directory of one backend. Dropping it removes it with all that
/// is in it; in a forked child, dropping it does nothing.
#[derive(Debug)]
pub(crate) struct ScratchDir {
    root: Arc<Root>,
    name: String,
    path: PathBuf,
    /// Holds the lock. Closed after the directory is removed.
    fd: OwnedFd,
    stamp: ProcessStamp,
    sweeper: Sweeper,
}

impl ScratchDir {
    /// Opens the root that `config` names, sweeps it, and makes a private
    /// directory in it.
    ///
    /// # Errors
    ///
    /// [`Error::ScratchUnavailable`] with what is wrong, [`Error::OutOfSpace`],
    /// or [`Error::Io`]. Nothing is left behind; a later call may succeed.
    pub(crate) fn open(config: &FileConfig) -> Result<Self> {
        let root = Arc::new(Root::open(&config.root, config.allow_memory_fs)?);
        let sweeper = Sweeper::begin(&root)?;
        Self::make(root, sweeper)
    }

    /// The same without a sweep, which would change what is not ours.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub(crate) fn open_unswept(config: &FileConfig) -> Result<Self> {
        let root = Arc::new(Root::open(&config.root, config.allow_memory_fs)?);
        Self::make(root, Sweeper::idle())
    }

    fn make(root: Arc<Root>, sweeper: Sweeper) -> Result<Self> {
        let (name, fd) = own::create(&root)?;
        sweeper.go_on(&root);
        Ok(Self {
            path: root.path().join(&name),
            root,
            name,
            fd,
            stamp: ProcessStamp::current(),
            sweeper,
        })
    }

    /// The private directory, for calls relative to it.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Where it was made. For messages only: all access goes through
    /// [`fd`](Self::fd).
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The root that it lies in.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// What the sweep that began with the directory has found so far.
    pub(crate) fn reaped(&self) -> Reaped {
        self.sweeper.reaped()
    }

    /// Sweeps the root again.
    ///
    /// # Errors
    ///
    /// [`Error::ForeignProcess`] in a forked child; [`Error::Io`] if the root
    /// cannot be listed.
    pub(crate) fn reap(&self) -> Result<Reaped> {
        if !self.is_own() {
            return Err(Error::ForeignProcess);
        }
        self.sweeper.sweep_all(&self.root)
    }

    /// Has it removed when the process ends, if nobody has dropped it by then.
    pub(crate) fn remove_at_exit(self: &Arc<Self>) {
        at_exit::remember(self);
    }

    /// Whether the calling process is the one that made it.
    pub(crate) fn is_own(&self) -> bool {
        self.stamp.is_current()
    }
}

impl ScratchDir {
    /// Removes its name and what is in it; in a forked child, does nothing. May be
    /// done again.
    fn remove(&self) {
        if !self.is_own() {
            return;
        }
        // What cannot be removed now is unlocked in a moment, and goes with the
        // next sweep.
        reap::remove(&self.root, &self.name, self.fd.as_fd());
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        self.remove();
        if self.is_own() {
            observe::directory(&self.path, "closed", || "nobody uses it any more");
        }
    }
}

/// What every file of ours is created with: owner reads and writes, 0600.
pub(crate) const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Gives the owner of a new file back the rights that an unusual umask has taken;
/// it cannot have given any.
pub(crate) fn ensure_file_mode(file: &OwnedFd) -> rustix::io::Result<()> {
    let stat = sys::fstat(file)?;
    if Mode::from_raw_mode(stat.st_mode).contains(FILE_MODE) {
        return Ok(());
    }
    sys::fchmod(file, FILE_MODE)
}

/// Whether two descriptions are of the same file.
fn is_same_file(a: &Stat, b: &Stat) -> bool {
    a.st_dev == b.st_dev && a.st_ino == b.st_ino
}

/// Whether the calling user owns the file.
fn is_mine(stat: &Stat) -> bool {
    stat.st_uid == rustix::process::geteuid().as_raw()
}

/// `failed` is the call that said so, and what it said.
fn unavailable(
    path: &Path,
    problem: ScratchProblem,
    failed: Option<(&'static str, Errno)>,
) -> Error {
    Error::ScratchUnavailable {
        path: path.to_owned(),
        problem,
        call: failed.map(|(call, _)| call),
        source: failed.map(|(_, errno)| errno.into()),
    }
}

/// The error of a call that would have made something in `path`.
fn refused(path: &Path, operation: &'static str, call: &'static str, source: Errno) -> Error {
    let problem = match source {
        Errno::NOENT => ScratchProblem::Missing,
        Errno::NOTDIR => ScratchProblem::NotADirectory,
        Errno::LOOP => ScratchProblem::SymbolicLink,
        // Said to any other call, it is about that call.
        Errno::ACCESS | Errno::PERM | Errno::ROFS if matches!(call, "mkdirat" | "openat") => {
            ScratchProblem::NotWritable
        }
        Errno::NOSPC | Errno::DQUOT => {
            return Error::from_io(
                crate::BACKEND,
                operation,
                Some(path.to_owned()),
                pager_core::PAGE_BYTES as u64,
                source.into(),
            );
        }
        _ => ScratchProblem::Refused,
    };
    unavailable(path, problem, Some((call, source)))
}
