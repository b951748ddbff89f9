//! The files under `/proc` that more than one probe reads: mounts, numbers.
//!
//! Guarantees that odd lines are left out. Refuses to read anything itself.

use std::path::{Path, PathBuf};

use crate::cgroup::unescape;

/// The number that a file of one number holds.
#[must_use]
pub fn number(text: Option<&str>) -> Option<u64> {
    text?.trim().parse().ok()
}

/// Major and minor number of a release such as `5.15.0-91-generic`.
#[must_use]
pub fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// One line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is.
    pub mount_point: PathBuf,
    /// The type of the file system, such as `ext4` or `fuse.sshfs`.
    pub kind: String,
    /// What is mounted: a device, or a name.
    pub source: String,
    /// The options of the file system, comma-separated.
    pub options: String,
}

/// The mount that `path`, which must be absolute, lies in.
#[must_use]
pub fn mount_of(mountinfo: &str, path: &Path) -> Option<Mount> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (head, tail) = line.split_once(" - ")?;
        let mut tail = tail.split(' ');
        let (kind, source, options) = (tail.next()?, tail.next()?, tail.next()?);
        let mount_point = PathBuf::from(unescape(head.split(' ').nth(4)?));
        path.starts_with(&mount_point).then(|| Mount {
            mount_point,
            kind: kind.to_owned(),
            source: unescape(source),
            options: unescape(options),
        })
    });
    // The deepest; of equals the later lies on top.
    mounts.max_by_key(|mount| mount.mount_point.components().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_and_latest_mount_counts() {
        let mounts = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
                      2 1 0:5 / /var/my\\040tmp rw shared:3 - overlay over rw,upperdir=/u\n\
                      3 1 0:6 / /var/my\\040tmp rw - xfs /dev/sdb rw\n\
                      odd - line\n";
        let found = mount_of(mounts, Path::new("/var/my tmp/x")).unwrap();
        assert_eq!(
            (found.kind.as_str(), found.source.as_str()),
            ("xfs", "/dev/sdb")
        );
        let root = mount_of(mounts, Path::new("/var/my tmpx")).unwrap();
        assert_eq!(root.mount_point, Path::new("/"));
        assert_eq!(mount_of("", Path::new("/")), None);
    }

    #[test]
    fn odd_lines_are_left_out() {
        assert_eq!(version("5.15.0-91-generic"), Some((5, 15)));
        assert_eq!(version("strange"), None);
        assert_eq!(number(Some("12\n")), Some(12));
        assert_eq!(number(Some("max")), None);
    }
}
