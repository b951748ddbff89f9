//! What is left in the scratch root when a process ends without dropping its pager:
//! nothing, if it ends by itself, however; an empty directory that the next start
//! removes, if it is killed.
//!
//! Each end is that of a child: this test binary, told by a variable which it is.

#![cfg(all(target_os = "linux", feature = "swap", feature = "file"))]
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

mod common;

use std::env;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use common::words;
use pager::{BackendKind, Handle, Pager, Preset};

const ROOT: &str = "PAGER_TEST_EXITS_ROOT";
const END: &str = "PAGER_TEST_EXITS_END";

fn build(preset: Preset) -> Pager {
    let root = env::var_os(ROOT).unwrap();
    Pager::builder()
        .backend(BackendKind::File)
        .preset(preset)
        .budget_bytes(0)
        .scratch_dir(PathBuf::from(root))
        .build()
        .unwrap()
}

/// Pages out through the process-wide functions, and leaves both pager and handle to
/// nobody.
fn use_the_process_wide_pager(preset: Preset) -> &'static Handle {
    pager::install(build(preset)).unwrap();
    let handle = pager::pageout(&mut [words(1, 10_000)]).unwrap();
    Box::leak(Box::new(handle))
}

/// Not a test of its own: what the children of the tests below do.
#[test]
fn the_child() {
    let Ok(end) = env::var(END) else {
        return;
    };
    match end.as_str() {
        "main returns" => drop(use_the_process_wide_pager(Preset::Fast)),
        "main returns, seed" => drop(use_the_process_wide_pager(Preset::Seed)),
        "exit" => {
            use_the_process_wide_pager(Preset::Fast);
            std::process::exit(7);
        }
        "exit on another thread, others at work" => {
            use_the_process_wide_pager(Preset::Seed);
            for seed in 0..2 {
                std::thread::spawn(move || {
                    loop {
                        // Whatever it says: the process is about to end.
                        let _ = pager::pageout(&mut [words(seed, 1000)]);
                    }
                });
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
            let exit = std::thread::spawn(|| std::process::exit(7));
            exit.join().unwrap();
        }
        "leaked pager" => {
            let pager = build(Preset::Fast);
            let handle = pager.pageout(&mut [words(1, 10_000)]).unwrap();
            std::mem::forget((pager, handle));
        }
        "leaked handle" => {
            let pager = build(Preset::Fast);
            std::mem::forget(pager.pageout(&mut [words(1, 10_000)]).unwrap());
        }
        "many leaked pagers" => {
            for _ in 0..70 {
                std::mem::forget(build(Preset::Fast));
            }
        }
        "panic" => {
            use_the_process_wide_pager(Preset::Fast);
            panic!("as asked");
        }
        "a forked child exits first" => fork_a_child_that_exits(),
        "abort" => {
            use_the_process_wide_pager(Preset::Fast);
            std::process::abort();
        }
        other => panic!("no end is called {other}"),
    }
}

/// The child's exit leaves alone what is its parent's; its own pager goes.
#[allow(unsafe_code, reason = "a test that forks")]
fn fork_a_child_that_exits() {
    use nix::sys::wait::waitpid;
    use nix::unistd::{ForkResult, fork};

    let handle = use_the_process_wide_pager(Preset::Seed);
    // SAFETY: the child opens a directory and exits, which take no lock that another
    // thread of this process could have.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            std::mem::forget(build(Preset::Fast));
            std::process::exit(0);
        }
        ForkResult::Parent { child } => {
            waitpid(child, None).unwrap();
        }
    }
    let root = env::var_os(ROOT).unwrap();
    assert_eq!(fs::read_dir(root).unwrap().count(), 1);
    let mut read = Vec::new();
    handle.read_at(0, 10_000, &mut read).unwrap();
    assert_eq!(read, words(1, 10_000));
}

fn run(end: &str, root: &Path) -> ExitStatus {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "the_child", "--nocapture", "--test-threads", "1"])
        .env(END, end)
        .env(ROOT, root)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("no end is called"), "{said}");
    output.status
}

fn left(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn assert_nothing_is_left(end: &str, code: i32) {
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let status = run(end, root.path());
    assert_eq!(status.code(), Some(code), "{end}: {status}");
    assert_eq!(left(root.path()), [] as [PathBuf; 0], "{end}");
}

#[test]
fn a_process_that_ends_by_itself_leaves_nothing_of_its_process_wide_pager() {
    assert_nothing_is_left("main returns", 0);
    assert_nothing_is_left("main returns, seed", 0);
    assert_nothing_is_left("exit", 7);
    assert_nothing_is_left("panic", 101);
}

#[test]
fn an_exit_while_others_page_out_leaves_at_most_what_they_made_meanwhile() {
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let end = "exit on another thread, others at work";
    assert_eq!(run(end, root.path()).code(), Some(7));
    // A file that was made after the last look keeps its directory; the next start
    // removes both.
    assert!(left(root.path()).len() <= 1);
    assert_eq!(run("exit", root.path()).code(), Some(7));
    assert_eq!(left(root.path()), [] as [PathBuf; 0]);
}

#[test]
fn a_process_that_leaks_pagers_and_handles_leaves_nothing() {
    assert_nothing_is_left("leaked pager", 0);
    assert_nothing_is_left("leaked handle", 0);
    assert_nothing_is_left("many leaked pagers", 0);
}

#[test]
fn a_forked_child_that_exits_takes_nothing_away_from_its_parent() {
    assert_nothing_is_left("a forked child exits first", 0);
}

#[test]
fn what_an_abort_leaves_goes_with_the_next_start() {
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let status = run("abort", root.path());
    assert_eq!(status.signal(), Some(nix::libc::SIGABRT), "{status}");
    assert_eq!(left(root.path()).len(), 1, "no code runs after an abort");
    assert_eq!(run("exit", root.path()).code(), Some(7));
    assert_eq!(left(root.path()), [] as [PathBuf; 0]);
}
