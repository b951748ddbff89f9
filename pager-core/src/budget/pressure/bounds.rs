//! [`Bounds`]: what the machine and every memory cgroup above this process leave.
//!
//! Never asks what a cgroup uses (`memory.current`, `memory.usage_in_bytes`): that has
//! the page cache in it, which makes way. Adds up instead what cannot make way, of
//! `memory.stat`: anonymous and shared memory, and the kernel's own. The machine says
//! itself what is available. Where `memory.stat` cannot be read, this process's own
//! anonymous memory is what is known to be in use.
//!
//! Files are opened once and read again from the start, into one buffer. A bound that
//! cannot be read bounds nothing.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::policy::Room;
use super::reread::text;
use crate::budget::limit::system::field_bytes;
use crate::cgroup;

/// Of `memory.stat`: what does not make way, in version 2, and in version 1, whose
/// figures count what is below only if they are totals.
const STAYS: [&str; 9] = [
    "anon ",
    "shmem ",
    "kernel_stack ",
    "pagetables ",
    "slab_unreclaimable ",
    "percpu ",
    "sock ",
    "total_rss ",
    "total_shmem ",
];

/// Larger than any of the files.
const BUFFER_BYTES: usize = 16 << 10;

/// A cgroup that may bound this process.
#[derive(Debug)]
struct Group {
    directory: PathBuf,
    limits: Vec<File>,
    stat: Option<File>,
}

impl Group {
    fn open(directory: PathBuf) -> Option<Self> {
        let open = |name: &str| File::open(directory.join(name)).ok();
        let names = ["memory.max", "memory.high", "memory.limit_in_bytes"];
        let limits: Vec<_> = names.into_iter().filter_map(open).collect();
        let stat = open("memory.stat");
        (!limits.is_empty()).then_some(Self {
            directory,
            limits,
            stat,
        })
    }

    /// Its least limit, if that is less than the machine has.
    fn bound_bytes(&self, machine_bytes: u64, buffer: &mut [u8]) -> Option<u64> {
        let limits = self
            .limits
            .iter()
            .filter_map(|file| text(file, buffer)?.trim().parse::<u64>().ok());
        limits.min().filter(|bytes| *bytes < machine_bytes)
    }
}

/// What can be asked, opened.
#[derive(Debug)]
pub(super) struct Bounds {
    meminfo: Option<File>,
    status: Option<File>,
    groups: Vec<Group>,
    buffer: Vec<u8>,
}

/// What all of it says at one time.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) rooms: Vec<Room>,
    /// This process's own.
    pub(super) anonymous_bytes: Option<u64>,
}

impl Bounds {
    /// Finds the cgroups that this process is in now.
    pub(super) fn open() -> Self {
        let open = |path| File::open(path).ok();
        let said = |path| std::fs::read_to_string(path).unwrap_or_default();
        let directories =
            cgroup::directories(&said("/proc/self/cgroup"), &said("/proc/self/mountinfo"));
        Self {
            meminfo: open("/proc/meminfo"),
            status: open("/proc/self/status"),
            groups: directories.into_iter().filter_map(Group::open).collect(),
            buffer: vec![0; BUFFER_BYTES],
        }
    }

    /// The directories of the cgroups, innermost first.
    pub(super) fn groups(&self) -> impl Iterator<Item = &Path> {
        self.groups.iter().map(|group| &*group.directory)
    }

    /// Asks everything.
    pub(super) fn look(&mut self) -> Look {
        let buffer = &mut self.buffer;
        let mut ask = |source: &Option<File>, read: fn(&str) -> Option<u64>| {
            text(source.as_ref()?, buffer).and_then(read)
        };
        let anonymous_bytes = ask(&self.status, |text| field_bytes(text, "RssAnon:"));
        let machine_bytes = ask(&self.meminfo, |text| field_bytes(text, "MemTotal:"));
        let available_bytes = ask(&self.meminfo, |text| field_bytes(text, "MemAvailable:"));
        let mut rooms = Vec::with_capacity(1 + self.groups.len());
        if let (Some(bound_bytes), Some(free_bytes)) = (machine_bytes, available_bytes) {
            rooms.push(Room {
                bound_bytes,
                free_bytes,
            });
        }
        for group in &self.groups {
            let machine_bytes = machine_bytes.unwrap_or(u64::MAX);
            let Some(bound_bytes) = group.bound_bytes(machine_bytes, &mut self.buffer) else {
                continue;
            };
            let stat = group.stat.as_ref();
            let stays_bytes = stat
                .and_then(|file| text(file, &mut self.buffer))
                .and_then(stays_bytes)
                .or(anonymous_bytes);
            if let Some(stays_bytes) = stays_bytes {
                rooms.push(Room {
                    bound_bytes,
                    free_bytes: bound_bytes.saturating_sub(stays_bytes),
                });
            }
        }
        Look {
            rooms,
            anonymous_bytes,
        }
    }
}

/// What of a cgroup's memory does not make way.
fn stays_bytes(stat: &str) -> Option<u64> {
    let counts = stat.lines().filter_map(|line| {
        let name = STAYS.into_iter().find(|name| line.starts_with(name))?;
        line[name.len()..].trim().parse::<u64>().ok()
    });
    counts.reduce(u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_cache_is_not_in_use_and_shared_memory_is() {
        let version_2 = "anon 100\nfile 4000\nkernel 99\nkernel_stack 1\nshmem 20\n\
                         slab_reclaimable 500\nslab_unreclaimable 3\n";
        assert_eq!(stays_bytes(version_2), Some(124));
        let version_1 = "cache 4000\nrss 1\nshmem 0\ntotal_cache 9000\ntotal_rss 70\n\
                         total_rss_huge 60\ntotal_shmem 5\n";
        assert_eq!(stays_bytes(version_1), Some(75));
        assert_eq!(stays_bytes("file 3\nx\n"), None);
    }

    #[test]
    #[cfg_attr(miri, ignore = "reads /proc")]
    fn this_machine_has_some_memory_and_says_the_same_twice() {
        let mut bounds = Bounds::open();
        let first = bounds.look();
        let second = bounds.look();
        assert!(!first.rooms.is_empty());
        assert_eq!(first.rooms.len(), second.rooms.len());
        let bounds = |look: &Look| -> Vec<_> {
            let rooms = look.rooms.iter();
            rooms.map(|room| room.bound_bytes).collect()
        };
        assert_eq!(bounds(&first), bounds(&second));
        assert!(first.anonymous_bytes.is_some_and(|bytes| bytes > 0));
    }
}
