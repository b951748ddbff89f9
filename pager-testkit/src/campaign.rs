//! A campaign: the [script](super::scenario) played once for every fault that there
//! can be on a subject, or for a spread of them.
//!
//! The script is first played without a fault, which counts the calls of each
//! kind. Each call then fails with each error and falls short in each way, at every
//! occurrence: once, and from there on for good. What violates a guarantee, panics
//! on whichever thread, or does not end is collected, and the campaign fails with
//! the list.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once, PoisonError, mpsc};
use std::time::Duration;

use super::scenario::{self, Subject};
use super::syscalls::{Call, Errno, Fault, Injection, Mishap, Short};

/// How long a script may take: a hundred times what it does.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many occurrences of a call are tried with how many mishaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Every occurrence with every mishap, once and for good.
    Everything,
    /// So many faults of each kind of call, evenly spread over occurrences and
    /// mishaps, and four times as many of the kinds that payloads depend on.
    AtMost(usize),
}

/// What a campaign has tried, by call and mishap.
#[derive(Debug, Default)]
pub struct Tally(BTreeMap<(Call, &'static str), usize>);

impl Tally {
    /// How many faults struck in all.
    #[must_use]
    pub fn total(&self) -> usize {
        self.0.values().sum()
    }

    /// How many faults of this call struck.
    #[must_use]
    pub fn of(&self, call: Call) -> usize {
        let of_call = self.0.iter().filter(|((other, _), _)| *other == call);
        of_call.map(|(_, count)| count).sum()
    }

    fn count(&mut self, fault: Fault) {
        let kind = match (fault.mishap, fault.for_good) {
            (Mishap::Fails(_), false) => "once",
            (Mishap::Fails(_), true) => "for good",
            (Mishap::Short(_), _) => "short",
        };
        *self.0.entry((fault.call, kind)).or_default() += 1;
    }

    /// One line for people: the calls with their counts, `once+for good+short`.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = String::new();
        for call in Call::ALL.into_iter().filter(|call| self.of(*call) > 0) {
            let count = |kind| self.0.get(&(call, kind)).copied().unwrap_or_default();
            let (once, good, short) = (count("once"), count("for good"), count("short"));
            // A string takes everything that is written to it.
            let _ = write!(line, " {call:?} {once}+{good}+{short}");
        }
        line
    }
}

/// Plays the script on `subject` with every fault that `depth` asks for, and prints
/// how many there were.
///
/// # Panics
///
/// If any of them violates a guarantee; the message lists all that do.
pub fn every_fault<S: Subject>(
    name: &str,
    subject: &S,
    budget_bytes: Option<usize>,
    depth: Depth,
) -> Tally {
    let calm = run(subject, budget_bytes, None);
    assert!(calm.failure.is_none(), "{name}, without a fault: {calm:?}");
    let mut tally = Tally::default();
    let mut failures = Vec::new();
    for fault in plan(&calm.counts, depth) {
        let outcome = run(subject, budget_bytes, Some(fault));
        if outcome.struck > 0 {
            tally.count(fault);
        }
        if let Some(why) = outcome.failure {
            failures.push(format!("{name}, {fault}: {why}"));
        }
    }
    println!("{name}: {} faults,{}", tally.total(), tally.line());
    assert!(
        failures.is_empty(),
        "{} of {} faults:\n{}",
        failures.len(),
        tally.total(),
        failures.join("\n")
    );
    tally
}

/// All faults, for calls that are made so often.
fn plan(counts: &[(Call, usize)], depth: Depth) -> Vec<Fault> {
    let mut faults = Vec::new();
    for &(call, count) in counts {
        let mut kinds: Vec<(Mishap, bool)> = Vec::new();
        for errno in Errno::ALL {
            kinds.push((Mishap::Fails(errno), false));
            // A signal for good is no fault but a loop: calls are repeated.
            if errno != Errno::Interrupted {
                kinds.push((Mishap::Fails(errno), true));
            }
        }
        if call.moves_bytes() {
            kinds.extend(Short::ALL.map(|short| (Mishap::Short(short), false)));
        }
        let all = (1..=count).flat_map(|nth| {
            kinds.iter().map(move |&(mishap, for_good)| Fault {
                call,
                nth,
                mishap,
                for_good,
            })
        });
        match depth {
            Depth::Everything => faults.extend(all),
            Depth::AtMost(most) => {
                let matters = call.moves_bytes() || matches!(call, Call::Madvise | Call::Fallocate);
                let most = if matters { 4 * most } else { most };
                faults.extend(spread(&all.collect::<Vec<_>>(), most));
            }
        }
    }
    faults
}

/// At most `most` of `faults`, evenly spread. The stride has no divisor in common
/// with the number of mishaps to an occurrence, so that all of them have their turn.
fn spread(faults: &[Fault], most: usize) -> Vec<Fault> {
    let mut stride = faults.len().div_ceil(most.max(1)).max(1);
    if stride > 1 {
        // Nine mishaps, or thirteen with the short ones.
        while stride.is_multiple_of(3) || stride.is_multiple_of(13) {
            stride += 1;
        }
    }
    faults.iter().copied().step_by(stride).collect()
}

#[derive(Debug)]
struct Outcome {
    counts: Vec<(Call, usize)>,
    struck: usize,
    failure: Option<String>,
}

/// Plays the script once, on a thread of its own.
fn run<S: Subject>(subject: &S, budget_bytes: Option<usize>, fault: Option<Fault>) -> Outcome {
    let faults: Vec<Fault> = fault.into_iter().collect();
    let injection = Injection::begin(&faults);
    listen_for_panics();
    // Relaxed, here and below: the channel orders what the threads do.
    let panics_before = PANICS.load(Ordering::Relaxed);
    let (done, wait) = mpsc::channel();
    let played = std::thread::scope(|scope| {
        let injection = &injection;
        scope.spawn(move || {
            let played = panic::catch_unwind(panic::AssertUnwindSafe(|| {
                scenario::play(subject, budget_bytes, fault, injection);
            }));
            // The other end waits for as long as it can.
            let _ = done.send(played.is_ok());
        });
        wait.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            // There is no way to end a thread that hangs but this.
            eprintln!("with {fault:?} the script does not end");
            std::process::exit(101)
        })
    });
    let panicked = PANICS.load(Ordering::Relaxed) > panics_before;
    let failure = (!played || panicked).then(last_words);
    Outcome {
        counts: injection.counts(),
        struck: injection.struck(),
        failure,
    }
}

/// Panics of all threads since the first campaign began.
static PANICS: AtomicUsize = AtomicUsize::new(0);
static LAST_WORDS: Mutex<String> = Mutex::new(String::new());

/// Counts panics of every thread: a background thread's would go unseen otherwise.
fn listen_for_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            usual(info);
            PANICS.fetch_add(1, Ordering::Relaxed);
            let mut words = LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner);
            *words = info.to_string();
        }));
    });
}

fn last_words() -> String {
    let words = LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    words.clone()
}
