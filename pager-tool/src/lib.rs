//! What the programs around pager share: how they print, how they end, and which
//! sizes they refuse before they begin.
//!
//! Guarantees that nothing that happens to a program's output is a panic: whoever
//! reads it may close it, and the disk that it goes to may be full. Refuses sizes
//! that this process cannot use or the machine does not have, before anything is
//! allocated or written.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! /// Prints a number.
//! #[derive(clap::Parser)]
//! struct Args {
//!     number: u64,
//! }
//!
//! fn main() -> ExitCode {
//!     pager_tool::run(|args: Args| {
//!         pager_tool::print(args.number)?;
//!         Ok(ExitCode::SUCCESS)
//!     })
//! }
//! ```
//!
//! ```text
//! end     from arguments to an exit code
//! output  to whoever reads what a program prints
//! room    sizes: what this process may use, what a disk has
//! ```

#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod end;
mod output;
mod room;

pub use end::{EXIT_CLOSED, end, run};
pub use output::{OutputError, print, print_json, warn};
pub use room::{NoRoom, ensure_disk, ensure_machine, ensure_memory, machine_bytes, usable_bytes};
