//! Calls of cargo on this workspace: where it is, and what its builds produced.
//!
//! Guarantees that executables are found where cargo says it put them, whatever the target
//! directory is. Refuses to go on after a failed build.

use crate::child::{self, End};
use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The package of the facade. Its library is called `pager`, and so is its folder.
pub(crate) const FACADE: &str = "pager-out-of-core";

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    // Cargo tells where the package is now; the compiled-in path is for a binary run by hand.
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let parent = package.parent().map(Path::to_owned);
    parent.unwrap_or(package)
}

/// A cargo command in the root of the workspace.
pub(crate) fn cargo(args: &[&str]) -> Command {
    // Not the `CARGO` variable: that is one toolchain's cargo, which knows no `+nightly`.
    let mut command = Command::new("cargo");
    command.args(args).current_dir(root());
    command
}

/// Builds with `args` and gives the executables by target name.
///
/// # Errors
/// When cargo cannot be run or the build fails; its messages have been printed.
pub(crate) fn executables(args: &[&str]) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    executables_of(&mut cargo(args))
}

/// As [`executables`], of a cargo command that may have an environment of its own.
///
/// # Errors
/// As there.
pub(crate) fn executables_of(build: &mut Command) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    // A file, not a pipe: nobody has to drain it, and a stop is noticed meanwhile.
    let mut said = tempfile::tempfile()?;
    let mut child = build
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .stdout(said.try_clone()?)
        .stderr(Stdio::inherit())
        .spawn()
        .context("cannot run cargo")?;
    match child::wait(&mut child, None)? {
        End::Exited(status) if status.success() => {}
        End::Interrupted | End::TimedOut => bail!("interrupted"),
        End::Exited(_) => {
            let args = build.get_args().map(|arg| arg.display().to_string());
            bail!("cargo {} failed", args.collect::<Vec<_>>().join(" "));
        }
    }
    let mut messages = String::new();
    said.rewind()?;
    said.read_to_string(&mut messages)?;
    Ok(parse_executables(&messages))
}

/// What cargo knows of this workspace.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    workspace_members: Vec<String>,
    target_directory: PathBuf,
}

/// One package, of ours or of others.
#[derive(Debug, Clone, serde::Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) rust_version: Option<String>,
    pub(crate) features: BTreeMap<String, Vec<String>>,
    id: String,
    /// The registries it may go to; none for what is never published.
    publish: Option<Vec<String>>,
}

impl Metadata {
    /// Of our packages, or of all that they depend on as well.
    ///
    /// # Errors
    /// When cargo cannot be run, or says something else.
    pub(crate) fn read(with_dependencies: bool) -> anyhow::Result<Self> {
        let mut metadata = cargo(&["metadata", "--format-version", "1"]);
        if !with_dependencies {
            metadata.arg("--no-deps");
        }
        let output = metadata
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo")?;
        serde_json::from_slice(&output.stdout).context("cargo metadata is not as expected")
    }

    /// Our packages that users get.
    pub(crate) fn products(&self) -> Vec<&Package> {
        let ours = |package: &&Package| self.workspace_members.contains(&package.id);
        let published = |package: &&Package| package.publish.is_none();
        self.packages
            .iter()
            .filter(ours)
            .filter(published)
            .collect()
    }
}

/// Where builds go, by cargo's own word.
///
/// # Errors
/// When cargo cannot be run, or does not say.
pub(crate) fn target_directory() -> anyhow::Result<PathBuf> {
    Ok(Metadata::read(false)?.target_directory)
}

fn parse_executables(messages: &str) -> BTreeMap<String, PathBuf> {
    messages
        .lines()
        .filter_map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            let executable = message.get("executable")?.as_str()?;
            let name = message.get("target")?.get("name")?.as_str()?;
            Some((name.to_owned(), PathBuf::from(executable)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{FACADE, Metadata, parse_executables, root, target_directory};
    use std::path::Path;

    #[test]
    fn executables_are_found_among_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"lib"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"merge"},"executable":"/t/release/merge"}
not json
{"reason":"build-finished","success":true}"#;
        let found = parse_executables(messages);
        assert_eq!(found.len(), 1);
        assert_eq!(found["merge"], Path::new("/t/release/merge"));
    }

    #[test]
    fn cargo_says_where_builds_go() {
        assert!(target_directory().unwrap().is_absolute());
    }

    #[test]
    fn the_products_are_what_is_published_and_nothing_else() {
        let metadata = Metadata::read(false).unwrap();
        let names: Vec<&str> = metadata.products().iter().map(|it| &*it.name).collect();
        assert!(names.contains(&FACADE) && names.contains(&"pager-core"));
        assert!(!names.contains(&"xtask") && !names.contains(&"pager-bench"));
    }

    #[test]
    fn the_root_holds_the_workspace() {
        assert!(root().join("Cargo.toml").is_file());
        assert!(root().join("pager-core").is_dir());
    }
}
