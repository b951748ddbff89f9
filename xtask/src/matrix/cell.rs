//! Runs one cell once: `merge` in a child under the cell's cap.
//!
//! Guarantees a record whatever happens to the child. Refuses to hide that a cell ran without the
//! cap or the swap that it was meant to have.

use super::extra::{Extra, ExtraRecord};
use super::job::Engine;
use super::plan::{Cell, Preset, name};
use super::record::{Outcome, Record};
use super::run;
use crate::cgroup::Cap;
use crate::child::{self, End};
use crate::size::Size;
use anyhow::Context;
use serde_json::{Map, Value};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The programs that a matrix runs.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) merge: PathBuf,
    pub(crate) ceiling: PathBuf,
    pub(crate) growth: PathBuf,
    pub(crate) sort: PathBuf,
    pub(crate) spill_sort: PathBuf,
}

impl Programs {
    /// All of them in one directory.
    pub(crate) fn find(
        mut find: impl FnMut(&str) -> anyhow::Result<PathBuf>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            merge: find("merge")?,
            ceiling: find("ceiling")?,
            growth: find("growth")?,
            sort: find("sort")?,
            spill_sort: find("spill_sort")?,
        })
    }

    /// The one that measures this.
    pub(crate) fn of(&self, extra: Extra) -> &Path {
        match extra {
            Extra::Growth(_) => &self.growth,
            Extra::Sort(job) if job.engine.backend().is_some() => &self.spill_sort,
            Extra::Sort(_) => &self.sort,
        }
    }
}

/// What all cells of a matrix share.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) programs: Programs,
    pub(crate) chain_gib: f64,
    pub(crate) scratch: PathBuf,
    pub(crate) verify: bool,
    pub(crate) timeout: Duration,
    pub(crate) has_swap: bool,
    /// Prefetch distance of all but the published strategies, which have none.
    pub(crate) lookahead: u32,
    /// Where DuckDB's module for Python is, if it is not where Python looks.
    pub(crate) duckdb: Option<PathBuf>,
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
        let ran = run::program(argv, &[], cap.as_ref(), self.timeout)?;
        record.outcome = ran.outcome;
        record.exit_code = ran.exit_code;
        record.error = ran.error;
        record.merge = ran.figures;
        Ok(())
    }

    /// A record of an extra that was not run.
    pub(crate) fn blank_extra(&self, extra: Extra, round: u32, why: &str) -> ExtraRecord {
        ExtraRecord {
            extra,
            round,
            uncapped: false,
            no_swap: extra.uses_swap() && !self.has_swap,
            outcome: Outcome::NotRun,
            exit_code: None,
            error: Some(why.to_owned()),
            figures: Map::new(),
        }
    }

    /// Runs what is measured beside the merge.
    pub(crate) fn run_extra(&self, extra: Extra, round: u32) -> ExtraRecord {
        let mut record = self.blank_extra(extra, round, "interrupted");
        let cap = extra
            .cap_bytes()
            .map(|bytes| Cap::new(Size::from_bytes(bytes)).ok());
        record.uncapped = matches!(cap, Some(None));
        let (argv, envs) = self.extra_argv(extra);
        match run::program(argv, &envs, cap.flatten().as_ref(), self.timeout) {
            Ok(ran) => {
                record.outcome = ran.outcome;
                record.exit_code = ran.exit_code;
                record.error = ran.error;
                record.figures = ran.figures;
            }
            Err(error) => {
                record.outcome = Outcome::Failed;
                record.error = Some(format!("{error:#}"));
            }
        }
        record
    }

    fn extra_argv(&self, extra: Extra) -> (Vec<OsString>, Vec<(&'static str, OsString)>) {
        let mut envs = Vec::new();
        let mut argv: Vec<OsString> = match extra {
            Extra::Growth(point) => {
                let mut argv = vec![self.programs.of(extra).into()];
                argv.extend(point.args());
                argv
            }
            Extra::Sort(job) => {
                let limit = format!("{}B", job.limit_bytes);
                let scale = job.scale.to_string();
                let mut argv: Vec<OsString> = match job.engine.backend() {
                    Some(backend) => {
                        let codec = if job.engine == Engine::PagerCodec {
                            "auto"
                        } else {
                            "off"
                        };
                        let options =
                            ["--backend", &name(&backend), "--codec", codec].map(OsString::from);
                        let mut argv = vec![self.programs.of(extra).into()];
                        argv.extend(options);
                        argv.extend(["--budget".into(), limit.into()]);
                        argv
                    }
                    None => {
                        let mut argv = vec![self.programs.of(extra).into()];
                        let engine = name(&job.engine);
                        argv.extend(["--engine", &engine, "--limit", &limit].map(OsString::from));
                        argv
                    }
                };
                argv.extend(["--scale".into(), scale.into()]);
                if let Some(duckdb) = &self.duckdb {
                    envs.push(("PYTHONPATH", duckdb.clone().into_os_string()));
                }
                argv
            }
        };
        argv.extend(["--scratch".into(), self.scratch.clone().into_os_string()]);
        argv.push("--json".into());
        (argv, envs)
    }

    fn argv(&self, cell: Cell) -> Vec<OsString> {
        let mut argv = vec![self.programs.merge.clone().into_os_string()];
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
    run::parse(&ran.stdout)?
        .get("ceiling_gib_s")
        .and_then(Value::as_f64)
        .context("no ceiling_gib_s in what ceiling printed")
}

#[cfg(test)]
mod tests {
    use super::super::extra::{Extra, Part, plan};
    use super::super::job::Engine;
    use super::super::plan::{Backend, Cell, Data, Preset};
    use super::super::record::Outcome;
    use super::super::suite::Suite;
    use super::{Bench, Programs, budget_bytes};
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
        let programs = Programs::find(|_| Ok(merge.clone())).unwrap();
        fs::write(&merge, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&merge, fs::Permissions::from_mode(0o700)).unwrap();
        Bench {
            programs,
            chain_gib: 0.125,
            scratch: "/var/tmp".into(),
            verify: true,
            timeout: Duration::from_secs(20),
            has_swap: false,
            lookahead: 4,
            duckdb: Some("/some/where".into()),
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
    fn each_extra_is_run_by_its_program_with_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let mut bench = bench(dir.path(), "");
        bench.programs = Programs::find(|name| Ok(name.into())).unwrap();
        let mut programs = Vec::new();
        for extra in plan(Suite::Quick, &Part::ALL, &Backend::ALL) {
            let (argv, envs) = bench.extra_argv(extra);
            let has = |word: &str| argv.iter().any(|a| a == word);
            assert!(has("--json") && has("--scratch"));
            if let Extra::Sort(job) = extra {
                let limit = if job.engine.backend().is_some() {
                    "--budget"
                } else {
                    "--limit"
                };
                let at = argv.iter().position(|a| a == limit).unwrap() + 1;
                assert_eq!(argv[at], "67108864B");
                assert_eq!(envs, [("PYTHONPATH", "/some/where".into())]);
                assert_eq!(has("auto"), job.engine == Engine::PagerCodec);
            }
            programs.push(argv[0].clone());
        }
        programs.dedup();
        assert_eq!(programs, ["spill_sort", "sort", "growth"]);
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
}
