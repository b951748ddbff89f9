//! Turns what the system says into [`Cause`]s, and reads nothing itself.

use std::path::PathBuf;

use pager_core::cgroup::unescape;
use pager_core::diagnose::text::{number, version};

use super::Cause;
use super::probe::{Cgroup, Facts, Refusal};

/// A share of swap below which it counts as full: one part in this many.
const FULL_SHARE: u64 = 64;

/// Judges everything.
pub(super) fn judge(facts: &Facts) -> Vec<Cause> {
    let mut findings = Vec::new();
    judge_kernel(facts, &mut findings);
    judge_swap(facts, &mut findings);
    judge_devices(facts, &mut findings);
    judge_cgroups(&facts.cgroups, &mut findings);
    if number(facts.swappiness.as_deref()) == Some(0) {
        findings.push(Cause::GlobalSwappinessZero);
    }
    findings.extend(huge_pages_off(facts));
    judge_calls(facts, &mut findings);
    if !facts.pagemap {
        findings.push(Cause::PagemapUnreadable);
    }
    findings
}

fn judge_kernel(facts: &Facts, findings: &mut Vec<Cause>) {
    let Some(release) = facts.release.as_deref().map(str::trim) else {
        return findings.push(unknown("/proc/sys/kernel/osrelease"));
    };
    match version(release) {
        None => findings.push(unknown("/proc/sys/kernel/osrelease")),
        Some(version) => {
            if version < (5, 4) {
                findings.push(Cause::NoPageOut {
                    release: release.to_owned(),
                });
            }
            if version < (5, 14) {
                findings.push(Cause::NoPopulateRead {
                    release: release.to_owned(),
                });
            }
        }
    }
}

/// A call that the kernel is new enough for and that is refused all the same.
fn judge_calls(facts: &Facts, findings: &mut Vec<Cause>) {
    let version = facts.release.as_deref().and_then(version);
    let has_huge_pages = huge_pages_off(facts).is_none();
    for Refusal { call, since, error } in &facts.refused {
        if *call == "MADV_HUGEPAGE" && !has_huge_pages {
            continue;
        }
        if version.is_none_or(|version| version >= *since) {
            findings.push(Cause::CallRefused {
                call,
                error: error.clone(),
            });
        }
    }
}

fn judge_swap(facts: &Facts, findings: &mut Vec<Cause>) {
    let Some(swaps) = &facts.swaps else {
        return findings.push(unknown("/proc/swaps"));
    };
    let areas = swap_areas(swaps);
    if areas.is_empty() {
        return findings.push(Cause::NoSwap);
    }
    let size_bytes: u64 = areas.iter().map(|area| area.size_bytes).sum();
    let used_bytes: u64 = areas.iter().map(|area| area.used_bytes).sum();
    let free_bytes = size_bytes.saturating_sub(used_bytes);
    if free_bytes < size_bytes.div_ceil(FULL_SHARE) {
        findings.push(Cause::SwapFull {
            size_bytes,
            free_bytes,
        });
    }
    for area in areas.into_iter().filter(|area| area.is_file) {
        findings.push(Cause::SwapFile { path: area.path });
    }
}

fn judge_devices(facts: &Facts, findings: &mut Vec<Cause>) {
    for device in &facts.devices {
        if device.disk.starts_with("zram") || device.disk.starts_with("ram") {
            findings.push(Cause::SwapInMemory {
                device: device.path.clone(),
            });
        }
        if number(device.rotational.as_deref()) == Some(1) {
            findings.push(Cause::RotationalSwap {
                device: device.path.clone(),
            });
        }
    }
}

/// One finding of each kind, of the innermost cgroup that has it.
fn judge_cgroups(cgroups: &[Cgroup], findings: &mut Vec<Cause>) {
    findings.extend(cgroups.iter().find_map(swap_share));
    findings.extend(cgroups.iter().find_map(memsw_limit));
    let is_unwilling = |cgroup: &&Cgroup| number(cgroup.swappiness.as_deref()) == Some(0);
    // Version 1 does not inherit it: only that of the process's own counts.
    findings.extend(cgroups.first().filter(is_unwilling).map(|cgroup| {
        Cause::CgroupSwappinessZero {
            cgroup: cgroup.directory.clone(),
        }
    }));
}

fn swap_share(cgroup: &Cgroup) -> Option<Cause> {
    // `max` is no number, and no limit.
    let limit_bytes = number(cgroup.swap_max.as_deref())?;
    if limit_bytes == 0 {
        return Some(Cause::SwapForbidden {
            cgroup: cgroup.directory.clone(),
        });
    }
    let used_bytes = number(cgroup.swap_current.as_deref())?;
    let free_bytes = limit_bytes.saturating_sub(used_bytes);
    (free_bytes < limit_bytes.div_ceil(FULL_SHARE)).then(|| Cause::CgroupSwapFull {
        cgroup: cgroup.directory.clone(),
        limit_bytes,
        used_bytes,
    })
}

fn memsw_limit(cgroup: &Cgroup) -> Option<Cause> {
    /// Version 1 writes a number of this size for "no limit".
    const NO_LIMIT_BYTES: u64 = 1 << 62;
    let limit_bytes = number(cgroup.memsw_limit.as_deref())?;
    let memory_bytes = number(cgroup.memory_limit.as_deref())?;
    let is_useless = limit_bytes < NO_LIMIT_BYTES && limit_bytes <= memory_bytes;
    is_useless.then(|| Cause::MemswLimit {
        cgroup: cgroup.directory.clone(),
        limit_bytes,
    })
}

/// Why memory that asks for huge pages does not get them.
pub(super) fn huge_pages_off(facts: &Facts) -> Option<Cause> {
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
    Some(Cause::HugePagesOff { setting })
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

fn unknown(path: &str) -> Cause {
    Cause::Unknown { path: path.into() }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
