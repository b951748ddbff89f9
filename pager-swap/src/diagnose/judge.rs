//! Turns what the system says into [`Finding`]s, and reads nothing itself.

use std::path::PathBuf;

use pager_core::cgroup::unescape;

use super::Finding;
use super::probe::{Cgroup, Facts};

/// A share of swap below which it counts as full: one part in this many.
const FULL_SHARE: u64 = 64;

/// Judges everything.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    judge_kernel(facts, &mut findings);
    judge_swap(facts, &mut findings);
    judge_devices(facts, &mut findings);
    judge_cgroups(&facts.cgroups, &mut findings);
    if number(facts.swappiness.as_deref()) == Some(0) {
        findings.push(Finding::GlobalSwappinessZero);
    }
    findings.extend(huge_pages_off(facts));
    if !facts.pagemap {
        findings.push(Finding::PagemapUnreadable);
    }
    findings
}

fn judge_kernel(facts: &Facts, findings: &mut Vec<Finding>) {
    let Some(release) = facts.release.as_deref().map(str::trim) else {
        return findings.push(unknown("/proc/sys/kernel/osrelease"));
    };
    match version(release) {
        None => findings.push(unknown("/proc/sys/kernel/osrelease")),
        Some(version) => {
            if version < (5, 4) {
                findings.push(Finding::NoPageOut {
                    release: release.to_owned(),
                });
            }
            if version < (5, 14) {
                findings.push(Finding::NoPopulateRead {
                    release: release.to_owned(),
                });
            }
        }
    }
}

fn judge_swap(facts: &Facts, findings: &mut Vec<Finding>) {
    let Some(swaps) = &facts.swaps else {
        return findings.push(unknown("/proc/swaps"));
    };
    let areas = swap_areas(swaps);
    if areas.is_empty() {
        return findings.push(Finding::NoSwap);
    }
    let size_bytes: u64 = areas.iter().map(|area| area.size_bytes).sum();
    let used_bytes: u64 = areas.iter().map(|area| area.used_bytes).sum();
    let free_bytes = size_bytes.saturating_sub(used_bytes);
    if free_bytes < size_bytes.div_ceil(FULL_SHARE) {
        findings.push(Finding::SwapFull {
            size_bytes,
            free_bytes,
        });
    }
    for area in areas.into_iter().filter(|area| area.is_file) {
        findings.push(Finding::SwapFile { path: area.path });
    }
}

fn judge_devices(facts: &Facts, findings: &mut Vec<Finding>) {
    for device in &facts.devices {
        if device.disk.starts_with("zram") || device.disk.starts_with("ram") {
            findings.push(Finding::SwapInMemory {
                device: device.path.clone(),
            });
        }
        if number(device.rotational.as_deref()) == Some(1) {
            findings.push(Finding::RotationalSwap {
                device: device.path.clone(),
            });
        }
    }
}

/// One finding of each kind, of the innermost cgroup that has it.
fn judge_cgroups(cgroups: &[Cgroup], findings: &mut Vec<Finding>) {
    findings.extend(cgroups.iter().find_map(swap_share));
    findings.extend(cgroups.iter().find_map(memsw_limit));
    let is_unwilling = |cgroup: &&Cgroup| number(cgroup.swappiness.as_deref()) == Some(0);
    // Version 1 does not inherit it: only that of the process's own counts.
    findings.extend(cgroups.first().filter(is_unwilling).map(|cgroup| {
        Finding::CgroupSwappinessZero {
            cgroup: cgroup.directory.clone(),
        }
    }));
}

fn swap_share(cgroup: &Cgroup) -> Option<Finding> {
    // `max` is no number, and no limit.
    let limit_bytes = number(cgroup.swap_max.as_deref())?;
    if limit_bytes == 0 {
        return Some(Finding::SwapForbidden {
            cgroup: cgroup.directory.clone(),
        });
    }
    let used_bytes = number(cgroup.swap_current.as_deref())?;
    let free_bytes = limit_bytes.saturating_sub(used_bytes);
    (free_bytes < limit_bytes.div_ceil(FULL_SHARE)).then(|| Finding::CgroupSwapFull {
        cgroup: cgroup.directory.clone(),
        limit_bytes,
        used_bytes,
    })
}

fn memsw_limit(cgroup: &Cgroup) -> Option<Finding> {
    /// Version 1 writes a number of this size for "no limit".
    const NO_LIMIT_BYTES: u64 = 1 << 62;
    let limit_bytes = number(cgroup.memsw_limit.as_deref())?;
    let memory_bytes = number(cgroup.memory_limit.as_deref())?;
    let is_useless = limit_bytes < NO_LIMIT_BYTES && limit_bytes <= memory_bytes;
    is_useless.then(|| Finding::MemswLimit {
        cgroup: cgroup.directory.clone(),
        limit_bytes,
    })
}

/// Why memory that asks for huge pages does not get them.
pub(super) fn huge_pages_off(facts: &Facts) -> Option<Finding> {
    let global = facts.huge_pages.as_deref().map(chosen);
    let of_2m = facts.huge_pages_2m.as_deref().map(chosen);
    let status = facts.status.as_deref().unwrap_or_default();
    let setting = if status
        .lines()
        .filter_map(|line| line.strip_prefix("THP_enabled:"))
        .any(|value| value.trim() == "0")
    {
        "PR_SET_THP_DISABLE is set for this process"
    } else {
        match (global, of_2m) {
            // A setting of the size's own counts, unless it is `inherit`.
            (_, Some("always" | "madvise")) => return None,
            (_, Some("never")) => {
                "/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/enabled is never"
            }
            (Some("never"), _) => "/sys/kernel/mm/transparent_hugepage/enabled is never",
            (None, _) => "the kernel has none, or does not show its settings",
            (Some(_), _) => return None,
        }
    };
    Some(Finding::HugePagesOff { setting })
}

/// A line of `/proc/swaps`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SwapArea {
    pub(super) path: PathBuf,
    pub(super) is_file: bool,
    pub(super) size_bytes: u64,
    pub(super) used_bytes: u64,
}

/// The swap areas of `/proc/swaps`; lines that are not understood are left out.
pub(super) fn swap_areas(swaps: &str) -> Vec<SwapArea> {
    let area = |line: &str| {
        let mut fields = line.split_whitespace();
        Some(SwapArea {
            path: unescape(fields.next()?).into(),
            is_file: fields.next()? == "file",
            size_bytes: fields.next()?.parse::<u64>().ok()?.checked_mul(1024)?,
            used_bytes: fields.next()?.parse::<u64>().ok()?.checked_mul(1024)?,
        })
    };
    swaps.lines().skip(1).filter_map(area).collect()
}

/// The word in brackets of `always [madvise] never`.
fn chosen(setting: &str) -> &str {
    let bracketed = setting
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    bracketed.map_or(setting.trim(), |(word, _)| word)
}

fn number(text: Option<&str>) -> Option<u64> {
    text?.trim().parse().ok()
}

/// Major and minor number of a release such as `5.15.0-91-generic`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn unknown(path: &str) -> Finding {
    Finding::Unknown { path: path.into() }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
