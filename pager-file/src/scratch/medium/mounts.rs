//! [`Mount`]: a line of `/proc/self/mountinfo`.
//!
//! Whatever cannot be read or understood is as if it were not there.
//! <https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html>

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::sys;

/// How a file system is mounted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Its type, as `mount` names it.
    pub(super) kind: String,
    /// What it was mounted from.
    pub(super) source: PathBuf,
    /// Its own options, separated by commas.
    options: String,
}

/// The mount that a descriptor lies in.
pub(super) fn of(fd: impl AsFd) -> Option<Mount> {
    let info = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
    let info = sys::read_text(Path::new(&info)).ok()?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
    let mounts = sys::read_text(Path::new("/proc/self/mountinfo")).ok()?;
    find(&mounts, id.trim())
}

fn find(mounts: &str, id: &str) -> Option<Mount> {
    mounts.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        if mount.split(' ').next() != Some(id) {
            return None;
        }
        let mut words = file_system.split(' ');
        Some(Mount {
            kind: words.next()?.to_owned(),
            source: unescape(words.next()?),
            options: words.next().unwrap_or_default().to_owned(),
        })
    })
}

impl Mount {
    /// Where an overlay writes to.
    pub(super) fn upper_directory(&self) -> Option<PathBuf> {
        self.option("upperdir=").map(unescape)
    }

    /// The user whose program serves a FUSE file system.
    pub(super) fn server(&self) -> Option<u32> {
        self.option("user_id=")?.parse().ok()
    }

    fn option(&self, name: &str) -> Option<&str> {
        let options = self.options.split(',');
        options
            .filter_map(|option| option.strip_prefix(name))
            .next()
    }
}

/// Blanks and the like are written as three octal digits behind a backslash.
fn unescape(word: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.as_bytes();
    while let [first, tail @ ..] = rest {
        let octal = tail.first_chunk::<3>().filter(|_| *first == b'\\');
        let code = octal
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime - ext4 /dev/root rw
31 22 0:27 / /dev/shm rw,nosuid shared:4 - tmpfs tmpfs rw,size=1m
40 22 0:40 /a\\040b /mnt/x rw - overlay overlay rw,lowerdir=/l,upperdir=/u\\040p,workdir=/w
41 22 0:41 / /mnt/y rw shared:9 master:1 - fuse.sshfs me@there:/ rw,user_id=1000,group_id=7
";

    #[test]
    fn a_mount_is_found_by_its_number() {
        let shm = find(MOUNTS, "31").unwrap();
        assert_eq!((&*shm.kind, &*shm.source), ("tmpfs", Path::new("tmpfs")));
        assert_eq!(find(MOUNTS, "22").unwrap().source, Path::new("/dev/root"));
        assert_eq!(find(MOUNTS, "2"), None);
        assert_eq!(find("31 nonsense", "31"), None);
    }

    #[test]
    fn the_upper_directory_and_the_server_are_options() {
        let overlay = find(MOUNTS, "40").unwrap();
        assert_eq!(overlay.upper_directory(), Some("/u p".into()));
        assert_eq!(overlay.server(), None);
        assert_eq!(find(MOUNTS, "41").unwrap().server(), Some(1000));
        assert_eq!(find(MOUNTS, "31").unwrap().upper_directory(), None);
    }

    #[test]
    fn only_octal_digits_are_an_escape() {
        assert_eq!(unescape(r"a\040b\134"), Path::new(r"a b\"));
        assert_eq!(unescape(r"a\9\04"), Path::new(r"a\9\04"));
    }

    #[test]
    fn a_directory_of_this_process_lies_in_a_mount() {
        let root = std::fs::File::open("/").unwrap();
        assert!(of(&root).is_some_and(|mount| !mount.kind.is_empty()));
    }
}
