//! Waits for a child, and ends it when we are asked to stop or its time is up.
//!
//! Guarantees that the child is gone (reaped) when a wait returns, so that its cgroup and its swap
//! can be removed, and with it everything it started if it leads a process group: a test that
//! cargo runs would else outlive cargo. Refuses to wait for ever for a child that ignores SIGTERM.

use crate::interrupt;
use rustix::process::{Pid, Signal, getpgid, kill_process, kill_process_group};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How a child came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself (or by the kernel, for want of memory).
    Exited(ExitStatus),
    /// We were asked to stop, and ended it.
    Interrupted,
    /// It took longer than it may, and we ended it.
    TimedOut,
}

/// Often enough that a stop feels immediate, seldom enough to cost nothing.
const POLL: Duration = Duration::from_millis(10);
/// What a child gets to clean up after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// Waits until the child ends, we are interrupted, or `deadline` passes.
///
/// # Errors
/// When the child cannot be waited for.
pub(crate) fn wait(child: &mut Child, deadline: Option<Instant>) -> io::Result<End> {
    loop {
        if let Some(status) = child.try_wait()? {
            // A terminal sends Ctrl-C to the child as well, which may have ended first.
            return Ok(if interrupt::requested() {
                End::Interrupted
            } else {
                End::Exited(status)
            });
        }
        if interrupt::requested() {
            stop(child)?;
            return Ok(End::Interrupted);
        }
        if deadline.is_some_and(|at| Instant::now() >= at) {
            stop(child)?;
            return Ok(End::TimedOut);
        }
        thread::sleep(POLL);
    }
}

/// Runs a command to its end as [`wait`] does, and keeps what it says.
///
/// # Errors
/// When the command cannot be started or waited for.
pub(crate) fn output(command: &mut Command, deadline: Option<Instant>) -> io::Result<Output> {
    // Files, not pipes: nobody has to drain them while the child runs.
    let (stdout, stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let mut child = command
        // A group of its own, so that what it starts ends with it.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?)
        .spawn()?;
    let end = wait(&mut child, deadline)?;
    Ok(Output {
        end,
        stdout: read(stdout)?,
        stderr: read(stderr)?,
    })
}

/// What a child has said, and how it ended.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) end: End,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

fn read(mut file: File) -> io::Result<String> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `argv`, made to end with us: a kill of xtask leaves nobody who would take a child down. By a tool
/// of util-linux, since between fork and exec no code of ours may run; without it, a child that
/// outlives us runs to its end.
pub(crate) fn ends_with_us(argv: Vec<OsString>) -> Vec<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has_tool = std::env::split_paths(&path).any(|dir| dir.join("setpriv").is_file());
    if !has_tool {
        return argv;
    }
    let tool = ["setpriv", "--pdeathsig", "KILL", "--"].map(OsString::from);
    tool.into_iter().chain(argv).collect()
}

/// Asks the child to end, then makes it, and reaps it; likewise its process group, if it leads one.
fn stop(child: &mut Child) -> io::Result<()> {
    // Not reaped yet, so the id is still the child's. It may be dead, and that is fine.
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let group = pid.filter(|&pid| getpgid(Some(pid)).is_ok_and(|group| group == pid));
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::TERM);
    } else if let Some(pid) = pid {
        let _ = kill_process(pid, Signal::TERM);
    }
    let ended = end(child);
    if let Some(group) = group {
        // Members that did not heed the first signal. An id is not given away while a group has
        // it, and if none is left any more this finds nobody.
        let _ = kill_process_group(group, Signal::KILL);
    }
    ended
}

/// Waits for a child that was asked to end, and makes it if it takes too long.
fn end(child: &mut Child) -> io::Result<()> {
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        thread::sleep(POLL);
    }
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// The exit code that a shell would report: 128 + signal for a child that was killed.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 1,
    };
    // Exit codes of a Unix process are a byte; what is not one is a failure all the same.
    u8::try_from(code).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::{End, exit_code, wait};
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use std::time::{Duration, Instant};

    fn run(script: &str, timeout: Option<Duration>) -> End {
        let mut child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        wait(&mut child, timeout.map(|t| Instant::now() + t)).unwrap()
    }

    #[test]
    fn an_exit_code_and_a_signal_are_passed_on_as_a_shell_does() {
        for (script, code) in [("exit 7", 7), ("kill -KILL $$", 137), ("true", 0)] {
            let End::Exited(status) = run(script, None) else {
                panic!("{script} did not exit by itself");
            };
            assert_eq!(exit_code(status), code);
        }
    }

    #[test]
    fn a_child_that_takes_too_long_is_ended() {
        let start = Instant::now();
        assert_eq!(
            run("exec sleep 60", Some(Duration::from_millis(50))),
            End::TimedOut
        );
        assert!(start.elapsed() < Duration::from_secs(30));
    }
    #[test]
    fn what_the_leader_of_a_group_has_started_ends_with_it() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut command = Command::new("sh");
        // The grandchild ignores SIGTERM, and keeps the pipe open for as long as it lives.
        command.args(["-c", "(trap '' TERM; sleep 60; sleep 60) & wait"]);
        let mut child = command.process_group(0).stdout(writer).spawn().unwrap();
        drop(command);
        let start = Instant::now();
        let ended = wait(&mut child, Some(start + Duration::from_millis(200))).unwrap();
        assert_eq!(ended, End::TimedOut);
        std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
