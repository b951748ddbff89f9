//! `with-memory` on a real machine: the cap is in force, the exit code is passed on, and nothing
//! stays behind. Needs root, a memory cgroup and util-linux; says `skipped: why` where it lacks.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are tests, which clippy does not see"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

const SWAP: &str = "64MiB";

/// One test at a time: a loop device that one gives back must not become the next one's before
/// it was seen to be free.
static ONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn xtask(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(args).stdin(Stdio::null());
    command
}

fn output(args: &[&str]) -> Output {
    xtask(args).output().unwrap()
}

/// Whether caps and, if asked, swap can be had; prints why not.
fn ready(with_swap: bool) -> bool {
    let uid = Command::new("id").arg("-u").output().unwrap().stdout;
    if uid != b"0\n" {
        println!("skipped: not root");
        return false;
    }
    let mut args = vec!["with-memory", "64MiB"];
    if with_swap {
        args.extend(["--swap", SWAP]);
    }
    args.extend(["--", "true"]);
    let trial = output(&args);
    if !trial.status.success() {
        println!("skipped: {}", String::from_utf8_lossy(&trial.stderr).trim());
    }
    trial.status.success()
}

/// The cgroup that a capped shell says it is in, and the limit that it reads there.
const TELL: &str = r#"
p=$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)
f=memory.limit_in_bytes; m=/sys/fs/cgroup/memory
if [ -z "$p" ]; then p=$(sed -n 's/^0:://p' /proc/self/cgroup); f=memory.max; m=/sys/fs/cgroup; fi
echo "$m$p"; cat "$m$p/$f"; echo "$XTASK_SWAP_DEVICE"
"#;

/// What a capped shell told: its cgroup, its limit, its swap device.
fn told(text: &str) -> (PathBuf, u64, PathBuf) {
    let mut lines = text.lines();
    let mut next = || lines.next().unwrap().to_owned();
    (next().into(), next().parse().unwrap(), next().into())
}

fn assert_clean(group: &Path, swap: Option<&Path>) {
    assert!(!group.exists(), "{} is left behind", group.display());
    if let Some(swap) = swap {
        let swaps = fs::read_to_string("/proc/swaps").unwrap();
        let device = format!("{} ", swap.display());
        assert!(!swaps.contains(&device), "{swaps}");
        let name = swap.file_name().unwrap();
        let backing = Path::new("/sys/block").join(name).join("loop/backing_file");
        assert!(!backing.exists(), "{} is still attached", swap.display());
    }
}

#[test]
fn the_cap_is_in_force_and_the_exit_code_is_passed_on() {
    let _alone = alone();
    if !ready(false) {
        return;
    }
    for code in [0, 7] {
        let script = format!("{TELL} exit {code}");
        let run = output(&["with-memory", "48MiB", "--", "sh", "-c", &script]);
        assert_eq!(run.status.code(), Some(code));
        let (group, limit, _) = told(&String::from_utf8(run.stdout).unwrap());
        assert_eq!(limit, 48 << 20);
        assert_clean(&group, None);
    }
}

#[test]
fn swap_is_there_for_the_command_and_gone_after_success_and_failure() {
    let _alone = alone();
    if !ready(true) {
        return;
    }
    for code in [0, 9] {
        let script = format!("{TELL} exit {code}");
        let args = [
            "with-memory",
            "48MiB",
            "--swap",
            SWAP,
            "--",
            "sh",
            "-c",
            &script,
        ];
        let run = output(&args);
        assert_eq!(run.status.code(), Some(code));
        let (group, _, swap) = told(&String::from_utf8(run.stdout).unwrap());
        assert!(swap.starts_with("/dev"), "{}", swap.display());
        assert_clean(&group, Some(&swap));
    }
}

#[test]
fn an_interrupted_command_leaves_neither_process_nor_cgroup_nor_swap() {
    let _alone = alone();
    if !ready(true) {
        return;
    }
    for signal in ["-INT", "-TERM"] {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        // A grandchild that ignores the signals has to go, too.
        let script =
            format!("({TELL}) > \"$0\"; trap '' INT TERM; sleep 60 & echo $! >> \"$0\"; wait");
        let args = [
            "with-memory",
            "48MiB",
            "--swap",
            SWAP,
            "--",
            "sh",
            "-c",
            &script,
        ];
        let mut child = xtask(&args).arg(&out).spawn().unwrap();
        let text = wait_for_lines(&out, 4);
        let (group, _, swap) = told(&text);
        let grandchild = text.lines().nth(3).unwrap();
        assert!(Path::new("/proc").join(grandchild).exists());
        let id = child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &id])
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert_clean(&group, Some(&swap));
        assert!(!Path::new("/proc").join(grandchild).join("exe").exists());
    }
}

#[test]
fn what_a_killed_task_has_left_is_taken_down_by_the_next_start() {
    let _alone = alone();
    if !ready(true) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let script = format!("({TELL}) > \"$0\"; sleep 60 & echo $! >> \"$0\"; wait");
    let args = ["with-memory", "48MiB", "--swap", SWAP, "--", "sh", "-c"];
    let mut child = xtask(&args).arg(&script).arg(&out).spawn().unwrap();
    let text = wait_for_lines(&out, 4);
    let (group, _, swap) = told(&text);
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-KILL", &id]).status();
    assert!(sent.unwrap().success());
    child.wait().unwrap();
    assert!(group.exists(), "a kill cannot be caught");
    let next = output(&["with-memory", "48MiB", "--swap", SWAP, "--", "true"]);
    assert!(next.status.success());
    assert_clean(&group, Some(&swap));
    let grandchild = text.lines().nth(3).unwrap();
    assert!(!Path::new("/proc").join(grandchild).join("exe").exists());
}

#[test]
fn a_command_that_needs_more_than_the_cap_is_killed_and_reported() {
    let _alone = alone();
    // With swap on the machine it would swap instead, which is what swap is for.
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    if !ready(false) || swaps.lines().count() > 1 {
        println!("skipped: no cap, or the machine has swap");
        return;
    }
    // `tail` keeps the last line in memory, and zeros have only one line.
    let script = "head -c 64M /dev/zero | tail -n 1 > /dev/null";
    let run = output(&["with-memory", "16MiB", "--", "sh", "-c", script]);
    if fs::read_to_string("/proc/swaps").unwrap().lines().count() > 1 {
        println!("skipped: swap appeared meanwhile");
        return;
    }
    assert!(String::from_utf8_lossy(&run.stderr).contains("the cap of 16MiB was hit"));
}

#[test]
fn nonsense_is_refused_before_anything_runs() {
    for args in [
        &["with-memory", "lots", "--", "true"][..],
        &["with-memory", "64MiB"],
        &["with-memory", "1KiB", "--", "true"],
        &["bench-matrix", "--cap", "2/3"],
        &["bench-matrix", "--threads", "0"],
    ] {
        let run = output(args);
        assert!(!run.status.success(), "{args:?}");
        assert!(!run.stderr.is_empty(), "{args:?}");
    }
}

fn wait_for_lines(path: &Path, count: usize) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        if text.lines().count() >= count && text.ends_with('\n') {
            return text;
        }
        assert!(Instant::now() < deadline, "only {text:?} after 30 s");
        thread::sleep(Duration::from_millis(20));
    }
}
