//! `cargo xtask with-memory LIMIT [--swap SIZE] -- CMD...`: any command under a memory cap.
//!
//! Guarantees that the command's exit code is passed on, and that the cap and the swap are gone
//! afterwards, also after Ctrl-C; after a kill that nothing can catch, with the next start. Refuses to run the command when the cap cannot be had.

use crate::cgroup::Cap;
use crate::child::{self, End};
use crate::interrupt;
use crate::size::Size;
use crate::swap::ProvisionedSwap;
use anyhow::Context;
use pager_tool::warn;
use std::ffi::OsString;
use std::path::PathBuf;

/// Run a command under a memory cap, with provisioned swap if asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The most memory that the command and its children may use, for instance 256MiB.
    /// Swap is not limited.
    limit: Size,
    /// Provision this much swap for the time of the command (root); its device is in the
    /// command's XTASK_SWAP_DEVICE.
    #[arg(long, value_name = "SIZE")]
    swap: Option<Size>,
    /// Where the swap's backing file goes; not on a memory file system.
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    swap_dir: PathBuf,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Runs the command and returns its exit code.
pub(crate) fn run(args: &Args) -> anyhow::Result<u8> {
    // Declared first, dropped last: the command is gone when the swap goes off.
    let swap = args
        .swap
        .map(|size| ProvisionedSwap::new(&args.swap_dir, size))
        .transpose()?;
    let cap = Cap::new(args.limit)?;
    if interrupt::requested() {
        return Ok(interrupt::EXIT_CODE);
    }
    let mut command = cap.command(&child::ends_with_us(args.command.clone()));
    if let Some(swap) = &swap {
        // For commands that watch the device.
        command.env("XTASK_SWAP_DEVICE", swap.device());
    }
    let mut child = command.spawn().context("cannot start the command")?;
    Ok(match child::wait(&mut child, None)? {
        End::Exited(status) => {
            if cap.oom_kills() > 0 {
                let limit = args.limit;
                warn(format_args!(
                    "the cap of {limit} was hit: the kernel killed a process"
                ));
            }
            child::exit_code(status)
        }
        End::Interrupted | End::TimedOut => interrupt::EXIT_CODE,
    })
}
