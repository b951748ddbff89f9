//! Runs one cell once: `merge` in a child under the cell's cap.
//!
//! Guarantees a record whatever happens to the child. Refuses to hide that a cell ran without the
//! cap or the swap that it was meant to have.

use super::plan::{Cell, Preset, name};
use super::record::{Outcome, Record};
use crate::cgroup::Cap;
use crate::child::{self, End};
use crate::size::Size;
use anyhow::Context;
use serde_json::{Map, Value};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What all cells of a matrix share.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) merge: PathBuf,
    pub(crate) chain_gib: f64,
    pub(crate) scratch: PathBuf,
    pub(crate) verify: bool,
    pub(crate) timeout: Duration,
    pub(crate) has_swap: bool,
    /// Prefetch distance of all but the published strategies, which have none.
    pub(crate) lookahead: u32,
}

impl Bench {
    /// Bytes that the two chains hold.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive number of GiB, checked when the arguments were read"
    )]
    pub(crate) fn working_set_bytes(&self) -> u64 {
        (2.0 * self.chain_gib * (1u64 << 30) as f64) as u64
    }

    /// A record of a run that was none.
    pub(crate) fn blank(&self, cell: Cell, round: u32, why: &str) -> Record {
        Record {
            cell,
            round,
            cap_bytes: cell.cap.cap_bytes(self.working_set_bytes()),
            uncapped: false,
            no_swap: !cell.backend.uses_files() && !self.has_swap,
            outcome: Outcome::NotRun,
            exit_code: None,
            error: Some(why.to_owned()),
            merge: Map::new(),
        }
    }

    /// Runs the cell. An error of the machinery is a failed cell, too.
    pub(crate) fn run(&self, cell: Cell, round: u32) -> Record {
        let mut record = self.blank(cell, round, "interrupted");
        if let Err(error) = self.try_run(&mut record) {
            record.outcome = Outcome::Failed;
            record.error = Some(format!("{error:#}"));
        }
        record
    }

    fn try_run(&self, record: &mut Record) -> anyhow::Result<()> {
        let cap = match record.cap_bytes {
            None => None,
            Some(bytes) => Cap::new(Size::from_bytes(bytes)).ok(),
        };
        record.uncapped = record.cap_bytes.is_some() && cap.is_none();
        let mut argv = self.argv(record.cell);
        if let (true, Some(cap_bytes)) = (record.uncapped, record.cap_bytes) {
            // Then pager at least pages as it would under the cap.
            argv.extend([
                "--budget".into(),
                budget_bytes(cap_bytes).to_string().into(),
            ]);
        }
        let argv = child::ends_with_us(argv);
        let mut command = match &cap {
            Some(cap) => cap.command(&argv),
            None => {
                let mut command = Command::new(&argv[0]);
                command.args(&argv[1..]);
                command
            }
        };
        let deadline = Instant::now().checked_add(self.timeout);
        let ran = child::output(&mut command, deadline).context("cannot run merge")?;
        match ran.end {
            End::Interrupted => {}
            End::TimedOut => {
                record.outcome = Outcome::TimedOut;
                record.error = Some(format!("took longer than {} s", self.timeout.as_secs()));
            }
            End::Exited(status) => {
                let code = child::exit_code(status);
                record.exit_code = Some(code);
                if code == 0 {
                    record.merge = parse(&ran.stdout)?;
                    record.outcome = Outcome::Ok;
                    record.error = None;
                } else if cap.is_some_and(|cap| cap.oom_kills() > 0) {
                    record.outcome = Outcome::OutOfMemory;
                    record.error = Some("killed by the memory cap".to_owned());
                } else {
                    record.outcome = Outcome::Failed;
                    record.error = Some(format!("exit code {code}: {}", ran.stderr.trim()));
                }
            }
        }
        Ok(())
    }

    fn argv(&self, cell: Cell) -> Vec<OsString> {
        let mut argv = vec![self.merge.clone().into_os_string()];
        let mut option = |name: &str, value: &str| argv.extend([name.into(), value.into()]);
        option("--backend", &name(&cell.backend));
        let (preset, codec, lookahead) = match cell.preset {
            // The published strategies have no prefetch.
            Some(Preset::Seed) => ("seed", "off", 0),
            // What is not pager asks for no preset, and takes advice all the same.
            Some(Preset::Fast) | None => ("fast", "off", self.lookahead),
            Some(Preset::Codec) => ("fast", "auto", self.lookahead),
        };
        option("--preset", preset);
        option("--codec", codec);
        option("--chain-gib", &self.chain_gib.to_string());
        option("--threads", &cell.threads.to_string());
        option("--data", &name(&cell.data));
        option("--lookahead", &lookahead.to_string());
        argv.extend(["--scratch".into(), self.scratch.clone().into_os_string()]);
        argv.push("--json".into());
        if self.verify {
            argv.push("--verify".into());
        }
        argv
    }
}

/// What pager gives itself of so much memory: the rule of its default budget.
fn budget_bytes(memory_bytes: u64) -> u64 {
    const FLOOR_BYTES: u64 = 64 << 20;
    (memory_bytes / 8).max(FLOOR_BYTES.min(memory_bytes / 4))
}

/// The device's ceiling by the `ceiling` binary, in GiB/s.
///
/// # Errors
/// When it fails or prints no `ceiling_gib_s`.
pub(crate) fn ceiling(binary: &Path, scratch: &Path, gib: f64) -> anyhow::Result<f64> {
    let mut argv: Vec<OsString> = vec![binary.into()];
    argv.extend(["--json", "--gib", &gib.to_string(), "--scratch"].map(OsString::from));
    argv.push(scratch.into());
    let argv = child::ends_with_us(argv);
    let mut command = Command::new(&argv[0]);
    let ran = child::output(command.args(&argv[1..]), None).context("cannot run ceiling")?;
    match ran.end {
        End::Exited(status) if status.success() => {}
        End::Exited(_) => anyhow::bail!("{}", ran.stderr.trim()),
        End::Interrupted | End::TimedOut => anyhow::bail!("interrupted"),
    }
    parse(&ran.stdout)?
        .get("ceiling_gib_s")
        .and_then(Value::as_f64)
        .context("no ceiling_gib_s in what ceiling printed")
}

/// The last line that is a JSON object.
fn parse(stdout: &str) -> anyhow::Result<Map<String, Value>> {
    stdout
        .lines()
        .rev()
        .find_map(|line| serde_json::from_str(line).ok())
        .context("no line of JSON was printed")
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Backend, Cell, Data, Preset};
    use super::super::record::Outcome;
    use super::{Bench, budget_bytes, parse};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::time::Duration;

    fn cell(preset: Preset) -> Cell {
        Cell {
            data: Data::Lineitem,
            cap: "none".parse().unwrap(),
            threads: 2,
            backend: Backend::Swap,
            preset: Some(preset),
        }
    }

    /// A bench whose `merge` is a shell script.
    fn bench(dir: &Path, script: &str) -> Bench {
        let merge = dir.join("merge");
        fs::write(&merge, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&merge, fs::Permissions::from_mode(0o700)).unwrap();
        Bench {
            merge,
            chain_gib: 0.125,
            scratch: "/var/tmp".into(),
            verify: true,
            timeout: Duration::from_secs(20),
            has_swap: false,
            lookahead: 4,
        }
    }

    #[test]
    fn the_published_strategies_look_at_nothing_ahead() {
        let dir = tempfile::tempdir().unwrap();
        let bench = bench(dir.path(), "");
        for (preset, lookahead, codec) in [
            (Preset::Seed, "0", "off"),
            (Preset::Fast, "4", "off"),
            (Preset::Codec, "4", "auto"),
        ] {
            let argv = bench.argv(cell(preset));
            let after = |flag: &str| &argv[argv.iter().position(|a| a == flag).unwrap() + 1];
            assert_eq!(after("--lookahead"), lookahead);
            assert_eq!(after("--codec"), codec);
            assert!(argv.iter().any(|a| a == "--verify"));
        }
        assert_eq!(bench.working_set_bytes(), 256 << 20);
    }

    #[test]
    fn what_merge_prints_is_kept_and_a_failure_keeps_its_words_and_code() {
        let dir = tempfile::tempdir().unwrap();
        let good = bench(dir.path(), r#"echo '{"through_gib_s": 1.5}'"#).run(cell(Preset::Fast), 1);
        assert_eq!(good.outcome, Outcome::Ok);
        assert_eq!(good.number("through_gib_s"), Some(1.5));
        assert!(good.no_swap);
        let bad = bench(dir.path(), "echo no room >&2; exit 3").run(cell(Preset::Fast), 1);
        assert_eq!((bad.outcome, bad.exit_code), (Outcome::Failed, Some(3)));
        assert_eq!(bad.error.unwrap(), "exit code 3: no room");
        let silent = bench(dir.path(), "exit 0").run(cell(Preset::Fast), 1);
        assert_eq!(silent.outcome, Outcome::Failed);
    }

    #[test]
    fn a_cell_that_hangs_is_timed_out() {
        let dir = tempfile::tempdir().unwrap();
        let mut bench = bench(dir.path(), "exec sleep 60");
        bench.timeout = Duration::from_millis(50);
        assert_eq!(bench.run(cell(Preset::Seed), 1).outcome, Outcome::TimedOut);
    }

    #[test]
    fn the_budget_without_a_cap_is_the_one_that_the_cap_would_give() {
        assert_eq!(budget_bytes(1 << 30), 128 << 20);
        assert_eq!(budget_bytes(256 << 20), 64 << 20);
        assert_eq!(budget_bytes(64 << 20), 16 << 20);
    }

    #[test]
    fn the_last_json_object_counts() {
        assert!(parse("").is_err());
        assert!(parse("[1]").is_err());
        assert_eq!(parse("hello\n{\"a\":1}\n{\"a\":2}\nbye").unwrap()["a"], 2);
    }
}
