//! [`Group`]: a memory cgroup of either version, with a cap, for the children of a test.
//! Needs root.

#![allow(dead_code, reason = "every test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use super::process::{Role, skip};

/// Where a child finds its cgroup.
const GROUP: &str = "PAGER_TEST_GROUP";

/// Puts this process, a child of a test, into the cgroup of its [role](Group::role).
pub(crate) fn join_group() {
    let group = PathBuf::from(std::env::var_os(GROUP).unwrap());
    fs::write(group.join("cgroup.procs"), std::process::id().to_string()).unwrap();
}

/// A memory cgroup with a cap; removed when dropped.
pub(crate) struct Group {
    path: PathBuf,
}

impl Group {
    /// With or without swap beyond the cap. `None`, and a word about it, where the
    /// machine does not let us.
    pub(crate) fn new(cap_bytes: u64, with_swap: bool) -> Option<Self> {
        let made = Self::make().filter(|group| group.limit(cap_bytes, with_swap).is_some());
        if made.is_none() {
            skip("no memory cgroup can be made here");
        }
        made
    }

    fn make() -> Option<Self> {
        let name = format!("pager-test-{}", std::process::id());
        let memory_v1 = Path::new("/sys/fs/cgroup/memory");
        let parent = match memory_v1.join("memory.limit_in_bytes").exists() {
            true => memory_v1,
            false => Path::new("/sys/fs/cgroup"),
        };
        let path = parent.join(name);
        fs::create_dir(&path).ok()?;
        Some(Self { path })
    }

    fn limit(&self, cap_bytes: u64, with_swap: bool) -> Option<()> {
        let set = |name: &str, value: &str| fs::write(self.path.join(name), value).ok();
        let cap = cap_bytes.to_string();
        if self.path.join("memory.max").exists() {
            set("memory.max", &cap)?;
            return set("memory.swap.max", if with_swap { "max" } else { "0" });
        }
        set("memory.limit_in_bytes", &cap)?;
        if with_swap {
            return Some(());
        }
        // Where swap is not accounted for, the cgroup can do without it.
        set("memory.memsw.limit_in_bytes", &cap).or_else(|| set("memory.swappiness", "0"))
    }

    /// A child that may [join](join_group) it.
    pub(crate) fn role(&self, test: &str, part: &str) -> Role {
        Role::new(test, part).env(GROUP, &self.path)
    }

    /// How often the kernel has killed a process for this cap.
    pub(crate) fn kills(&self) -> u64 {
        let events = ["memory.events", "memory.oom_control"];
        let text = events
            .iter()
            .find_map(|name| fs::read_to_string(self.path.join(name)).ok());
        let text = text.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.unwrap().parse().unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The kernel may count a process that has just ended a moment longer.
        for _ in 0..100 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}
