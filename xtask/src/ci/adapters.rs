//! The adapters of engines: a workspace of its own, with what the engines are built with.
//!
//! Guarantees that lints, tests, documentation and an example of each hold there as they do here.
//! Refuses to build what a product crate would inherit: nothing here depends on it.

use super::{Done, call};
use crate::cargo::{cargo, executables_of, target_directory};
use anyhow::Context;
use std::process::Command;

/// Where the workspace is.
pub(super) const MANIFEST: &str = "adapters/Cargo.toml";

/// Checks and tests the adapters, and runs their examples for a moment.
///
/// # Errors
/// When one of them fails.
pub(super) fn check() -> anyhow::Result<Done> {
    call(&mut inside(
        "clippy",
        &["--workspace", "--all-targets", "--", "-D", "warnings"],
    )?)?;
    call(&mut inside("test", &["--workspace"])?)?;
    let mut doc = inside("doc", &["--workspace", "--no-deps"])?;
    call(doc.env("RUSTDOCFLAGS", "-D warnings"))?;
    let mut build = inside("build", &["--workspace", "--examples"])?;
    let found = executables_of(&mut build)?;
    let arrange = found.get("arrange").context("no arrange was built")?;
    call(Command::new(arrange).args(["--million", "1", "--budget-mib", "8"]))?;
    let lineitem = found.get("lineitem").context("no lineitem was built")?;
    let ways = ["--ways", "stock,lz4,pager,codec,one-limit,memory-pager"];
    let room = ["--memory-mib", "20", "--budget-mib", "8"];
    let rows = ["--rows", "50000"];
    call(Command::new(lineitem).args(ways).args(room).args(rows))?;
    let exchange = found.get("exchange").context("no exchange was built")?;
    for processes in ["1", "2"] {
        let size = ["--total-mib", "64", "--rate", "0", "--burst"];
        let room = [
            "--budget-mib",
            "16",
            "--threshold-mib",
            "4",
            "--reserve-mib",
            "4",
        ];
        let args = ["--processes", processes];
        call(Command::new(exchange).args(args).args(size).args(room))?;
    }
    Ok(Done::Passed)
}

/// Runs the dataflows two hundred times, with faults, and with one of two processes killed.
///
/// # Errors
/// When a run gives wrong data, hangs, or leaves something.
pub(super) fn campaigns() -> anyhow::Result<Done> {
    let campaign = ["-p", "faults", "--test", "campaign", "--", "--ignored"];
    call(&mut inside("test", &campaign)?)?;
    Ok(Done::Passed)
}

/// A cargo command on that workspace, which builds beside what users build.
fn inside(command: &str, args: &[&str]) -> anyhow::Result<Command> {
    let mut cargo = cargo(&[command, "--manifest-path", MANIFEST]);
    cargo.args(args);
    cargo.env("CARGO_TARGET_DIR", target_directory()?.join("adapters"));
    Ok(cargo)
}
