//! This test binary run again as a process of its own, and forked children.
//!
//! Included by the tests of other crates too, so it knows no crate of ours.

#![allow(dead_code, reason = "every test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};

/// Set in a process that a test has started from its own binary.
const ROLE: &str = "PAGER_TEST_ROLE";

/// The user that root becomes where a test wants somebody without privileges.
pub(crate) const NOBODY: u32 = 65534;

pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Says why a test does not run here.
pub(crate) fn skip(why: &str) {
    println!("skipped: {why}");
}

/// What this process was started for, if by [`Role`].
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// The test `name` of this binary, run in a process of its own in which
/// [`role`] is `Some`.
pub(crate) struct Role(Command);

impl Role {
    pub(crate) fn new(name: &str, role: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([name, "--exact", "--nocapture", "--include-ignored"])
            .env(ROLE, role);
        Self(command)
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Run by another program, which is given this one as the end of its arguments.
    pub(crate) fn through(self, program: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(args).arg(self.0.get_program());
        command.args(self.0.get_args());
        for (name, value) in self.0.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        Self(command)
    }

    /// As somebody without privileges, where this process is root.
    pub(crate) fn unprivileged(self) -> Self {
        self.user(NOBODY)
    }

    /// As this user, where this process is root.
    pub(crate) fn user(mut self, user: u32) -> Self {
        if is_root() {
            self.0.uid(user).gid(user);
        }
        self
    }

    /// Runs it to its end; it must succeed. Returns what it printed.
    #[track_caller]
    pub(crate) fn run(mut self) -> String {
        let output = self.0.output().expect("this test binary must start");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && printed.contains("1 passed"),
            "the child failed ({:?}):\n{printed}\n{}",
            output.status.signal(),
            String::from_utf8_lossy(&output.stderr)
        );
        printed
    }

    /// Runs it to its end, and gives the signal that ended it.
    pub(crate) fn signal(mut self) -> Option<i32> {
        let output = self.0.output().expect("this test binary must start");
        output.status.signal()
    }

    /// Starts it and waits until it [says](say) something; returns that too.
    #[track_caller]
    pub(crate) fn start(self) -> (Running, String) {
        let mut running = self.spawn();
        let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
        let said = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split_once("said: ").map(|(_, said)| said.to_owned()))
            .expect("the child must say something");
        // Later output is drained, so that it never blocks the child.
        std::thread::spawn(move || lines.for_each(drop));
        (running, said)
    }

    /// Starts it, and waits for nothing.
    pub(crate) fn spawn(mut self) -> Running {
        let child = self.0.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        Running(child.expect("this test binary must start"))
    }
}

/// Tells the process that has [started](Role::start) this one.
pub(crate) fn say(what: impl std::fmt::Display) {
    println!("said: {what}");
}

/// A child that is killed when the test ends.
pub(crate) struct Running(Child);

impl Running {
    /// `kill -9`, and waits until it is gone. It must have run until then.
    #[track_caller]
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        let status = self.0.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "it had ended before: {status}");
    }

    /// Tells it to [come to its end](wait_to_be_told), which must be a good one.
    #[track_caller]
    pub(crate) fn finish(mut self) {
        drop(self.0.stdin.take());
        let status = self.0.wait().unwrap();
        assert!(status.success(), "the child failed: {status}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits up to ten seconds for something to become true.
///
/// A lock of a process that died, or of a backend that was dropped, may be
/// shared for a moment by a child that another test forks and that has not
/// called `exec` yet.
#[track_caller]
pub(crate) fn eventually(what: impl Fn() -> bool) {
    for _ in 0..6000 {
        if what() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("it did not become true within a minute");
}

/// Sleeps until somebody kills this process; ends by itself after a minute.
pub(crate) fn wait_to_be_killed() -> ! {
    std::thread::sleep(std::time::Duration::from_secs(60));
    std::process::exit(1)
}

/// Waits until whoever has [started](Role::start) this process tells it to
/// [finish](Running::finish), or has died.
pub(crate) fn wait_to_be_told() {
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
}

/// Runs `child` in a forked process and returns its exit status: 0 if it
/// returned true.
#[allow(unsafe_code, reason = "tests what a forked child may do")]
pub(crate) fn in_forked_child(child: impl FnOnce() -> bool) -> i32 {
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    // SAFETY: the child runs `child` and exits at once, without unwinding; the
    // C library makes allocation usable in a forked child.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let fine = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
            // SAFETY: ends the child without running the parent's destructors.
            unsafe { nix::libc::_exit(i32::from(!matches!(fine, Ok(true)))) }
        }
        ForkResult::Parent { child } => match waitpid(child, None).unwrap() {
            WaitStatus::Exited(_, status) => status,
            other => panic!("the child ended as {other:?}"),
        },
    }
}
