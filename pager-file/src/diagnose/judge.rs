//! Turns what the system says into findings, and reads nothing itself.

use pager_core::diagnose::text::number;
use pager_core::diagnose::{Finding, Severity, What};

use super::probe::{Facts, Presence, Space};
use super::trial::{Failure, Trial};
use crate::{BACKEND, SegmentIo};

/// Free space with which nothing can be begun: a segment takes room in steps.
const FULL_BYTES: u64 = 16 << 20;
/// Free space with which not much can be stored.
const LITTLE_BYTES: u64 = 1 << 30;
/// Files that a backend makes, and some for others that begin at the same time.
const FEW_INODES: u64 = 16;

/// File systems that are memory.
const MEMORY: [&str; 3] = ["tmpfs", "ramfs", "hugetlbfs"];
/// File systems of other machines, or of the host of a virtual one.
const NETWORK: [&str; 14] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "9p",
    "afs",
    "ceph",
    "lustre",
    "beegfs",
    "gpfs",
    "glusterfs",
    "fuse.glusterfs",
    "fuse.sshfs",
    "fuse.s3fs",
];
const COPY_ON_WRITE: [&str; 3] = ["btrfs", "bcachefs", "zfs"];
const LAYERED: [&str; 3] = ["overlay", "fuse.fuse-overlayfs", "aufs"];

/// Judges everything.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    judge_presence(facts, &mut findings);
    if facts.presence == Presence::Missing {
        return findings;
    }
    match &facts.space {
        Some(space) => judge_space(facts, space, &mut findings),
        None => findings.push(unknown(facts, "the space of")),
    }
    if facts.mount.is_none() {
        findings.push(unknown(facts, "the file system of"));
    }
    let in_memory = judge_memory(facts);
    judge_kind(facts, &mut findings);
    judge_devices(facts, &mut findings);
    judge_trial(facts, in_memory.is_some(), &mut findings);
    findings.extend(in_memory);
    findings
}

fn judge_presence(facts: &Facts, findings: &mut Vec<Finding>) {
    let root = facts.root.display();
    match facts.presence {
        Presence::There => {}
        Presence::ToBeMade => findings.push(note(
            What::RootMissing,
            format!("the scratch root {root} does not exist yet, so nothing was tried there"),
            "nothing need be done: the first page-out makes it",
        )),
        Presence::Missing => findings.push(blocked(
            What::RootMissing,
            format!("the scratch root {root} and its parent do not exist"),
            "make it, or name another with PAGER_SCRATCH",
        )),
    }
}

fn judge_space(facts: &Facts, space: &Space, findings: &mut Vec<Finding>) {
    let root = facts.root.display();
    let Space {
        free_bytes,
        size_bytes,
        free_inodes,
        ..
    } = *space;
    if space.read_only {
        findings.push(blocked(
            What::ReadOnly,
            format!("the file system of {root} is mounted read-only"),
            "name a directory elsewhere with PAGER_SCRATCH",
        ));
    }
    let left = format!("{free_bytes} of {size_bytes} bytes are free on the disk of {root}");
    if free_bytes < FULL_BYTES {
        findings.push(blocked(
            What::DiskFull,
            left,
            "make room, or name a directory elsewhere with PAGER_SCRATCH",
        ));
    } else if free_bytes < LITTLE_BYTES {
        findings.push(slow(
            What::DiskNearlyFull,
            left,
            "make room, or name a directory elsewhere with PAGER_SCRATCH",
        ));
    }
    if space.inodes > 0 && free_inodes < FEW_INODES {
        findings.push(blocked(
            What::NoInodes,
            format!("{free_inodes} files more can be made on the file system of {root}"),
            "remove files, or name a directory elsewhere with PAGER_SCRATCH",
        ));
    }
}

/// Whether what is written there is memory, by whichever layer shows it.
fn judge_memory(facts: &Facts) -> Option<Finding> {
    let root = facts.root.display();
    let is_memory = |kind: &str| MEMORY.contains(&kind);
    let kinds = [&facts.mount, &facts.upper];
    let kind = kinds
        .into_iter()
        .flatten()
        .map(|mount| mount.kind.as_str())
        .find(|kind| is_memory(kind));
    let layer = facts.layers.iter().find(|layer| {
        is_ram_device(&layer.name) || layer.backing_kind.as_deref().is_some_and(is_memory)
    });
    let evidence = match (kind, layer) {
        (Some(kind), _) => format!("{root} is on {kind}, which is memory"),
        (None, Some(layer)) => match layer.backing_kind.as_deref().filter(|it| is_memory(it)) {
            Some(kind) => format!(
                "{root} is on {}, a file on {kind}, which is memory",
                layer.name
            ),
            None => format!("{root} is on {}, which is memory", layer.name),
        },
        (None, None) => return None,
    };
    Some(blocked(
        What::InMemory,
        evidence,
        "name a directory on a disk with PAGER_SCRATCH, or allow memory explicitly if that is meant",
    ))
}

/// Block devices that keep what they hold in memory.
fn is_ram_device(name: &str) -> bool {
    let digits = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
    ["zram", "ram", "brd"]
        .iter()
        .any(|prefix| name.strip_prefix(prefix).is_some_and(digits))
}

fn judge_kind(facts: &Facts, findings: &mut Vec<Finding>) {
    let root = facts.root.display();
    for mount in [&facts.mount, &facts.upper].into_iter().flatten() {
        let kind = mount.kind.as_str();
        if NETWORK.contains(&kind) {
            findings.push(slow(
                What::NetworkFileSystem,
                format!(
                    "{root} is on {kind} ({}), which is not a local disk",
                    mount.source
                ),
                "name a directory on a local disk with PAGER_SCRATCH",
            ));
        } else if COPY_ON_WRITE.contains(&kind) {
            findings.push(note(
                What::CopyOnWrite,
                format!("{root} is on {kind}, which writes every change to new space"),
                "keep a good part of the disk free, or use ext4 or XFS",
            ));
        } else if LAYERED.contains(&kind) && facts.upper.is_none() {
            findings.push(note(
                What::Overlay,
                format!("{root} is on {kind}, and what its upper layer is on cannot be seen"),
                "see that it is a disk, or mount a volume and name it with PAGER_SCRATCH",
            ));
        }
    }
}

fn judge_devices(facts: &Facts, findings: &mut Vec<Finding>) {
    let is_rotational = |rotational: &Option<String>| number(rotational.as_deref()) == Some(1);
    let found = facts
        .layers
        .iter()
        .find(|layer| is_rotational(&layer.rotational));
    findings.extend(found.map(|layer| {
        note(
            What::Rotational,
            format!("the kernel takes {} for a rotating disk", layer.name),
            "if it is one, name a directory on flash with PAGER_SCRATCH",
        )
    }));
}

fn judge_trial(facts: &Facts, in_memory: bool, findings: &mut Vec<Finding>) {
    let root = facts.root.display();
    let (io, why, allocates_ahead, punches_holes) = match &facts.trial {
        Trial::NotRun => return,
        Trial::Failed { said, kind } => return findings.push(judge_failure(said, *kind)),
        Trial::Passed {
            io,
            why,
            allocates_ahead,
            punches_holes,
        } => (io, why, *allocates_ahead, *punches_holes),
    };
    let kind = facts.mount.as_ref().map_or("unknown", |mount| &mount.kind);
    let devices: Vec<&str> = facts
        .layers
        .iter()
        .map(|layer| layer.name.as_str())
        .collect();
    let on = if devices.is_empty() {
        kind.to_owned()
    } else {
        format!("{kind} on {}", devices.join(" on "))
    };
    findings.push(note(
        What::IoMode,
        format!("scratch files in {root} ({on}): {io}, because {why}"),
        "nothing need be done",
    ));
    if !matches!(io, SegmentIo::Direct { .. }) && !in_memory {
        findings.push(slow(
            What::BufferedIo,
            format!("scratch files in {root} go through the page cache, because {why}"),
            "use ext4 or XFS on a local disk",
        ));
    }
    if !allocates_ahead {
        findings.push(note(
            What::NoPreallocation,
            format!("the file system of {root} cannot promise space (fallocate), so that a full disk shows while a payload is written"),
            "set a quota below what is free, or use ext4 or XFS",
        ));
    }
    if !punches_holes {
        findings.push(note(
            What::NoHoles,
            format!("the file system of {root} takes no space back from the middle of a file, so that scratch files only shrink when they go"),
            "leave room for the most that is ever stored at once, or use ext4 or XFS",
        ));
    }
}

fn judge_failure(said: &str, kind: Failure) -> Finding {
    match kind {
        Failure::Root => blocked(
            What::RootUnusable,
            said,
            "name another directory with PAGER_SCRATCH",
        ),
        Failure::Full => blocked(
            What::DiskFull,
            said,
            "make room, raise the quota of the user, or name a directory elsewhere with PAGER_SCRATCH",
        ),
        Failure::Corrupt => blocked(
            What::TrialFailed,
            format!("a payload did not come back as it went out: {said}"),
            "do not use this device, and look at it (dmesg, smartctl)",
        ),
        Failure::Call => blocked(
            What::CallRefused,
            format!("a payload could not be moved: {said}"),
            "allow the call in the seccomp profile or the sandbox, or name a directory elsewhere with PAGER_SCRATCH",
        ),
    }
}

fn unknown(facts: &Facts, what_of: &str) -> Finding {
    Finding::unknown(BACKEND, format_args!("{what_of} {}", facts.root.display()))
}

fn note(what: What, evidence: impl Into<String>, remedy: &'static str) -> Finding {
    Finding::new(BACKEND, Severity::Note, what, evidence, remedy)
}

fn slow(what: What, evidence: impl Into<String>, remedy: &'static str) -> Finding {
    Finding::new(BACKEND, Severity::Slow, what, evidence, remedy)
}

fn blocked(what: What, evidence: impl Into<String>, remedy: &'static str) -> Finding {
    Finding::new(BACKEND, Severity::Blocked, what, evidence, remedy)
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
