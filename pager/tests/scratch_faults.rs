//! What happens to the scratch directory of a running process: it is removed,
//! made read-only, exchanged for a symbolic link; or its disk is full. Both file
//! modes, with and without a budget: typed errors or success, no word lost that
//! is still somewhere, and work goes on when the trouble is over.

#![cfg(all(target_os = "linux", feature = "swap", feature = "file"))]
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

#[path = "common/disk.rs"]
mod disk;
#[path = "common/kept.rs"]
mod kept;
#[path = "common/process.rs"]
mod process;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use disk::SmallDisk;
use kept::{Kept, assert_nothing_is_left};
use pager::{BackendKind, Error, Pager, Preset, ScratchProblem};
use process::{NOBODY, Role, eventually, is_root, role, skip};
use rstest::rstest;
use tempfile::TempDir;

const LENS: [usize; 4] = [1, 513, 9_000, 40_001];

fn scratch() -> TempDir {
    tempfile::tempdir_in("/var/tmp").unwrap()
}

fn build(root: &Path, preset: Preset, budget_bytes: usize) -> Pager {
    let settings = Pager::builder().preset(preset).budget_bytes(budget_bytes);
    settings.scratch_dir(root).build().unwrap()
}

fn keep(pager: &Pager, kind: BackendKind, seed: u64) -> Vec<Kept> {
    let kept = LENS.iter().map(|len| Kept::new(pager, kind, seed, *len));
    kept.collect::<Result<_, _>>().unwrap()
}

#[track_caller]
fn take_all(kept: Vec<Kept>) {
    for one in kept {
        one.read().unwrap();
        one.take().map_err(|failed| failed.0).unwrap();
    }
}

/// What is in a directory.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

fn is_missing(error: &Error) -> bool {
    matches!(
        error,
        Error::ScratchUnavailable {
            problem: ScratchProblem::Missing,
            ..
        }
    )
}

#[rstest]
fn a_removed_directory_costs_no_more_than_the_files_in_it(
    #[values(Preset::Fast, Preset::Seed)] preset: Preset,
    #[values(0, 1 << 20)] budget_bytes: usize,
) {
    let root = scratch();
    let pager = build(root.path(), preset, budget_bytes);
    let swapped = keep(&pager, BackendKind::Swap, 1);
    let stored = keep(&pager, BackendKind::File, 2);
    pager.flush().unwrap();
    // Under a budget these are still in memory when the directory goes.
    let late = (budget_bytes > 0).then(|| keep(&pager, BackendKind::File, 3));

    fs::remove_dir_all(pager.scratch_dir().unwrap()).unwrap();

    take_all(late.unwrap_or_default());
    take_all(swapped);
    if preset == Preset::Fast {
        // The file has no name to lose.
        take_all(stored);
        take_all(keep(&pager, BackendKind::File, 4));
    } else {
        for one in stored {
            let error = one.read().unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::Io {
                        operation: "open",
                        ..
                    }
                ),
                "{error}"
            );
            let (error, _) = *one.take().unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::Io {
                        operation: "open",
                        ..
                    }
                ),
                "{error}"
            );
        }
        let kept = Kept::new(&pager, BackendKind::File, 5, 513).and_then(|one| {
            // Accepted by the budget: what cannot be stored stays in memory.
            let stored = pager.flush();
            one.read().unwrap();
            one.take().map_err(|failed| failed.0).unwrap();
            stored
        });
        assert!(kept.is_err_and(|error| is_missing(&error)));
    }
    // The same root again makes a directory again.
    pager.set_scratch_dir(root.path()).unwrap();
    assert!(pager.scratch_dir().unwrap().is_dir());
    let again = keep(&pager, BackendKind::File, 6);
    pager.flush().unwrap();
    take_all(again);
    assert_nothing_is_left(&pager);
    pager.shutdown().unwrap();
    drop(pager);
    assert_eq!(names(root.path()), [""; 0]);
}

#[rstest]
fn a_directory_made_read_only_is_an_error_until_it_is_writable_again(
    #[values(Preset::Fast, Preset::Seed)] preset: Preset,
    #[values(0, 1 << 20)] budget_bytes: usize,
) {
    // Root may write everywhere: a child does it who may not.
    if role().is_some() {
        let root = std::env::var("PAGER_TEST_ROOT").unwrap();
        return use_while_read_only(root.as_ref(), preset, budget_bytes);
    }
    let root = scratch();
    if is_root() {
        chown(root.path(), Some(NOBODY), None).unwrap();
    }
    let test = std::thread::current().name().unwrap().to_owned();
    Role::new(&test, "user")
        .env("PAGER_TEST_ROOT", root.path())
        .unprivileged()
        .run();
    assert_eq!(names(root.path()), [""; 0]);
}

fn use_while_read_only(root: &Path, preset: Preset, budget_bytes: usize) {
    let pager = build(root, preset, budget_bytes);
    let directory = pager.scratch_dir().unwrap();
    let before = keep(&pager, BackendKind::File, 1);
    pager.flush().unwrap();
    fs::set_permissions(&directory, Permissions::from_mode(0o500)).unwrap();

    before.iter().for_each(|one| one.read().unwrap());
    let meanwhile = Kept::new(&pager, BackendKind::File, 2, 9_000);
    let stored = pager.flush();
    match (preset, budget_bytes, &meanwhile) {
        // The segment is open.
        (Preset::Fast, ..) => assert!(meanwhile.is_ok() && stored.is_ok()),
        // It waits in memory, and the flush says why.
        (_, 1.., Ok(_)) => assert!(matches!(stored, Err(Error::Io { .. })), "{stored:?}"),
        (_, _, Err(error)) => assert!(matches!(error, Error::Io { .. }), "{error}"),
        (_, 0, Ok(_)) => panic!("a file in a directory that cannot be written to"),
    }
    let meanwhile: Vec<Kept> = meanwhile.into_iter().collect();
    meanwhile.iter().for_each(|one| one.read().unwrap());

    fs::set_permissions(&directory, Permissions::from_mode(0o700)).unwrap();
    pager.flush().unwrap();
    take_all(meanwhile);
    take_all(before);
    take_all(keep(&pager, BackendKind::File, 3));
    assert_nothing_is_left(&pager);
    pager.shutdown().unwrap();
}

#[rstest]
fn a_directory_exchanged_for_a_link_is_not_followed(
    #[values(Preset::Fast, Preset::Seed)] preset: Preset,
    #[values(0, 1 << 20)] budget_bytes: usize,
) {
    let (root, elsewhere) = (scratch(), scratch());
    for number in 0..4 {
        let name = format!("{number:016x}");
        fs::write(elsewhere.path().join(name), "somebody else's").unwrap();
    }
    let pager = build(root.path(), preset, budget_bytes);
    let directory = pager.scratch_dir().unwrap();
    let before = keep(&pager, BackendKind::File, 1);
    pager.flush().unwrap();
    let moved = root.path().join("moved");
    fs::rename(&directory, &moved).unwrap();
    symlink(elsewhere.path(), &directory).unwrap();

    let after = keep(&pager, BackendKind::File, 2);
    pager.flush().unwrap();
    take_all(before);
    take_all(after);
    assert_nothing_is_left(&pager);
    pager.shutdown().unwrap();
    drop(pager);
    // And the next start follows it no more than the end of this one.
    build(root.path(), preset, 0).shutdown().unwrap();

    assert_eq!(names(elsewhere.path()).len(), 4);
    for name in names(elsewhere.path()) {
        let content = fs::read(elsewhere.path().join(name)).unwrap();
        assert_eq!(content, b"somebody else's");
    }
    assert!(directory.is_symlink() && names(&moved).is_empty());
}

#[rstest]
fn a_root_exchanged_for_a_link_is_refused_by_the_next_start_only(
    #[values(Preset::Fast, Preset::Seed)] preset: Preset,
) {
    let (parent, elsewhere) = (scratch(), scratch());
    let root = parent.path().join("root");
    let pager = build(&root, preset, 1 << 20);
    let before = keep(&pager, BackendKind::File, 1);
    let moved = parent.path().join("moved");
    fs::rename(&root, &moved).unwrap();
    symlink(elsewhere.path(), &root).unwrap();

    pager.flush().unwrap();
    take_all(before);
    take_all(keep(&pager, BackendKind::File, 2));
    let next = Pager::builder().scratch_dir(&root).build().unwrap_err();
    assert!(
        matches!(
            next,
            Error::ScratchUnavailable {
                problem: ScratchProblem::SymbolicLink,
                ..
            }
        ),
        "{next}"
    );
    pager.shutdown().unwrap();
    drop(pager);
    assert!(names(&moved).is_empty() && names(elsewhere.path()).is_empty());
}

#[rstest]
fn a_disk_that_fills_up_under_a_budget_loses_nothing_and_writing_resumes(
    #[values(Preset::Fast, Preset::Seed)] preset: Preset,
    #[values(0, 4 << 20)] budget_bytes: usize,
) {
    let Some(disk) = SmallDisk::of_mib(24) else {
        return;
    };
    fs::create_dir(disk.root()).unwrap();
    let free_blocks = disk.free_blocks();
    let pager = build(&disk.root(), preset, budget_bytes);
    let mut kept = Vec::new();
    let error = loop {
        match Kept::new(&pager, BackendKind::File, kept.len() as u64, 1 << 17) {
            Ok(one) => kept.push(one),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::OutOfSpace { .. }), "{error}");
    assert!(kept.len() > 10, "{}", kept.len());
    if budget_bytes == 0 {
        // Under a budget, room for a payload of one backend may have to come from
        // the other one's.
        take_all(keep(&pager, BackendKind::Swap, 99));
    }
    // Room for one is room for the next; how soon, is the background's affair.
    for seed in 100..103 {
        take_all(kept.drain(..1).collect());
        eventually(|| {
            let one = Kept::new(&pager, BackendKind::File, seed, 1 << 16);
            one.is_ok_and(|one| one.take().is_ok())
        });
    }
    take_all(kept.split_off(kept.len() / 2));
    kept.extend(keep(&pager, BackendKind::File, 200));
    pager.flush().unwrap();
    assert!(!pager.residency().is_failing());
    take_all(kept);
    assert_nothing_is_left(&pager);
    pager.shutdown().unwrap();
    drop(pager);
    assert_eq!(names(&disk.root()), [""; 0]);
    eventually(|| disk.free_blocks() >= free_blocks);
}

#[test]
fn a_file_system_made_read_only_is_an_error_until_it_is_writable_again() {
    let Some(disk) = SmallDisk::new() else { return };
    // The seed mode keeps no file open, so the kernel lets us.
    let pager = build(&disk.root(), Preset::Seed, 1 << 20);
    let before = keep(&pager, BackendKind::File, 1);
    pager.flush().unwrap();
    if !disk::run("mount", &["-o", "remount,ro"], &[&disk.mount_point]) {
        return skip("the file system cannot be made read-only");
    }
    let meanwhile = keep(&pager, BackendKind::File, 2);
    let error = pager.flush().unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    before
        .iter()
        .chain(&meanwhile)
        .for_each(|one| one.read().unwrap());
    assert!(disk::run(
        "mount",
        &["-o", "remount,rw"],
        &[&disk.mount_point]
    ));
    pager.flush().unwrap();
    take_all(before);
    take_all(meanwhile);
    assert_nothing_is_left(&pager);
    pager.shutdown().unwrap();
    drop(pager);
    assert_eq!(names(&disk.root()), [""; 0]);
}
