//! Reads what the system says about swap into strings, tries the calls that paging
//! relies on, and decides nothing.
//!
//! What cannot be read is `None`.

use std::fs;
use std::path::{Path, PathBuf};

use pager_core::{ChunkBuf, HUGE_PAGE_BYTES, cgroup};

use super::judge::swap_areas;
use crate::advise::{Hint, Rounding, advise, page_bytes};
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
    /// Calls that a trial on a page of our own was refused.
    pub(super) refused: Vec<Refusal>,
}

/// A call that was tried and refused.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) call: &'static str,
    /// The kernel that has it.
    pub(super) since: (u32, u32),
    /// What the system said.
    pub(super) error: String,
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
        refused: refused(),
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

/// Tries each call on a page of our own memory, which is given back.
fn refused() -> Vec<Refusal> {
    let refusal = |call, since, error: &dyn std::fmt::Display| Refusal {
        call,
        since,
        error: error.to_string(),
    };
    let page = vec![1; page_bytes() / size_of::<u64>()];
    // As large as what is mapped for huge pages; only the first page is touched.
    let filled = ChunkBuf::with_capacity(HUGE_PAGE_BYTES / size_of::<u64>())
        .and_then(|mut buf| buf.extend_from_slice(&page).map(|()| buf));
    let buf = match filled {
        Ok(buf) => buf,
        Err(error) => return vec![refusal("mmap", (0, 0), &error)],
    };
    let hints = [
        ("MADV_PAGEOUT", (5, 4), Hint::PageOut),
        ("MADV_POPULATE_READ", (5, 14), Hint::PopulateRead),
        ("MADV_WILLNEED", (2, 4), Hint::WillNeed),
    ];
    let mut refused: Vec<_> = hints
        .into_iter()
        .filter_map(|(call, since, hint)| {
            let error = advise(&buf, hint, Rounding::Outward).err()?;
            Some(refusal(call, since, &error))
        })
        .collect();
    // What was advised when the memory was mapped shows in its flags.
    let flags = read("/proc/self/smaps").and_then(|maps| flags_at(&maps, buf.as_ptr().addr()));
    if let Some(flags) = flags {
        let marks = [
            ("hg", "MADV_HUGEPAGE", (2, 6)),
            ("wf", "MADV_WIPEONFORK", (4, 14)),
        ];
        for (mark, call, since) in marks {
            if !flags.split(' ').any(|flag| flag == mark) {
                refused.push(refusal(call, since, &"the memory does not show it"));
            }
        }
    }
    refused
}

/// The flags of the mapping that `address` lies in, by `/proc/self/smaps`.
fn flags_at(maps: &str, address: usize) -> Option<String> {
    let mut is_it = false;
    for line in maps.lines() {
        let range = line.split(' ').next().and_then(|word| word.split_once('-'));
        let hex = |text: &str| usize::from_str_radix(text, 16).ok();
        if let Some((Some(start), Some(end))) = range.map(|(a, b)| (hex(a), hex(b))) {
            is_it = (start..end).contains(&address);
        } else if is_it && let Some(flags) = line.strip_prefix("VmFlags:") {
            return Some(flags.trim().to_owned());
        }
    }
    None
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

#[cfg(test)]
mod tests {
    use super::flags_at;

    #[test]
    fn the_flags_of_a_mapping_are_found_by_an_address_in_it() {
        let maps = "1000-2000 rw-p 0 00:00 0\nSize: 4 kB\nVmFlags: rd wr \n\
                    7f00-8000 rw-p 0 00:00 0 [heap]\nVmFlags: rd wr hg wf\n";
        assert_eq!(flags_at(maps, 0x1fff).as_deref(), Some("rd wr"));
        assert_eq!(flags_at(maps, 0x7f00).as_deref(), Some("rd wr hg wf"));
        assert_eq!(flags_at(maps, 0x2000), None);
    }
}
