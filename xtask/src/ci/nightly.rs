//! The steps of `cargo xtask ci` that need a nightly compiler: fuzzing, sanitizers, Miri.
//!
//! Guarantees that each builds in a directory of its own, so that no other build is disturbed, and
//! that what a fuzzer writes is removed, except an input that failed. Refuses to install anything:
//! what is missing skips the step, with its reason.

use super::{Done, call, succeeds};
use crate::cargo::{FACADE, cargo, executables_of, root, target_directory};
use anyhow::Context;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// The package of the fuzz targets, which builds the stress test of the facade as well, without
/// what its other tests depend on.
const CHECKS_MANIFEST: &str = "pager/fuzz/Cargo.toml";

/// The stress test that a sanitizer is most likely to learn from: every thread, both backends.
pub(super) const STRESS: [&[&str]; 1] = [&["--manifest-path", CHECKS_MANIFEST, "--test", "stress"]];

/// What runs many threads, or random operations with threads in the background.
pub(super) const CONCURRENT: [&[&str]; 4] = [
    &["--manifest-path", CHECKS_MANIFEST, "--test", "stress"],
    &["-p", "pager-core", "--lib", "--test", "budget"],
    &["-p", FACADE, "--test", "model", "--test", "fuzz_corpus"],
    &["-p", "pager-bench", "--test", "soak"],
];

/// Tests see the clock and the files of the machine.
const ISOLATION: &str = "-Zmiri-disable-isolation";

/// What Miri runs in minutes: the modules that hold the `unsafe`.
const MIRI_CORE: [&[&str]; 2] = [
    &["-p", "pager-core", "--lib", "--test", "allocations"],
    &["-p", "pager-swap", "--lib"],
];

/// What Miri can run at all: conformance, models and mutants take it far longer. Of the file
/// backend what makes no system call.
const MIRI_ALL: [&[&str]; 4] = [
    &["-p", "pager-core"],
    &["-p", "pager-testkit"],
    &["-p", "pager-swap"],
    &[
        "-p",
        "pager-file",
        "--lib",
        "--",
        "segment::allocator",
        "segment::holes",
        "segment::checksums",
        "segment::transfer",
        "quota::tests",
    ],
];

const FUZZ_TARGETS: [&str; 4] = ["operations", "ranges", "failures", "codec"];

/// What `cargo fuzz build` would say: edge counters and comparisons for the fuzzer, and
/// AddressSanitizer with its search for leaks.
const FUZZ_FLAGS: &str = "--cfg fuzzing -Zsanitizer=address -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Fuzzes each target for so many seconds, beginning with the committed corpus.
pub(super) fn fuzz(seconds: u32) -> anyhow::Result<Done> {
    if !succeeds(&mut cargo(&["+nightly", "--version"])) {
        return Ok(skipped(
            "no nightly compiler: rustup toolchain install nightly",
        ));
    }
    if !succeeds(Command::new("c++").arg("--version")) {
        return Ok(skipped("no C++ compiler, which libFuzzer is built with"));
    }
    let directory = target_directory()?.join("fuzz");
    let mut build = cargo(&["+nightly", "build", "--release", "--bins"]);
    build.args(["--manifest-path", CHECKS_MANIFEST, "--target", &triple()]);
    build.env("RUSTFLAGS", FUZZ_FLAGS);
    build.env("CARGO_TARGET_DIR", &directory);
    // What is fuzzed moves memory and takes locks: optimising more costs more than it brings.
    build.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
    let found = executables_of(&mut build)?;
    let artifacts = directory.join("artifacts");
    fs::create_dir_all(&artifacts)?;
    for target in FUZZ_TARGETS {
        let binary = found.get(target).context("a fuzz target was not built")?;
        fuzz_one(target, binary, &artifacts, seconds)?;
    }
    Ok(Done::Passed)
}

fn fuzz_one(target: &str, binary: &Path, artifacts: &Path, seconds: u32) -> anyhow::Result<()> {
    // Scratch files, and inputs that reach something new, go with it; an input that fails stays.
    let scratch = tempfile::tempdir()?;
    let found = scratch.path().join("found");
    fs::create_dir(&found)?;
    let mut run = Command::new(binary);
    run.arg(format!("-max_total_time={seconds}"));
    run.arg(format!(
        "-artifact_prefix={}/{target}-",
        artifacts.display()
    ));
    // Inputs of any length from the start: short ones make no sequences.
    run.args(["-max_len=400", "-len_control=0", "-timeout=60"]);
    run.args(["-verbosity=0", "-print_final_stats=1"]);
    run.arg(&found)
        .arg(root().join("pager/fuzz/corpus").join(target));
    call(run.env("TMPDIR", scratch.path()))
}

/// Runs tests under a sanitizer, `thread` or `address`, with the standard library built alike.
pub(super) fn sanitize(sanitizer: &str, selections: &[&[&str]]) -> anyhow::Result<Done> {
    if let Some(missing) = missing_source() {
        return Ok(missing);
    }
    for selection in selections {
        let mut test = cargo(&["+nightly", "test", "-Zbuild-std"]);
        test.args(["--target", &triple()]).args(*selection);
        test.env("RUSTFLAGS", format!("-Zsanitizer={sanitizer}"));
        let directory = target_directory()?.join("sanitizers").join(sanitizer);
        test.env("CARGO_TARGET_DIR", directory);
        // Instrumented code without any optimisation meets few interleavings in its time.
        test.env("CARGO_PROFILE_DEV_OPT_LEVEL", "1");
        test.env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only");
        test.env("TSAN_OPTIONS", "halt_on_error=1");
        test.env("ASAN_OPTIONS", "detect_leaks=1");
        call(&mut test)?;
    }
    Ok(Done::Passed)
}

pub(super) fn miri_core() -> anyhow::Result<Done> {
    miri(ISOLATION, &MIRI_CORE)
}

pub(super) fn miri_schedules() -> anyhow::Result<Done> {
    miri(&format!("{ISOLATION} -Zmiri-many-seeds=0..4"), &MIRI_CORE)
}

pub(super) fn miri_all() -> anyhow::Result<Done> {
    miri(ISOLATION, &MIRI_ALL)
}

fn miri(flags: &str, selections: &[&[&str]]) -> anyhow::Result<Done> {
    if !succeeds(&mut cargo(&["+nightly", "miri", "--version"])) {
        return Ok(skipped(
            "no Miri: rustup +nightly component add miri rust-src",
        ));
    }
    for selection in selections {
        let mut test = cargo(&["+nightly", "miri", "test"]);
        test.args(*selection).env("MIRIFLAGS", flags);
        // Property tests under an interpreter: few cases, the many are the native tests' part.
        call(test.env("PROPTEST_CASES", "4"))?;
    }
    Ok(Done::Passed)
}

/// Why the standard library cannot be built here, if it cannot.
fn missing_source() -> Option<Done> {
    let asked = Command::new("rustc")
        .args(["+nightly", "--print", "sysroot"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let sysroot = asked.ok().filter(|asked| asked.status.success());
    let is_there = sysroot.is_some_and(|asked| {
        let sysroot = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
        Path::new(&sysroot)
            .join("lib/rustlib/src/rust/library/Cargo.lock")
            .is_file()
    });
    (!is_there).then(|| skipped("no library source: rustup +nightly component add rust-src"))
}

/// The host's target triple; sanitizers need it named, lest build scripts be instrumented.
fn triple() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

fn skipped(why: &str) -> Done {
    Done::Skipped(why.to_owned())
}
