//! One fixture for each finding, and the process that this runs in.

use super::super::{diagnose_at, of_process};
use super::*;

const LIMITS: &str = "\
Limit                     Soft Limit           Hard Limit           Units
Max file size             unlimited            unlimited            bytes
Max data size             unlimited            unlimited            bytes
Max open files            1024                 1048576              files
Max address space         unlimited            unlimited            bytes
";

/// A process that nothing bounds.
fn free() -> Facts {
    Facts {
        limits: Some(LIMITS.into()),
        status: Some("Name:\tx\nSeccomp:\t0\n".into()),
        uid_map: Some("         0          0 4294967295\n".into()),
        version: Some("Linux version 6.8.0-31-generic (x) #31-Ubuntu SMP".into()),
        meminfo: Some("MemTotal:       16384000 kB\nMemFree: 1 kB\n".into()),
        cgroups: vec![Cgroup {
            directory: "/sys/fs/cgroup/a".into(),
            limit: Some("max\n".into()),
            high: Some("max\n".into()),
        }],
        budget_bytes: 1 << 30,
    }
}

/// The only finding after `change` to a free process.
fn finding(change: impl FnOnce(&mut Facts)) -> Finding {
    let mut facts = free();
    change(&mut facts);
    let mut findings = judge(&facts);
    assert_eq!(findings.len(), 1, "{findings:?}");
    let found = findings.remove(0);
    for part in [&found.evidence, &*found.remedy] {
        assert!(part.len() > 10 && !part.contains([';', '\n']), "{found}");
    }
    found
}

fn limited(from: &str, to: &str) -> Finding {
    finding(|facts| facts.limits = Some(LIMITS.replace(from, to)))
}

#[test]
fn a_process_that_nothing_bounds_has_no_findings() {
    assert_eq!(judge(&free()), []);
}

#[test]
fn the_tightest_limit_of_all_cgroups_counts() {
    let found = finding(|facts| {
        for (directory, limit) in [
            ("/sys/fs/cgroup/b", "268435456\n"),
            ("/sys/fs/cgroup", "1073741824\n"),
        ] {
            facts.cgroups.push(Cgroup {
                directory: directory.into(),
                limit: Some(limit.into()),
                high: None,
            });
        }
    });
    assert_eq!(
        (found.what, found.severity),
        (What::MemoryLimit, Severity::Note)
    );
    assert!(found.evidence.contains("/sys/fs/cgroup/b allows 268435456"));
    let high = finding(|facts| facts.cgroups[0].high = Some("268435456\n".into()));
    assert_eq!(high.what, What::MemoryThrottle);
    // More than the machine has, and version 1's word for none, bound nothing.
    for none in ["99999999999999\n", "9223372036854771712\n"] {
        let mut facts = free();
        facts.cgroups[0].limit = Some(none.into());
        assert_eq!(judge(&facts), []);
    }
}

#[test]
fn limits_of_memory_are_in_the_way_of_swap() {
    for (name, what) in [
        ("Max address space", What::AddressSpaceLimit),
        ("Max data size    ", What::DataLimit),
    ] {
        let line = format!("{name}         unlimited");
        let found = limited(&line, &format!("{name}         2048000000"));
        let expected = ("swap", Severity::Slow, what);
        assert_eq!((found.concern, found.severity, found.what), expected);
        assert!(found.evidence.contains("2048000000"), "{found}");
    }
}

#[test]
fn limits_of_files_are_in_the_way_of_scratch_files() {
    for (files, severity) in [
        ("15", Severity::Blocked),
        ("16", Severity::Note),
        ("127", Severity::Note),
    ] {
        let found = limited("1024 ", &format!("{files} "));
        let expected = ("file", severity, What::DescriptorLimit);
        assert_eq!((found.concern, found.severity, found.what), expected);
    }
    for (bytes, severity) in [("0", Severity::Blocked), ("1073741824", Severity::Note)] {
        let found = limited(
            "Max file size             unlimited",
            &format!("Max file size             {bytes}"),
        );
        let expected = ("file", severity, What::FileSizeLimit);
        assert_eq!((found.concern, found.severity, found.what), expected);
    }
}

#[test]
fn sandboxes_are_told_by_what_they_show() {
    let filtered = finding(|facts| facts.status = Some("Seccomp:\t2\n".into()));
    assert_eq!(filtered.what, What::SeccompFilter);
    for version in [
        "Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016\n",
        "gVisor",
    ] {
        let found = finding(|facts| facts.version = Some(version.into()));
        assert_eq!((found.concern, found.what), ("swap", What::Sandbox));
    }
    for map in ["0 1000 1\n", "0 1000 1\n1 100000 65536\n", ""] {
        let found = finding(|facts| facts.uid_map = Some(map.into()));
        assert_eq!(found.what, What::UserNamespace, "{map:?}");
    }
}

#[test]
fn what_cannot_be_read_is_said_or_taken_for_absent() {
    assert_eq!(finding(|facts| facts.limits = None).what, What::Unknown);
    let mut facts = free();
    (facts.status, facts.uid_map, facts.version, facts.meminfo) = (None, None, None, None);
    facts.cgroups.clear();
    assert_eq!(judge(&facts), []);
}

#[cfg(all(target_os = "linux", not(miri)))]
#[test]
fn this_process_can_be_diagnosed() {
    let unreadable = |finding: &Finding| finding.what == What::Unknown;
    assert!(!of_process().iter().any(unreadable));
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let all = diagnose_at(root.path());
    #[cfg(feature = "file")]
    assert!(all.iter().any(|it| it.what == What::IoMode), "{all:?}");
    for finding in &all {
        assert!(
            [PROCESS, SWAP, FILE].contains(&finding.concern),
            "{finding:?}"
        );
    }
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
}
