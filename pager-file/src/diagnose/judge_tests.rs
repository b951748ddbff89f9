//! One fixture for each finding, and the disk that this runs on.

use pager_core::diagnose::text::Mount;

use super::super::diagnose;
use super::super::probe::Layer;
use super::*;

fn mount(kind: &str) -> Mount {
    Mount {
        mount_point: "/".into(),
        kind: kind.into(),
        source: "/dev/nvme0n1p2".into(),
        options: "rw".into(),
    }
}

fn layer(name: &str) -> Layer {
    Layer {
        name: name.into(),
        rotational: Some("0\n".into()),
        backing_kind: None,
    }
}

/// A root on which all is well.
fn healthy() -> Facts {
    Facts {
        root: "/var/tmp".into(),
        presence: Presence::There,
        mount: Some(mount("ext4")),
        upper: None,
        layers: vec![layer("nvme0n1")],
        space: Some(Space {
            size_bytes: 1 << 40,
            free_bytes: 1 << 38,
            inodes: 1 << 20,
            free_inodes: 1 << 19,
            read_only: false,
        }),
        trial: passed(SegmentIo::Direct {
            memory_align_bytes: 512,
        }),
    }
}

fn passed(io: SegmentIo) -> Trial {
    Trial::Passed {
        io,
        why: "the file system supports it".into(),
        allocates_ahead: true,
        punches_holes: true,
    }
}

/// All findings after `change` to a healthy root, but for how it moves bytes.
fn findings(change: impl FnOnce(&mut Facts)) -> Vec<(What, Severity)> {
    let mut facts = healthy();
    change(&mut facts);
    let found = judge(&facts);
    for finding in &found {
        assert_eq!(finding.concern, "file");
        for part in [&finding.evidence, &*finding.remedy] {
            assert!(part.len() > 10 && !part.contains([';', '\n']), "{finding}");
        }
    }
    found
        .iter()
        .map(|finding| (finding.what, finding.severity))
        .filter(|(what, _)| *what != What::IoMode)
        .collect()
}

fn space(change: impl FnOnce(&mut Space)) -> Vec<(What, Severity)> {
    findings(|facts| change(facts.space.as_mut().unwrap()))
}

#[test]
fn a_healthy_root_shows_how_it_moves_bytes_and_nothing_else() {
    let found = judge(&healthy());
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].what, found[0].severity),
        (What::IoMode, Severity::Note)
    );
    let evidence = &found[0].evidence;
    for part in [
        "direct I/O",
        "aligned to 512",
        "ext4 on nvme0n1",
        "supports it",
    ] {
        assert!(evidence.contains(part), "{evidence}");
    }
}

#[test]
fn a_missing_root_blocks_unless_it_can_be_made() {
    let found = |presence| {
        findings(|facts| {
            facts.presence = presence;
            facts.trial = Trial::NotRun;
        })
    };
    assert_eq!(
        found(Presence::ToBeMade),
        [(What::RootMissing, Severity::Note)]
    );
    assert_eq!(
        found(Presence::Missing),
        [(What::RootMissing, Severity::Blocked)]
    );
}

#[test]
fn memory_is_found_in_every_layer() {
    let expected = [(What::InMemory, Severity::Blocked)];
    for kind in MEMORY {
        assert_eq!(findings(|facts| facts.mount = Some(mount(kind))), expected);
    }
    assert_eq!(
        findings(|facts| {
            facts.mount = Some(mount("overlay"));
            facts.upper = Some(mount("tmpfs"));
        }),
        expected
    );
    for name in ["zram0", "ram15", "brd1"] {
        // A dm device on a loop device on it.
        let below = |facts: &mut Facts| facts.layers = vec![layer("dm-0"), layer(name)];
        assert_eq!(findings(below), expected, "{name}");
    }
    let on_a_file = |facts: &mut Facts| facts.layers[0].backing_kind = Some("tmpfs".into());
    assert_eq!(findings(on_a_file), expected);
    for disk in ["ramdisk-like", "nvme0n1", "sda", "zramble", "pmem0"] {
        assert_eq!(
            findings(|facts| facts.layers = vec![layer(disk)]),
            [],
            "{disk}"
        );
    }
}

#[test]
fn kinds_of_file_systems_are_told_apart() {
    for (kind, what, severity) in [
        ("nfs4", What::NetworkFileSystem, Severity::Slow),
        ("fuse.sshfs", What::NetworkFileSystem, Severity::Slow),
        ("btrfs", What::CopyOnWrite, Severity::Note),
        ("zfs", What::CopyOnWrite, Severity::Note),
        ("overlay", What::Overlay, Severity::Note),
    ] {
        let found = findings(|facts| facts.mount = Some(mount(kind)));
        assert_eq!(found, [(what, severity)], "{kind}");
    }
    // An overlay whose upper layer can be seen is as good as that.
    let seen = |facts: &mut Facts| {
        facts.mount = Some(mount("overlay"));
        facts.upper = Some(mount("xfs"));
    };
    assert_eq!(findings(seen), []);
}

#[test]
fn space_and_files_that_run_out_are_found() {
    for (free_bytes, expected) in [
        (0, Some((What::DiskFull, Severity::Blocked))),
        (FULL_BYTES - 1, Some((What::DiskFull, Severity::Blocked))),
        (FULL_BYTES, Some((What::DiskNearlyFull, Severity::Slow))),
        (
            LITTLE_BYTES - 1,
            Some((What::DiskNearlyFull, Severity::Slow)),
        ),
        (LITTLE_BYTES, None),
    ] {
        let found = space(|space| space.free_bytes = free_bytes);
        assert_eq!(found, Vec::from_iter(expected), "{free_bytes}");
    }
    let none = space(|space| space.free_inodes = 3);
    assert_eq!(none, [(What::NoInodes, Severity::Blocked)]);
    // btrfs counts none.
    let uncounted = space(|space| (space.inodes, space.free_inodes) = (0, 0));
    assert_eq!(uncounted, []);
    let fixed = space(|space| space.read_only = true);
    assert_eq!(fixed, [(What::ReadOnly, Severity::Blocked)]);
}

#[test]
fn what_a_trial_shows_is_said() {
    let buffered = |facts: &mut Facts| facts.trial = passed(SegmentIo::DropBehind);
    assert_eq!(findings(buffered), [(What::BufferedIo, Severity::Slow)]);
    let changed = |change: fn(&mut bool, &mut bool)| {
        findings(|facts| {
            let Trial::Passed {
                allocates_ahead,
                punches_holes,
                ..
            } = &mut facts.trial
            else {
                unreachable!("a healthy trial passes");
            };
            change(allocates_ahead, punches_holes);
        })
    };
    let ahead = changed(|ahead, _| *ahead = false);
    assert_eq!(ahead, [(What::NoPreallocation, Severity::Note)]);
    let holes = changed(|_, holes| *holes = false);
    assert_eq!(holes, [(What::NoHoles, Severity::Note)]);
    for (kind, what) in [
        (Failure::Root, What::RootUnusable),
        (Failure::Full, What::DiskFull),
        (Failure::Corrupt, What::TrialFailed),
        (Failure::Call, What::CallRefused),
    ] {
        let said = "file: fallocate failed: Operation not permitted".to_owned();
        let found = findings(|facts| facts.trial = Trial::Failed { said, kind });
        assert_eq!(found, [(what, Severity::Blocked)]);
    }
}

#[test]
fn a_rotating_disk_is_noted_in_any_layer() {
    let found = findings(|facts| {
        facts.layers.push(layer("sda"));
        facts.layers[1].rotational = Some("1\n".into());
    });
    assert_eq!(found, [(What::Rotational, Severity::Note)]);
}

#[test]
fn what_cannot_be_read_is_said() {
    let unknown = [(What::Unknown, Severity::Note)];
    assert_eq!(findings(|facts| facts.space = None), unknown);
    assert_eq!(findings(|facts| facts.mount = None), unknown);
}

#[cfg(all(target_os = "linux", not(miri)))]
#[test]
fn this_disk_can_be_diagnosed_and_is_left_as_it_was() {
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    // What a dead process has left is not the diagnosis's to sweep.
    let dead = root.path().join("pager-1-0123456789abcdef");
    std::fs::create_dir(&dead).unwrap();
    let found = diagnose(root.path());
    let moved = |finding: &Finding| finding.what == What::IoMode;
    assert!(found.iter().any(moved), "{found:?}");
    let left = std::fs::read_dir(root.path()).unwrap();
    assert_eq!(left.count(), 1, "only the dead one's");
    assert!(dead.exists());

    let missing = root.path().join("made");
    diagnose(&missing);
    assert!(!missing.exists());
    let nowhere = diagnose(&missing.join("deeper"));
    assert!(nowhere.iter().any(|it| it.severity == Severity::Blocked));
    let device = diagnose("/dev/null".as_ref());
    assert!(
        device.iter().any(|it| it.what == What::RootUnusable),
        "{device:?}"
    );
}
