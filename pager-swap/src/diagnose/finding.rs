//! [`Finding`]: one reason why paging to swap does not work, or not well.

use std::fmt;
use std::path::PathBuf;

/// How much a [`Finding`] matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Something could not be seen, or is worth knowing.
    Unclear,
    /// Paging works, but slower than it could.
    Slow,
    /// Nothing leaves memory.
    Blocked,
}

/// One reason why paging to swap does not work, or not well. Prints as a
/// sentence that says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// The system is not Linux: there are no hints.
    NotLinux,
    /// No swap is configured.
    NoSwap,
    /// All swap is in use, or nearly all.
    SwapFull {
        /// Bytes of all swap areas together.
        size_bytes: u64,
        /// Bytes of them that are free.
        free_bytes: u64,
    },
    /// The memory cgroup forbids swap (`memory.swap.max` 0).
    SwapForbidden {
        /// The cgroup's directory.
        cgroup: PathBuf,
    },
    /// The memory cgroup has used its share of swap, or nearly (version 2).
    CgroupSwapFull {
        /// The cgroup's directory.
        cgroup: PathBuf,
        /// Its `memory.swap.max`.
        limit_bytes: u64,
        /// Its `memory.swap.current`.
        used_bytes: u64,
    },
    /// The memory cgroup bounds memory and swap together by no more than memory
    /// alone (version 1).
    MemswLimit {
        /// The cgroup's directory.
        cgroup: PathBuf,
        /// Its `memory.memsw.limit_in_bytes`.
        limit_bytes: u64,
    },
    /// `vm.swappiness` is 0.
    GlobalSwappinessZero,
    /// `memory.swappiness` of the memory cgroup is 0 (version 1).
    CgroupSwappinessZero {
        /// The cgroup's directory.
        cgroup: PathBuf,
    },
    /// A swap area is a file.
    SwapFile {
        /// The file.
        path: PathBuf,
    },
    /// The kernel takes a swap device for a rotating disk.
    RotationalSwap {
        /// The device.
        device: PathBuf,
    },
    /// A swap device is memory itself (zram, ramdisk).
    SwapInMemory {
        /// The device.
        device: PathBuf,
    },
    /// Huge pages are off, for the machine or this process.
    HugePagesOff {
        /// The setting that says so.
        setting: &'static str,
    },
    /// The kernel has no `MADV_PAGEOUT` (before Linux 5.4).
    NoPageOut {
        /// The kernel's release.
        release: String,
    },
    /// The kernel has no `MADV_POPULATE_READ` (before Linux 5.14).
    NoPopulateRead {
        /// The kernel's release.
        release: String,
    },
    /// `/proc/self/pagemap` cannot be read.
    PagemapUnreadable,
    /// A file that would tell more cannot be read, or says something unknown.
    Unknown {
        /// The file.
        path: PathBuf,
    },
}

impl Finding {
    /// How much it matters.
    #[must_use]
    pub fn effect(&self) -> Effect {
        match self {
            Self::NotLinux
            | Self::NoSwap
            | Self::SwapFull { .. }
            | Self::SwapForbidden { .. }
            | Self::CgroupSwapFull { .. }
            | Self::NoPageOut { .. } => Effect::Blocked,
            Self::SwapFile { .. }
            | Self::RotationalSwap { .. }
            | Self::HugePagesOff { .. }
            | Self::NoPopulateRead { .. } => Effect::Slow,
            Self::MemswLimit { .. }
            | Self::GlobalSwappinessZero
            | Self::CgroupSwappinessZero { .. }
            | Self::SwapInMemory { .. }
            | Self::PagemapUnreadable
            | Self::Unknown { .. } => Effect::Unclear,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLinux => f.write_str(
                "this system is not Linux and takes no page-out hints, so payloads stay in memory; use the file backend",
            ),
            Self::NoSwap => f.write_str(
                "no swap is configured, so nothing can leave memory; add a swap device (mkswap, swapon) or use the file backend",
            ),
            Self::SwapFull { size_bytes, free_bytes } => write!(
                f,
                "swap is full: {free_bytes} of {size_bytes} bytes are free; add swap or use the file backend"
            ),
            Self::SwapForbidden { cgroup } => write!(
                f,
                "the memory cgroup {} forbids swap (memory.swap.max is 0); raise it or use the file backend",
                cgroup.display()
            ),
            Self::CgroupSwapFull { cgroup, limit_bytes, used_bytes } => write!(
                f,
                "the memory cgroup {} has used {used_bytes} of its {limit_bytes} bytes of swap; raise memory.swap.max or use the file backend",
                cgroup.display()
            ),
            Self::MemswLimit { cgroup, limit_bytes } => write!(
                f,
                "the memory cgroup {} bounds memory and swap together by {limit_bytes} bytes, no more than memory alone, so swap makes no room; raise memory.memsw.limit_in_bytes or use the file backend",
                cgroup.display()
            ),
            Self::GlobalSwappinessZero => f.write_str(
                "vm.swappiness is 0: page-out hints work, but the kernel swaps nothing of its own accord, so cold pages stay; set vm.swappiness to 1 or more",
            ),
            Self::CgroupSwappinessZero { cgroup } => write!(
                f,
                "memory.swappiness of the memory cgroup {} is 0: page-out hints work, but the kernel swaps nothing of its own accord, so cold pages stay; set it to 1 or more",
                cgroup.display()
            ),
            Self::SwapFile { path } => write!(
                f,
                "swap is a file ({}), and huge pages are split before they are written to one; use a partition or a loop device instead",
                path.display()
            ),
            Self::RotationalSwap { device } => write!(
                f,
                "the kernel takes the swap device {} for a rotating disk and splits huge pages; if it is flash, write 0 to its queue/rotational, then swapoff and swapon",
                device.display()
            ),
            Self::SwapInMemory { device } => write!(
                f,
                "the swap device {} is memory itself, so paging out saves what compression saves and no more; add a disk of higher priority or use the file backend",
                device.display()
            ),
            Self::HugePagesOff { setting } => write!(
                f,
                "huge pages are off ({setting}), so memory moves in pages of 4 KiB at a quarter of the speed; allow them (write madvise to the enabled file)"
            ),
            Self::NoPageOut { release } => write!(
                f,
                "Linux {release} has no MADV_PAGEOUT, so nothing leaves memory before the kernel runs short; use Linux 5.4 or later, or the file backend"
            ),
            Self::NoPopulateRead { release } => write!(
                f,
                "Linux {release} has no MADV_POPULATE_READ, so payloads come back fault by fault; use Linux 5.14 or later"
            ),
            Self::PagemapUnreadable => f.write_str(
                "/proc/self/pagemap cannot be read, so what leaves memory goes unseen and all of it counts as resident; allow it, or judge by the process's RSS",
            ),
            Self::Unknown { path } => write!(
                f,
                "{} cannot be read or understood, so what it says about swap is unknown; look at it by hand",
                path.display()
            ),
        }
    }
}
