//! What pager is for, on the real thing: more data than memory, and processes
//! that die.
//!
//! The tests of pressure need a memory cap and swap, and are therefore ignored by
//! default. `with-memory` provides both:
//!
//! ```text
//! cargo test -p pager-out-of-core --test pressure --no-run     # prints the path of the binary
//! cargo xtask with-memory 256MiB --swap 4GiB -- BINARY --ignored --nocapture
//! ```
//!
//! Without a cap or without swap they say so and pass. Each runs its payload in a
//! child process, so that the memory measured is the payload's alone.

#![cfg(all(target_os = "linux", feature = "swap", feature = "file"))]
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use common::words;
use pager::pager_core::Registry;
use pager::{BackendKind, Handle, Pager, Preset, SeedAdvice, SwapBackend, SwapMode};
use rstest::rstest;

const PAYLOAD_COUNT: u64 = 512;
const PAYLOAD_WORDS: usize = 1 << 18;
const DATA_BYTES: u64 = PAYLOAD_COUNT * (PAYLOAD_WORDS as u64) * 8;

/// Tells a child what to do.
const ROLE: &str = "PAGER_PRESSURE_ROLE";
/// Tells a child where its scratch root is.
const ROOT: &str = "PAGER_PRESSURE_ROOT";
/// Precedes what a child tells.
const MARK: &str = "child says: ";

#[test]
#[ignore = "needs a memory cap and swap: see the head of this file"]
fn a_gibibyte_comes_back_from_the_swap_arena() {
    comes_back_in_less_memory("swap-fast");
}

#[test]
#[ignore = "needs a memory cap and swap: see the head of this file"]
fn a_gibibyte_of_the_callers_own_vecs_comes_back_from_swap() {
    comes_back_in_less_memory("swap-seed-pageout");
}

#[test]
#[ignore = "needs a memory cap and swap: see the head of this file"]
fn a_gibibyte_comes_back_from_segment_files() {
    comes_back_in_less_memory("file-fast");
}

#[test]
#[ignore = "needs a memory cap and swap: see the head of this file"]
fn a_gibibyte_comes_back_from_a_file_per_handle() {
    comes_back_in_less_memory("file-seed");
}

#[test]
#[ignore = "needs a memory cap and swap: see the head of this file"]
fn a_gibibyte_comes_back_though_the_backend_flips_mid_way() {
    comes_back_in_less_memory("flip");
}

/// Runs 1 GiB through `role` in a child, and the same data left alone in another.
fn comes_back_in_less_memory(role: &str) {
    let cap_bytes = match cap_with_swap() {
        Ok(cap_bytes) => cap_bytes,
        Err(why) => {
            eprintln!("skipped: {why}");
            return;
        }
    };
    // One payload at a time: they share the cap.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    static LEFT_ALONE: OnceLock<Peak> = OnceLock::new();
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let left_alone = *LEFT_ALONE.get_or_init(|| Peak::of_child("left-alone"));
    let paged = Peak::of_child(role);
    eprintln!(
        "{role}: peak RSS {} MiB, anonymous {} MiB; left alone: {} MiB, {} MiB; cap {} MiB",
        paged.rss_bytes >> 20,
        paged.anonymous_bytes >> 20,
        left_alone.rss_bytes >> 20,
        left_alone.anonymous_bytes >> 20,
        cap_bytes >> 20
    );
    assert!(paged.anonymous_bytes < cap_bytes);
    assert!(paged.rss_bytes < left_alone.rss_bytes);
}

#[rstest]
fn a_killed_process_leaves_only_what_the_next_start_reaps(
    #[values("fast", "seed")] preset: &'static str,
) {
    let root = tempfile::tempdir().unwrap();
    let mut victim = Writer::start(root.path(), preset);
    let mut survivor = Writer::start(root.path(), preset);
    assert!(victim.directory.is_dir() && survivor.directory.is_dir());
    assert_ne!(victim.directory, survivor.directory);

    // SIGKILL, while it writes: a writer never stops before it is told to.
    victim.process.kill().unwrap();
    victim.process.wait().unwrap();
    assert!(victim.directory.is_dir(), "a killed process cannot tidy up");

    let next = Pager::builder()
        .scratch_dir(root.path())
        .allow_memory_fs(true)
        .build()
        .unwrap();
    assert!(!victim.directory.exists(), "the dead one's is gone");
    assert!(survivor.directory.is_dir(), "the live one's is not");
    assert!(next.scratch_dir().unwrap().is_dir());

    assert_eq!(survivor.finish(), "all there");
    assert!(!survivor.directory.exists(), "an orderly end tidies up");
}

/// Not a test: what the tests above start. Does nothing when it is not told to.
#[test]
#[ignore = "started by the other tests"]
fn child() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    match role.as_str() {
        "left-alone" => leave_alone(),
        "swap-fast" => through_pager(&pager(BackendKind::Swap, Preset::Fast), false),
        "swap-seed-pageout" => through_seed_pageout(),
        "file-fast" => through_pager(&pager(BackendKind::File, Preset::Fast), false),
        "file-seed" => through_pager(&pager(BackendKind::File, Preset::Seed), false),
        "flip" => through_pager(&pager(BackendKind::Swap, Preset::Fast), true),
        "write-fast" => write_until_told(Preset::Fast),
        "write-seed" => write_until_told(Preset::Seed),
        other => panic!("no such role: {other}"),
    }
}

fn pager(kind: BackendKind, preset: Preset) -> Pager {
    Pager::builder()
        .backend(kind)
        .preset(preset)
        .build()
        .unwrap()
}

/// The payload without pager: everything stays in plain `Vec`s. It need not be
/// read back, fault by fault: the peak is reached on the way out.
fn leave_alone() {
    let mut anonymous = Anonymous::default();
    let mut kept = Vec::new();
    for number in 0..PAYLOAD_COUNT {
        kept.push(words(number, PAYLOAD_WORDS));
        anonymous.measure();
    }
    assert_eq!(std::hint::black_box(kept).len() as u64, PAYLOAD_COUNT);
    anonymous.tell();
}

fn through_pager(pager: &Pager, flip: bool) {
    round_trip(
        |number, words| {
            if flip {
                let kind = BackendKind::ALL[usize::from(number / 16 % 2 == 1)];
                pager.set_backend(kind).unwrap();
            }
            pager.pageout(&mut [words]).unwrap()
        },
        |handle, taken| pager.take(handle, taken).unwrap(),
    );
    let stats = pager.stats();
    let used = |kind| stats.of(kind).is_some_and(|stats| stats.takes > 0);
    assert!(!flip || (used(BackendKind::Swap) && used(BackendKind::File)));
}

fn through_seed_pageout() {
    let mode = SwapMode::Seed(SeedAdvice::PageOut);
    let registry = Registry::new(SwapBackend::builder().mode(mode).build());
    round_trip(
        |_, words| registry.pageout(&mut [words]).unwrap(),
        |handle, taken| registry.take(handle, taken).unwrap(),
    );
}

/// Sends every payload away, brings every one back, compares every word, and tells
/// how much memory that took.
fn round_trip<T>(mut away: impl FnMut(u64, Vec<u64>) -> T, mut back: impl FnMut(T, &mut Vec<u64>)) {
    let mut anonymous = Anonymous::default();
    let mut kept = Vec::new();
    for number in 0..PAYLOAD_COUNT {
        kept.push(away(number, words(number, PAYLOAD_WORDS)));
        anonymous.measure();
    }
    let mut taken = Vec::new();
    for (number, payload) in (0..).zip(kept) {
        back(payload, &mut taken);
        anonymous.measure();
        assert!(
            taken == words(number, PAYLOAD_WORDS),
            "payload {number} is not what it was"
        );
    }
    anonymous.tell();
}

/// The most anonymous memory seen so far.
#[derive(Default)]
struct Anonymous {
    peak_bytes: u64,
}

impl Anonymous {
    fn measure(&mut self) {
        self.peak_bytes = self.peak_bytes.max(status_bytes("RssAnon:"));
    }

    /// Tells the parent, together with the peak of all memory.
    fn tell(&self) {
        println!("\n{MARK}{} {}", status_bytes("VmHWM:"), self.peak_bytes);
    }
}

/// A figure of `/proc/self/status`.
fn status_bytes(key: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    kib_bytes(&status, key).expect("a line of /proc/self/status")
}

/// The figure behind `key`, in a file that counts in kibibytes.
fn kib_bytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib << 10)
}

/// Pages out without end; when its input ends, verifies what it holds and goes.
fn write_until_told(preset: Preset) {
    let pager = Pager::builder()
        .backend(BackendKind::File)
        .preset(preset)
        .scratch_dir(std::env::var_os(ROOT).unwrap())
        .allow_memory_fs(true)
        .build()
        .unwrap();
    let told = std::thread::spawn(|| std::io::stdin().read_to_end(&mut Vec::new()).unwrap());
    let mut kept: Vec<Option<Handle>> = (0..16).map(|_| None).collect();
    for round in 0.. {
        for (seed, place) in (0..).zip(&mut kept) {
            *place = Some(pager.pageout(&mut [words(seed, 1 << 14)]).unwrap());
        }
        if round == 0 {
            println!("\n{MARK}{}", pager.scratch_dir().unwrap().display());
        }
        if told.is_finished() {
            break;
        }
    }
    let mut taken = Vec::new();
    for (seed, handle) in (0..).zip(kept.into_iter().flatten()) {
        pager.take(handle, &mut taken).unwrap();
        assert_eq!(taken, words(seed, 1 << 14));
    }
    drop(pager);
    println!("\n{MARK}all there");
}

/// The most memory that a child had at once.
#[derive(Debug, Clone, Copy)]
struct Peak {
    rss_bytes: u64,
    anonymous_bytes: u64,
}

impl Peak {
    fn of_child(role: &str) -> Self {
        let mut process = start_child(role, None);
        drop(process.stdin.take());
        let mut told = BufReader::new(process.stdout.take().unwrap());
        let figures = next_word(&mut told).unwrap_or_default();
        let status = process.wait().unwrap();
        assert!(status.success(), "child {role}: {status}");
        let (rss, anonymous) = figures.split_once(' ').unwrap();
        Self {
            rss_bytes: rss.parse().unwrap(),
            anonymous_bytes: anonymous.parse().unwrap(),
        }
    }
}

/// A child that pages out to files and has begun to.
struct Writer {
    process: Child,
    told: BufReader<std::process::ChildStdout>,
    directory: PathBuf,
}

impl Writer {
    fn start(root: &Path, preset: &str) -> Self {
        let mut process = start_child(&format!("write-{preset}"), Some(root));
        let mut told = BufReader::new(process.stdout.take().unwrap());
        let directory = next_word(&mut told).expect("a writer names its directory");
        Self {
            process,
            told,
            directory: PathBuf::from(directory),
        }
    }

    /// Lets the child come to its end, and returns its last word.
    fn finish(&mut self) -> String {
        drop(self.process.stdin.take());
        let last = next_word(&mut self.told).unwrap_or_default();
        let mut rest = String::new();
        self.told.read_to_string(&mut rest).unwrap();
        assert!(self.process.wait().unwrap().success(), "{rest}");
        last
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Both fail for a child that has ended, and that is well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn start_child(role: &str, root: Option<&Path>) -> Child {
    std::io::stderr().flush().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env(ROLE, role)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    if let Some(root) = root {
        command.env(ROOT, root);
    }
    command.spawn().unwrap()
}

/// What the child says next, past what the test harness says in between.
fn next_word(told: &mut impl BufRead) -> Option<String> {
    told.lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix(MARK).map(str::to_owned))
}

/// The memory cap of this process, if it is far below the data, and if there is
/// swap for the rest.
fn cap_with_swap() -> Result<u64, String> {
    let cap_bytes = memory_cap_bytes().ok_or("no memory cap: run under `with-memory 256MiB`")?;
    if cap_bytes > DATA_BYTES / 2 {
        return Err(format!(
            "a memory cap of {} MiB is not below the {} MiB of data",
            cap_bytes >> 20,
            DATA_BYTES >> 20
        ));
    }
    let memory = fs::read_to_string("/proc/meminfo").map_err(|error| error.to_string())?;
    match kib_bytes(&memory, "SwapTotal:") {
        Some(swap_bytes) if swap_bytes >= 2 * DATA_BYTES => Ok(cap_bytes),
        swap_bytes => Err(format!(
            "{} MiB of swap: run under `with-memory 256MiB --swap 4GiB`",
            swap_bytes.unwrap_or(0) >> 20
        )),
    }
}

/// The smallest limit between the memory cgroup of this process and the root, of
/// either version.
fn memory_cap_bytes() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    own.lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let (file, is_mount): (_, fn(&str) -> bool) = match controllers {
                "" => ("memory.max", |mount| mount.contains(" - cgroup2 ")),
                names if names.split(',').any(|name| name == "memory") => {
                    ("memory.limit_in_bytes", is_memory_v1)
                }
                _ => return None,
            };
            let mount = mounts.lines().find(|line| is_mount(line))?;
            let (root, point) = (mount.split(' ').nth(3)?, mount.split(' ').nth(4)?);
            let below = Path::new(path).strip_prefix(root).ok()?;
            smallest_limit(Path::new(point), below, file)
        })
        .min()
}

fn is_memory_v1(mount: &str) -> bool {
    mount
        .split_once(" - cgroup ")
        .is_some_and(|(_, rest)| rest.split([' ', ',']).any(|option| option == "memory"))
}

fn smallest_limit(mount: &Path, below: &Path, file: &str) -> Option<u64> {
    below
        .ancestors()
        .filter_map(|group| {
            let text = fs::read_to_string(mount.join(group).join(file)).ok()?;
            text.trim().parse::<u64>().ok()
        })
        .min()
}
