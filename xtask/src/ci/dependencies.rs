//! What depends on what, by cargo's own word.
//!
//! Guarantees that neither the benchmarks nor the product are built with the fault hooks of
//! the tests. Refuses to guess: the features are those that cargo resolves.

use crate::cargo::{FACADE, cargo};
use anyhow::{Context, ensure};
use pager_tool::print;
use std::process::Stdio;

/// The feature that lets system calls ask a test's plan.
const FAULT_HOOKS: &str = "fault-hooks";

/// What is built without it: the benchmarks with all that they are built with, and what users
/// depend on.
const WITHOUT_HOOKS: [(&str, &str); 2] = [
    ("pager-bench", "normal,build,dev"),
    (FACADE, "normal,build"),
];

/// Checks all of it, and names each offence.
///
/// # Errors
/// When a rule is broken, or cargo does not answer.
pub(crate) fn check() -> anyhow::Result<()> {
    for (package, edges) in WITHOUT_HOOKS {
        let features = features_of_core(package, edges)?;
        ensure!(
            !features.split(',').any(|feature| feature == FAULT_HOOKS),
            "{package} ({edges}) is built with the fault hooks of the tests"
        );
        print(format_args!(
            "{package} ({edges}) is built without {FAULT_HOOKS}"
        ))?;
    }
    Ok(())
}

/// The features of `pager-core` in a build of `package`, with commas between them.
fn features_of_core(package: &str, edges: &str) -> anyhow::Result<String> {
    let listed = tree(&["-p", package, "-e", edges, "-f", "{p} [{f}]"])?;
    core_features(&listed).with_context(|| format!("{package} does not depend on pager-core"))
}

fn core_features(listed: &str) -> Option<String> {
    let mut lines = listed
        .lines()
        .filter(|line| line.starts_with("pager-core "));
    let features = lines.next()?.rsplit_once('[')?.1.split(']').next()?;
    Some(features.to_owned())
}

/// What `cargo tree` prints, a package a line.
fn tree(args: &[&str]) -> anyhow::Result<String> {
    let output = cargo(&["tree", "--prefix", "none", "--no-dedupe"])
        .args(args)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "cargo tree failed");
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::{FAULT_HOOKS, core_features, features_of_core};

    #[test]
    fn a_build_with_the_test_kit_has_the_hooks_and_is_seen_to_have_them() {
        let features = features_of_core("pager-swap", "normal,dev").unwrap();
        assert_eq!(features, FAULT_HOOKS);
    }

    #[test]
    fn a_build_without_the_core_is_no_answer() {
        assert_eq!(core_features("slab v0.4.12 [default,std]\n"), None);
        let with = "pager-core v0.1.0 (/somewhere) [a,b]\n";
        assert_eq!(core_features(with).as_deref(), Some("a,b"));
    }
}
