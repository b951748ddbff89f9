//! One machine for each bound, and the one that this runs on.

use std::collections::HashMap;
use std::path::Path;

use super::*;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

const NO_LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units     \n\
     Max data size             unlimited            unlimited            bytes     \n\
     Max address space         unlimited            unlimited            bytes     \n";

/// A machine of 32 GiB, whose files may be replaced.
struct Machine(HashMap<&'static str, String>);

impl Machine {
    fn new() -> Self {
        let files = [
            (
                "/proc/meminfo",
                "MemTotal:       33554432 kB\nCommitLimit:    16777216 kB\nCommitted_AS:    1048576 kB\n",
            ),
            (
                "/proc/self/status",
                "Name:\tx\nVmPeak:\t  999999 kB\nVmSize:\t  524288 kB\nVmData:\t  262144 kB\n",
            ),
            ("/proc/self/limits", NO_LIMITS),
            ("/proc/sys/vm/overcommit_memory", "0\n"),
        ];
        Self(files.map(|(path, text)| (path, text.to_owned())).into())
    }

    fn with(mut self, path: &'static str, text: impl Into<String>) -> Self {
        self.0.insert(path, text.into());
        self
    }

    fn usable_bytes(&self) -> u64 {
        self.usable_bytes_within(u64::MAX)
    }

    fn usable_bytes_within(&self, address_space_bytes: u64) -> u64 {
        let read = |path: &Path| self.0.get(path.to_str().unwrap()).cloned();
        system::usable_memory_bytes(read, address_space_bytes)
    }
}

fn limits(data: &str, space: &str) -> String {
    format!(
        "Max data size             {data}            unlimited            bytes     \n\
         Max address space         {space}            unlimited            bytes     \n"
    )
}

#[test]
fn without_limits_the_machine_bounds_it() {
    assert_eq!(Machine::new().usable_bytes(), 32 * GIB);
    assert_eq!(Machine(HashMap::new()).usable_bytes(), UNKNOWN_MEMORY_BYTES);
}

#[test]
fn what_a_limit_of_the_process_leaves_bounds_it() {
    let files = [
        (limits("unlimited", "2147483648"), 2 * GIB - 512 * MIB),
        (limits("1073741824", "unlimited"), GIB - 256 * MIB),
        (limits("1073741824", "1073741824"), 512 * MIB),
        (limits("unlimited", "1024"), 0),
    ];
    for (limits, expected) in files {
        let machine = Machine::new().with("/proc/self/limits", &*limits);
        assert_eq!(machine.usable_bytes(), expected, "{limits}");
    }
}

#[test]
fn more_than_can_be_addressed_is_not_usable() {
    let narrow = u64::from(u32::MAX / 2);
    let usable_bytes = Machine::new().usable_bytes_within(narrow);
    assert_eq!(usable_bytes, narrow - 512 * MIB);
    assert!(budget_bytes_of(usable_bytes) > 128 * MIB, "and is not zero");
    let unknown = Machine(HashMap::new()).usable_bytes_within(narrow);
    assert_eq!(unknown, narrow);
}

#[test]
fn a_kernel_that_promises_no_more_than_it_has_bounds_it() {
    let machine = Machine::new().with("/proc/sys/vm/overcommit_memory", "2\n");
    assert_eq!(machine.usable_bytes(), 15 * GIB);
}

#[test]
fn only_the_nodes_that_it_may_use_count() {
    let node = |node: u32| {
        format!("\nNode {node} MemTotal:       4194304 kB\nNode {node} MemFree: 1 kB\n")
    };
    let status =
        |list: &str| format!("VmSize:\t 0 kB\nMems_allowed:\t1\nMems_allowed_list:\t{list}\n");
    let machine = |list: &str| {
        Machine::new()
            .with("/proc/self/status", status(list))
            .with("/sys/devices/system/node/node0/meminfo", node(0))
            .with("/sys/devices/system/node/node1/meminfo", node(1))
            .with("/sys/devices/system/node/node3/meminfo", node(3))
    };
    assert_eq!(machine("0").usable_bytes(), 4 * GIB);
    assert_eq!(machine("0-1,3").usable_bytes(), 12 * GIB);
    // A node that cannot be asked leaves the others without a meaning.
    assert_eq!(machine("0-2").usable_bytes(), 32 * GIB);
}

#[test]
fn every_level_of_version_2_counts_with_both_its_limits() {
    let mounted = || {
        Machine::new()
            .with("/proc/self/cgroup", "0::/a/b\n")
            .with(
                "/proc/self/mountinfo",
                "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
            )
            .with("/sys/fs/cgroup/a/b/memory.max", "max\n")
            .with("/sys/fs/cgroup/a/b/memory.high", "max\n")
            .with("/sys/fs/cgroup/a/memory.max", "8589934592\n")
            .with("/sys/fs/cgroup/a/memory.high", "max\n")
    };
    assert_eq!(mounted().usable_bytes(), 8 * GIB);
    for (path, text, expected) in [
        ("/sys/fs/cgroup/a/memory.high", "4294967296\n", 4 * GIB),
        ("/sys/fs/cgroup/a/b/memory.high", "2147483648\n", 2 * GIB),
        ("/sys/fs/cgroup/a/b/memory.max", "1073741824\n", GIB),
    ] {
        assert_eq!(
            mounted().with(path, text).usable_bytes(),
            expected,
            "{path}"
        );
    }
}

#[test]
fn every_level_of_version_1_counts_soft_limits_and_hidden_levels_included() {
    const UNLIMITED: &str = "9223372036854771712\n";
    let mounted = || {
        Machine::new()
            .with("/proc/self/cgroup", "4:memory:/a/b\n0::/c\n")
            .with(
                "/proc/self/mountinfo",
                "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
            )
            .with("/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", UNLIMITED)
            .with(
                "/sys/fs/cgroup/memory/a/b/memory.soft_limit_in_bytes",
                UNLIMITED,
            )
            .with(
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "8589934592\n",
            )
            .with("/sys/fs/cgroup/memory/a/memory.soft_limit_in_bytes", "0\n")
    };
    assert_eq!(mounted().usable_bytes(), 8 * GIB);
    for (path, text, expected) in [
        (
            "/sys/fs/cgroup/memory/a/memory.soft_limit_in_bytes",
            "4294967296\n",
            4 * GIB,
        ),
        (
            "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
            "2147483648\n",
            2 * GIB,
        ),
        (
            "/sys/fs/cgroup/memory/a/b/memory.stat",
            "cache 1\nhierarchical_memory_limit 1073741824\nhierarchical_memsw_limit 1\n",
            GIB,
        ),
    ] {
        assert_eq!(
            mounted().with(path, text).usable_bytes(),
            expected,
            "{path}"
        );
    }
}

#[test]
fn in_a_container_the_files_at_the_top_of_the_mount_count() {
    let machine = Machine::new()
        .with("/proc/self/cgroup", "0::/docker/x\n")
        .with(
            "/proc/self/mountinfo",
            "29 23 0:26 /kubepods/y /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n",
        )
        .with("/sys/fs/cgroup/memory.max", "1073741824\n");
    assert_eq!(machine.usable_bytes(), GIB);
}

#[test]
fn the_default_budget_is_an_eighth_between_its_floor_and_a_quarter() {
    assert_eq!(budget_bytes_of(8 * GIB), GIB);
    assert_eq!(budget_bytes_of(300 * MIB), 64 * MIB);
    assert_eq!(budget_bytes_of(32 * MIB), 8 * MIB);
    assert_eq!(budget_bytes_of(0), 0);
}

#[test]
#[cfg_attr(miri, ignore = "reads /proc")]
fn this_process_has_a_default_budget() {
    assert!(default_budget_bytes() > 0);
}
