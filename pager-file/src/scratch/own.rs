//! Making the private directory: locked before it has its name.

use std::os::fd::{AsFd, OwnedFd};

use pager_core::{Error, Result, ScratchProblem};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use super::root::Root;
use super::{FILE_MODE, OPEN_DIRECTORY, is_mine, is_same_file, names, reap, refused, unavailable};
use crate::sys;

/// How often a sweep may take a directory away before it is locked, or a name
/// be in use, until something else must be wrong.
const ATTEMPTS: usize = 100;

/// Makes a private directory in `root`, and returns its name and the descriptor
/// that holds its lock.
///
/// # Errors
///
/// `ScratchUnavailable` or `OutOfSpace`. Nothing is left behind.
pub(super) fn create(root: &Root) -> Result<(String, OwnedFd)> {
    for _ in 0..ATTEMPTS {
        if let Some(made) = try_create(root, &names::fresh())? {
            return Ok(made);
        }
    }
    Err(failed(root, "mkdirat", Errno::AGAIN))
}

/// `None` if another name should be tried.
fn try_create(root: &Root, name: &str) -> Result<Option<(String, OwnedFd)>> {
    let hidden = names::hidden(name);
    match retry_on_intr(|| sys::mkdirat(root.fd(), &hidden, Mode::RWXU)) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(None),
        Err(errno) => return Err(failed(root, "mkdirat", errno)),
    }
    let made = lock_and_name(root, &hidden, name);
    if !matches!(made, Ok(Some(_))) {
        // Gone already if a sweep or the rename has taken it; empty if not.
        let _ = sys::unlinkat(root.fd(), &hidden, AtFlags::REMOVEDIR);
    }
    made
}

fn lock_and_name(root: &Root, hidden: &str, name: &str) -> Result<Option<(String, OwnedFd)>> {
    let Some((fd, locked)) = open_private(root, hidden)? else {
        return Ok(None);
    };
    match retry_on_intr(|| sys::flock(&fd, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => {}
        // A sweep holds it, and is about to remove it.
        Err(Errno::WOULDBLOCK) => return Ok(None),
        Err(errno) => return Err(failed(root, "flock", errno)),
    }
    if !root.is_guarded() && !mark(root, &fd)? {
        return Ok(None);
    }
    match give_name(root, hidden, name, &locked) {
        Ok(Some(name)) => Ok(Some((name, fd))),
        unnamed => {
            // Whichever name it has by now, nobody but us would remove it.
            reap::remove(root, hidden, fd.as_fd());
            reap::remove(root, name, fd.as_fd());
            unnamed.map(|_| None)
        }
    }
}

/// Makes the file in an unguarded directory that tells the next sweep whose it is,
/// and strangers that it is not empty. `false` if it is not the directory that was
/// made: ours was empty.
fn mark(root: &Root, fd: &OwnedFd) -> Result<bool> {
    match is_empty(fd) {
        Ok(true) => {}
        Ok(false) => return Ok(false),
        // Then nothing that is in it is ever found to be removed either.
        Err(errno) if sys::is_refusal(errno) => {}
        Err(errno) => return Err(failed(root, "getdents64", errno)),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match retry_on_intr(|| sys::openat(fd, names::MARKER, flags, FILE_MODE)) {
        Ok(_) => Ok(true),
        Err(errno) if is_taken_away(errno) => Ok(false),
        Err(errno) => Err(failed(root, "openat", errno)),
    }
}

fn is_empty(fd: &OwnedFd) -> rustix::io::Result<bool> {
    for entry in sys::list(fd)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Renames the locked directory, and gives the name that it has then; `None` if
/// another should be tried. Where the call is refused it stays hidden: a name that
/// every sweep knows as well.
fn give_name(root: &Root, hidden: &str, name: &str, locked: &Stat) -> Result<Option<String>> {
    let name = match retry_on_intr(|| sys::renameat(root.fd(), hidden, name)) {
        Ok(()) => name,
        Err(errno) if sys::is_refusal(errno) && !is_there(root, name) => hidden,
        Err(errno) if is_taken_away(errno) || is_in_use(errno) => return Ok(None),
        Err(errno) => return Err(failed(root, "renameat", errno)),
    };
    // The name must lead to what is locked.
    match retry_on_intr(|| sys::lstatat(root.fd(), name)) {
        Ok(named) if is_same_file(&named, locked) => Ok(Some(name.to_owned())),
        Ok(_) => Ok(None),
        Err(errno) if is_taken_away(errno) => Ok(None),
        Err(errno) => Err(failed(root, "newfstatat", errno)),
    }
}

fn is_there(root: &Root, name: &str) -> bool {
    !matches!(sys::lstatat(root.fd(), name), Err(Errno::NOENT))
}

/// Opens the new directory and makes its mode 0700, whatever the umask has left
/// of it. Says which file it is; `None` if it is not the one that was made.
fn open_private(root: &Root, hidden: &str) -> Result<Option<(OwnedFd, Stat)>> {
    let open = || retry_on_intr(|| sys::openat(root.fd(), hidden, OPEN_DIRECTORY, Mode::empty()));
    let opened = match open() {
        // The umask has taken the owner's own rights.
        Err(Errno::ACCESS) => match sys::restore_rights(root.fd(), hidden) {
            Ok(()) => open(),
            Err(errno) if is_taken_away(errno) => return Ok(None),
            Err(errno) => return Err(failed(root, "fchmodat", errno)),
        },
        opened => opened,
    };
    let fd = match opened {
        Ok(fd) => fd,
        Err(errno) if is_taken_away(errno) => return Ok(None),
        Err(errno) => return Err(failed(root, "openat", errno)),
    };
    let stat = retry_on_intr(|| sys::fstat(&fd)).map_err(|errno| failed(root, "fstat", errno))?;
    if !is_mine(&stat) {
        // Not the directory that was made: it was swept, and the name taken.
        return Ok(None);
    }
    if is_private(&stat) {
        return Ok(Some((fd, stat)));
    }
    // It was made without rights for others. Where strangers can exchange it, one
    // that has some may be another directory of ours, which keeps its mode.
    if root.is_guarded() || !is_open_to_others(&stat) {
        retry_on_intr(|| sys::fchmod(&fd, Mode::RWXU))
            .map_err(|errno| failed(root, "fchmod", errno))?;
        let now =
            retry_on_intr(|| sys::fstat(&fd)).map_err(|errno| failed(root, "fstat", errno))?;
        if !is_open_to_others(&now) {
            return Ok(Some((fd, stat)));
        }
    }
    // A file system without modes.
    let problem = ScratchProblem::NotPrivate;
    Err(unavailable(root.path(), problem, None))
}

/// Whether the owner has all rights and others have none. A group that is handed on
/// (the set-group-id bit of the root) gives nobody any.
fn is_private(stat: &Stat) -> bool {
    Mode::from_raw_mode(stat.st_mode) & (Mode::RWXU | Mode::RWXG | Mode::RWXO) == Mode::RWXU
}

fn is_open_to_others(stat: &Stat) -> bool {
    Mode::from_raw_mode(stat.st_mode).intersects(Mode::RWXG | Mode::RWXO)
}

/// Whether an error means that the name is not our directory's any more.
fn is_taken_away(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
}

/// Whether a rename onto a name failed because somebody has it: a directory of a
/// stranger, where the sticky bit guards it, cannot even be replaced when empty.
fn is_in_use(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::EXIST | Errno::NOTEMPTY | Errno::PERM | Errno::ACCESS
    )
}

fn failed(root: &Root, call: &'static str, errno: Errno) -> Error {
    refused(root.path(), "create directory", call, errno)
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    use std::path::Path;

    const NAME: &str = "pager-1-0123456789abcdef";
    const HIDDEN: &str = ".pager-1-0123456789abcdef";

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    /// Tries a name that somebody has guessed and used before us.
    fn tried(root: &Path) -> Result<Option<(String, OwnedFd)>> {
        try_create(&Root::open(root, true)?, NAME)
    }

    #[test]
    fn a_name_that_is_in_use_is_not_ours_whatever_it_is_used_for() {
        type Plant = fn(&Path);
        let plants: [Plant; 3] = [
            |path| drop(File::create(path).unwrap()),
            |path| symlink("/var/tmp", path).unwrap(),
            |path| {
                fs::create_dir(path).unwrap();
                File::create(path.join("file")).unwrap();
            },
        ];
        for (plant, name) in plants
            .into_iter()
            .flat_map(|plant| [(plant, NAME), (plant, HIDDEN)])
        {
            let root = tempfile::tempdir().unwrap();
            plant(&root.path().join(name));
            assert!(tried(root.path()).unwrap().is_none(), "{name}");
            assert_eq!(names(root.path()), [name]);
        }
    }

    #[test]
    fn a_strangers_directory_of_a_guessed_name_makes_us_choose_another() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: not root");
            return;
        }
        let (nobody, stranger) = (65534, 65533);
        for name in [NAME, HIDDEN] {
            let root = tempfile::tempdir().unwrap();
            fs::set_permissions(root.path(), Permissions::from_mode(0o1777)).unwrap();
            let planted = root.path().join(name);
            fs::create_dir(&planted).unwrap();
            chown(&planted, Some(stranger), None).unwrap();
            std::thread::scope(|scope| {
                let as_nobody = scope.spawn(|| {
                    let uid = rustix::process::Uid::from_raw(nobody);
                    // This thread alone becomes another user, and ends as one.
                    rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
                    assert!(tried(root.path()).unwrap().is_none(), "{name}");
                });
                as_nobody.join().unwrap();
            });
            assert_eq!(names(root.path()), [name]);
        }
    }
}
