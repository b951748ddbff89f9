//! How much memory this process may use: the least of everything that bounds it.
//!
//! Asked are the machine (and those of its nodes that the process may use), the
//! kernel where it promises no more than it has, the memory cgroups of every level
//! with their hard and soft limits, and the limits of the process itself, of which
//! what is in use counts off. `RLIMIT_RSS` is not asked: Linux has ignored it since
//! 2.6. Nor is what a cgroup uses at the moment, for that includes the page cache,
//! which makes way.
//!
//! Computes in 64 bits on every system, so that a machine with more memory than a
//! process can address is no reason for an overflow. What cannot be read bounds
//! nothing.

/// The least that a default budget is, where there is memory for it.
const MIN_BUDGET_BYTES: u64 = 64 << 20;

/// Taken for the machine's memory where it cannot be asked.
const UNKNOWN_MEMORY_BYTES: u64 = 4 << 30;

/// More than this no process can map, however much memory there is: 2 GiB where
/// addresses have 32 bits.
const ADDRESS_SPACE_BYTES: u64 = isize::MAX as u64;

/// An eighth of the memory that this process may use, at least 64 MiB, but never
/// more than a quarter: a process in a cgroup of 64 MiB needs some for itself.
///
/// What it may use is the least of: the machine's memory, the limits of its memory
/// cgroups on every level (`memory.max`, `memory.high`, or `limit_in_bytes`,
/// `soft_limit_in_bytes`), and what `RLIMIT_AS` and `RLIMIT_DATA` leave to it now.
/// Reads `/proc` and the cgroup files once per call.
#[must_use]
pub fn default_budget_bytes() -> usize {
    let budget_bytes = budget_bytes_of(usable_memory_bytes());
    // An eighth or a quarter of what can be addressed can be counted.
    usize::try_from(budget_bytes).unwrap_or(usize::MAX)
}

fn budget_bytes_of(usable_bytes: u64) -> u64 {
    (usable_bytes / 8).max(MIN_BUDGET_BYTES.min(usable_bytes / 4))
}

#[cfg(target_os = "linux")]
fn usable_memory_bytes() -> u64 {
    system::usable_memory_bytes(
        |path| std::fs::read_to_string(path).ok(),
        ADDRESS_SPACE_BYTES,
    )
}

#[cfg(not(target_os = "linux"))]
fn usable_memory_bytes() -> u64 {
    UNKNOWN_MEMORY_BYTES.min(ADDRESS_SPACE_BYTES)
}

#[cfg(any(target_os = "linux", test))]
pub(super) mod system {
    use std::path::Path;

    use super::UNKNOWN_MEMORY_BYTES;
    use crate::cgroup;

    /// The least bound that the files say, which `read` reads.
    pub(super) fn usable_memory_bytes(
        read: impl Fn(&Path) -> Option<String>,
        address_space_bytes: u64,
    ) -> u64 {
        let text = |path: &str| read(Path::new(path)).unwrap_or_default();
        let (meminfo, status) = (text("/proc/meminfo"), text("/proc/self/status"));
        let machine_bytes = field_bytes(&meminfo, "MemTotal:").unwrap_or(UNKNOWN_MEMORY_BYTES);
        let others = [
            promised_bytes(&text("/proc/sys/vm/overcommit_memory"), &meminfo),
            nodes_bytes(&status, &read),
            limit_left_bytes(&text("/proc/self/limits"), &status, address_space_bytes),
            cgroups_bytes(
                &text("/proc/self/cgroup"),
                &text("/proc/self/mountinfo"),
                &read,
            ),
        ];
        others.into_iter().flatten().fold(machine_bytes, u64::min)
    }

    /// What the kernel still promises, where it promises no more than it has
    /// (`vm.overcommit_memory` of 2).
    fn promised_bytes(mode: &str, meminfo: &str) -> Option<u64> {
        let limit_bytes = field_bytes(meminfo, "CommitLimit:").filter(|_| mode.trim() == "2")?;
        Some(limit_bytes.saturating_sub(field_bytes(meminfo, "Committed_AS:")?))
    }

    /// The memory of the nodes that the process may use; `None` unless all of them
    /// can be asked.
    fn nodes_bytes(status: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
        let mut sum_bytes = 0u64;
        for range in value(status, "Mems_allowed_list:")?.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            for node in first.trim().parse::<u32>().ok()?..=last.trim().parse().ok()? {
                let file = format!("/sys/devices/system/node/node{node}/meminfo");
                let meminfo = read(Path::new(&file))?;
                // "Node 0 MemTotal:  25000000 kB"
                let (_, total) = meminfo.split_once("MemTotal:")?;
                sum_bytes = sum_bytes.saturating_add(kibibytes(total)?);
            }
        }
        (sum_bytes > 0).then_some(sum_bytes)
    }

    /// What the limits of the process leave to it, and what it can address.
    fn limit_left_bytes(limits: &str, status: &str, address_space_bytes: u64) -> Option<u64> {
        let used_bytes = |field| field_bytes(status, field).unwrap_or(0);
        let space_bytes = soft_limit_bytes(limits, "Max address space")
            .unwrap_or(u64::MAX)
            .min(address_space_bytes)
            .saturating_sub(used_bytes("VmSize:"));
        let data_bytes = soft_limit_bytes(limits, "Max data size")
            .map(|limit_bytes| limit_bytes.saturating_sub(used_bytes("VmData:")));
        Some(data_bytes.map_or(space_bytes, |data_bytes| data_bytes.min(space_bytes)))
    }

    /// `None` for a limit of `unlimited`.
    fn soft_limit_bytes(limits: &str, name: &str) -> Option<u64> {
        value(limits, name)?.split_whitespace().next()?.parse().ok()
    }

    /// The least limit of the memory cgroups that the process is in.
    fn cgroups_bytes(
        member_of: &str,
        mounts: &str,
        read: impl Fn(&Path) -> Option<String>,
    ) -> Option<u64> {
        let number = |path: &Path| read(path)?.trim().parse::<u64>().ok();
        let limits_of = |directory: &Path| {
            let hard = ["memory.max", "memory.high", "memory.limit_in_bytes"]
                .into_iter()
                .filter_map(|name| number(&directory.join(name)))
                .min();
            // Zero is no size: it says to reclaim here before elsewhere.
            let soft = number(&directory.join("memory.soft_limit_in_bytes"))
                .filter(|limit_bytes| *limit_bytes > 0);
            // Of levels above that a container does not show.
            let above = read(&directory.join("memory.stat")).and_then(|stat| {
                let limit = value(&stat, "hierarchical_memory_limit ")?;
                limit.trim().parse().ok()
            });
            [hard, soft, above].into_iter().flatten().min()
        };
        let directories = cgroup::directories(member_of, mounts);
        directories.iter().filter_map(|it| limits_of(it)).min()
    }

    /// What follows `name` in the line that begins with it.
    fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
        text.lines().find_map(|line| line.strip_prefix(name))
    }

    /// The size that a line such as `MemTotal:   2048 kB` gives.
    pub(in crate::budget) fn field_bytes(text: &str, name: &str) -> Option<u64> {
        kibibytes(value(text, name)?)
    }

    fn kibibytes(text: &str) -> Option<u64> {
        text.split_whitespace()
            .next()?
            .parse::<u64>()
            .ok()?
            .checked_mul(1024)
    }
}

#[cfg(test)]
#[path = "limit_tests.rs"]
mod tests;
