//! Finds the directory of our own memory cgroup, in version 1 and version 2 hierarchies.
//!
//! Guarantees that the answer is a path below a cgroup mount that this process can see, also in a
//! container, where the mount shows only a part of the hierarchy. Refuses to guess: without a
//! memory controller there is no answer. Pure text in, paths out; nothing is written here.

use std::path::{Path, PathBuf};

/// Which generation of the interface a directory speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// `memory.limit_in_bytes`.
    V1,
    /// `memory.max`.
    V2,
}

/// Our own place in a hierarchy that may control memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) version: Version,
    /// Where the hierarchy is mounted; the walk upwards ends here.
    pub(crate) mount: PathBuf,
    /// The cgroup that this process is in.
    pub(crate) own: PathBuf,
}

/// The candidates, best first: version 1 with the memory controller (a controller lives in one
/// hierarchy only, so where it is mounted as version 1 the version 2 tree has not got it), then
/// version 2.
pub(crate) fn places(mountinfo: &str, self_cgroup: &str) -> Vec<Place> {
    let mut found = Vec::new();
    for version in [Version::V1, Version::V2] {
        let Some(path) = own_path(self_cgroup, version) else {
            continue;
        };
        for (root, mount) in mounts(mountinfo, version) {
            // A mount of a part of the hierarchy shows paths relative to that part. A path
            // outside it (`/..` from a cgroup namespace) starts at the mount itself.
            let below = Path::new(path)
                .strip_prefix(&root)
                .unwrap_or_else(|_| Path::new(""));
            found.push(Place {
                version,
                own: mount.join(below),
                mount,
            });
        }
    }
    found
}

/// The path of the hierarchy in `/proc/self/cgroup`, whose lines are `id:controllers:path`.
fn own_path(self_cgroup: &str, version: Version) -> Option<&str> {
    self_cgroup.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let matches = match version {
            Version::V1 => controllers.split(',').any(|name| name == "memory"),
            Version::V2 => id == "0" && controllers.is_empty(),
        };
        matches.then_some(path)
    })
}

/// Root and mount point of each mount of the hierarchy in `/proc/self/mountinfo`
/// (proc_pid_mountinfo(5): the optional fields end with a lone hyphen).
fn mounts(mountinfo: &str, version: Version) -> Vec<(PathBuf, PathBuf)> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut fields = before.split(' ').skip(3);
            let (root, mount) = (fields.next()?, fields.next()?);
            let mut kind = after.split(' ');
            let fs_type = kind.next()?;
            let options = kind.nth(1)?;
            let matches = match version {
                Version::V1 => fs_type == "cgroup" && options.split(',').any(|o| o == "memory"),
                Version::V2 => fs_type == "cgroup2",
            };
            matches.then(|| (unescape(root), unescape(mount)))
        })
        .collect()
}

/// Undoes the kernel's `\040` escapes.
fn unescape(field: &str) -> PathBuf {
    let mut text = field.to_owned();
    for (escaped, plain) in [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ] {
        text = text.replace(escaped, plain);
    }
    PathBuf::from(text)
}

#[cfg(test)]
mod tests {
    use super::{Place, Version, places};
    use std::path::PathBuf;

    const V1_MOUNTS: &str = "\
29 26 0:26 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu
32 26 0:29 / /sys/fs/cgroup/memory rw,relatime shared:12 - cgroup cgroup rw,memory
37 26 0:34 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    fn place(version: Version, mount: &str, own: &str) -> Place {
        Place {
            version,
            mount: PathBuf::from(mount),
            own: PathBuf::from(own),
        }
    }

    #[test]
    fn a_hybrid_machine_prefers_the_version_1_memory_controller() {
        let cgroup = "4:memory:/service/abc\n3:cpuset:/\n0::/\n";
        assert_eq!(
            places(V1_MOUNTS, cgroup),
            [
                place(
                    Version::V1,
                    "/sys/fs/cgroup/memory",
                    "/sys/fs/cgroup/memory/service/abc"
                ),
                place(
                    Version::V2,
                    "/sys/fs/cgroup/unified",
                    "/sys/fs/cgroup/unified"
                ),
            ]
        );
    }

    #[test]
    fn a_pure_version_2_machine_has_one_place() {
        let mounts =
            "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";
        assert_eq!(
            places(mounts, "0::/user.slice/session-1.scope\n"),
            [place(
                Version::V2,
                "/sys/fs/cgroup",
                "/sys/fs/cgroup/user.slice/session-1.scope"
            )]
        );
    }

    #[test]
    fn a_container_sees_paths_below_the_root_of_its_mount() {
        let mounts = "9 8 0:29 /docker/c1 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory";
        let found = places(mounts, "4:memory:/docker/c1/sub\n");
        assert_eq!(found[0].own, PathBuf::from("/sys/fs/cgroup/memory/sub"));
        let outside = places(mounts, "4:memory:/elsewhere\n");
        assert_eq!(outside[0].own, PathBuf::from("/sys/fs/cgroup/memory"));
    }

    #[test]
    fn comounted_controllers_and_escaped_paths_are_understood() {
        let mounts = "9 8 0:29 / /mnt/c\\040g rw - cgroup cgroup rw,cpu,memory";
        let found = places(mounts, "4:cpu,memory:/x\n");
        assert_eq!(found[0].own, PathBuf::from("/mnt/c g/x"));
    }

    #[test]
    fn without_a_memory_controller_there_is_no_place() {
        assert_eq!(places("", "4:memory:/x\n"), []);
        assert_eq!(places(V1_MOUNTS, "3:cpuset:/\n"), []);
        assert_eq!(places("garbage\n - \n", "garbage\n::\n"), []);
    }
}
