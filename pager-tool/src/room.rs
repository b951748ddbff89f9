//! Sizes: what this process may use, what the machine and a disk have.
//!
//! A size that somebody types is a wish. What cannot come true is refused with the
//! figures, before it aborts an allocation, calls the kernel's killer, or fills a
//! disk that others use.

use std::fs;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;

/// A size that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoRoom {
    /// More memory than this process may use.
    #[error(
        "{what} wants {} of memory, and this process may use {}",
        size(*asked_bytes),
        size(*usable_bytes)
    )]
    Memory {
        /// The flag that asks for it.
        what: &'static str,
        /// What it asks for.
        asked_bytes: u64,
        /// What there is.
        usable_bytes: u64,
    },
    /// More than the memory and the swap of the machine.
    #[error(
        "{what} wants {}, and this machine has {} of memory and swap",
        size(*asked_bytes),
        size(*machine_bytes)
    )]
    Machine {
        /// The flag that asks for it.
        what: &'static str,
        /// What it asks for.
        asked_bytes: u64,
        /// What there is.
        machine_bytes: u64,
    },
    /// More than is free on a file system.
    #[error(
        "{what} wants {}, and {} has {} left",
        size(*asked_bytes),
        directory.display(),
        size(*free_bytes)
    )]
    Disk {
        /// The flag that asks for it.
        what: &'static str,
        /// What it asks for.
        asked_bytes: u64,
        /// A directory of the file system.
        directory: PathBuf,
        /// What there is.
        free_bytes: u64,
    },
}

fn size(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}

/// Bytes of memory that this process may use, by its limits and the machine.
///
/// Never more than what the library counts on: this is its default budget, the
/// other way round.
#[must_use]
pub fn usable_bytes() -> u64 {
    usable_of_budget(pager_core::default_budget_bytes() as u64)
}

/// The default budget is an eighth, but a quarter of little memory; of what gives
/// the same budget both ways, the less.
fn usable_of_budget(budget_bytes: u64) -> u64 {
    const FLOOR_BYTES: u64 = 64 << 20;
    let share = if budget_bytes > FLOOR_BYTES { 8 } else { 4 };
    budget_bytes.saturating_mul(share)
}

/// Bytes of the machine's memory and swap together; all there could be, where that
/// cannot be read.
#[must_use]
pub fn machine_bytes() -> u64 {
    fs::read_to_string("/proc/meminfo").map_or(u64::MAX, |meminfo| machine_of(&meminfo))
}

fn machine_of(meminfo: &str) -> u64 {
    let kib = |name: &str| {
        meminfo.lines().find_map(|line| {
            line.strip_prefix(name)?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
    };
    let Some(memory_kib) = kib("MemTotal:") else {
        return u64::MAX;
    };
    let swap_kib: u64 = kib("SwapTotal:").unwrap_or(0);
    swap_kib.saturating_add(memory_kib).saturating_mul(1024)
}

/// Bytes that are free where `directory` is, or would be made; `None` if nobody says.
#[cfg(unix)]
fn free_bytes(directory: &Path) -> Option<u64> {
    let stat = directory
        .ancestors()
        .find_map(|path| rustix::fs::statvfs(path).ok())?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(not(unix))]
fn free_bytes(_: &Path) -> Option<u64> {
    None
}

/// Refuses more memory than this process may use.
///
/// # Errors
///
/// [`NoRoom::Memory`].
pub fn ensure_memory(what: &'static str, asked_bytes: u64) -> Result<(), NoRoom> {
    let usable_bytes = usable_bytes();
    if asked_bytes <= usable_bytes {
        return Ok(());
    }
    Err(NoRoom::Memory {
        what,
        asked_bytes,
        usable_bytes,
    })
}

/// Refuses more memory than the machine has, swap included: what a cgroup allows
/// of it is for the kernel to enforce.
///
/// # Errors
///
/// [`NoRoom::Machine`].
pub fn ensure_machine(what: &'static str, asked_bytes: u64) -> Result<(), NoRoom> {
    let machine_bytes = machine_bytes();
    if asked_bytes <= machine_bytes {
        return Ok(());
    }
    Err(NoRoom::Machine {
        what,
        asked_bytes,
        machine_bytes,
    })
}

/// Refuses more than is free on the disk of `directory`, beyond what `in_memory_bytes`
/// of it never go there.
///
/// # Errors
///
/// [`NoRoom::Disk`].
pub fn ensure_disk(
    what: &'static str,
    asked_bytes: u64,
    in_memory_bytes: u64,
    directory: &Path,
) -> Result<(), NoRoom> {
    match free_bytes(directory) {
        Some(free_bytes) if asked_bytes > free_bytes.saturating_add(in_memory_bytes) => {
            Err(NoRoom::Disk {
                what,
                asked_bytes,
                directory: directory.to_owned(),
                free_bytes,
            })
        }
        // What cannot be asked is left to the first write.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_used_follows_from_the_default_budget() {
        assert_eq!(usable_of_budget(1 << 30), 8 << 30);
        assert_eq!(usable_of_budget(64 << 20), 256 << 20);
        assert_eq!(usable_of_budget(8 << 20), 32 << 20);
        assert_eq!(usable_of_budget(u64::MAX), u64::MAX);
    }

    #[test]
    fn memory_and_swap_are_added() {
        let meminfo = "MemTotal:  2048 kB\nMemFree: 1 kB\nSwapTotal:  1024 kB\n";
        assert_eq!(machine_of(meminfo), 3 << 20);
        assert_eq!(machine_of("MemTotal: 4 kB\n"), 4096);
        assert_eq!(machine_of("odd"), u64::MAX);
    }

    #[test]
    fn what_no_machine_has_is_refused_with_the_figures() {
        let memory = ensure_memory("--budget", u64::MAX).unwrap_err();
        assert!(
            memory
                .to_string()
                .starts_with("--budget wants 16.0 EiB of memory")
        );
        let machine = ensure_machine("--live", u64::MAX);
        if Path::new("/proc/meminfo").exists() {
            assert!(matches!(
                machine,
                Err(NoRoom::Machine { what: "--live", .. })
            ));
        }
        let elsewhere = Path::new("/nowhere/at/all");
        assert!(ensure_disk("--gib", u64::MAX, 0, elsewhere).is_err());
        // What stays in memory needs no disk.
        assert_eq!(ensure_disk("--gib", 1 << 40, 1 << 40, elsewhere), Ok(()));
        assert_eq!(ensure_memory("--budget", 1), Ok(()));
    }
}
