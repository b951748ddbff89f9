//! Turns what the system says about this process into findings, and reads nothing
//! itself.

use pager_core::diagnose::text::number;
use pager_core::diagnose::{Finding, Severity, What};

use super::probe::{Cgroup, Facts};
use crate::BackendKind;

/// What concerns all backends.
const PROCESS: &str = "process";
const SWAP: &str = BackendKind::Swap.name();
const FILE: &str = BackendKind::File.name();

/// Descriptors with which the file backend works, and no fewer.
const LEAST_DESCRIPTORS: u64 = 16;
/// Descriptors that a program with files of its own may run out of.
const FEW_DESCRIPTORS: u64 = 128;
/// A file smaller than this holds next to no payload.
const LEAST_FILE_BYTES: u64 = 16 << 20;
/// Version 1 of cgroups writes a number of this size for "no limit".
const NO_LIMIT_BYTES: u64 = 1 << 62;
/// How gVisor dates the kernel that it plays.
const GVISOR_BUILD: &str = "#1 SMP Sun Jan 10 15:06:54 PST 2016";

/// Judges everything.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    judge_cgroups(facts, &mut findings);
    match &facts.limits {
        Some(limits) => judge_limits(limits, &mut findings),
        None => findings.push(Finding::unknown(PROCESS, "/proc/self/limits")),
    }
    judge_sandbox(facts, &mut findings);
    findings
}

/// The tightest bound of each kind, whichever group has it.
fn judge_cgroups(facts: &Facts, findings: &mut Vec<Finding>) {
    let memory_bytes = facts.meminfo.as_deref().and_then(total_bytes);
    let tightest = |bound: fn(&Cgroup) -> Option<&str>| {
        facts
            .cgroups
            .iter()
            .filter_map(|cgroup| Some((number(bound(cgroup))?, cgroup)))
            .filter(|(bytes, _)| {
                *bytes < memory_bytes.unwrap_or(NO_LIMIT_BYTES).min(NO_LIMIT_BYTES)
            })
            .min_by_key(|(bytes, _)| *bytes)
    };
    if let Some((bytes, cgroup)) = tightest(|cgroup| cgroup.limit.as_deref()) {
        findings.push(Finding::new(
            PROCESS,
            Severity::Note,
            What::MemoryLimit,
            format!(
                "the memory cgroup {} allows {bytes} bytes, and the default budget is {} of them",
                cgroup.directory.display(),
                facts.budget_bytes
            ),
            "set a budget that leaves room for the rest of the program",
        ));
    }
    if let Some((bytes, cgroup)) = tightest(|cgroup| cgroup.high.as_deref()) {
        findings.push(Finding::new(
            PROCESS,
            Severity::Note,
            What::MemoryThrottle,
            format!(
                "the memory cgroup {} slows the process down from {bytes} bytes on (memory.high)",
                cgroup.directory.display()
            ),
            "set a budget well below that, or raise memory.high",
        ));
    }
}

fn total_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|it| it.strip_prefix("MemTotal:"))?;
    number(line.split_whitespace().next())?.checked_mul(1024)
}

fn judge_limits(limits: &str, findings: &mut Vec<Finding>) {
    for (name, what, resource) in [
        (
            "Max address space",
            What::AddressSpaceLimit,
            "address space",
        ),
        ("Max data size", What::DataLimit, "private memory"),
    ] {
        if let Some(bytes) = soft_limit(limits, name) {
            findings.push(Finding::new(
                SWAP,
                Severity::Slow,
                what,
                format!("{resource} is limited to {bytes} bytes, and payloads on swap count"),
                "raise the limit (ulimit) above all that is ever paged out, or use the file backend",
            ));
        }
    }
    if let Some(files) = soft_limit(limits, "Max open files")
        && files < FEW_DESCRIPTORS
    {
        let severity = if files < LEAST_DESCRIPTORS {
            Severity::Blocked
        } else {
            Severity::Note
        };
        findings.push(Finding::new(
            FILE,
            severity,
            What::DescriptorLimit,
            format!("{files} files may be open at once, and the file backend needs up to {LEAST_DESCRIPTORS}"),
            "raise the limit (ulimit -n)",
        ));
    }
    if let Some(bytes) = soft_limit(limits, "Max file size") {
        let severity = if bytes < LEAST_FILE_BYTES {
            Severity::Blocked
        } else {
            Severity::Note
        };
        findings.push(Finding::new(
            FILE,
            severity,
            What::FileSizeLimit,
            format!("a file may have {bytes} bytes, which bounds what one scratch file holds"),
            "raise the limit (ulimit -f)",
        ));
    }
}

/// The soft limit in a line of `/proc/self/limits`, unless there is none.
fn soft_limit(limits: &str, name: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    number(line.split_whitespace().next())
}

fn judge_sandbox(facts: &Facts, findings: &mut Vec<Finding>) {
    let status = facts.status.as_deref().unwrap_or_default();
    let seccomp = status
        .lines()
        .find_map(|line| line.strip_prefix("Seccomp:"));
    // 0 is off, 1 strict, 2 a filter: https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
    if number(seccomp) == Some(2) {
        findings.push(Finding::new(
            PROCESS,
            Severity::Note,
            What::SeccompFilter,
            "a filter of system calls is in force (Seccomp: 2 in /proc/self/status)",
            "nothing need be done unless a call is said to be refused",
        ));
    }
    let version = facts.version.as_deref().unwrap_or_default();
    if version.contains("gVisor") || version.contains(GVISOR_BUILD) {
        findings.push(Finding::new(
            SWAP,
            Severity::Slow,
            What::Sandbox,
            format!(
                "the kernel seems to be gVisor ({}), which heeds no page-out hints",
                version.trim()
            ),
            "use the file backend",
        ));
    }
    if let Some(map) = facts.uid_map.as_deref().filter(|map| !has_all_users(map)) {
        let map = map.split_whitespace().collect::<Vec<_>>().join(" ");
        findings.push(Finding::new(
            PROCESS,
            Severity::Note,
            What::UserNamespace,
            format!("the process is in a user namespace ({map}), where files of unmapped users seem to be nobody's"),
            "if the default scratch root is refused, name a directory of your own with PAGER_SCRATCH",
        ));
    }
}

/// Whether a `uid_map` is that of the machine itself.
fn has_all_users(map: &str) -> bool {
    let fields: Vec<&str> = map.split_whitespace().collect();
    fields == ["0", "0", "4294967295"]
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
