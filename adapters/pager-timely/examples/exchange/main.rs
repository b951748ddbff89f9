//! An exchange larger than memory, through pager and through the engine's own spilling.
//!
//! One worker sends records to another, which takes them at a rate of its own: what it has not
//! taken yet waits in a queue. Each way runs in a process of its own (or two, with
//! `--processes 2`), in turns, and all must receive the same.
//!
//!     cargo run --release -p pager-timely --example exchange
//!     cargo run --release -p pager-timely --example exchange -- --processes 2 --rate 0
//!
//! `cargo xtask with-memory 256MiB -- <the example> ...` gives it a memory cap.

mod rounds;
mod stock;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

/// Sends more than memory holds to a slow consumer, through pager and through the engine's own
/// files, and compares.
#[derive(Debug, Clone, Parser)]
struct Args {
    /// MiB to send
    #[arg(long, default_value_t = 1024)]
    total_mib: u64,
    /// MiB a second that the consumer takes; 0 for as many as it can
    #[arg(long, default_value_t = 300)]
    rate: u64,
    /// Send everything at once, without looking at anything else
    #[arg(long)]
    burst: bool,
    /// Processes, connected on loopback: the first sends and the last receives
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    processes: u8,
    /// MiB that the pager may hold in each process
    #[arg(long, default_value_t = 96)]
    budget_mib: usize,
    /// MiB from which on the engine's own spilling begins, in each queue
    #[arg(long, default_value_t = 48)]
    threshold_mib: usize,
    /// MiB that the engine's own spilling keeps and reads back at once
    #[arg(long, default_value_t = 16)]
    reserve_mib: usize,
    /// Where spilled bytes go, of either kind
    #[arg(long, default_value = "/var/tmp")]
    scratch: PathBuf,
    /// How often each way is run
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// The ways to run
    #[arg(long, value_delimiter = ',', default_values_t = [Way::Stock, Way::Pager])]
    ways: Vec<Way>,
    /// Run this part of one round, and nothing else
    #[arg(long, hide = true)]
    part: Option<u8>,
    /// Addresses of all parts
    #[arg(long, hide = true, value_delimiter = ',')]
    addresses: Vec<String>,
}

/// What becomes of what waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    /// Stays in memory
    Memory,
    /// The engine's threshold policy and files, as in its own examples
    Stock,
    /// pager-timely
    Pager,
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Stock => "stock",
            Self::Pager => "pager",
        })
    }
}

fn main() -> ExitCode {
    pager_tool::run(|args: Args| {
        match args.part {
            Some(part) => pager_tool::print(work::run(&args, part)?)?,
            None => rounds::run(&args)?,
        }
        Ok(ExitCode::SUCCESS)
    })
}
