//! What users get from a registry: every product crate as a package of its own.
//!
//! Guarantees that each package builds from what is in it, has its licences and its readme, and
//! that its tests compile outside this checkout. Refuses to publish anything: that is a
//! maintainer's business (`RELEASING.md`).

use super::{Done, call};
use crate::cargo::{Metadata, Package, cargo, root, target_directory};
use anyhow::{Context, ensure};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// What every package holds besides its sources.
const HOLDS: [&str; 3] = ["README.md", "LICENSE-APACHE", "LICENSE-MIT"];

/// Packages every product crate, looks for what must be in each, and builds each where nothing but
/// the packages is.
pub(super) fn packages() -> anyhow::Result<Done> {
    let metadata = Metadata::read(false)?;
    let products = metadata.products();
    let archives = package_all(&products)?;
    for archive in &archives {
        let listed = list(archive)?;
        for file in HOLDS {
            ensure!(
                holds(&listed, file),
                "{} holds no {file}",
                archive.display()
            );
        }
    }
    let away = unpack(&products, &archives)?;
    for product in &products {
        away_from_here(away.path(), &["check", "--lib", "-p", &product.name])?;
    }
    Ok(Done::Passed)
}

/// Compiles the tests of the packages where nothing but the packages is, and runs their examples.
pub(super) fn packaged_tests() -> anyhow::Result<Done> {
    let metadata = Metadata::read(false)?;
    let products = metadata.products();
    let away = unpack(&products, &package_all(&products)?)?;
    for tests in ["--no-run", "--doc"] {
        away_from_here(away.path(), &["test", "--workspace", tests])?;
    }
    Ok(Done::Passed)
}

/// Packages all product crates, and says where the packages are.
fn package_all(products: &[&Package]) -> anyhow::Result<Vec<PathBuf>> {
    // What is not committed yet is checked as well. Cargo's own trial build is left out: of a
    // package that depends on another it keeps the unpacked sources from one time to the next,
    // by version, and builds against old ones.
    let mut package = cargo(&["package", "--allow-dirty", "--no-verify"]);
    for product in products {
        package.args(["-p", &product.name]);
    }
    call(&mut package)?;
    let directory = target_directory()?.join("package");
    let archive = |product: &&Package| directory.join(folder(product) + ".crate");
    Ok(products.iter().map(archive).collect())
}

/// The packages as a workspace in a directory of their own.
fn unpack(products: &[&Package], archives: &[PathBuf]) -> anyhow::Result<TempDir> {
    let away = tempfile::tempdir()?;
    for archive in archives {
        let mut tar = Command::new("tar");
        // As new files (`-m`): in a package all are of one old date, and cargo goes by dates.
        tar.arg("-xzmf").arg(archive).arg("-C").arg(away.path());
        call(&mut tar)?;
    }
    fs::write(away.path().join("Cargo.toml"), workspace(products))?;
    fs::copy(root().join("Cargo.lock"), away.path().join("Cargo.lock"))?;
    Ok(away)
}

fn away_from_here(away: &Path, args: &[&str]) -> anyhow::Result<()> {
    let mut cargo = cargo(args);
    cargo.current_dir(away);
    call(cargo.env("CARGO_TARGET_DIR", target_directory()?.join("packages")))
}

/// The folder that the package is unpacked into.
fn folder(product: &Package) -> String {
    format!("{}-{}", product.name, product.version)
}

/// The manifest of a workspace of the packages, in which each stands for the published one.
fn workspace(products: &[&Package]) -> String {
    let folders: Vec<String> = products.iter().map(|it| folder(it)).collect();
    let mut text = format!("[workspace]\nresolver = \"3\"\nmembers = {folders:?}\n\n");
    text.push_str("[patch.crates-io]\n");
    for (product, folder) in products.iter().zip(&folders) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{} = {{ path = {folder:?} }}", product.name);
    }
    text
}

fn list(archive: &Path) -> anyhow::Result<String> {
    let output = Command::new("tar")
        .arg("-tzf")
        .arg(archive)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run tar")?;
    ensure!(output.status.success(), "cannot list {}", archive.display());
    Ok(String::from_utf8(output.stdout)?)
}

/// Whether `file` is in the package itself, and not in one of its folders.
fn holds(listed: &str, file: &str) -> bool {
    listed
        .lines()
        .any(|line| line.split_once('/').is_some_and(|(_, name)| name == file))
}

#[cfg(test)]
mod tests {
    use super::{holds, workspace};
    use crate::cargo::Metadata;

    #[test]
    fn a_file_counts_where_it_belongs() {
        let listed = "pager-core-0.1.0/README.md\npager-core-0.1.0/src/LICENSE-MIT\n";
        assert!(holds(listed, "README.md"));
        assert!(!holds(listed, "LICENSE-MIT"));
    }

    #[test]
    fn every_package_stands_for_the_published_one() {
        let metadata = Metadata::read(false).unwrap();
        let products = metadata.products();
        let text = workspace(&products);
        for product in products {
            let folder = format!("{}-{}", product.name, product.version);
            assert!(text.contains(&format!("{} = {{ path = \"{folder}\" }}", product.name)));
        }
    }
}
