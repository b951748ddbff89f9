//! What a matrix is asked for.
//!
//! Guarantees that what is not said is what the suite says. Refuses sizes that no chain has.

use super::cell::{Bench, Programs};
use super::extra::{self, Extra, Part};
use super::host::Host;
use super::journal::Settings;
use super::plan::{self, Axes, Backend, Cell, Data, Preset, Share};
use super::suite::Suite;
use crate::cargo;
use crate::size::Size;
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Run the merge workload with pager and with its peers and report what decides between them.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// How much is measured: three minutes, half an hour, or all there is.
    #[arg(long, value_enum, default_value_t = Suite::Standard)]
    pub(super) suite: Suite,
    /// Where results.json, results.csv, report.md and report.html go [default: the UTC time below bench-out].
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Go on with the matrix in this directory: what has ended is not measured again.
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    pub(super) resume: Option<PathBuf>,
    /// Measure each cell so often, in interleaved rounds [default: 3; full: 5].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: Option<u32>,
    /// Say what has changed since the matrix of this results.json, beyond the noise.
    #[arg(long, value_name = "OLD.json")]
    pub(super) compare: Option<PathBuf>,
    /// Use the binaries in this directory, such as another version's, and build none.
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,
    /// Provision this much swap for the time of the matrix (root).
    #[arg(long, value_name = "SIZE")]
    pub(super) provision_swap: Option<Size>,
    /// Where the swap's backing file goes; not on a memory file system.
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    pub(super) swap_dir: PathBuf,
    /// Only these backends and peers.
    #[arg(long, value_delimiter = ',')]
    backend: Vec<Backend>,
    /// Only these presets.
    #[arg(long, value_delimiter = ',')]
    preset: Vec<Preset>,
    /// Only these thread counts [default: 1,4; quick: 1; full: 1,2,4,8,16].
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Vec<u32>,
    /// Only these caps, as shares of the working set [default: none,1/2,1/4; quick: none,1/4; full: down to 1/16].
    #[arg(long, value_delimiter = ',', value_name = "none|1/N")]
    cap: Vec<Share>,
    /// Only these parts of the suite.
    #[arg(long, value_delimiter = ',')]
    part: Vec<Part>,
    /// Where DuckDB's module for Python is, as `pip install --target DIR duckdb` leaves it.
    #[arg(long, value_name = "DIR")]
    duckdb: Option<PathBuf>,
    /// Little of what is beside the merge, and small: as long as it takes to see that it works.
    #[arg(skip)]
    small: bool,
    /// Only these kinds of data.
    #[arg(long, value_delimiter = ',')]
    data: Vec<Data>,
    /// Size of each of the two chains in GiB [default: 0.375; quick: 0.125; full: 2].
    #[arg(long, value_name = "F")]
    chain_gib: Option<f64>,
    /// Prefetch distance of all but the published strategies, in pairs of chunks.
    #[arg(long, value_name = "N", default_value_t = 4)]
    lookahead: u32,
    /// Where scratch files go.
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    pub(super) scratch: PathBuf,
    /// Have every cell read its output back and compare it.
    #[arg(long)]
    verify: bool,
    /// The longest a cell may take, in seconds [default: 180; quick: 20; full: 1800].
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

impl Args {
    /// The quick suite once, as CI runs it.
    pub(crate) fn quick(out: &Path, provision_swap: Option<Size>) -> Self {
        let var_tmp = PathBuf::from("/var/tmp");
        Self {
            suite: Suite::Quick,
            out: Some(out.to_owned()),
            resume: None,
            repeat: Some(1),
            compare: None,
            binaries: None,
            provision_swap,
            swap_dir: var_tmp.clone(),
            backend: Vec::new(),
            preset: Vec::new(),
            threads: Vec::new(),
            cap: Vec::new(),
            part: Vec::new(),
            small: false,
            duckdb: None,
            data: Vec::new(),
            chain_gib: None,
            lookahead: 4,
            scratch: var_tmp,
            verify: true,
            timeout: None,
        }
    }

    /// A matrix of seconds that still has every kind of cell.
    pub(crate) fn tiny(out: &Path, provision_swap: Option<Size>) -> Self {
        Self {
            data: vec![Data::Random],
            small: true,
            ..Self::quick(out, provision_swap)
        }
    }

    /// Where the programs are, built if need be.
    pub(super) fn programs(&self) -> anyhow::Result<Programs> {
        if let Some(dir) = &self.binaries {
            return Programs::find(|name| Ok(dir.join(name)));
        }
        let built = cargo::executables(&["build", "--release", "-p", "pager-bench", "--bins"])?;
        Programs::find(|name| {
            let found = built.get(name).cloned();
            found.with_context(|| format!("pager-bench has no {name}"))
        })
    }

    /// What is measured beside the merge. Programs of an older version have not got it all.
    pub(super) fn extras(&self, programs: &Programs) -> Vec<Extra> {
        let mut extras = extra::plan(self.suite, &self.parts(), &self.axes().backends);
        extras.retain(|extra| {
            let program = programs.of(*extra);
            // What was just built is there.
            self.binaries.is_none() || program.exists()
        });
        if self.small {
            extra::shrink(&mut extras);
        }
        extras
    }

    /// The cells of the merge, those of the published headline at the end.
    pub(super) fn cells(&self) -> Vec<Cell> {
        if !self.parts().contains(&Part::Merge) {
            return Vec::new();
        }
        let mut cells = plan::plan(&self.axes());
        if let Some(headline) = self.suite.headline() {
            let more = plan::plan(&self.narrowed(headline));
            let new: Vec<Cell> = more.into_iter().filter(|it| !cells.contains(it)).collect();
            cells.extend(new);
        }
        cells
    }

    /// What of these axes is asked for.
    fn narrowed(&self, axes: Axes) -> Axes {
        fn keep<T: Clone + PartialEq>(given: &[T], mut all: Vec<T>) -> Vec<T> {
            all.retain(|it| given.is_empty() || given.contains(it));
            all
        }
        Axes {
            backends: keep(&self.backend, axes.backends),
            presets: keep(&self.preset, axes.presets),
            threads: keep(&self.threads, axes.threads),
            caps: keep(&self.cap, axes.caps),
            data: keep(&self.data, axes.data),
        }
    }

    fn parts(&self) -> Vec<Part> {
        if self.part.is_empty() {
            return Part::ALL.to_vec();
        }
        self.part.clone()
    }

    /// How often what is beside the merge is measured.
    pub(super) fn extra_rounds(&self) -> u32 {
        self.suite.extra_repeat().min(self.rounds())
    }

    pub(super) fn axes(&self) -> Axes {
        fn or<T: Clone>(given: &[T], default: &[T]) -> Vec<T> {
            if given.is_empty() { default } else { given }.to_vec()
        }
        let suite = self.suite.axes();
        Axes {
            backends: or(&self.backend, &suite.backends),
            presets: or(&self.preset, &suite.presets),
            threads: or(&self.threads, &suite.threads),
            caps: or(&self.cap, &suite.caps),
            data: or(&self.data, &suite.data),
        }
    }

    /// How often each cell is measured.
    pub(super) fn rounds(&self) -> u32 {
        self.repeat.unwrap_or_else(|| self.suite.repeat())
    }

    /// What has to be the same for a matrix to be gone on with.
    pub(super) fn settings(&self, bench: &Bench, host: &Host) -> Settings {
        Settings {
            suite: self.suite,
            chain_gib: bench.chain_gib,
            lookahead: bench.lookahead,
            verify: bench.verify,
            commit: host.commit.clone(),
        }
    }

    pub(super) fn bench(&self, programs: Programs, has_swap: bool) -> anyhow::Result<Bench> {
        let chain_gib = self.chain_gib.unwrap_or_else(|| self.suite.chain_gib());
        ensure!(
            chain_gib > 0.0 && chain_gib <= 1024.0,
            "--chain-gib must be above 0 and at most 1024"
        );
        let timeout = self
            .timeout
            .map_or_else(|| self.suite.timeout(), Duration::from_secs);
        Ok(Bench {
            programs,
            chain_gib,
            scratch: self.scratch.clone(),
            verify: self.verify,
            timeout,
            has_swap,
            lookahead: self.lookahead,
            duckdb: self.duckdb.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan;
    use super::{Args, Programs};
    use clap::{Args as _, FromArgMatches};

    fn parse(args: &[&str]) -> Args {
        let command = Args::augment_args(clap::Command::new("bench-matrix"));
        let given = [&["bench-matrix"], args].concat();
        Args::from_arg_matches(&command.get_matches_from(given)).unwrap()
    }

    fn programs() -> Programs {
        Programs::find(|name| Ok(name.into())).unwrap()
    }

    #[test]
    fn parts_of_a_suite_can_be_had_alone() {
        let counts = |args: &[&str]| {
            let args = parse(args);
            (args.cells().len(), args.extras(&programs()).len())
        };
        let (cells, extras) = counts(&["--suite", "quick"]);
        assert_eq!(counts(&["--suite", "quick", "--part", "merge"]), (cells, 0));
        assert_eq!(
            counts(&["--suite", "quick", "--part", "sort,growth"]),
            (0, extras)
        );
        assert_eq!(
            counts(&["--suite", "quick", "--part", "sort", "--backend", "file"]),
            (0, 6)
        );
    }

    #[test]
    fn filters_narrow_a_suite_and_the_suite_fills_the_rest() {
        let count = |args: &[&str]| plan::plan(&parse(args).axes()).len();
        assert_eq!(count(&[]), (8 + 10) * 2 * 3);
        assert_eq!(count(&["--suite", "quick"]), 10 * 2);
        assert_eq!(count(&["--suite", "full"]), (8 + 10) * 5 * 5);
        let narrow = [
            "--backend",
            "swap,file,memmap2",
            "--cap",
            "none,1/16",
            "--threads",
            "3",
            "--data",
            "random",
        ];
        assert_eq!(count(&narrow), 5 * 2);
    }

    #[test]
    fn a_suite_says_how_often_and_an_option_says_otherwise() {
        assert_eq!(parse(&["--suite", "quick"]).rounds(), 3);
        assert_eq!(parse(&["--suite", "full"]).rounds(), 5);
        assert_eq!(parse(&["--repeat", "7"]).rounds(), 7);
    }

    #[test]
    fn a_chain_of_no_size_is_refused() {
        for bad in ["0", "-1", "nan", "inf", "1e9"] {
            let args = parse(&[&format!("--chain-gib={bad}")]);
            assert!(args.bench(programs(), false).is_err(), "{bad}");
        }
        let quick = parse(&["--suite", "quick"]);
        let bench = quick.bench(programs(), true).unwrap();
        assert_eq!(bench.working_set_bytes(), 256 << 20);
    }
}
