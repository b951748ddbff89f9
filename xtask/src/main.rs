//! `cargo xtask`: what is needed to measure and check pager, and never to use it.
//!
//! Guarantees that whatever a task sets up on the machine (memory cgroups, loop devices, swap) is
//! taken down again when the task ends or is interrupted. Refuses, with advice, where the machine
//! does not allow a task what it needs.

#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod book;
mod cargo;
mod cgroup;
mod child;
mod ci;
mod diagnose;
mod files;
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
    BenchMatrix(Box<matrix::Args>),
    Diagnose(diagnose::Args),
    Book(book::Args),
    Ci(ci::Args),
}

fn main() -> ExitCode {
    pager_tool::run(|task: Task| {
        interrupt::install()?;
        let code = match task {
            Task::WithMemory(args) => with_memory::run(&args),
            Task::BenchMatrix(args) => matrix::run(&args),
            Task::Diagnose(args) => diagnose::run(&args),
            Task::Book(args) => book::run(&args),
            Task::Ci(args) => ci::run(&args),
        };
        match code {
            // Whatever failed then did so because it was asked to stop.
            Err(error) if interrupt::requested() => {
                pager_tool::warn(format_args!("interrupted: {error:#}"));
                Ok(ExitCode::from(interrupt::EXIT_CODE))
            }
            code => Ok(ExitCode::from(code?)),
        }
    })
}
