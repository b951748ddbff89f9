//! `cargo xtask diagnose`: whether swap can work on this machine, and what to do if not.
//!
//! Guarantees to print what the library itself would find. Refuses to change anything.

use pager_swap::SwapBackend;
use pager_tool::print;

/// Say whether the swap backend can free memory on this machine, and what to do if not.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// End with code 1 when there is a finding, for use in scripts.
    #[arg(long)]
    strict: bool,
}

/// Prints the findings and returns the exit code.
pub(crate) fn run(args: &Args) -> anyhow::Result<u8> {
    let findings = SwapBackend::diagnose();
    for finding in &findings {
        print(format_args!("- {finding}"))?;
    }
    if findings.is_empty() {
        print("swap is ready: paged-out memory can leave, huge pages leave whole")?;
    }
    Ok(u8::from(args.strict && !findings.is_empty()))
}
