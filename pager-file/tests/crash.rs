//! `kill -9`: the next start removes what the dead have left, and nothing of the
//! living.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::*;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pager_file::FileMode;
use rstest::rstest;

const WORDS: usize = 1 << 20;

fn given_root() -> PathBuf {
    std::env::var_os("PAGER_TEST_ROOT").unwrap().into()
}

/// Another process on the same root that holds a payload, and the name of its
/// directory.
fn start_neighbour(test: &str, root: &Path, mode: FileMode) -> (Running, String) {
    Role::new(test, &format!("neighbour {mode}"))
        .env("PAGER_TEST_ROOT", root)
        .start()
}

/// Runs the process that a test has started: `neighbour` or `writer`, and a
/// mode.
fn play(role: &str) -> ! {
    let (part, mode) = role.split_once(' ').unwrap();
    let registry = registry(&given_root(), mode.parse().unwrap());
    let directory = registry.backend().directory().to_owned();
    let name = directory.file_name().unwrap().to_str().unwrap();
    let handle = registry.pageout(&mut [words(1, 5000)]).unwrap();
    say(name);
    if part == "neighbour" {
        wait_to_be_killed();
    }
    // Several threads, so that a kill finds one in the middle of a write.
    std::thread::scope(|scope| {
        for thread in 0..3_u64 {
            let registry = &registry;
            scope.spawn(move || {
                let mut held = std::collections::VecDeque::new();
                for round in 0.. {
                    let mut chunks = [words(thread, 10), words(round, WORDS)];
                    held.push_back(registry.pageout(&mut chunks).unwrap());
                    if held.len() > 4 {
                        held.pop_front();
                    }
                }
            });
        }
    });
    drop(handle);
    unreachable!("the threads write for ever")
}

#[rstest]
fn what_a_process_killed_in_mid_write_leaves_is_removed_and_no_more(
    #[values(FileMode::Seed, FileMode::Segments)] mode: FileMode,
) {
    if let Some(role) = role() {
        play(&role);
    }
    let test = std::thread::current().name().unwrap().to_owned();
    let scratch = scratch();
    let root = scratch.path();
    let (mut neighbour, living) = start_neighbour(&test, root, mode);
    for round in 0..3 {
        let (mut writer, dead) = Role::new(&test, &format!("writer {mode}"))
            .env("PAGER_TEST_ROOT", root)
            .start();
        std::thread::sleep(Duration::from_millis(150 + 37 * round));
        // While both live, nobody touches either.
        assert_eq!(open(root, mode).stats().reaped.directories, 0);
        writer.kill();
        assert!(names(root).contains(&dead));

        let reaped = open(root, mode).stats().reaped;

        assert_eq!((reaped.directories, reaped.live_directories), (1, 1));
        if mode == FileMode::Seed {
            assert!(reaped.files >= 1 && reaped.freed_bytes > 0, "{reaped:?}");
        }
        assert_eq!(names(root), [living.as_str()]);
    }
    if mode == FileMode::Seed {
        assert_eq!(names(&root.join(&living)).len(), 1);
    }
    neighbour.kill();
    assert_eq!(open(root, mode).stats().reaped.directories, 1);
    assert!(names(root).is_empty());
}

/// Kills hit every step between making a directory and removing it.
#[test]
fn processes_killed_while_they_open_and_close_leave_nothing() {
    let test = "processes_killed_while_they_open_and_close_leave_nothing";
    if let Some(role) = role() {
        if role != "opener" {
            play(&role);
        }
        let root = given_root();
        say("ready");
        loop {
            drop(registry(&root, FileMode::Seed).pageout(&mut [words(1, 10)]));
        }
    }
    let scratch = scratch();
    let root = scratch.path();
    let (_neighbour, living) = start_neighbour(test, root, FileMode::Seed);
    for round in 0..30 {
        let start = || {
            let role = Role::new(test, "opener").env("PAGER_TEST_ROOT", root);
            role.start().0
        };
        let mut openers = [start(), start()];
        std::thread::sleep(Duration::from_micros(500 + 331 * round));
        openers.iter_mut().for_each(Running::kill);
        drop(open(root, FileMode::Seed));
        assert_eq!(names(root), [living.as_str()], "round {round}");
    }
}

#[test]
fn a_forked_child_that_lives_on_keeps_the_directory_of_its_dead_parent() {
    let test = "a_forked_child_that_lives_on_keeps_the_directory_of_its_dead_parent";
    if role().is_some() {
        let registry = registry(&given_root(), FileMode::Seed);
        let _handle = registry.pageout(&mut [words(1, 10)]).unwrap();
        return in_forked_parent(
            || wait_to_be_killed(),
            |child| {
                say(child);
                wait_to_be_killed()
            },
        );
    }
    let scratch = scratch();
    let (mut parent, child) = Role::new(test, "parent")
        .env("PAGER_TEST_ROOT", scratch.path())
        .start();
    parent.kill();
    let backend = open(scratch.path(), FileMode::Seed);
    let reaped = backend.stats().reaped;
    assert_eq!((reaped.directories, reaped.live_directories), (0, 1));

    kill(Pid::from_raw(child.parse().unwrap()), Signal::SIGKILL).unwrap();

    eventually(|| backend.reap().unwrap().directories == 1);
    assert_eq!(names(scratch.path()).len(), 1);
}

#[test]
fn a_program_that_was_started_does_not_keep_the_directory() {
    let test = "a_program_that_was_started_does_not_keep_the_directory";
    if role().is_some() {
        let registry = registry(&given_root(), FileMode::Segments);
        let _handle = registry.pageout(&mut [words(1, 10)]).unwrap();
        let mut program = std::process::Command::new("sleep")
            .arg("60")
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        say(program.id());
        // Killed before that.
        program.wait().unwrap();
        return;
    }
    let scratch = scratch();
    let (mut parent, program) = Role::new(test, "parent")
        .env("PAGER_TEST_ROOT", scratch.path())
        .start();
    let program = Pid::from_raw(program.parse().unwrap());
    parent.kill();
    let backend = open(scratch.path(), FileMode::Segments);
    let reaped_at_once = backend.stats().reaped.directories;
    // A program is said to run a moment before the kernel has closed what it
    // must not inherit.
    eventually(|| reaped_at_once + backend.reap().unwrap().directories == 1);
    assert!(kill(program, None).is_ok(), "the program still runs");
    kill(program, Signal::SIGKILL).unwrap();
    assert_eq!(names(scratch.path()).len(), 1);
}

/// Forks; the child runs `child`, the parent `parent` with the child's id.
#[allow(unsafe_code, reason = "tests what a forked child keeps alive")]
fn in_forked_parent(child: impl FnOnce(), parent: impl FnOnce(Pid)) {
    // SAFETY: the child only sleeps and exits.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Child => child(),
        nix::unistd::ForkResult::Parent { child } => parent(child),
    }
}
