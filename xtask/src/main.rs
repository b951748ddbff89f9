//! `cargo xtask`: what is needed to measure and check pager, and never to use it.
//!
//! Guarantees that whatever a task sets up on the machine (memory cgroups, loop devices, swap) is
//! taken down again when the task ends or is interrupted. Refuses, with advice, where the machine
//! does not allow a task what it needs.

mod cargo;
mod cgroup;
mod child;
mod interrupt;
mod matrix;
mod size;
mod swap;
mod with_memory;

use clap::Parser;
use std::process::ExitCode;

/// Build automation of pager.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    WithMemory(with_memory::Args),
    BenchMatrix(matrix::Args),
}

fn main() -> ExitCode {
    let done = match Task::parse() {
        Task::WithMemory(args) => with_memory::run(&args),
        Task::BenchMatrix(args) => matrix::run(&args),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
