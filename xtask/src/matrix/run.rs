//! Runs one program to its end, under a memory cap.
//!
//! Guarantees that whatever becomes of it is told. Refuses to take what is no JSON for figures.

use super::record::Outcome;
use crate::cgroup::Cap;
use crate::child::{self, End};
use anyhow::Context;
use serde_json::{Map, Value};
use std::ffi::OsString;
use std::process::Command;
use std::time::{Duration, Instant};

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) outcome: Outcome,
    pub(crate) exit_code: Option<u8>,
    pub(crate) error: Option<String>,
    /// What it printed.
    pub(crate) figures: Map<String, Value>,
}

/// Runs it.
///
/// # Errors
/// When it cannot be started, or ended well and printed no figures.
pub(crate) fn program(
    argv: Vec<OsString>,
    envs: &[(&str, OsString)],
    cap: Option<&Cap>,
    timeout: Duration,
) -> anyhow::Result<Ran> {
    let name = argv[0].display().to_string();
    let argv = child::ends_with_us(argv);
    let mut command = match cap {
        Some(cap) => cap.command(&argv),
        None => {
            let mut command = Command::new(&argv[0]);
            command.args(&argv[1..]);
            command
        }
    };
    command.envs(envs.iter().cloned());
    let deadline = Instant::now().checked_add(timeout);
    let ran =
        child::output(&mut command, deadline).with_context(|| format!("cannot run {name}"))?;
    let mut end = Ran {
        outcome: Outcome::NotRun,
        exit_code: None,
        error: Some("interrupted".to_owned()),
        figures: Map::new(),
    };
    match ran.end {
        End::Interrupted => {}
        End::TimedOut => {
            end.outcome = Outcome::TimedOut;
            end.error = Some(format!("took longer than {} s", timeout.as_secs()));
        }
        End::Exited(status) => {
            let code = child::exit_code(status);
            end.exit_code = Some(code);
            if code == 0 {
                end.figures = parse(&ran.stdout)?;
                end.outcome = Outcome::Ok;
                end.error = None;
            } else if cap.is_some_and(|cap| cap.oom_kills() > 0) {
                end.outcome = Outcome::OutOfMemory;
                end.error = Some("killed by the memory cap".to_owned());
            } else {
                end.outcome = Outcome::Failed;
                end.error = Some(format!("exit code {code}: {}", ran.stderr.trim()));
            }
        }
    }
    Ok(end)
}

/// The last line that is a JSON object.
///
/// # Errors
/// When there is none.
pub(crate) fn parse(stdout: &str) -> anyhow::Result<Map<String, Value>> {
    stdout
        .lines()
        .rev()
        .find_map(|line| serde_json::from_str(line).ok())
        .context("no line of JSON was printed")
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_last_json_object_counts() {
        assert!(parse("").is_err());
        assert!(parse("[1]").is_err());
        assert_eq!(parse("hello\n{\"a\":1}\n{\"a\":2}\nbye").unwrap()["a"], 2);
    }
}
