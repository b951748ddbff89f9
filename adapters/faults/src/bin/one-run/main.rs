//! One run of a dataflow with system calls that fail, in a process of its own: what the campaign
//! starts, and kills.
//!
//! It says how many faults struck, and then `whole` if everything was right, or `told: ` and why if
//! it was told that something does not come back. Anything else is wrong, and so is its exit code.

mod chunks;
#[path = "../../../../pager-differential/examples/arrange/dataflow.rs"]
mod dataflow;
mod exchange;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, ValueEnum};
use pager::{BackendKind, Pager};

/// Runs a dataflow once, with faults by a seed.
#[derive(Debug, Parser)]
struct Args {
    /// What is run
    what: What,
    /// Which faults there are, and where
    #[arg(long)]
    seed: u64,
    /// The scratch root
    #[arg(long)]
    scratch: PathBuf,
    /// No faults
    #[arg(long)]
    calm: bool,
    /// Which of the two processes this is
    #[arg(long, default_value_t = 0)]
    process: usize,
    /// Where they listen
    #[arg(long, value_delimiter = ',')]
    addresses: Vec<String>,
    /// Where a file says that the dataflow has begun
    #[arg(long)]
    marks: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// An arrangement of pager-differential's chunks
    Chunks,
    /// The same of the engine's, stored
    Stored,
    /// An exchange between two processes
    Exchange,
}

/// How a run ended that is not wrong.
struct Ended {
    struck: usize,
    end: End,
}

enum End {
    Whole,
    Told(String),
}

fn main() -> ExitCode {
    pager_tool::run(|args: Args| {
        let Ended { struck, end } = match args.what {
            What::Chunks => chunks::run::<dataflow::Pagers<{ 32 << 10 }>>(&args)?,
            What::Stored => chunks::run::<dataflow::Engines>(&args)?,
            What::Exchange => exchange::run(&args)?,
        };
        pager_tool::print(format_args!("struck {struck}"))?;
        pager_tool::print(match end {
            End::Whole => "whole".to_owned(),
            End::Told(why) => format!("told: {why}"),
        })?;
        Ok(ExitCode::SUCCESS)
    })
}

fn pager(args: &Args, budgets: [usize; 3]) -> anyhow::Result<Arc<Pager>> {
    let budget_bytes = budgets[usize::try_from(args.seed / 4 % 3)?];
    let builder = Pager::builder().backend(BackendKind::File);
    let builder = builder.scratch_dir(&args.scratch);
    Ok(Arc::new(builder.budget_bytes(budget_bytes).build()?))
}

/// Begins with the faults of the seed.
fn begin(args: &Args) -> pager_testkit::syscalls::Injection {
    let faults = if args.calm {
        Vec::new()
    } else {
        faults::by_seed(args.seed)
    };
    pager_testkit::syscalls::Injection::begin(&faults)
}
