//! A neighbour in the same memory cgroup that allocates and frees half of the memory:
//! the kernel kills one of the two, unless pager follows how short memory is.
//!
//! Without swap, so that what does not fit cannot go anywhere. Makes a memory cgroup of
//! either version; needs root. Without, it says so and passes.

#![cfg(all(target_os = "linux", feature = "file", feature = "pressure"))]
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

#[path = "common/group.rs"]
mod group;
#[path = "common/process.rs"]
mod process;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use group::{Group, join_group};
use pager::{BackendKind, Pager};
use process::{role, say, wait_to_be_told};

const MIB: u64 = 1 << 20;
const CAP_BYTES: u64 = 256 * MIB;
const BUDGET_BYTES: u64 = 160 * MIB;
const FLOOR_BYTES: u64 = 8 * MIB;
/// 256 MiB in payloads of 2 MiB: more than the budget, so that it is full.
const COUNT: u64 = 128;
const WORDS: usize = 1 << 18;
const ROUNDS: usize = 3;
/// Within this the budget must be back after the neighbour has let go.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where the children find the scratch root, and how fast the neighbour is.
const ROOT: &str = "PAGER_NEIGHBOUR_ROOT";
const SPEED: &str = "PAGER_NEIGHBOUR_MIB_PER_S";

/// One test at a time: both want the processors.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn without_the_watcher_a_neighbour_gets_somebody_killed() {
    let test = "without_the_watcher_a_neighbour_gets_somebody_killed";
    let Some(part) = role() else {
        let _alone = alone();
        let Some(group) = Group::new(CAP_BYTES, false) else {
            return;
        };
        let root = tempfile::tempdir_in("/var/tmp").unwrap();
        let (worker, said) = group.role(test, "worker").env(ROOT, root.path()).start();
        assert_eq!(said, "full");
        let killed = group.role(test, "neighbour").signal();
        drop(worker);
        println!(
            "the neighbour ended by signal {killed:?}; kills: {}",
            group.kills()
        );
        assert!(group.kills() >= 1);
        return;
    };
    play(&part, false);
}

#[test]
fn with_the_watcher_both_live_and_the_budget_comes_back() {
    let test = "with_the_watcher_both_live_and_the_budget_comes_back";
    let Some(part) = role() else {
        let _alone = alone();
        let Some(group) = Group::new(CAP_BYTES, false) else {
            return;
        };
        let root = tempfile::tempdir_in("/var/tmp").unwrap();
        let log = root.path().join("log");
        let (worker, said) = group.role(test, "worker").env(ROOT, root.path()).start();
        assert_eq!(said, "full");
        let printed = group.role(test, "neighbour").run();
        worker.finish();
        assert_eq!(group.kills(), 0);
        let log = std::fs::read_to_string(log).unwrap();
        println!("{log}");
        let freed: Vec<u128> = numbers(&printed, "freed at ");
        assert_eq!(freed.len(), ROUNDS);
        let back: Vec<u128> = numbers(&log, "back at ");
        for freed in freed {
            let back = back.iter().find(|back| **back >= freed).copied();
            let took = back.expect("the budget comes back after each round") - freed;
            println!("the budget was back after {took} ms");
            assert!(took <= PATIENCE.as_millis());
        }
        return;
    };
    play(&part, true);
}

/// The numbers behind `mark`.
fn numbers(text: &str, mark: &str) -> Vec<u128> {
    let found = text.lines().filter_map(|line| line.split_once(mark));
    found
        .map(|(_, number)| number.trim().parse().unwrap())
        .collect()
}

fn now_millis() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis()
}

fn play(part: &str, watches: bool) {
    join_group();
    match part {
        "neighbour" => neighbour(),
        _ => worker(watches),
    }
}

/// Allocates half of the memory step by step, keeps it for a moment, and frees it.
fn neighbour() {
    let speed = std::env::var(SPEED).map_or(250, |speed| speed.parse().unwrap());
    let step = 2 * MIB;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let mut kept = Vec::new();
        while (kept.len() as u64) * step < CAP_BYTES / 2 {
            kept.push(vec![kept.len() as u64 + 1; (step / 8) as usize]);
            let due = Duration::from_millis(kept.len() as u64 * step * 1000 / (speed * MIB));
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
        }
        std::thread::sleep(Duration::from_millis(300));
        for (index, words) in kept.iter().enumerate() {
            assert!(words.iter().all(|word| *word == index as u64 + 1));
        }
        drop(kept);
        println!("freed at {}", now_millis());
        std::thread::sleep(PATIENCE);
    }
}

/// Pages out and takes back without a pause, and verifies, until it is told to end.
fn worker(watches: bool) {
    static IS_OVER: AtomicBool = AtomicBool::new(false);
    let root = PathBuf::from(std::env::var_os(ROOT).unwrap());
    let mut builder = Pager::builder()
        .backend(BackendKind::File)
        .budget_bytes(usize::try_from(BUDGET_BYTES).unwrap())
        .scratch_dir(&root);
    if watches {
        builder = builder.follow_pressure(usize::try_from(FLOOR_BYTES).unwrap());
    }
    let pager = builder.build().unwrap();
    let payload = |seed: u64| pager.pageout(&mut [vec![seed + 1; WORDS]]).unwrap();
    let mut kept: VecDeque<_> = (0..COUNT).map(|seed| (seed, payload(seed))).collect();
    say("full");
    std::thread::spawn(|| {
        wait_to_be_told();
        IS_OVER.store(true, Ordering::Relaxed);
    });
    let mut log = String::new();
    let mut is_low = false;
    let mut words = Vec::new();
    while !IS_OVER.load(Ordering::Relaxed) {
        let (seed, handle) = kept.pop_front().unwrap();
        pager.take(handle, &mut words).unwrap();
        assert!(words.iter().all(|word| *word == seed + 1), "payload {seed}");
        kept.push_back((
            seed,
            pager.pageout(std::slice::from_mut(&mut words)).unwrap(),
        ));
        let was_low = std::mem::replace(&mut is_low, (pager.budget_bytes() as u64) < BUDGET_BYTES);
        if was_low && !is_low {
            log += &format!("back at {}\n", now_millis());
        }
    }
    for (seed, handle) in kept {
        pager.take(handle, &mut words).unwrap();
        assert!(words == vec![seed + 1; WORDS], "payload {seed}");
    }
    let residency = pager.stats().residency;
    if let Some(pressure) = residency.pressure {
        log += &format!("{pressure:?}\n");
        assert!(pressure.lowered > 0 && pressure.lowest_bytes >= FLOOR_BYTES);
    }
    std::fs::write(root.join("log"), log).unwrap();
}

/// How often the watcher has gone to sleep, and the time it has run for.
fn of_the_watcher() -> (u64, Duration) {
    let one = |task: std::fs::DirEntry| {
        let read = |name: &str| std::fs::read_to_string(task.path().join(name)).ok();
        let status = read("status")?;
        let line = status
            .lines()
            .find(|line| line.starts_with("voluntary_ctxt"))?;
        let count: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        let nanos: u64 = read("schedstat")?.split(' ').next()?.parse().ok()?;
        (read("comm")?.trim() == "pager-pressure").then_some((count, Duration::from_nanos(nanos)))
    };
    // A thread has its name once it runs, which may be later on a busy machine.
    let begun = Instant::now();
    loop {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        if let Some(found) = tasks.filter_map(|task| one(task.ok()?)).next() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "no watcher");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_watcher_with_nothing_to_see_costs_little_and_ends_with_its_pager() {
    let _alone = alone();
    let pager = Pager::builder()
        .budget_bytes(16 << 20)
        .follow_pressure(1 << 20)
        .build()
        .unwrap();
    let pressure = pager.stats().residency.pressure.unwrap();
    assert!(pressure.watched.contains("bound"), "{pressure:?}");
    let (sleeps, ran) = of_the_watcher();
    std::thread::sleep(Duration::from_secs(4));
    let (later_sleeps, later_ran) = of_the_watcher();
    let looks = later_sleeps - sleeps;
    let each = (later_ran - ran) / u32::try_from(looks.max(1)).unwrap();
    println!("{looks} looks in 4 s, {each:?} each: {}", pressure.watched);
    // A hundred a second while every bound is near, which is up to the machine.
    assert!(looks <= 410 && each < Duration::from_millis(5));
    pager.shutdown().unwrap();
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    for task in tasks {
        let name = std::fs::read_to_string(task.unwrap().path().join("comm"));
        assert_ne!(name.unwrap_or_default().trim(), "pager-pressure");
    }
}
