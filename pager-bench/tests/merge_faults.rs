//! The merge program, run as a user runs it, while `strace` lets one of its system
//! calls fail.
//!
//! It may end in two ways: with every word verified, or with one sentence about what
//! failed and exit code 1. No panic, no signal, no hang, and nothing is left in the
//! scratch root once the next process has opened it.
//!
//! Needs `strace` and the right to trace; without, it says so and passes.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pager::Pager;
use tempfile::TempDir;

/// Calls of pager; of `mmap` and `madvise`, those that it alone makes.
const CALLS: [&str; 20] = [
    "mmap",
    "madvise",
    "openat",
    "mkdirat",
    "getdents64",
    "flock",
    "renameat",
    "unlinkat",
    "fstat",
    "newfstatat",
    "statx",
    "fstatfs",
    "fcntl",
    "fallocate",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "pread64",
    "fadvise64",
    "close",
];

/// What happens to a call, and how the program may put it; a transfer may also move
/// nothing.
const MISHAPS: [(&str, &str); 5] = [
    ("error=EIO", "os error 5"),
    ("error=ENOSPC", "os error 28"),
    ("error=EINTR", "os error 4"),
    ("error=EAGAIN", "os error 11"),
    ("error=ENOMEM", "os error 12"),
];
const NOTHING_MOVED: (&str, &str) = ("retval=0", "file: ");

/// How long a run may take: twenty times what it does.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs at a time.
const AT_A_TIME: usize = 3;

/// What is run.
#[derive(Debug, Clone, Copy)]
struct Setup {
    backend: &'static str,
    preset: &'static str,
    budget: &'static str,
}

const SETUPS: [Setup; 6] = [
    setup("file", "fast", "0"),
    setup("file", "fast", "4MiB"),
    setup("file", "seed", "0"),
    setup("swap", "fast", "0"),
    setup("swap", "fast", "4MiB"),
    setup("swap", "seed", "4MiB"),
];

const fn setup(backend: &'static str, preset: &'static str, budget: &'static str) -> Setup {
    Setup {
        backend,
        preset,
        budget,
    }
}

/// One call of one thread, or of each thread that makes so many, and its mishap.
#[derive(Debug, Clone, Copy)]
struct Fault {
    setup: Setup,
    call: &'static str,
    mishap: (&'static str, &'static str),
    when: usize,
}

#[test]
fn merge_verifies_or_says_what_failed() {
    // One occurrence of every call in every setup, of those that move payloads one
    // for each mishap; mishaps and occurrences take turns.
    tried(|setup, counted| {
        let mut spread = Vec::new();
        for (turn, (&call, places)) in counted.iter().enumerate() {
            let mishaps = mishaps(call);
            let count = match call {
                "fallocate" | "madvise" | "pread64" | "pwritev" | "pwritev2" => mishaps.len(),
                _ => 1,
            };
            spread.extend((turn..turn + count).map(|turn| Fault {
                setup,
                call,
                mishap: mishaps[turn % mishaps.len()],
                when: places[turn * 7 % places.len()],
            }));
        }
        spread
    });
}

#[test]
#[ignore = "takes ten minutes: every occurrence of every call with every error"]
fn merge_verifies_or_says_what_failed_at_every_occurrence() {
    tried(|setup, counted| {
        let mut all = Vec::new();
        for (&call, places) in counted {
            for &when in places {
                all.extend(mishaps(call).into_iter().map(|mishap| Fault {
                    setup,
                    call,
                    mishap,
                    when,
                }));
            }
        }
        all
    });
}

fn mishaps(call: &str) -> Vec<(&'static str, &'static str)> {
    let moves = call.starts_with("pread") || call.starts_with("pwrite");
    let nothing_moved = moves.then_some(NOTHING_MOVED);
    MISHAPS.into_iter().chain(nothing_moved).collect()
}

/// Where pager makes each call: the numbers that the call has on its thread.
type Places = BTreeMap<&'static str, Vec<usize>>;

/// Tries all faults that `plan` asks for, and prints how they ended.
fn tried(plan: impl Fn(Setup, &Places) -> Vec<Fault>) {
    if let Err(why) = can_trace() {
        println!("skipped: {why}");
        return;
    }
    let mut faults = Vec::new();
    for setup in SETUPS {
        let places = places(setup);
        assert!(places.contains_key("mkdirat"), "{setup:?}: {places:?}");
        faults.extend(plan(setup, &places));
    }
    let (next, ends) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            // Relaxed: the numbers need only differ.
            let mine = || faults.get(next.fetch_add(1, Ordering::Relaxed));
            let ends = &ends;
            scope.spawn(move || {
                while let Some(fault) = mine() {
                    let end = run_with(fault).map_err(|why| format!("{fault:?}: {why}"));
                    ends.lock().unwrap().push((*fault, end));
                }
            });
        }
    });
    let ends = ends.into_inner().unwrap();
    let mut table: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
    for (fault, end) in &ends {
        let (verified, told) = table.entry((fault.setup.backend, fault.call)).or_default();
        match end {
            Ok(End::Verified) => *verified += 1,
            Ok(End::Told) => *told += 1,
            Err(_) => {}
        }
    }
    println!("{} faults; verified, told: {table:?}", ends.len());
    let failures: Vec<String> = ends.into_iter().filter_map(|(_, end)| end.err()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn can_trace() -> Result<(), String> {
    let args = ["-qq", "-e", "trace=none", "true"];
    match Command::new("strace").args(args).output() {
        Err(_) => Err("no strace".to_owned()),
        Ok(output) if !output.status.success() => Err("strace may not trace".to_owned()),
        Ok(_) => Ok(()),
    }
}

/// `merge` under `strace`, with the calls that are traced and what is injected.
fn merge(setup: Setup, root: &Path, calls: &str, injected: &[&str]) -> Command {
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "--seccomp-bpf"])
        .args(["-e", &format!("trace={calls}")])
        .args(injected)
        .arg("-o")
        .arg(root.join("trace"))
        // No other program is started that would be traced as well.
        .args(["-E", "PATH=", env!("CARGO_BIN_EXE_merge")])
        .args(["--backend", setup.backend, "--preset", setup.preset])
        .args(["--budget", setup.budget, "--lookahead", "1"])
        .args(["--chain-gib", "0.003", "--verify", "--json", "--scratch"])
        .arg(root.join("scratch"))
        .stdin(Stdio::null());
    command
}

/// A run without a fault, and which calls of it are pager's.
fn places(setup: Setup) -> Places {
    let root = root();
    let output = merge(setup, root.path(), &CALLS.join(","), &[]).output();
    let output = output.unwrap();
    assert_eq!(
        end(&output),
        Ok(End::Verified),
        "{setup:?}, without a fault"
    );
    let trace = std::fs::read_to_string(root.path().join("trace")).unwrap();
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let (mut places, mut others) = (Places::new(), Places::new());
    let mut begun = false;
    for line in trace.lines() {
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        let Some((name, arguments)) = rest.split_once('(') else {
            continue;
        };
        let Some(call) = CALLS.into_iter().find(|call| *call == name) else {
            continue;
        };
        let count = counts.entry((thread, call)).or_default();
        *count += 1;
        // The loader and the runtime come first; the page table is what the pager
        // opens before all else.
        begun |= arguments.contains("pagemap") || arguments.contains("/scratch\"");
        let whose = match begun && is_pagers(call, arguments) {
            true => &mut places,
            false => &mut others,
        };
        whose.entry(call).or_default().push(*count);
    }
    // A fault strikes the call of that number on every thread, so also those that
    // the loader makes.
    for (call, numbers) in &mut places {
        let others = others.get(call).map_or(&[][..], |others| others);
        numbers.retain(|number| !others.contains(number));
        numbers.sort_unstable();
        numbers.dedup();
    }
    places.retain(|_, numbers| !numbers.is_empty());
    places
}

/// Whether a call that was made after the pager was begun is its own, and not that
/// of the allocator or of the program.
fn is_pagers(call: &str, arguments: &str) -> bool {
    match call {
        // The allocator aborts where it gets no memory; pager's mappings are
        // told by a flag.
        "mmap" => arguments.contains("MAP_NORESERVE") && !arguments.contains("PROT_NONE"),
        // The thread library discards stacks.
        "madvise" => !arguments.contains("MADV_DONTNEED"),
        _ => true,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Verified,
    /// It failed, and said why.
    Told,
}

fn run_with(fault: &Fault) -> Result<End, String> {
    let root = root();
    let inject = format!(
        "inject={}:{}:when={}",
        fault.call, fault.mishap.0, fault.when
    );
    let faulty = merge(fault.setup, root.path(), fault.call, &["-e", &inject]);
    let output = output_in_time(faulty)?;
    let ended = end(&output)?;
    let said = String::from_utf8_lossy(&output.stderr);
    let is_of_the_fault = said.contains(fault.mishap.1) || said.contains("no memory for");
    if ended == End::Told && !is_of_the_fault {
        return Err(format!("that is not what failed: {said}"));
    }
    // What is left after a failure goes with the next start.
    let scratch = root.path().join("scratch");
    let next = Pager::builder().scratch_dir(&scratch).build();
    drop(next.map_err(|error| error.to_string())?);
    let left: Vec<_> = std::fs::read_dir(&scratch).unwrap().collect();
    if left.is_empty() {
        Ok(ended)
    } else {
        Err(format!("left after the next start: {left:?}"))
    }
}

/// A scratch directory on a disk, where there is one.
fn root() -> TempDir {
    tempfile::tempdir_in(pager_bench::direct::scratch_or_default(None)).unwrap()
}

/// Runs it to its end, or kills it.
fn output_in_time(mut command: Command) -> Result<Output, String> {
    let since = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // What it prints is less than a pipe holds.
    while child.try_wait().unwrap().is_none() {
        if since.elapsed() > PATIENCE {
            // The traced process is not a child of this one, but ends with its tracer.
            child.kill().unwrap();
            child.wait().unwrap();
            return Err("it does not end".to_owned());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(child.wait_with_output().unwrap())
}

/// How a run ended, if as it may.
fn end(output: &Output) -> Result<End, String> {
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    let panicked = said.contains("panicked at");
    match output.status.code() {
        Some(0) if !panicked && printed.contains("\"verified\":true") => Ok(End::Verified),
        Some(1) if !panicked && said.starts_with("merge: ") => Ok(End::Told),
        code => Err(format!("ended with {code:?}: {said}{printed}")),
    }
}
