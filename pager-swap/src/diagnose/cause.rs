//! [`Cause`]: one reason why paging to swap does not work, or not well, with its
//! particulars; and the finding that it makes.

use std::path::PathBuf;

use pager_core::diagnose::{Finding, Severity, What};

use crate::NAME;

/// One reason why paging to swap does not work, or not well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
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
    /// A call is refused that the kernel should have.
    CallRefused {
        /// Its name.
        call: &'static str,
        /// What the system said.
        error: String,
    },
    /// `/proc/self/pagemap` cannot be read.
    PagemapUnreadable,
    /// A file that would tell more cannot be read, or says something unknown.
    Unknown {
        /// The file.
        path: PathBuf,
    },
}

impl Cause {
    /// How much it matters.
    pub(super) fn severity(&self) -> Severity {
        match self {
            Self::NotLinux
            | Self::NoSwap
            | Self::SwapFull { .. }
            | Self::SwapForbidden { .. }
            | Self::CgroupSwapFull { .. }
            | Self::NoPageOut { .. }
            | Self::CallRefused {
                call: "MADV_PAGEOUT" | "mmap",
                ..
            } => Severity::Blocked,
            Self::CallRefused {
                call: "MADV_WIPEONFORK",
                ..
            }
            | Self::MemswLimit { .. }
            | Self::GlobalSwappinessZero
            | Self::CgroupSwappinessZero { .. }
            | Self::SwapInMemory { .. }
            | Self::PagemapUnreadable
            | Self::Unknown { .. } => Severity::Note,
            Self::SwapFile { .. }
            | Self::RotationalSwap { .. }
            | Self::HugePagesOff { .. }
            | Self::NoPopulateRead { .. }
            | Self::CallRefused { .. } => Severity::Slow,
        }
    }

    fn what(&self) -> What {
        match self {
            Self::NotLinux => What::NotLinux,
            Self::NoSwap => What::NoSwap,
            Self::SwapFull { .. } => What::SwapFull,
            Self::SwapForbidden { .. } => What::SwapForbidden,
            Self::CgroupSwapFull { .. } => What::SwapShareFull,
            Self::MemswLimit { .. } => What::SwapBoundWithMemory,
            Self::GlobalSwappinessZero | Self::CgroupSwappinessZero { .. } => What::SwappinessZero,
            Self::SwapFile { .. } => What::SwapFile,
            Self::RotationalSwap { .. } => What::Rotational,
            Self::SwapInMemory { .. } => What::InMemory,
            Self::HugePagesOff { .. } => What::HugePagesOff,
            Self::NoPageOut { .. } => What::NoPageOut,
            Self::NoPopulateRead { .. } => What::NoPopulateRead,
            Self::CallRefused { .. } => What::CallRefused,
            Self::PagemapUnreadable => What::PagemapUnreadable,
            Self::Unknown { .. } => What::Unknown,
        }
    }

    /// What was seen, and what to do about it.
    fn words(&self) -> (String, &'static str) {
        match self {
            Self::NotLinux => (
                "this system is not Linux and takes no page-out hints, so payloads stay in memory".to_owned(),
                "use the file backend",
            ),
            Self::NoSwap => (
                "no swap is configured, so nothing can leave memory".to_owned(),
                "add a swap device (mkswap, swapon) or use the file backend",
            ),
            Self::SwapFull { size_bytes, free_bytes } => (
                format!("swap is full: {free_bytes} of {size_bytes} bytes are free"),
                "add swap or use the file backend",
            ),
            Self::SwapForbidden { cgroup } => (
                format!("the memory cgroup {} forbids swap (memory.swap.max is 0)", cgroup.display()),
                "raise it or use the file backend",
            ),
            Self::CgroupSwapFull { cgroup, limit_bytes, used_bytes } => (
                format!("the memory cgroup {} has used {used_bytes} of its {limit_bytes} bytes of swap", cgroup.display()),
                "raise memory.swap.max or use the file backend",
            ),
            Self::MemswLimit { cgroup, limit_bytes } => (
                format!("the memory cgroup {} bounds memory and swap together by {limit_bytes} bytes, no more than memory alone, so swap makes no room", cgroup.display()),
                "raise memory.memsw.limit_in_bytes or use the file backend",
            ),
            Self::GlobalSwappinessZero => (
                "vm.swappiness is 0: page-out hints work, but the kernel swaps nothing of its own accord, so cold pages stay".to_owned(),
                "set vm.swappiness to 1 or more",
            ),
            Self::CgroupSwappinessZero { cgroup } => (
                format!("memory.swappiness of the memory cgroup {} is 0: page-out hints work, but the kernel swaps nothing of its own accord, so cold pages stay", cgroup.display()),
                "set it to 1 or more",
            ),
            Self::SwapFile { path } => (
                format!("swap is a file ({}), and huge pages are split before they are written to one", path.display()),
                "use a partition or a loop device instead",
            ),
            Self::RotationalSwap { device } => (
                format!("the kernel takes the swap device {} for a rotating disk and splits huge pages", device.display()),
                "if it is flash, write 0 to its queue/rotational, then swapoff and swapon",
            ),
            Self::SwapInMemory { device } => (
                format!("the swap device {} is memory itself, so paging out saves what compression saves and no more", device.display()),
                "add a disk of higher priority or use the file backend",
            ),
            Self::HugePagesOff { setting } => (
                format!("huge pages are off ({setting}), so memory moves in pages of 4 KiB at a quarter of the speed"),
                "allow them (write madvise to the enabled file)",
            ),
            Self::NoPageOut { release } => (
                format!("Linux {release} has no MADV_PAGEOUT, so nothing leaves memory before the kernel runs short"),
                "use Linux 5.4 or later, or the file backend",
            ),
            Self::NoPopulateRead { release } => (
                format!("Linux {release} has no MADV_POPULATE_READ, so payloads come back fault by fault"),
                "use Linux 5.14 or later",
            ),
            Self::PagemapUnreadable => (
                "/proc/self/pagemap cannot be read, so what leaves memory goes unseen and all of it counts as resident".to_owned(),
                "allow it, or judge by the process's RSS",
            ),
            Self::CallRefused { call, error } => (
                format!("{call} is refused here ({error}) although the kernel has it"),
                "allow it in the seccomp profile or the sandbox, or use the file backend",
            ),
            Self::Unknown { path } => (
                format!(
                    "{} cannot be read or understood, so what it would say is unknown",
                    path.display()
                ),
                "look at it by hand",
            ),
        }
    }
}

impl From<Cause> for Finding {
    fn from(cause: Cause) -> Self {
        let (evidence, remedy) = cause.words();
        Self::new(NAME, cause.severity(), cause.what(), evidence, remedy)
    }
}
