//! [`What`]: everything that can be found.

use std::fmt;

/// Declares the enumeration with its names, so that neither forgets the other.
macro_rules! whats {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// What a [`Finding`](super::Finding) is about. Its evidence has the
        /// particulars.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum What {
            $($(#[$doc])* $variant,)*
        }

        impl What {
            /// Everything there is.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name, as displayed: what a program that reads JSON compares.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

whats! {
    // ---- kernel and sandbox ----
    /// The system is not Linux: there are no hints.
    NotLinux => "not-linux",
    /// The kernel has no `MADV_PAGEOUT` (before Linux 5.4).
    NoPageOut => "no-page-out",
    /// The kernel has no `MADV_POPULATE_READ` (before Linux 5.14).
    NoPopulateRead => "no-populate-read",
    /// A call that would help is refused here: by the kernel's age, a filter, or a
    /// file system.
    CallRefused => "call-refused",
    /// A filter of system calls (seccomp) is in force.
    SeccompFilter => "seccomp-filter",
    /// The kernel is not Linux itself but a sandbox that plays it.
    Sandbox => "sandbox",
    /// The process runs in a user namespace that has not all users.
    UserNamespace => "user-namespace",
    /// Huge pages are off, for the machine or this process.
    HugePagesOff => "huge-pages-off",
    /// `/proc/self/pagemap` cannot be read.
    PagemapUnreadable => "pagemap-unreadable",

    // ---- swap ----
    /// No swap is configured.
    NoSwap => "no-swap",
    /// All swap is in use, or nearly all.
    SwapFull => "swap-full",
    /// The memory cgroup forbids swap.
    SwapForbidden => "swap-forbidden",
    /// The memory cgroup has used its share of swap, or nearly.
    SwapShareFull => "swap-share-full",
    /// The memory cgroup bounds memory and swap together by no more than memory alone.
    SwapBoundWithMemory => "swap-bound-with-memory",
    /// The kernel swaps nothing of its own accord.
    SwappinessZero => "swappiness-zero",
    /// A swap area is a file.
    SwapFile => "swap-file",

    // ---- devices, of swap and of scratch files ----
    /// The kernel takes a device for a rotating disk.
    Rotational => "rotational",
    /// What looks like a disk is memory: tmpfs, zram, a RAM disk.
    InMemory => "in-memory",

    // ---- scratch files ----
    /// The scratch root cannot be used.
    RootUnusable => "root-unusable",
    /// The scratch root does not exist yet.
    RootMissing => "root-missing",
    /// The file system is mounted read-only.
    ReadOnly => "read-only",
    /// The file system is on another machine.
    NetworkFileSystem => "network-file-system",
    /// The file system never overwrites in place.
    CopyOnWrite => "copy-on-write",
    /// The file system is layered over others.
    Overlay => "overlay",
    /// There is no space, or next to none.
    DiskFull => "disk-full",
    /// There is little space.
    DiskNearlyFull => "disk-nearly-full",
    /// No more files can be made.
    NoInodes => "no-inodes",
    /// How scratch files are read and written, and on what.
    IoMode => "io-mode",
    /// Scratch files go through the page cache.
    BufferedIo => "buffered-io",
    /// Storage cannot be promised before it is written.
    NoPreallocation => "no-preallocation",
    /// Storage in the middle of a file cannot be given back.
    NoHoles => "no-holes",
    /// What was written did not come back as it was.
    TrialFailed => "trial-failed",

    // ---- limits of the process ----
    /// The memory cgroup bounds memory.
    MemoryLimit => "memory-limit",
    /// The memory cgroup slows the process down before its limit.
    MemoryThrottle => "memory-throttle",
    /// Address space is limited (`RLIMIT_AS`).
    AddressSpaceLimit => "address-space-limit",
    /// Private memory is limited (`RLIMIT_DATA`).
    DataLimit => "data-limit",
    /// Few files may be open (`RLIMIT_NOFILE`).
    DescriptorLimit => "descriptor-limit",
    /// The size of files is limited (`RLIMIT_FSIZE`).
    FileSizeLimit => "file-size-limit",

    /// A file that would tell more cannot be read, or says something unknown.
    Unknown => "unknown",
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::What;

    #[test]
    fn every_name_is_of_one_thing() {
        for (place, what) in What::ALL.iter().enumerate() {
            let same = |other: &What| other.name() == what.name();
            assert_eq!(What::ALL.iter().position(same), Some(place), "{what}");
            assert!(!what.to_string().is_empty());
        }
    }
}
