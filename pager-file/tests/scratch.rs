//! The scratch directory's life: what root is accepted, who owns what, and that
//! a sweep removes the dead and only the dead.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use common::*;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use pager_core::{Backend, Error, Registry, ScratchProblem};
use pager_file::{FileBackend, FileConfig, FileMode, Reaped};
use rstest::rstest;

/// Names as this crate gives them, which nobody has locked. The first process
/// id is one that is surely alive.
const DEAD: &str = "pager-1-0123456789abcdef";
const DEAD_TOO: &str = "pager-4000000000-fedcba9876543210";
const DEAD_HIDDEN: &str = ".pager-1-00000000000000ff";

#[track_caller]
fn problem_of(root: impl AsRef<Path>) -> ScratchProblem {
    match FileBackend::open(FileConfig::new(root.as_ref())) {
        Err(Error::ScratchUnavailable { problem, .. }) => problem,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("it was accepted"),
    }
}

fn plant(root: &Path, name: &str) {
    let dir = root.join(name);
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("0000000000000000"), [1; 5000]).unwrap();
    fs::write(dir.join("0000000000000001"), [2; 100]).unwrap();
}

fn counts(reaped: Reaped) -> (u64, u64, u64, u64) {
    (
        reaped.directories,
        reaped.files,
        reaped.live_directories,
        reaped.failed_directories,
    )
}

// ---- the root -----------------------------------------------------------------

#[test]
fn a_root_that_is_missing_is_created_private() {
    let scratch = scratch();
    let root = scratch.path().join("new");
    let backend = open(&root, FileMode::Segments);
    assert_eq!(backend.scratch_root(), root);
    assert_eq!(mode_of(&root), 0o700);
    assert_eq!(backend.directory().parent(), Some(root.as_path()));
}

#[test]
fn a_root_whose_parent_is_missing_is_refused() {
    let scratch = scratch();
    assert_eq!(
        problem_of(scratch.path().join("a/b")),
        ScratchProblem::Missing
    );
    assert!(names(scratch.path()).is_empty());
}

#[test]
fn no_name_is_not_a_root() {
    assert_eq!(problem_of(""), ScratchProblem::NotConfigured);
}

#[test]
fn a_name_that_no_system_takes_is_an_error() {
    assert_eq!(problem_of("/var/tmp/a\0b"), ScratchProblem::Refused);
    assert_eq!(
        problem_of(format!("/var/tmp/{}", "x".repeat(300))),
        ScratchProblem::Refused
    );
}

#[test]
fn a_file_is_not_a_root() {
    let scratch = scratch();
    let file = scratch.path().join("file");
    fs::write(&file, "").unwrap();
    assert_eq!(problem_of(&file), ScratchProblem::NotADirectory);
    assert_eq!(problem_of(file.join("x")), ScratchProblem::NotADirectory);
}

#[test]
fn a_symbolic_link_is_not_a_root_however_it_is_written() {
    let scratch = scratch();
    let link = scratch.path().join("link");
    fs::create_dir(scratch.path().join("target")).unwrap();
    symlink("target", &link).unwrap();
    for path in [link.clone(), link.join(""), link.join(".")] {
        assert_eq!(problem_of(&path), ScratchProblem::SymbolicLink, "{path:?}");
    }
    let dangling = scratch.path().join("dangling");
    symlink("nowhere", &dangling).unwrap();
    assert_eq!(problem_of(&dangling), ScratchProblem::SymbolicLink);
    assert!(names(&scratch.path().join("target")).is_empty());
}

#[test]
#[cfg(target_os = "linux")]
fn tmpfs_is_refused_unless_it_is_allowed() {
    let Ok(scratch) = tempfile::tempdir_in("/dev/shm") else {
        return skip("no /dev/shm");
    };
    assert_eq!(problem_of(scratch.path()), ScratchProblem::InMemory);
    for mode in [FileMode::Segments, FileMode::Seed] {
        let config = FileConfig::new(scratch.path())
            .mode(mode)
            .allow_memory_fs(true);
        let registry = Registry::new(FileBackend::open(config).unwrap());
        let handle = registry.pageout(&mut [words(1, 5000)]).unwrap();
        let mut back = Vec::new();
        registry.take(handle, &mut back).unwrap();
        assert_eq!(back, words(1, 5000));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn ramfs_is_refused() {
    let scratch = scratch();
    let none = None::<&str>;
    if mount(none, scratch.path(), Some("ramfs"), MsFlags::empty(), none).is_err() {
        return skip("ramfs cannot be mounted here");
    }
    let problem = problem_of(scratch.path());
    umount2(scratch.path(), MntFlags::MNT_DETACH).unwrap();
    assert_eq!(problem, ScratchProblem::InMemory);
}

/// The volume of a container is 0777, with a set-group-id bit for a file system group; a
/// directory made under umask 002 is open to the user's own group.
#[rstest]
fn a_root_may_be_open_to_others_and_what_is_ours_in_it_is_not(
    #[values(0o777, 0o2777, 0o775, 0o770, 0o702, 0o1777, 0o1770, 0o755, 0o700)] mode: u32,
    #[values(FileMode::Seed, FileMode::Segments)] file_mode: FileMode,
) {
    let scratch = scratch();
    fs::set_permissions(scratch.path(), Permissions::from_mode(mode)).unwrap();
    let registry = Registry::new(open(scratch.path(), file_mode));
    let handle = registry.pageout(&mut [words(1, 5000)]).unwrap();
    let directory = registry.backend().directory().to_path_buf();
    let metadata = fs::metadata(&directory).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o700);
    let mut back = Vec::new();
    registry.take(handle, &mut back).unwrap();
    assert_eq!(back, words(1, 5000));
    drop(registry);
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn a_root_of_another_user_serves_whoever_may_write_to_it_and_nobody_else() {
    const NAME: &str = "a_root_of_another_user_serves_whoever_may_write_to_it_and_nobody_else";
    if role().is_some() {
        let root = std::env::var("PAGER_TEST_ROOT").unwrap();
        let open_root = std::env::var("PAGER_TEST_OPEN_ROOT").unwrap();
        assert_eq!(problem_of(root), ScratchProblem::NotWritable);
        drop(open(Path::new(&open_root), FileMode::Segments));
        return;
    }
    if !is_root() {
        return skip("not root");
    }
    // Of another user, as that of root is in a user namespace without a mapping for it.
    let others = scratch();
    chown(others.path(), Some(NOBODY), None).unwrap();
    drop(open(others.path(), FileMode::Segments));
    // The other way round: a root that the user may not even open, and one that is open.
    let own = scratch();
    fs::set_permissions(own.path(), Permissions::from_mode(0o700)).unwrap();
    let open_root = scratch();
    fs::set_permissions(open_root.path(), Permissions::from_mode(0o777)).unwrap();
    Role::new(NAME, "stranger")
        .env("PAGER_TEST_ROOT", own.path())
        .env("PAGER_TEST_OPEN_ROOT", open_root.path())
        .unprivileged()
        .run();
}

/// There, whoever is not mapped owns the default root.
#[test]
fn a_user_namespace_in_which_the_root_is_nobodys_serves() {
    const NAME: &str = "a_user_namespace_in_which_the_root_is_nobodys_serves";
    let map = ["--user", "--map-current-user"];
    if role().is_some() {
        use std::os::unix::fs::MetadataExt;

        let root = std::env::var("PAGER_TEST_ROOT").unwrap();
        let owner = fs::metadata(&root).unwrap().uid();
        assert_ne!(owner, nix::unistd::geteuid().as_raw());
        for mode in [FileMode::Segments, FileMode::Seed] {
            let registry = registry(Path::new(&root), mode);
            let handle = registry.pageout(&mut [words(1, 5000)]).unwrap();
            let mut back = Vec::new();
            registry.take(handle, &mut back).unwrap();
            assert_eq!(back, words(1, 5000));
        }
        return;
    }
    if !is_root() {
        return skip("not root");
    }
    let tried = std::process::Command::new("unshare")
        .args(map)
        .arg("true")
        .status();
    if !tried.is_ok_and(|status| status.success()) {
        return skip("no unshare, or no user namespaces");
    }
    let scratch = scratch();
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o1777)).unwrap();
    Role::new(NAME, "user")
        .env("PAGER_TEST_ROOT", scratch.path())
        .through("unshare", &map)
        // Nobody's number is what an unmapped owner is shown as.
        .user(NOBODY - 1)
        .run();
    assert!(names(scratch.path()).is_empty());
}

/// A drop-box: files may be made in it, and nobody may look.
#[test]
fn a_root_that_cannot_be_listed_serves_and_is_not_swept() {
    const NAME: &str = "a_root_that_cannot_be_listed_serves_and_is_not_swept";
    if role().is_some() {
        let root = std::env::var("PAGER_TEST_ROOT").unwrap();
        for mode in [FileMode::Segments, FileMode::Seed] {
            let registry = registry(Path::new(&root), mode);
            assert!(registry.backend().stats().reaped.unfinished);
            let handle = registry.pageout(&mut [words(1, 5000)]).unwrap();
            let mut back = Vec::new();
            registry.take(handle, &mut back).unwrap();
            assert_eq!(back, words(1, 5000));
        }
        return;
    }
    if !is_root() {
        return skip("not root");
    }
    let scratch = scratch();
    for mode in [0o1733, 0o733] {
        fs::set_permissions(scratch.path(), Permissions::from_mode(mode)).unwrap();
        Role::new(NAME, "user")
            .env("PAGER_TEST_ROOT", scratch.path())
            .unprivileged()
            .run();
        assert!(names(scratch.path()).is_empty(), "{mode:o}");
    }
}

#[test]
fn a_sweep_of_an_open_root_empties_no_directory_that_does_not_hold_our_mark() {
    let scratch = scratch();
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o777)).unwrap();
    // What a stranger can do: give another directory of ours our kind of name.
    let backend = open(scratch.path(), FileMode::Segments);
    let name = backend.directory().file_name().unwrap().to_owned();
    drop(backend);
    let precious = scratch.path().join(&name);
    fs::create_dir(&precious).unwrap();
    fs::set_permissions(&precious, Permissions::from_mode(0o700)).unwrap();
    fs::write(precious.join("precious"), b"not a scratch file").unwrap();
    let backend = open(scratch.path(), FileMode::Segments);
    backend.reap().unwrap();
    drop(backend);
    assert!(precious.join("precious").exists());
}

#[test]
fn a_root_that_cannot_be_written_to_is_refused() {
    if role().is_some() {
        let root = std::env::var("PAGER_TEST_ROOT").unwrap();
        assert_eq!(problem_of(&root), ScratchProblem::NotWritable);
        return assert_eq!(
            problem_of(format!("{root}/new")),
            ScratchProblem::NotWritable
        );
    }
    let scratch = scratch();
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o555)).unwrap();
    Role::new("a_root_that_cannot_be_written_to_is_refused", "writer")
        .env("PAGER_TEST_ROOT", scratch.path())
        .unprivileged()
        .run();
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn the_administrators_sticky_root_serves_every_user() {
    if role().is_some() {
        let root = std::env::var("PAGER_TEST_ROOT").unwrap();
        let backend = open(Path::new(&root), FileMode::Seed);
        // Neither the neighbour's living nor anybody's dead is touched.
        return assert_eq!(counts(backend.stats().reaped), (0, 0, 0, 0));
    }
    if !is_root() {
        return skip("not root");
    }
    let scratch = scratch();
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o1777)).unwrap();
    let living = registry(scratch.path(), FileMode::Seed);
    let handle = living.pageout(&mut [words(1, 9)]).unwrap();
    plant(scratch.path(), DEAD);
    Role::new("the_administrators_sticky_root_serves_every_user", "user")
        .env("PAGER_TEST_ROOT", scratch.path())
        .unprivileged()
        .run();
    // And what strangers plant under our kind of name, the administrator leaves.
    chown(scratch.path().join(DEAD), Some(NOBODY), None).unwrap();
    assert_eq!(counts(living.backend().reap().unwrap()), (0, 0, 1, 0));
    assert_eq!(names(&scratch.path().join(DEAD)).len(), 2);
    drop(handle);
}

#[test]
fn opening_works_once_the_reason_for_a_failure_is_gone() {
    let scratch = scratch();
    let root = scratch.path().join("root");
    fs::write(&root, "in the way").unwrap();
    assert_eq!(problem_of(&root), ScratchProblem::NotADirectory);
    fs::remove_file(&root).unwrap();
    open(&root, FileMode::Seed);
    open(&root, FileMode::Seed);
}

#[test]
fn the_environment_names_the_default_root() {
    if role().is_some() {
        let backend = FileBackend::open(FileConfig::from_env()).unwrap();
        return assert_eq!(
            backend.scratch_root(),
            Path::new(&std::env::var_os("PAGER_SCRATCH").unwrap())
        );
    }
    let scratch = scratch();
    Role::new("the_environment_names_the_default_root", "user")
        .env("PAGER_SCRATCH", scratch.path())
        .run();
    assert!(names(scratch.path()).is_empty());
}

// ---- the private directory -----------------------------------------------------

#[test]
fn directories_are_0700_and_files_0600_whatever_the_umask() {
    let test = "directories_are_0700_and_files_0600_whatever_the_umask";
    if let Some(umask) = role() {
        let root = std::env::var("PAGER_TEST_ROOT").unwrap();
        let umask = u32::from_str_radix(&umask, 8).unwrap();
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(umask));
        let registry = registry(Path::new(&root), FileMode::Seed);
        let handle = registry.pageout(&mut [words(1, 100)]).unwrap();
        let dir = registry.backend().directory().to_owned();
        assert_eq!(mode_of(&dir), 0o700);
        assert_eq!(mode_of(&dir.join(&names(&dir)[0])), 0o600);
        let mut back = Vec::new();
        registry.take(handle, &mut back).unwrap();
        return assert_eq!(back, words(1, 100));
    }
    for umask in ["0", "777", "277", "77"] {
        let scratch = scratch();
        if is_root() {
            chown(scratch.path(), Some(NOBODY), None).unwrap();
        }
        Role::new(test, umask)
            .env("PAGER_TEST_ROOT", scratch.path())
            .unprivileged()
            .run();
        assert!(names(scratch.path()).is_empty(), "umask {umask}");
    }
}

#[rstest]
fn dropping_the_backend_removes_its_directory(
    #[values(FileMode::Seed, FileMode::Segments)] mode: FileMode,
) {
    let scratch = scratch();
    let backend = open(scratch.path(), mode);
    assert_eq!(names(scratch.path()).len(), 1);
    // Whatever has got into it.
    fs::write(backend.directory().join("stray"), "x").unwrap();
    drop(backend);
    assert!(names(scratch.path()).is_empty());
}

#[rstest]
fn the_directory_lives_as_long_as_the_last_handle(
    #[values(FileMode::Seed, FileMode::Segments)] mode: FileMode,
) {
    let scratch = scratch();
    let registry = registry(scratch.path(), mode);
    let handle = registry.pageout(&mut [words(3, 1000)]).unwrap();
    drop(registry);
    assert_eq!(names(scratch.path()).len(), 1);
    let mut back = Vec::new();
    handle.take(&mut back).unwrap();
    assert_eq!(back, words(3, 1000));
    assert!(names(scratch.path()).is_empty());
}

#[test]
#[cfg(target_os = "linux")]
fn no_descriptor_survives_an_exec() {
    let scratch = scratch();
    let segments = registry(scratch.path(), FileMode::Segments);
    let seed = registry(scratch.path(), FileMode::Seed);
    let _handles = [
        segments.pageout(&mut [words(1, 1000)]).unwrap(),
        segments.pageout(&mut [words(2, 1000)]).unwrap(),
    ];
    let _more = seed.pageout(&mut [words(3, 1000)]).unwrap();
    let listed = std::process::Command::new("ls")
        .args(["-l", "/proc/self/fd/"])
        .output()
        .unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("->"), "{listed}");
    let ours = scratch.path().file_name().unwrap().to_str().unwrap();
    assert!(!listed.contains(ours), "{listed}");
}

#[test]
fn a_directory_that_is_removed_under_a_running_backend_is_a_typed_error() {
    let scratch = scratch();
    let registry = registry(scratch.path(), FileMode::Seed);
    let lost = registry.pageout(&mut [words(1, 10)]).unwrap();
    fs::remove_dir_all(registry.backend().directory()).unwrap();

    let mut chunks = [words(2, 10)];
    let error = registry.pageout(&mut chunks).unwrap_err();
    assert!(
        matches!(
            error,
            Error::ScratchUnavailable {
                problem: ScratchProblem::Missing,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(chunks, [words(2, 10)]);
    let failed = registry.take(lost, &mut Vec::new()).unwrap_err();
    assert!(matches!(
        failed.error(),
        Error::Io {
            operation: "open",
            ..
        }
    ));
    drop(failed);
    assert_eq!(registry.backend().usage().stored_bytes, 0);
}

#[test]
fn segments_go_on_without_their_directory_s_name() {
    let scratch = scratch();
    let registry = registry(scratch.path(), FileMode::Segments);
    let before = registry.pageout(&mut [words(1, 1000)]).unwrap();
    fs::remove_dir_all(registry.backend().directory()).unwrap();
    let mut back = Vec::new();
    registry.take(before, &mut back).unwrap();
    assert_eq!(back, words(1, 1000));
}

// ---- the sweep -----------------------------------------------------------------

#[test]
fn opening_removes_what_the_dead_have_left() {
    let scratch = scratch();
    plant(scratch.path(), DEAD);
    plant(scratch.path(), DEAD_TOO);
    fs::create_dir(scratch.path().join(DEAD_HIDDEN)).unwrap();

    let backend = open(scratch.path(), FileMode::Segments);

    let reaped = backend.stats().reaped;
    assert_eq!(counts(reaped), (3, 4, 0, 0));
    assert!(reaped.freed_bytes >= 2 * 8192, "{reaped:?}");
    assert_eq!(names(scratch.path()).len(), 1);
}

#[test]
fn a_long_lived_process_may_sweep_again() {
    let scratch = scratch();
    let backend = open(scratch.path(), FileMode::Seed);
    assert_eq!(counts(backend.reap().unwrap()), (0, 0, 1, 0));
    plant(scratch.path(), DEAD);
    assert_eq!(counts(backend.reap().unwrap()), (1, 2, 1, 0));
    assert_eq!(counts(backend.reap().unwrap()), (0, 0, 1, 0));
}

#[test]
fn the_living_are_left_alone_whatever_their_directory_is_called() {
    let scratch = scratch();
    let living = registry(scratch.path(), FileMode::Seed);
    let handle = living.pageout(&mut [words(5, 2000)]).unwrap();
    // A name that says process 1, and one that is hidden.
    let mut path = living.backend().directory().to_owned();
    for name in [DEAD, DEAD_TOO, DEAD_HIDDEN] {
        let renamed = scratch.path().join(name);
        fs::rename(&path, &renamed).unwrap();
        path = renamed;
        let other = open(scratch.path(), FileMode::Seed);
        assert_eq!(counts(other.stats().reaped), (0, 0, 1, 0));
    }
    let mut back = Vec::new();
    living.read_at(&handle, 0, 2000, &mut back).unwrap();
    assert_eq!(back, words(5, 2000));
    drop(handle);
    drop(living);
    // It could not find its name to remove it, and is dead now.
    assert_eq!(names(scratch.path()), [DEAD_HIDDEN]);
    eventually(|| {
        let reaped = open(scratch.path(), FileMode::Seed).stats().reaped;
        counts(reaped) == (1, 0, 0, 0)
    });
}

#[test]
fn what_is_not_ours_is_not_touched() {
    let scratch = scratch();
    let root = scratch.path();
    plant(root, "target");
    plant(root, "pager-1-not-ours");
    plant(root, "somebody");
    fs::write(root.join(DEAD), "a file with our kind of name").unwrap();
    symlink("target", root.join(DEAD_TOO)).unwrap();
    symlink("nowhere", root.join(DEAD_HIDDEN)).unwrap();
    let before = names(root);

    let backend = open(root, FileMode::Segments);
    assert_eq!(counts(backend.stats().reaped), (0, 0, 0, 0));
    drop(backend);

    assert_eq!(names(root), before);
    for dir in ["target", "pager-1-not-ours", "somebody"] {
        assert_eq!(names(&root.join(dir)).len(), 2, "{dir}");
    }
}

#[test]
fn links_in_a_dead_directory_are_removed_and_not_followed() {
    let scratch = scratch();
    let root = scratch.path();
    plant(root, "target");
    fs::create_dir(root.join(DEAD)).unwrap();
    symlink("../target", root.join(DEAD).join("to-a-directory")).unwrap();
    symlink(
        "../target/0000000000000000",
        root.join(DEAD).join("to-a-file"),
    )
    .unwrap();
    fs::hard_link(
        root.join("target/0000000000000001"),
        root.join(DEAD).join("hard"),
    )
    .unwrap();

    let reaped = open(root, FileMode::Seed).stats().reaped;

    assert_eq!(counts(reaped), (1, 3, 0, 0));
    assert_eq!(reaped.freed_bytes, 0, "the linked file still exists");
    assert_eq!(names(root), ["target"]);
    assert_eq!(names(&root.join("target")).len(), 2);
}

#[test]
fn a_dead_directory_that_cannot_be_removed_is_counted_and_tried_again() {
    let scratch = scratch();
    plant(scratch.path(), DEAD);
    let inner = scratch.path().join(DEAD).join("inner");
    fs::create_dir(&inner).unwrap();

    let backend = open(scratch.path(), FileMode::Seed);
    assert_eq!(counts(backend.stats().reaped), (0, 2, 0, 1));
    assert_eq!(counts(backend.reap().unwrap()), (0, 0, 1, 1));
    fs::remove_dir(inner).unwrap();
    assert_eq!(counts(backend.reap().unwrap()), (1, 0, 1, 0));
}

#[test]
fn many_who_open_and_sweep_at_once_never_hurt_each_other() {
    let scratch = scratch();
    let root = scratch.path();
    let living = registry(root, FileMode::Seed);
    let handle = living.pageout(&mut [words(9, 3000)]).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let living = &living;
            scope.spawn(move || {
                for round in 0..40 {
                    if thread == 0 {
                        // It may be swept before it has a file.
                        let dead = root.join(format!("pager-{round}-00000000000000aa"));
                        fs::create_dir(&dead).unwrap();
                        let _ = fs::write(dead.join("file"), "x");
                    }
                    let own = registry(root, FileMode::Seed);
                    let seed = thread << 32 | round;
                    let handle = own.pageout(&mut [words(seed, 50)]).unwrap();
                    living.backend().reap().unwrap();
                    let mut back = Vec::new();
                    own.take(handle, &mut back).unwrap();
                    assert_eq!(back, words(seed, 50));
                }
            });
        }
    });
    living.backend().reap().unwrap();
    assert_eq!(names(root).len(), 1, "{:?}", names(root));
    let mut back = Vec::new();
    living.take(handle, &mut back).unwrap();
    assert_eq!(back, words(9, 3000));
}

/// A service that was killed very often, or one directory with very many files.
#[rstest]
fn a_start_sweeps_for_a_moment_and_a_thread_goes_on(#[values(false, true)] in_one: bool) {
    let many: u32 = if in_one { 50_000 } else { 12_000 };
    let scratch = scratch();
    if in_one {
        let dead = scratch.path().join(DEAD);
        fs::create_dir(&dead).unwrap();
        (0..many).for_each(|number| fs::write(dead.join(format!("{number:016x}")), "").unwrap());
    } else {
        let dead = (0..many).map(|number| scratch.path().join(format!("pager-1-{number:016x}")));
        dead.for_each(|dead| fs::create_dir(dead).unwrap());
    }
    let before = std::time::Instant::now();
    let backend = open(scratch.path(), FileMode::Segments);
    let took = before.elapsed();
    println!("{took:?}, {:?}", backend.stats().reaped);
    // A quarter of a second, and what a busy machine adds.
    assert!(took < std::time::Duration::from_secs(2), "{took:?}");
    eventually(|| !backend.stats().reaped.unfinished);
    let reaped = backend.stats().reaped;
    assert_eq!(reaped.failed_directories, 0);
    match in_one {
        true => assert_eq!((reaped.directories, reaped.files), (1, many.into())),
        false => assert_eq!((reaped.directories, reaped.files), (many.into(), 0)),
    }
    assert_eq!(names(scratch.path()).len(), 1);
}

#[test]
fn a_sweep_by_hand_takes_the_place_of_the_thread_and_comes_to_its_end() {
    const MANY: u64 = 12_000;
    let scratch = scratch();
    let dead = (0..MANY).map(|number| scratch.path().join(format!("pager-1-{number:016x}")));
    dead.for_each(|dead| fs::create_dir(dead).unwrap());
    let backend = open(scratch.path(), FileMode::Segments);
    let by_hand = backend.reap().unwrap();
    assert!(!by_hand.unfinished && !backend.stats().reaped.unfinished);
    let all = by_hand.directories + backend.stats().reaped.directories;
    assert_eq!(all, MANY, "each of them by one of the two");
    assert_eq!(names(scratch.path()).len(), 1);
}

#[test]
fn what_one_start_does_not_sweep_the_next_ones_do() {
    let scratch = scratch();
    for number in 0..12_000 {
        fs::create_dir(scratch.path().join(format!("pager-1-{number:016x}"))).unwrap();
    }
    let mut starts = 0;
    loop {
        starts += 1;
        // Its thread ends with it.
        drop(open(scratch.path(), FileMode::Segments));
        if names(scratch.path()).is_empty() {
            break println!("{starts} starts");
        }
        assert!(starts < 1000, "each must have swept some");
    }
}

// ---- forked children -----------------------------------------------------------

#[rstest]
fn a_forked_child_that_drops_everything_takes_nothing_from_its_parent(
    #[values(FileMode::Seed, FileMode::Segments)] mode: FileMode,
) {
    let scratch = scratch();
    let registry = registry(scratch.path(), mode);
    let handle = registry.pageout(&mut [words(7, 5000)]).unwrap();
    let mut held = Some((registry, handle));
    let status = in_forked_child(|| {
        drop(held.take());
        true
    });
    assert_eq!(status, 0);
    let (registry, handle) = held.unwrap();
    // The lock is still the parent's: nobody could sweep it.
    assert_eq!(counts(registry.backend().reap().unwrap()), (0, 0, 1, 0));
    let mut back = Vec::new();
    registry.take(handle, &mut back).unwrap();
    assert_eq!(back, words(7, 5000));
    drop(registry);
    assert!(names(scratch.path()).is_empty());
}

#[rstest]
fn a_forked_child_is_refused_its_parents_backend_and_may_open_its_own(
    #[values(FileMode::Seed, FileMode::Segments)] mode: FileMode,
) {
    let scratch = scratch();
    let registry = registry(scratch.path(), mode);
    let handle = registry.pageout(&mut [words(7, 5000)]).unwrap();
    let status = in_forked_child(|| {
        let backend = registry.backend();
        let refused = matches!(backend.reap(), Err(Error::ForeignProcess))
            && matches!(backend.trim(), Err(Error::ForeignProcess))
            && matches!(
                backend.page_out(&mut pager_core::Payload::new(&mut [vec![1_u64]])),
                Err(Error::ForeignProcess)
            );
        let own = self::registry(scratch.path(), mode);
        let mut back = Vec::new();
        own.pageout(&mut [words(8, 10)])
            .unwrap()
            .take(&mut back)
            .unwrap();
        refused && back == words(8, 10) && counts(own.backend().stats().reaped) == (0, 0, 1, 0)
    });
    assert_eq!(status, 0);
    let mut back = Vec::new();
    registry.take(handle, &mut back).unwrap();
    assert_eq!(back, words(7, 5000));
}

#[rstest]
fn what_a_forked_child_frees_stays_in_its_parents_file(
    #[values(FileMode::Seed, FileMode::Segments)] mode: FileMode,
) {
    let scratch = scratch();
    // Without slack, whatever is freed is given back to the file system.
    let config = FileConfig::new(scratch.path()).mode(mode).slack_bytes(0);
    let backend = FileBackend::open(config).unwrap();
    let expected = words(7, 300_000);
    let mut chunks = [expected.clone()];
    let payload = &mut pager_core::Payload::new(&mut chunks);
    let mut slot = Some(backend.page_out(payload).unwrap());
    let status = in_forked_child(|| {
        backend.free(slot.take().unwrap());
        // A thread would need a moment to punch holes.
        std::thread::sleep(std::time::Duration::from_millis(50));
        true
    });
    assert_eq!(status, 0);
    let mut spare = vec![std::mem::MaybeUninit::uninit(); expected.len() * 8];
    let mut window = pager_core::Window::new(&mut spare);
    let (slot, all) = (slot.unwrap(), 0..expected.len() * 8);
    backend
        .read(&slot, std::slice::from_ref(&all), &mut window)
        .unwrap();
    assert!(window.last_filled(expected.len() * 8) == bytemuck::cast_slice::<_, u8>(&expected));
    backend.free(slot);
    assert_eq!(backend.usage().stored_bytes, 0);
}
