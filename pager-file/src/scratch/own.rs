//! Making the private directory: locked before it has its name.

use std::os::fd::{AsFd, OwnedFd};

use pager_core::{Error, Result};
use rustix::fs::{AtFlags, FlockOperation, Mode, Stat};
use rustix::io::{Errno, retry_on_intr};

use super::root::Root;
use super::{OPEN_DIRECTORY, is_mine, is_same_file, names, reap, refused};
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
        let name = names::fresh();
        if let Some(fd) = try_create(root, &name)? {
            return Ok((name, fd));
        }
    }
    Err(refused(root.path(), "create directory", Errno::AGAIN))
}

/// `None` if another name should be tried.
fn try_create(root: &Root, name: &str) -> Result<Option<OwnedFd>> {
    let hidden = names::hidden(name);
    match retry_on_intr(|| sys::mkdirat(root.fd(), &hidden, Mode::RWXU)) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(None),
        Err(errno) => return Err(failed(root, errno)),
    }
    let made = lock_and_name(root, &hidden, name);
    if !matches!(made, Ok(Some(_))) {
        // Gone already if a sweep or the rename has taken it; empty if not.
        let _ = sys::unlinkat(root.fd(), &hidden, AtFlags::REMOVEDIR);
    }
    made
}

fn lock_and_name(root: &Root, hidden: &str, name: &str) -> Result<Option<OwnedFd>> {
    let (fd, locked) = match open_private(root, hidden) {
        Ok(opened) => opened,
        Err(errno) if is_taken_away(errno) => return Ok(None),
        Err(errno) => return Err(failed(root, errno)),
    };
    match retry_on_intr(|| sys::flock(&fd, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => {}
        // A sweep holds it, and is about to remove it.
        Err(Errno::WOULDBLOCK) => return Ok(None),
        Err(errno) => return Err(failed(root, errno)),
    }
    match retry_on_intr(|| sys::renameat(root.fd(), hidden, name)) {
        Ok(()) => {}
        Err(errno) if is_taken_away(errno) || is_in_use(errno) => return Ok(None),
        Err(errno) => return Err(failed(root, errno)),
    }
    // The name must lead to what is locked.
    match retry_on_intr(|| sys::lstatat(root.fd(), name)) {
        Ok(named) if is_same_file(&named, &locked) => Ok(Some(fd)),
        Ok(_) => Ok(None),
        Err(errno) if is_taken_away(errno) => Ok(None),
        Err(errno) => {
            // It has its name already, and nobody but us to remove it.
            reap::remove(root, name, fd.as_fd());
            Err(failed(root, errno))
        }
    }
}

/// Opens the new directory and makes its mode 0700, whatever the umask has left
/// of it. Says which file it is.
fn open_private(root: &Root, hidden: &str) -> rustix::io::Result<(OwnedFd, Stat)> {
    let open = || retry_on_intr(|| sys::openat(root.fd(), hidden, OPEN_DIRECTORY, Mode::empty()));
    let fd = match open() {
        Err(Errno::ACCESS) => {
            // The umask has taken the owner's own rights.
            sys::lchmodat(root.fd(), hidden, Mode::RWXU)?;
            open()?
        }
        opened => opened?,
    };
    let stat = retry_on_intr(|| sys::fstat(&fd))?;
    if !is_mine(&stat) {
        // Not the directory that was made: it was swept, and the name taken.
        return Err(Errno::NOENT);
    }
    if Mode::from_raw_mode(stat.st_mode) != Mode::RWXU {
        retry_on_intr(|| sys::fchmod(&fd, Mode::RWXU))?;
    }
    Ok((fd, stat))
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

fn failed(root: &Root, errno: Errno) -> Error {
    refused(root.path(), "create directory", errno)
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
    fn tried(root: &Path) -> Result<Option<OwnedFd>> {
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
