//! `cargo xtask ci`: everything that a change must pass, in order, with a heading and a time each.
//!
//! Guarantees that a step which cannot run here says why, that all steps run even if one fails, and
//! that the exit code is zero only if none failed. Refuses to install anything: that is the
//! business of `.ci/run`.

mod adapters;
mod dependencies;
mod nightly;
mod packages;
mod steps;
mod tidy;

use crate::child::{self, End};
use crate::interrupt;
use anyhow::{Context, bail};
use pager_tool::print;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Check everything that CI checks.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave out `cargo test --workspace`, for a caller that has just run it.
    #[arg(long)]
    skip_tests: bool,
    /// Add what takes long: release tests with the ignored ones, tests of each feature
    /// combination, every schedule of what can race, minutes of fuzzing, all sanitizers, Miri on
    /// every test, the quick matrix.
    #[arg(long)]
    deep: bool,
    /// Only the steps whose names contain this, whichever they are.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["skip_tests", "deep"])]
    only: Option<String>,
}

/// What came of a step that did not fail.
#[derive(Debug, PartialEq, Eq)]
enum Done {
    Passed,
    Skipped(String),
}

type Step = (&'static str, fn() -> anyhow::Result<Done>);

/// Runs the steps and returns the exit code.
///
/// # Errors
/// When what is found cannot be printed.
pub(crate) fn run(args: &Args) -> anyhow::Result<u8> {
    let planned = plan(args);
    if planned.is_empty() {
        pager_tool::warn(format_args!("no step has such a name"));
        return Ok(2);
    }
    run_steps(&planned)
}

fn plan(args: &Args) -> Vec<Step> {
    let mut planned: Vec<Step> = steps::CHECKS.into();
    if !args.skip_tests {
        planned.extend(steps::TESTS);
    }
    planned.extend(steps::TRIALS);
    if args.deep || args.only.is_some() {
        planned.extend(steps::DEEP);
    }
    if let Some(text) = &args.only {
        planned.retain(|(name, _)| name.contains(&**text));
    }
    planned
}

fn run_steps(planned: &[Step]) -> anyhow::Result<u8> {
    let mut lines = Vec::new();
    let mut failed = 0;
    for (number, (name, step)) in planned.iter().enumerate() {
        let (number, all) = (number + 1, planned.len());
        print(format_args!("\n== {number}/{all} {name} =="))?;
        let start = Instant::now();
        let said = match step() {
            Ok(Done::Passed) => "ok".to_owned(),
            Ok(Done::Skipped(why)) => format!("skipped: {why}"),
            Err(error) => {
                failed += 1;
                format!("FAILED: {error:#}")
            }
        };
        let line = format!("{:>6.1} s  {name}: {said}", start.elapsed().as_secs_f64());
        print(&line)?;
        lines.push(line);
        if interrupt::requested() {
            return Ok(interrupt::EXIT_CODE);
        }
    }
    print(format_args!("\n== summary ==\n{}", lines.join("\n")))?;
    Ok(u8::from(failed > 0))
}

/// Runs a command to its end; it shares our output.
fn call(command: &mut Command) -> anyhow::Result<()> {
    let line = command_line(command);
    print(format_args!("$ {line}"))?;
    let mut child = command
        .stdin(Stdio::null())
        // A group of its own, so that what it starts ends with it.
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {line}"))?;
    // Longer than any step takes on a slow machine, shorter than a machine's patience.
    let deadline = Instant::now() + Duration::from_secs(90 * 60);
    match child::wait(&mut child, Some(deadline))? {
        End::Exited(status) if status.success() => Ok(()),
        End::Exited(status) => bail!("{line} ended with code {}", child::exit_code(status)),
        End::Interrupted => bail!("interrupted"),
        End::TimedOut => bail!("{line} took longer than 90 minutes"),
    }
}

/// Whether a command, whose output nobody wants, can be run and succeeds.
fn succeeds(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null());
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn command_line(command: &Command) -> String {
    let envs = command.get_envs().filter_map(|(name, value)| {
        let value = value?.display();
        Some(format!("{}='{value}'", name.display()))
    });
    let words = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.display().to_string());
    envs.chain(words).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{Args, Done, call, command_line, plan, run_steps};
    use std::process::Command;

    #[test]
    fn one_failed_step_fails_the_whole_and_a_skipped_one_does_not() {
        let skipped = ("b", (|| Ok(Done::Skipped("why".to_owned()))) as fn() -> _);
        let failed = ("c", (|| anyhow::bail!("broken")) as fn() -> _);
        assert_eq!(
            run_steps(&[("a", || Ok(Done::Passed)), skipped]).unwrap(),
            0
        );
        assert_eq!(run_steps(&[failed, skipped]).unwrap(), 1);
    }

    #[test]
    fn a_name_chooses_its_steps_and_no_other() {
        let chosen = |only: &str| {
            let args = Args {
                skip_tests: false,
                deep: false,
                only: Some(only.to_owned()),
            };
            let names = plan(&args).into_iter().map(|(name, _)| name);
            names.collect::<Vec<_>>()
        };
        assert_eq!(chosen("packages"), ["packages", "tests of the packages"]);
        assert_eq!(chosen("no such step"), [] as [&str; 0]);
    }

    #[test]
    fn a_failed_command_is_named_with_its_code() {
        let error = call(Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "sh -c exit 3 ended with code 3");
        assert!(call(&mut Command::new("no-such-command-of-pager")).is_err());
    }

    #[test]
    fn a_command_line_shows_its_environment() {
        let line = command_line(Command::new("cargo").arg("doc").env("FLAGS", "-D x"));
        assert_eq!(line, "FLAGS='-D x' cargo doc");
    }
}
