//! How much memory this process may use: the limit of its memory cgroup (version
//! 1 or 2), or what the machine has.

/// The least that a default budget is, where there is memory for it.
const MIN_BUDGET_BYTES: usize = 64 << 20;

/// Taken for the machine's memory where it cannot be asked.
const UNKNOWN_MEMORY_BYTES: usize = 4 << 30;

/// An eighth of the memory that this process may use, at least 64 MiB, but never
/// more than a quarter: a process in a cgroup of 64 MiB needs some for itself.
///
/// Reads `/proc` and the cgroup files once per call.
#[must_use]
pub fn default_budget_bytes() -> usize {
    budget_bytes_of(usable_memory_bytes())
}

fn budget_bytes_of(usable_bytes: usize) -> usize {
    (usable_bytes / 8).max(MIN_BUDGET_BYTES.min(usable_bytes / 4))
}

#[cfg(target_os = "linux")]
fn usable_memory_bytes() -> usize {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine_bytes = read("/proc/meminfo")
        .and_then(|meminfo| total_bytes(&meminfo))
        .unwrap_or(UNKNOWN_MEMORY_BYTES);
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    limit_files(&groups)
        .filter_map(|path| read(&path)?.trim().parse().ok())
        .fold(machine_bytes, usize::min)
}

#[cfg(not(target_os = "linux"))]
fn usable_memory_bytes() -> usize {
    UNKNOWN_MEMORY_BYTES
}

#[cfg(any(target_os = "linux", test))]
fn total_bytes(meminfo: &str) -> Option<usize> {
    let line = meminfo.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    kib.checked_mul(1024)
}

/// The limit files of the process's memory cgroups, from its own up to the root,
/// as `/proc/self/cgroup` names them. In a container the path may not exist below
/// the mount; the root's file then holds the container's limit.
#[cfg(any(target_os = "linux", test))]
fn limit_files(groups: &str) -> impl Iterator<Item = String> {
    groups.lines().flat_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let controllers = fields.next().unwrap_or_default();
        let path = fields.next().unwrap_or_default().trim_end_matches('/');
        let (mount, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            list if list.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return Vec::new(),
        };
        let ancestors = std::iter::successors(Some(path), |path| {
            path.rfind('/').map(|slash| &path[..slash])
        });
        ancestors
            .map(|path| format!("{mount}{path}/{file}"))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_files_of_both_versions_are_found_up_to_the_root() {
        let files: Vec<_> = limit_files("4:memory:/a/b\n3:cpuset:/\n0::/c").collect();
        assert_eq!(
            files,
            [
                "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/c/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
    }

    #[test]
    fn the_machines_memory_is_read_in_kibibytes() {
        assert_eq!(
            total_bytes("Foo: 1 kB\nMemTotal:       2048 kB\n"),
            Some(2 << 20)
        );
        assert_eq!(total_bytes(""), None);
    }

    #[test]
    fn the_default_budget_is_an_eighth_between_its_floor_and_a_quarter() {
        assert_eq!(budget_bytes_of(8 << 30), 1 << 30);
        assert_eq!(budget_bytes_of(300 << 20), 64 << 20);
        assert_eq!(budget_bytes_of(32 << 20), 8 << 20);
    }

    #[test]
    #[cfg_attr(miri, ignore = "reads /proc")]
    fn this_process_has_a_default_budget() {
        assert!(default_budget_bytes() > 0);
    }
}
