//! What depends on what, by cargo's own word.
//!
//! Guarantees that neither the benchmarks nor the product are built with the fault hooks of
//! the tests, that the facade depends on as many crates as the readme says, and that nothing here
//! wants a newer compiler than we promise. Refuses to guess: all of it is what cargo resolves.

use super::{Done, call, succeeds};
use crate::cargo::{FACADE, Metadata, cargo, root, target_directory};
use anyhow::{Context, ensure};
use pager_tool::print;
use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;

/// The feature that lets system calls ask a test's plan.
const FAULT_HOOKS: &str = "fault-hooks";

/// What is built without it: the benchmarks with all that they are built with, and what users
/// depend on.
const WITHOUT_HOOKS: [(&str, &str); 2] = [
    ("pager-bench", "normal,build,dev"),
    (FACADE, "normal,build"),
];

/// Crates of others that the facade with its default features depends on, on Linux. One more is
/// a decision, and the readme says the number.
const FOREIGN_CRATES: usize = 18;

/// Checks hooks and numbers, and names what is wrong.
///
/// # Errors
/// When a rule is broken, or cargo does not answer.
pub(super) fn check() -> anyhow::Result<Done> {
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
    let foreign = foreign_crates()?;
    print(format_args!(
        "{FACADE} depends on {} crates of others",
        foreign.len()
    ))?;
    ensure!(
        foreign.len() <= FOREIGN_CRATES,
        "{FACADE} depends on more than {FOREIGN_CRATES} crates of others: {foreign:?}"
    );
    let readme = fs::read_to_string(root().join("README.md"))?;
    let said = format!("{} crates", foreign.len());
    ensure!(readme.contains(&said), "README.md does not say \"{said}\"");
    Ok(Done::Passed)
}

/// Licences, duplicates and sources of everything that is built here, and known weaknesses.
///
/// # Errors
/// When `deny.toml` forbids something that is there.
pub(super) fn deny() -> anyhow::Result<Done> {
    if !succeeds(&mut cargo(&["deny", "--version"])) {
        let why = "no cargo-deny: cargo install --locked cargo-deny";
        return Ok(Done::Skipped(why.to_owned()));
    }
    call(&mut cargo(&[
        "deny", "check", "licenses", "bans", "sources",
    ]))?;
    // Of what the engines depend on, known weaknesses are the engines' business.
    call(&mut cargo(&[
        "deny",
        "--manifest-path",
        super::adapters::MANIFEST,
        "check",
        "licenses",
        "bans",
        "sources",
    ]))?;
    if !succeeds(&mut cargo(&["deny", "fetch", "db"])) {
        let why = "licences, duplicates and sources are right; advisories: no database to be had";
        return Ok(Done::Skipped(why.to_owned()));
    }
    call(&mut cargo(&["deny", "check", "advisories"]))?;
    Ok(Done::Passed)
}

/// Builds with the least compiler that we promise, where it is installed. Where it is not, what
/// the dependencies say of themselves is checked here, and our own use of the standard library by
/// clippy (`incompatible_msrv`).
///
/// # Errors
/// When something needs a newer one.
pub(super) fn least_compiler() -> anyhow::Result<Done> {
    let metadata = Metadata::read(true)?;
    let products = metadata.products();
    let least = products.iter().find_map(|it| it.rust_version.clone());
    let least = least.context("no product crate names its least compiler")?;
    for package in &metadata.packages {
        let wants = package.rust_version.as_deref().unwrap_or("1.0");
        ensure!(
            version(wants) <= version(&least),
            "{} {} wants Rust {wants}, and we promise {least}",
            package.name,
            package.version
        );
    }
    print(format_args!(
        "{} packages want at most Rust {least}",
        metadata.packages.len()
    ))?;
    let toolchain = format!("+{least}");
    if !succeeds(&mut cargo(&[&toolchain, "--version"])) {
        return Ok(Done::Skipped(format!(
            "no Rust {least} to build with; versions of dependencies are right"
        )));
    }
    let mut check = cargo(&[&toolchain, "check", "--workspace", "--all-targets"]);
    check.env(
        "CARGO_TARGET_DIR",
        target_directory()?.join("least-compiler"),
    );
    call(&mut check)?;
    Ok(Done::Passed)
}

/// Numbers to compare; what is no number counts as nothing.
fn version(text: &str) -> Vec<u32> {
    let mut parts: Vec<u32> = text.split('.').map(|it| it.parse().unwrap_or(0)).collect();
    parts.resize(3, 0);
    parts
}

/// The crates that the facade depends on, besides ours.
fn foreign_crates() -> anyhow::Result<BTreeSet<String>> {
    let linux = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let listed = tree(&[
        "-p", FACADE, "-e", "normal", "--target", &linux, "-f", "{p}",
    ])?;
    let named = |line: &str| {
        line.split_whitespace()
            .take(2)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let all = listed.lines().filter(|line| !line.is_empty()).map(named);
    Ok(all.filter(|name| !name.starts_with("pager-")).collect())
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
    use super::{FAULT_HOOKS, FOREIGN_CRATES, version};
    use super::{core_features, features_of_core, foreign_crates};

    #[test]
    fn a_build_with_the_test_kit_has_the_hooks_and_is_seen_to_have_them() {
        let features = features_of_core("pager-swap", "normal,dev").unwrap();
        assert!(features.split(',').any(|feature| feature == FAULT_HOOKS));
    }

    #[test]
    fn a_build_without_the_core_is_no_answer() {
        assert_eq!(core_features("slab v0.4.12 [default,std]\n"), None);
        let with = "pager-core v0.1.0 (/somewhere) [a,b]\n";
        assert_eq!(core_features(with).as_deref(), Some("a,b"));
    }

    #[test]
    fn the_facade_depends_on_no_more_crates_than_before() {
        let foreign = foreign_crates().unwrap();
        assert!(foreign.iter().any(|it| it.starts_with("rustix v")));
        assert!(foreign.len() <= FOREIGN_CRATES, "{foreign:?}");
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(version("1.93") < version("1.93.1"));
        assert!(version("1.9") < version("1.93"));
        assert_eq!(version("1.93"), version("1.93.0"));
    }
}
