//! The files of this checkout that are ours.
//!
//! Guarantees that a file that is new and not yet committed is among them, and that one that was
//! deleted is not. Refuses to look at what git ignores.

use crate::cargo;
use anyhow::{Context, ensure};
use std::path::PathBuf;
use std::process::Command;

/// All of them, relative to the root.
///
/// # Errors
/// When git cannot be run, or cannot list them.
pub(crate) fn ours() -> anyhow::Result<Vec<PathBuf>> {
    let root = cargo::root();
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(&root)
        .output()
        .context("cannot run git")?;
    ensure!(output.status.success(), "git cannot list the files");
    let listed = String::from_utf8_lossy(&output.stdout);
    let there = listed.lines().filter(|name| root.join(name).is_file());
    Ok(there.map(PathBuf::from).collect())
}

#[cfg(test)]
mod tests {
    use super::ours;
    use std::path::Path;

    #[test]
    fn what_git_ignores_is_not_ours() {
        let files = ours().unwrap();
        assert!(files.iter().any(|file| file == Path::new("Cargo.toml")));
        assert!(!files.iter().any(|file| file.starts_with("target")));
    }
}
