//! One fixture for each finding, and the system that this runs on.

use super::super::diagnose;
use super::super::probe::{Device, probe};
use super::*;
use pager_core::diagnose::{Finding, Severity, What};

/// A machine on which all is well.
fn healthy() -> Facts {
    Facts {
        release: Some("6.8.0-31-generic\n".into()),
        swaps: Some(
            "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n\
             /dev/nvme1n1                            partition\t8388604\t\t1024\t\t-2\n"
                .into(),
        ),
        devices: vec![Device {
            path: "/dev/nvme1n1".into(),
            disk: "nvme1n1".into(),
            rotational: Some("0\n".into()),
        }],
        swappiness: Some("60\n".into()),
        huge_pages: Some("always [madvise] never\n".into()),
        huge_pages_2m: Some("always [inherit] madvise never\n".into()),
        status: Some("Name:\tx\nTHP_enabled:\t1\n".into()),
        cgroups: vec![Cgroup {
            directory: "/sys/fs/cgroup/a".into(),
            swap_max: Some("max\n".into()),
            swap_current: Some("4096\n".into()),
            ..Cgroup::default()
        }],
        pagemap: true,
        refused: Vec::new(),
    }
}

/// The only finding after `change` to a healthy machine.
fn finding(change: impl FnOnce(&mut Facts)) -> Cause {
    let mut facts = healthy();
    change(&mut facts);
    let mut findings = judge(&facts);
    assert_eq!(findings.len(), 1, "{findings:?}");
    findings.remove(0)
}

#[test]
fn a_healthy_machine_has_no_findings() {
    assert_eq!(judge(&healthy()), []);
}

#[test]
fn an_empty_table_of_swaps_is_no_swap() {
    let found = finding(|facts| {
        facts.swaps = Some("Filename\tType\tSize\tUsed\tPriority\n".into());
        facts.devices.clear();
    });
    assert_eq!(found, Cause::NoSwap);
    assert_eq!(found.severity(), Severity::Blocked);
}

#[test]
fn used_up_swap_is_full() {
    let found = finding(|facts| {
        facts.swaps = Some("header\n/dev/sdb partition 1000 999 -2\n".into());
    });
    let expected = Cause::SwapFull {
        size_bytes: 1_024_000,
        free_bytes: 1024,
    };
    assert_eq!(found, expected);
}

#[test]
fn a_swap_file_is_told_from_a_device() {
    let found = finding(|facts| {
        facts.swaps = Some("header\n/var/my\\040swap file 1000 0 -2\n".into());
    });
    let expected = Cause::SwapFile {
        path: "/var/my swap".into(),
    };
    assert_eq!(found, expected);
}

#[test]
fn a_rotational_flag_is_found() {
    let found = finding(|facts| facts.devices[0].rotational = Some("1\n".into()));
    assert!(matches!(found, Cause::RotationalSwap { .. }));
    assert_eq!(found.severity(), Severity::Slow);
}

#[test]
fn compressed_memory_is_not_a_disk() {
    let found = finding(|facts| facts.devices[0].disk = "zram0".into());
    assert!(matches!(found, Cause::SwapInMemory { .. }));
}

#[test]
fn a_cgroup_that_forbids_swap_is_found_in_an_ancestor() {
    let found = finding(|facts| {
        facts.cgroups.push(Cgroup {
            directory: "/sys/fs/cgroup".into(),
            swap_max: Some("0\n".into()),
            ..Cgroup::default()
        });
    });
    let expected = Cause::SwapForbidden {
        cgroup: "/sys/fs/cgroup".into(),
    };
    assert_eq!(found, expected);
}

#[test]
fn a_cgroup_that_used_its_share_is_full() {
    let found = finding(|facts| {
        facts.cgroups[0].swap_max = Some("1048576\n".into());
        facts.cgroups[0].swap_current = Some("1048576\n".into());
    });
    assert!(matches!(found, Cause::CgroupSwapFull { .. }));
}

#[test]
fn a_limit_on_memory_and_swap_that_adds_nothing_is_found() {
    let version_1 = |memsw: &str, memory: &str| Cgroup {
        directory: "/sys/fs/cgroup/memory/a".into(),
        memsw_limit: Some(memsw.into()),
        memory_limit: Some(memory.into()),
        swappiness: Some("60\n".into()),
        ..Cgroup::default()
    };
    let found = finding(|facts| facts.cgroups = vec![version_1("1048576\n", "1048576\n")]);
    assert!(matches!(found, Cause::MemswLimit { .. }));
    for (memsw, memory) in [
        ("9223372036854771712", "9223372036854771712"),
        ("2097152", "1048576"),
    ] {
        let mut facts = healthy();
        facts.cgroups = vec![version_1(memsw, memory)];
        assert_eq!(judge(&facts), []);
    }
}

#[test]
fn swappiness_zero_is_found_for_the_machine_and_for_the_cgroup() {
    let found = finding(|facts| facts.swappiness = Some("0\n".into()));
    assert_eq!(found, Cause::GlobalSwappinessZero);
    let found = finding(|facts| facts.cgroups[0].swappiness = Some("0\n".into()));
    assert!(matches!(found, Cause::CgroupSwappinessZero { .. }));
}

#[test]
fn huge_pages_can_be_off_in_four_places() {
    let off = |change: fn(&mut Facts)| {
        assert!(matches!(finding(change), Cause::HugePagesOff { .. }));
    };
    off(|facts| facts.huge_pages = Some("always madvise [never]\n".into()));
    off(|facts| facts.huge_pages_2m = Some("always inherit madvise [never]\n".into()));
    off(|facts| facts.status = Some("THP_enabled:\t0\n".into()));
    off(|facts| {
        facts.huge_pages = None;
        facts.huge_pages_2m = None;
    });
    let mut facts = healthy();
    facts.huge_pages = Some("always madvise [never]\n".into());
    facts.huge_pages_2m = Some("always inherit [madvise] never\n".into());
    assert_eq!(judge(&facts), [], "the size's own setting counts");
}

#[test]
fn old_kernels_are_told_by_their_release() {
    let found = finding(|facts| facts.release = Some("5.10.0-28-amd64".into()));
    assert!(matches!(found, Cause::NoPopulateRead { .. }));
    let mut facts = healthy();
    facts.release = Some("4.18.0-553.el8".into());
    let findings = judge(&facts);
    assert!(matches!(
        findings[..],
        [Cause::NoPageOut { .. }, Cause::NoPopulateRead { .. }]
    ));
    for new_enough in ["5.14.0", "5.14.0-427.el9", "6.1", "10.0-rc1"] {
        facts.release = Some(new_enough.into());
        assert_eq!(judge(&facts), [], "{new_enough}");
    }
}

#[test]
fn what_cannot_be_read_is_said() {
    assert_eq!(
        finding(|facts| facts.pagemap = false),
        Cause::PagemapUnreadable
    );
    assert_eq!(finding(|facts| facts.swaps = None), unknown("/proc/swaps"));
    for release in [None, Some("strange".to_owned())] {
        let found = finding(|facts| facts.release = release);
        assert_eq!(found, unknown("/proc/sys/kernel/osrelease"));
    }
}

#[test]
fn every_finding_prints_what_to_do() {
    let cgroup = || PathBuf::from("/sys/fs/cgroup/a");
    let all = [
        Cause::NotLinux,
        Cause::NoSwap,
        Cause::SwapFull {
            size_bytes: 2,
            free_bytes: 1,
        },
        Cause::SwapForbidden { cgroup: cgroup() },
        Cause::CgroupSwapFull {
            cgroup: cgroup(),
            limit_bytes: 1,
            used_bytes: 1,
        },
        Cause::MemswLimit {
            cgroup: cgroup(),
            limit_bytes: 1,
        },
        Cause::GlobalSwappinessZero,
        Cause::CgroupSwappinessZero { cgroup: cgroup() },
        Cause::SwapFile {
            path: "/swap".into(),
        },
        Cause::RotationalSwap {
            device: "/dev/sda".into(),
        },
        Cause::SwapInMemory {
            device: "/dev/zram0".into(),
        },
        Cause::HugePagesOff { setting: "never" },
        Cause::NoPageOut {
            release: "4.4".into(),
        },
        Cause::NoPopulateRead {
            release: "5.4".into(),
        },
        Cause::CallRefused {
            call: "MADV_PAGEOUT",
            error: "not permitted".into(),
        },
        Cause::PagemapUnreadable,
        unknown("/proc/swaps"),
    ];
    for finding in all {
        let finding = Finding::from(finding);
        assert_eq!(finding.concern, "swap");
        for part in [&finding.evidence, &*finding.remedy] {
            assert!(part.len() > 10, "{finding}");
            assert!(
                !part.contains([';', '\n']) && !part.ends_with('.'),
                "{finding}"
            );
        }
    }
}

#[test]
fn odd_lines_of_swaps_are_left_out() {
    assert_eq!(
        swap_areas("header\n/dev/sda\n\n/dev/sdb partition x y\n"),
        []
    );
}

#[test]
fn a_call_that_is_refused_although_the_kernel_has_it_is_told() {
    let refused = |call, since| Refusal {
        call,
        since,
        error: "Operation not permitted".into(),
    };
    for (call, severity) in [
        ("MADV_PAGEOUT", Severity::Blocked),
        ("MADV_POPULATE_READ", Severity::Slow),
        ("MADV_HUGEPAGE", Severity::Slow),
        ("MADV_WIPEONFORK", Severity::Note),
        ("mmap", Severity::Blocked),
    ] {
        let found = finding(|facts| facts.refused = vec![refused(call, (5, 4))]);
        assert!(matches!(found, Cause::CallRefused { .. }));
        assert_eq!(found.severity(), severity, "{call}");
        assert!(Finding::from(found).evidence.contains(call));
    }
    // An old kernel has its own word for it.
    let mut facts = healthy();
    facts.release = Some("5.10.0".into());
    facts.refused = vec![refused("MADV_POPULATE_READ", (5, 14))];
    assert!(matches!(judge(&facts)[..], [Cause::NoPopulateRead { .. }]));
}

#[cfg(all(target_os = "linux", not(miri)))]
#[test]
fn this_system_can_be_read() {
    let facts = probe();
    assert!(facts.release.is_some());
    let findings = diagnose();
    let has_swap = !swap_areas(facts.swaps.as_deref().unwrap_or_default()).is_empty();
    assert!(!findings.contains(&Finding::unknown("swap", "/proc/sys/kernel/osrelease")));
    if facts.swaps.is_some() {
        let is_found = findings.iter().any(|it| it.what == What::NoSwap);
        assert_eq!(is_found, !has_swap);
    }
}
