//! Which memory cgroups this process is in, of either version, as `/proc` tells.
//!
//! Hidden from users: the default budget and the diagnosis of swap want to know
//! the same. Works on the text of the files and reads none. Where a container
//! shows less than the whole tree, the answer is as much of it as can be seen,
//! and at least the top of what is mounted, which holds the container's limits.

use std::path::{Path, PathBuf};

/// The directories of the memory cgroups that a process is in, innermost first,
/// from its `cgroup` and `mountinfo` files.
#[must_use]
pub fn directories(member_of: &str, mounts: &str) -> Vec<PathBuf> {
    let mut directories = Vec::new();
    for line in member_of.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let is_memory = controllers.split(',').any(|name| name == "memory");
        if controllers.is_empty() || is_memory {
            let mounts: Vec<_> = mounts_of(mounts, is_memory).collect();
            directories.extend(seen_in(&mounts, Path::new(path)));
        }
    }
    directories
}

/// The directories of `path` and its parents in the mount that shows most of them.
fn seen_in(mounts: &[(PathBuf, PathBuf)], path: &Path) -> Vec<PathBuf> {
    let up_to = |mount_point: &Path, below: &Path| -> Vec<PathBuf> {
        let within = |directory: &&Path| directory.starts_with(mount_point);
        let innermost = mount_point.join(below);
        innermost
            .ancestors()
            .take_while(within)
            .map(strip_slash)
            .collect()
    };
    let shown = mounts.iter().find_map(|(root, mount_point)| {
        let below = path.strip_prefix(root).ok()?;
        // Above the root of a cgroup namespace nothing can be seen.
        let is_above = below.components().any(|part| part.as_os_str() == "..");
        (!is_above).then(|| up_to(mount_point, below))
    });
    // A path that is not below what is mounted is the host's word for a place in
    // it, or beside it: what is mounted bounds it, if anything here does.
    let top = || mounts.first().map(|(_, top)| vec![strip_slash(top)]);
    shown.or_else(top).unwrap_or_default()
}

/// A path joined with an empty one ends in a slash.
fn strip_slash(path: &Path) -> PathBuf {
    path.components().collect()
}

/// Root and mount point of each cgroup mount that controls memory.
fn mounts_of(mounts: &str, is_version_1: bool) -> impl Iterator<Item = (PathBuf, PathBuf)> {
    mounts.lines().filter_map(move |line| {
        let (head, tail) = line.split_once(" - ")?;
        let mut tail = tail.split(' ');
        let (kind, options) = (tail.next()?, tail.nth(1)?);
        let is_wanted = if is_version_1 {
            kind == "cgroup" && options.split(',').any(|option| option == "memory")
        } else {
            kind == "cgroup2"
        };
        let mut head = head.split(' ').skip(3);
        let (root, mount_point) = (head.next()?, head.next()?);
        is_wanted.then(|| (unescape(root).into(), unescape(mount_point).into()))
    })
}

/// Undoes the octal escapes (`\040` for a space) of files under `/proc`.
#[must_use]
pub fn unescape(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part
            .get(..3)
            .and_then(|code| u8::from_str_radix(code, 8).ok());
        match code.filter(u8::is_ascii) {
            Some(code) => {
                plain.push(char::from(code));
                plain.push_str(&part[3..]);
            }
            None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION_2: &str = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";

    #[test]
    fn cgroups_of_version_2_are_listed_up_to_the_mount() {
        let expected = [
            "/sys/fs/cgroup/user.slice/job",
            "/sys/fs/cgroup/user.slice",
            "/sys/fs/cgroup",
        ];
        assert_eq!(
            directories("0::/user.slice/job\n", VERSION_2),
            expected.map(PathBuf::from)
        );
        assert_eq!(
            directories("0::/\n", VERSION_2),
            [PathBuf::from("/sys/fs/cgroup")]
        );
    }

    #[test]
    fn cgroups_of_version_1_are_found_by_their_controller() {
        let mounts = "30 23 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      31 23 0:28 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let member_of = "3:cpu:/docker/x\n2:memory:/docker/x/inner\n";
        let expected = ["/sys/fs/cgroup/memory/inner", "/sys/fs/cgroup/memory"];
        assert_eq!(directories(member_of, mounts), expected.map(PathBuf::from));
    }

    #[test]
    fn in_a_container_that_shows_another_part_of_the_tree_the_top_of_it_counts() {
        // No cgroup namespace: the path is the host's, the mount the container's.
        for path in ["/docker/x", "/../x", "/../.."] {
            assert_eq!(
                directories(
                    &format!("0::{path}\n"),
                    &VERSION_2.replace(" / ", " /kube/y ")
                ),
                [PathBuf::from("/sys/fs/cgroup")],
                "{path}"
            );
        }
        // The second mount of the tree shows where the process is.
        let mounts = format!("{}{VERSION_2}", "28 23 0:26 /a /mnt rw - cgroup2 none rw\n");
        assert_eq!(
            directories("0::/b\n", &mounts),
            ["/sys/fs/cgroup/b", "/sys/fs/cgroup"].map(PathBuf::from)
        );
    }

    #[test]
    fn odd_lines_are_left_out_and_spaces_are_escaped() {
        let none: [PathBuf; 0] = [];
        assert_eq!(directories("x\n1:memory\n0::/../..\n", "a - b\n"), none);
        assert_eq!(directories("1:name=systemd:/a\n", VERSION_2), none);
        assert_eq!(unescape("a\\040b\\x\\"), "a b\\x\\");
    }
}
