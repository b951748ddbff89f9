//! Reads what the system says about swap into strings, and decides nothing.
//!
//! What cannot be read is `None`.

use std::fs;
use std::path::{Path, PathBuf};

use pager_core::cgroup;

use super::judge::swap_areas;
use crate::pagemap::Pagemap;

/// What the system says, word for word.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// `/proc/sys/kernel/osrelease`.
    pub(super) release: Option<String>,
    /// `/proc/swaps`.
    pub(super) swaps: Option<String>,
    /// One for each swap area that is a device.
    pub(super) devices: Vec<Device>,
    /// `/proc/sys/vm/swappiness`.
    pub(super) swappiness: Option<String>,
    /// `/sys/kernel/mm/transparent_hugepage/enabled`.
    pub(super) huge_pages: Option<String>,
    /// `hugepages-2048kB/enabled` beside it (Linux 6.8).
    pub(super) huge_pages_2m: Option<String>,
    /// `/proc/self/status`.
    pub(super) status: Option<String>,
    /// The memory cgroups of this process, innermost first.
    pub(super) cgroups: Vec<Cgroup>,
    /// Whether the page table can be read.
    pub(super) pagemap: bool,
}

/// A block device with swap on it.
#[derive(Debug, Clone, Default)]
pub(super) struct Device {
    /// As `/proc/swaps` has it.
    pub(super) path: PathBuf,
    /// The kernel's name of the disk, `sda` for `/dev/sda2`.
    pub(super) disk: String,
    /// `queue/rotational` of the disk.
    pub(super) rotational: Option<String>,
}

/// A memory cgroup, of either version.
#[derive(Debug, Clone, Default)]
pub(super) struct Cgroup {
    pub(super) directory: PathBuf,
    /// Version 2: `memory.swap.max`.
    pub(super) swap_max: Option<String>,
    /// Version 2: `memory.swap.current`.
    pub(super) swap_current: Option<String>,
    /// Version 1: `memory.memsw.limit_in_bytes`.
    pub(super) memsw_limit: Option<String>,
    /// Version 1: `memory.limit_in_bytes`.
    pub(super) memory_limit: Option<String>,
    /// Version 1: `memory.swappiness`.
    pub(super) swappiness: Option<String>,
}

/// Reads everything.
pub(super) fn probe() -> Facts {
    let swaps = read("/proc/swaps");
    let areas = swap_areas(swaps.as_deref().unwrap_or_default());
    let devices = areas
        .iter()
        .filter(|area| !area.is_file)
        .filter_map(|area| device(&area.path))
        .collect();
    Facts {
        release: read("/proc/sys/kernel/osrelease"),
        swaps,
        devices,
        swappiness: read("/proc/sys/vm/swappiness"),
        cgroups: cgroups(),
        pagemap: Pagemap::open().is_some(),
        ..probe_huge_pages()
    }
}

/// Reads what concerns huge pages, and leaves the rest out.
pub(super) fn probe_huge_pages() -> Facts {
    let settings = Path::new("/sys/kernel/mm/transparent_hugepage");
    Facts {
        huge_pages: read(settings.join("enabled")),
        huge_pages_2m: read(settings.join("hugepages-2048kB/enabled")),
        status: read("/proc/self/status"),
        ..Facts::default()
    }
}

fn cgroups() -> Vec<Cgroup> {
    let member_of = read("/proc/self/cgroup").unwrap_or_default();
    let mounts = read("/proc/self/mountinfo").unwrap_or_default();
    let directories = cgroup::directories(&member_of, &mounts);
    directories.into_iter().map(cgroup_at).collect()
}

fn cgroup_at(directory: PathBuf) -> Cgroup {
    let file = |name: &str| read(directory.join(name));
    Cgroup {
        swap_max: file("memory.swap.max"),
        swap_current: file("memory.swap.current"),
        memsw_limit: file("memory.memsw.limit_in_bytes"),
        memory_limit: file("memory.limit_in_bytes"),
        swappiness: file("memory.swappiness"),
        directory,
    }
}

/// The disk behind a device node, if the system shows it to this process.
fn device(path: &Path) -> Option<Device> {
    // `/dev/mapper` and `/dev/disk` hold links.
    let node = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let class = Path::new("/sys/class/block").join(node.file_name()?);
    let mut disk = fs::canonicalize(class).ok()?;
    if disk.join("partition").exists() {
        disk.pop();
    }
    Some(Device {
        path: path.to_owned(),
        disk: disk.file_name()?.to_string_lossy().into_owned(),
        rotational: read(disk.join("queue/rotational")),
    })
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok()
}
