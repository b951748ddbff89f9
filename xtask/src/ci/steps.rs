//! The steps of `cargo xtask ci`.
//!
//! Guarantees that each checks something real: the tools it drives fail it. Refuses to pass in
//! silence what a machine cannot run: such a step is skipped with its reason.

use super::{Done, Step, adapters, call, dependencies, nightly, packages, tidy};
use crate::book::{self, Built};
use crate::cargo::{FACADE, Metadata, cargo, executables, root, target_directory};
use crate::cgroup::Cap;
use crate::matrix;
use crate::size::Size;
use crate::swap::ProvisionedSwap;
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What needs no test binary.
pub(super) const CHECKS: [Step; 10] = [
    ("format", || {
        passed(&["fmt", "--all", "--check"])?;
        // Workspaces of their own.
        passed(&["fmt", "--check", "--manifest-path", "pager/fuzz/Cargo.toml"])?;
        passed(&[
            "fmt",
            "--check",
            "--manifest-path",
            "races/facade/Cargo.toml",
        ])?;
        passed(&[
            "fmt",
            "--all",
            "--check",
            "--manifest-path",
            adapters::MANIFEST,
        ])
    }),
    ("tidy", || tidy::check().map(|()| Done::Passed)),
    ("book", book),
    ("dependencies", dependencies::check),
    ("licences and duplicates", dependencies::deny),
    ("least compiler", dependencies::least_compiler),
    ("clippy", || {
        passed(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ])
    }),
    ("feature combinations", feature_combinations),
    ("documentation", documentation),
    ("packages", packages::packages),
];

/// The tests, doctests included.
pub(super) const TESTS: [Step; 1] = [("tests", || passed(&["test", "--workspace"]))];

/// The library at its work.
pub(super) const TRIALS: [Step; 9] = [
    ("spill_sort, small", spill_sort),
    ("merge, verified", merge),
    ("bench-matrix, tiny", bench_matrix),
    ("under memory pressure", pressure),
    ("adapters", adapters::check),
    ("races, bounded", || races(Some("4000"))),
    ("fuzzing, seconds", || nightly::fuzz(6)),
    ("ThreadSanitizer, stress", || {
        nightly::sanitize("thread", &nightly::STRESS)
    }),
    ("Miri, the unsafe parts", nightly::miri_core),
];

/// What takes long.
pub(super) const DEEP: [Step; 11] = [
    ("release tests with the ignored ones", || {
        passed(&[
            "test",
            "--workspace",
            "--release",
            "--",
            "--include-ignored",
        ])
    }),
    ("tests of feature combinations", || {
        for features in COMBINATIONS {
            call(&mut cargo(
                &[&["test", "-p", FACADE, "--lib", "--tests"], features].concat(),
            ))?;
        }
        Ok(Done::Passed)
    }),
    ("tests of the packages", packages::packaged_tests),
    ("adapters, campaigns", adapters::campaigns),
    ("races, every schedule", || races(None)),
    ("fuzzing, minutes", || nightly::fuzz(300)),
    ("ThreadSanitizer", || {
        nightly::sanitize("thread", &nightly::CONCURRENT)
    }),
    ("AddressSanitizer", || {
        nightly::sanitize("address", &nightly::CONCURRENT)
    }),
    ("Miri, several schedules", nightly::miri_schedules),
    ("Miri, every test", nightly::miri_all),
    ("bench-matrix --suite quick", || {
        let out = tempfile::tempdir()?;
        run_matrix(&matrix::Args::quick(out.path(), matrix_swap()))
    }),
];

/// The feature sets of the facade besides the default one.
const COMBINATIONS: [&[&str]; 6] = [
    &["--no-default-features"],
    &["--no-default-features", "--features", "swap"],
    &["--no-default-features", "--features", "file"],
    &["--features", "codec,encryption"],
    &["--features", "tracing,metrics,serde"],
    &["--features", "pressure"],
];

fn passed(args: &[&str]) -> anyhow::Result<Done> {
    call(&mut cargo(args)).map(|()| Done::Passed)
}

fn feature_combinations() -> anyhow::Result<Done> {
    for features in COMBINATIONS {
        let before = ["clippy", "-p", FACADE, "--lib", "--tests"];
        let after = ["--", "-D", "warnings"];
        call(&mut cargo(&[&before, features, &after].concat()))?;
    }
    let metadata = Metadata::read(false)?;
    for product in metadata.products() {
        let features: Vec<&str> = product.features.keys().map(String::as_str).collect();
        // What two features of another crate do together is seen through the facade's, which
        // turn them on.
        let most = if product.name == FACADE { 2 } else { 1 };
        for chosen in combinations(&features, most) {
            let mut check = cargo(&["check", "-p", &product.name, "--lib"]);
            check.args(["--no-default-features", "--features", &chosen]);
            call(&mut check)?;
        }
    }
    Ok(Done::Passed)
}

/// Every set of at most `most` features, one or two, and all of them together, as cargo wants to
/// read it. What three do that no two of them do is rare, and the number of sets doubles with each
/// feature.
fn combinations(features: &[&str], most: usize) -> Vec<String> {
    let features: Vec<&str> = features
        .iter()
        .copied()
        .filter(|it| *it != "default")
        .collect();
    let mut sets = vec![String::new()];
    for (index, first) in features.iter().enumerate() {
        sets.push((*first).to_owned());
        let others = features[index + 1..].iter().filter(|_| most > 1);
        sets.extend(others.map(|second| format!("{first},{second}")));
    }
    if features.len() > most {
        sets.push(features.join(","));
    }
    sets
}

fn documentation() -> anyhow::Result<Done> {
    let mut doc = cargo(&["doc", "--workspace", "--no-deps"]);
    call(doc.env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Done::Passed)
}

fn book() -> anyhow::Result<Done> {
    Ok(match book::checked_and_built()? {
        Built::Page(_) => Done::Passed,
        Built::NoTool => {
            Done::Skipped("links and snippets are right; no mdBook to build it".into())
        }
    })
}

fn spill_sort() -> anyhow::Result<Done> {
    let found = executables(&[
        "build",
        "--release",
        "-p",
        FACADE,
        "--example",
        "spill_sort",
    ])?;
    let binary = found.get("spill_sort").context("no spill_sort was built")?;
    for backend in ["swap", "file"] {
        let args = ["--scale", "0.02", "--budget", "4MiB", "--backend", backend];
        call(Command::new(binary).args(args))?;
    }
    Ok(Done::Passed)
}

fn merge() -> anyhow::Result<Done> {
    let found = executables(&["build", "--release", "-p", "pager-bench", "--bins"])?;
    let binary = found.get("merge").context("no merge was built")?;
    for (backend, preset) in [
        ("swap", "seed"),
        ("swap", "fast"),
        ("file", "seed"),
        ("file", "fast"),
        ("none", "seed"),
    ] {
        let args = [
            "--chain-gib",
            "0.03125",
            "--threads",
            "2",
            "--lookahead",
            "4",
            "--verify",
        ];
        let which = ["--json", "--backend", backend, "--preset", preset];
        call(Command::new(binary).args(args).args(which))?;
    }
    Ok(Done::Passed)
}

fn bench_matrix() -> anyhow::Result<Done> {
    let out = tempfile::tempdir()?;
    run_matrix(&matrix::Args::tiny(out.path(), matrix_swap()))
}

fn run_matrix(args: &matrix::Args) -> anyhow::Result<Done> {
    let code = matrix::run(args)?;
    anyhow::ensure!(code == 0, "the matrix ended with code {code}");
    Ok(Done::Passed)
}

/// Swap for a matrix, where it can be had; elsewhere its cells are marked.
fn matrix_swap() -> Option<Size> {
    let size = Size::from_bytes(1 << 30);
    ProvisionedSwap::new(Path::new("/var/tmp"), size)
        .is_ok()
        .then_some(size)
}

/// The tests that only mean something when memory is short.
fn pressure() -> anyhow::Result<Done> {
    let limit = Size::from_bytes(256 << 20);
    let swap = match ProvisionedSwap::new(Path::new("/var/tmp"), Size::from_bytes(4 << 30)) {
        Ok(swap) => swap,
        Err(error) => return Ok(Done::Skipped(error.to_string())),
    };
    if let Err(error) = Cap::new(limit) {
        return Ok(Done::Skipped(error.to_string()));
    }
    for (package, directory, test) in [
        (FACADE, "pager", "pressure"),
        ("pager-swap", "pager-swap", "real_swap"),
    ] {
        // Built outside the cap, which no compiler would fit in.
        let binary = release_test(package, test, &[])?;
        let mut argv = vec![binary.into_os_string()];
        // They are ignored elsewhere, because without a cap they show nothing.
        argv.extend(["--include-ignored", "--nocapture", "--test-threads=1"].map(Into::into));
        let cap = Cap::new(limit)?;
        call(cap.command(&argv).current_dir(root().join(directory)))?;
    }
    // Compares what is counted with what the process holds, without a cap.
    let binary = release_test(FACADE, "held", &[])?;
    call(Command::new(binary).args(["on_swap", "--nocapture", "--test-threads=1"]))?;
    drop(swap);
    // Makes a cgroup of its own, for two processes.
    let binary = release_test(FACADE, "neighbour", &["--features", "pressure"])?;
    call(Command::new(binary).args(["--nocapture", "--test-threads=1"]))?;
    Ok(Done::Passed)
}

/// Builds a test, and says where it is.
fn release_test(package: &str, test: &str, more: &[&str]) -> anyhow::Result<PathBuf> {
    let args = [
        "test",
        "--release",
        "--no-run",
        "-p",
        package,
        "--test",
        test,
    ];
    let mut found = executables(&[&args, more].concat())?;
    found.remove(test).context("no test was built")
}

/// The model checker on what can race, with at most so many schedules for a scene.
fn races(schedules: Option<&str>) -> anyhow::Result<Done> {
    const SCENES: [&[&str]; 2] = [
        &["-p", "pager-core", "--lib", "interleavings"],
        &["-p", "pager", "--test", "interleavings"],
    ];
    for scenes in SCENES {
        let mut test = cargo(&["test", "--release", "--manifest-path", "races/Cargo.toml"]);
        test.args(scenes).args(["--", "--nocapture"]);
        // Beside what users build, and not among it.
        test.env("CARGO_TARGET_DIR", target_directory()?.join("races"));
        if let Some(schedules) = schedules {
            // So few that a quick build pays off more than a quick run.
            test.env("PAGER_SCHEDULES", schedules);
            test.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
        }
        call(&mut test)?;
    }
    Ok(Done::Passed)
}

#[cfg(test)]
mod tests {
    use super::combinations;

    #[test]
    fn features_are_combined_by_two_and_all_together() {
        assert_eq!(combinations(&["default"], 2), [""]);
        assert_eq!(
            combinations(&["a", "b", "default"], 2),
            ["", "a", "a,b", "b"]
        );
        let three = ["", "a", "a,b", "a,c", "b", "b,c", "c", "a,b,c"];
        assert_eq!(combinations(&["a", "b", "c"], 2), three);
        assert_eq!(combinations(&["a", "b"], 1), ["", "a", "b", "a,b"]);
        assert_eq!(combinations(&["a"], 1), ["", "a"]);
    }
}
