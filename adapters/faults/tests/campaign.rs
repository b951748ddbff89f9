//! Dataflows of both engines with injected faults, and with one of two processes killed: no run
//! gives wrong data or hangs, and none leaves a handle or a file.

use std::fmt;
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use pager::{BackendKind, Pager};

/// How long a run may take before it hangs.
const AT_MOST: Duration = Duration::from_secs(120);

/// How many runs ended how.
#[derive(Debug, Default)]
struct Tally {
    /// Processes that a fault struck.
    struck: u32,
    whole: u32,
    told: u32,
    killed: u32,
    /// Ended by the engine's own second panic, having said why.
    aborted: u32,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} whole, {} told, {} with a process killed, {} aborted having said why; \
             faults struck in {} processes",
            self.whole, self.told, self.killed, self.aborted, self.struck
        )
    }
}

/// What a process has said, and how it ended.
struct Ended {
    status: ExitStatus,
    said: String,
    complained: String,
}

impl Ended {
    /// What it said last: the engine talks too.
    fn last(&self) -> &str {
        self.said.trim_end().lines().last().unwrap_or_default()
    }

    fn is_whole(&self) -> bool {
        self.status.success() && self.last() == "whole"
    }

    fn is_told(&self) -> bool {
        self.status.success() && self.last().starts_with("told: ")
    }

    /// Whether a fault struck it.
    fn is_struck(&self) -> bool {
        let mut lines = self.said.lines();
        lines.any(|line| line.starts_with("struck ") && line != "struck 0")
    }

    /// The store's interface has no way to fail but by a panic, and the engine loads more
    /// while the worker unwinds.
    fn is_abort(&self) -> bool {
        self.status.code().is_none()
            && self
                .complained
                .contains("a spilled chunk could not be loaded")
    }
}

fn start(what: &str, seed: u64, scratch: &Path, more: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_one-run"))
        .args([what, "--seed", &seed.to_string()])
        .arg("--scratch")
        .arg(scratch)
        .args(more)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it was built")
}

/// Waits for the end of a process, which must come.
fn end(mut child: Child, about: &str) -> Ended {
    fn all(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
            read.transpose().expect("a pipe can be read");
            String::from_utf8_lossy(&bytes).into_owned()
        })
    }
    let (said, complained) = (all(child.stdout.take()), all(child.stderr.take()));
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is ours") {
            break status;
        }
        if begun.elapsed() > AT_MOST {
            // Nothing is left running.
            let _ = child.kill();
            let _ = child.wait();
            panic!("{about} hangs");
        }
        thread::sleep(Duration::from_millis(2));
    };
    Ended {
        status,
        said: said.join().expect("no panic"),
        complained: complained.join().expect("no panic"),
    }
}

/// One process, with the faults of the seed.
fn alone(what: &str, seed: u64, scratch: &Path, tally: &mut Tally) {
    let about = format!("{what} {seed} {:?}", faults::by_seed(seed));
    let ended = end(start(what, seed, scratch, &[]), &about);
    tally.struck += u32::from(ended.is_struck());
    if ended.is_whole() {
        tally.whole += 1;
    } else if ended.is_told() {
        tally.told += 1;
    } else {
        let is_excused = what == "stored" && ended.is_abort();
        let Ended {
            said, complained, ..
        } = &ended;
        assert!(is_excused, "{about}: {}, {said}{complained}", ended.status);
        tally.aborted += 1;
    }
}

/// Two processes on loopback, with faults in the first, or of which one is killed.
fn pair(seed: u64, is_kill: bool, scratch: &Path, tally: &mut Tally) {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let addresses = listeners.map(|it| it.local_addr().expect("it is bound").to_string());
    let addresses = addresses.join(",");
    let marks = tempfile::tempdir_in("/var/tmp").expect("a directory");
    let directory = marks.path().to_string_lossy();
    let about = format!(
        "exchange {seed} {:?}, killed: {is_kill}",
        faults::by_seed(seed)
    );
    let process = |number: &str| {
        let mut more = vec!["--process", number, "--addresses", &addresses];
        more.extend(["--marks", &directory]);
        if is_kill || number == "1" {
            more.push("--calm");
        }
        start("exchange", seed, scratch, &more)
    };
    let mut processes = ["0", "1"].map(process);
    let begun = Instant::now();
    while marks.path().read_dir().expect("it is there").count() < 2 {
        assert!(begun.elapsed() < AT_MOST, "{about} does not begin");
        thread::sleep(Duration::from_millis(1));
    }
    let victim = is_kill.then_some(usize::from(seed % 8 == 3));
    if let Some(victim) = victim {
        // Anywhere in the work of both.
        thread::sleep(Duration::from_millis(seed * 37 % 500));
        processes[victim].kill().expect("it is ours");
    }
    let mut told = 0;
    for (number, ended) in processes.map(|child| end(child, &about)).iter().enumerate() {
        // A panic of the engine's threads for sockets ends a process without a word of ours.
        let is_failure = ended.last() != "whole" && !ended.complained.contains("wrong");
        let is_right = ended.is_whole() || victim == Some(number) || is_failure;
        let Ended {
            status,
            said,
            complained,
        } = ended;
        assert!(
            is_right,
            "{about}: process {number}: {status}, {said}{complained}"
        );
        assert!(!complained.contains("are left"), "{about}: {complained}");
        told += u32::from(!ended.is_whole());
        tally.struck += u32::from(ended.is_struck());
    }
    if is_kill {
        tally.killed += 1;
    } else if told == 0 {
        tally.whole += 1;
    } else {
        tally.told += 1;
    }
}

/// As many runs, of every kind in turn; what is on the scratch root after each is removed by
/// the next pager there, all of it.
fn campaign(runs: std::ops::Range<u64>) -> Tally {
    let mut tally = Tally::default();
    for seed in runs {
        let scratch = tempfile::tempdir_in("/var/tmp").expect("a directory");
        match seed % 4 {
            0 => alone("chunks", seed, scratch.path(), &mut tally),
            1 => alone("stored", seed, scratch.path(), &mut tally),
            2 => pair(seed, false, scratch.path(), &mut tally),
            _ => pair(seed, true, scratch.path(), &mut tally),
        }
        let builder = Pager::builder().backend(BackendKind::File);
        drop(
            builder
                .scratch_dir(scratch.path())
                .build()
                .expect("a pager"),
        );
        let left = scratch.path().read_dir().expect("it is there").count();
        assert_eq!(left, 0, "run {seed}: something is left");
    }
    println!("{tally}");
    tally
}

#[test]
fn a_few_runs_give_no_wrong_data_and_leave_nothing() {
    campaign(0..8);
}

#[test]
#[ignore = "takes minutes"]
fn two_hundred_runs_give_no_wrong_data_and_leave_nothing() {
    let tally = campaign(0..200);
    assert!(tally.told > 0 && tally.whole > 0, "{tally}");
}
