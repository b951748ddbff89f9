//! [`Alarms`]: what wakes the watcher before its time, or tells it when it looks that
//! tasks had to wait for memory.
//!
//! * Stalls ([PSI]): a trigger on the cgroup's `memory.pressure`, else on
//!   `/proc/pressure/memory`, which an unprivileged process may set since Linux 6.5 for
//!   windows of two seconds. Where it may not, the total is compared at every look.
//! * Version 2: `memory.events`, which changes when a limit is met. Meeting a limit is no
//!   evidence, for the page cache meets it all the time; an `oom` is.
//! * Version 1: the level `medium` of `memory.pressure_level`, by an eventfd, where this
//!   process may register one.
//!
//! [PSI]: https://docs.kernel.org/accounting/psi.html

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::OFlags;

use super::reread::text;

/// Reported: some task stalled for a tenth of two seconds, in microseconds.
const TRIGGER: &[u8] = b"some 200000 2000000\0";
/// The share of time stalled that counts where it is only compared.
const STALLED_PARTS: u128 = 10;

/// `memory.events` may change a hundred times a second; it wakes nobody more often.
const EVENTS_PAUSE: Duration = Duration::from_millis(100);

/// Larger than the files that are read here.
const SHORT_BYTES: usize = 1024;

/// Whose stalls a file reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// Of this process's own cgroup.
    Ours,
    /// Of the whole machine, maybe far from here.
    Anybodys,
}

#[derive(Debug)]
enum Stalls {
    Trigger(File),
    Total {
        file: File,
        micros: u64,
        since: Instant,
    },
}

/// What a wait or a look has told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Tasks of this process's cgroup stalled, or one was killed.
    pub(super) ours: bool,
    /// Tasks somewhere on the machine stalled.
    pub(super) anybodys: bool,
    /// The watcher is to end.
    pub(super) stop: bool,
}

impl Told {
    fn stalls(&mut self, whose: Whose) {
        match whose {
            Whose::Ours => self.ours = true,
            Whose::Anybodys => self.anybodys = true,
        }
    }
}

/// What `poll` says of each.
struct Rang {
    stop: PollFlags,
    trigger: PollFlags,
    level: PollFlags,
    events: PollFlags,
}

/// Everything that is waited for.
#[derive(Debug)]
pub(super) struct Alarms {
    stalls: Option<(Stalls, Whose)>,
    level: Option<OwnedFd>,
    events: Option<File>,
    oom_count: u64,
    /// Whether `memory.events` has just woken us, and is left out once.
    is_tired: bool,
    names: Vec<String>,
}

impl Alarms {
    /// Sets what can be set for the cgroups at these directories, innermost first.
    pub(super) fn set<'a>(groups: impl Iterator<Item = &'a Path>) -> Self {
        let mut alarms = Self {
            stalls: None,
            level: None,
            events: None,
            oom_count: 0,
            is_tired: false,
            names: Vec::new(),
        };
        if let Some(own) = groups.into_iter().next() {
            alarms.watch_stalls(&own.join("memory.pressure"), Whose::Ours);
            alarms.watch_level(own);
            alarms.watch_events(own.join("memory.events"));
        }
        alarms.watch_stalls(Path::new("/proc/pressure/memory"), Whose::Anybodys);
        alarms
    }

    /// What is watched, and how.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    fn watch_stalls(&mut self, path: &Path, whose: Whose) {
        if self.stalls.is_some() {
            return;
        }
        let stalls = trigger(path)
            .map(Stalls::Trigger)
            .or_else(|| total(path, Instant::now()));
        let Some(stalls) = stalls else {
            return;
        };
        let how = match stalls {
            Stalls::Trigger(_) => "trigger on",
            Stalls::Total { .. } => "total of",
        };
        self.names.push(format!("{how} {}", path.display()));
        self.stalls = Some((stalls, whose));
    }

    fn watch_level(&mut self, group: &Path) {
        let path = group.join("memory.pressure_level");
        self.level = level(group, &path);
        if self.level.is_some() {
            self.names.push(format!("level of {}", path.display()));
        }
    }

    fn watch_events(&mut self, path: PathBuf) {
        let Ok(file) = File::open(&path) else {
            return;
        };
        self.oom_count = oom_count(&file);
        self.events = Some(file);
        self.names.push(format!("changes of {}", path.display()));
    }

    /// Waits for an alarm, at most so long, or until `stop` can be read; then asks what
    /// has to be asked.
    pub(super) fn wait(&mut self, stop: &impl AsFd, pause: Duration) -> Told {
        let pause = match self.is_tired {
            true => pause.min(EVENTS_PAUSE),
            false => pause,
        };
        let rang = self.poll(stop, pause);
        let mut told = Told {
            stop: !rang.stop.is_empty(),
            ..Told::default()
        };
        if rang.trigger.contains(PollFlags::PRI)
            && let Some((_, whose)) = self.stalls
        {
            told.stalls(whose);
        }
        if rang.trigger.contains(PollFlags::ERR) {
            // The cgroup has gone, and its trigger with it.
            self.stalls = None;
        }
        if rang.level.contains(PollFlags::IN) {
            told.stalls(Whose::Ours);
            self.reset_level();
        }
        self.is_tired = rang.events.contains(PollFlags::PRI);
        if self.is_tired {
            self.look_at_events(&mut told);
        }
        self.look_at_total(&mut told);
        told
    }

    /// Waits, and says which of them rang.
    fn poll<'fd>(&'fd self, stop: &'fd impl AsFd, pause: Duration) -> Rang {
        let trigger = match &self.stalls {
            Some((Stalls::Trigger(file), _)) => Some(file.as_fd()),
            _ => None,
        };
        let level = self.level.as_ref().map(AsFd::as_fd);
        let events = self.events.as_ref().filter(|_| !self.is_tired);
        let events = events.map(AsFd::as_fd);
        let entry = PollFd::from_borrowed_fd;
        // What is not there stands for `stop` once more, and is asked for nothing.
        let optional = |fd: Option<BorrowedFd<'fd>>, flags| match fd {
            Some(fd) => entry(fd, flags),
            None => entry(stop.as_fd(), PollFlags::empty()),
        };
        let mut waited = [
            entry(stop.as_fd(), PollFlags::IN),
            optional(trigger, PollFlags::PRI),
            optional(level, PollFlags::IN),
            optional(events, PollFlags::PRI),
        ];
        let timeout = Timespec {
            tv_sec: i64::try_from(pause.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(pause.subsec_nanos()),
        };
        // An error (a signal came) is a look before its time.
        let _ = poll(&mut waited, Some(&timeout));
        let [stop, trigger, level, events] = waited.map(|entry| entry.revents());
        Rang {
            stop,
            trigger,
            level,
            events,
        }
    }

    fn reset_level(&mut self) {
        let mut count = [0; 8];
        if let Some(fd) = &self.level
            && rustix::io::read(fd, &mut count).is_err()
        {
            self.level = None;
        }
    }

    fn look_at_events(&mut self, told: &mut Told) {
        if let Some(file) = &self.events {
            let oom_count = oom_count(file);
            if oom_count > self.oom_count {
                told.stalls(Whose::Ours);
            }
            self.oom_count = oom_count;
        }
    }

    fn look_at_total(&mut self, told: &mut Told) {
        let Some((
            Stalls::Total {
                file,
                micros,
                since,
            },
            whose,
        )) = &mut self.stalls
        else {
            return;
        };
        let Some(now_micros) = total_micros(file) else {
            return;
        };
        let stalled_micros = u128::from(now_micros.saturating_sub(*micros));
        let elapsed_micros = since.elapsed().as_micros();
        // Too short to say what a tenth of it is.
        if elapsed_micros < 100_000 {
            return;
        }
        if stalled_micros * STALLED_PARTS >= elapsed_micros {
            told.stalls(*whose);
        }
        *micros = now_micros;
        *since = Instant::now();
    }
}

/// A trigger on a PSI file, where this process may set one.
fn trigger(path: &Path) -> Option<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).ok()?;
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).custom_flags(flags);
    let mut file = options.open(path).ok()?;
    file.write_all(TRIGGER).ok()?;
    Some(file)
}

/// The total of a PSI file, to be compared with later ones.
fn total(path: &Path, since: Instant) -> Option<Stalls> {
    let file = File::open(path).ok()?;
    let micros = total_micros(&file)?;
    Some(Stalls::Total {
        file,
        micros,
        since,
    })
}

fn total_micros(file: &File) -> Option<u64> {
    micros_of(text(file, &mut [0; SHORT_BYTES])?)
}

/// The time that some task stalled: `some avg10=0.00 avg60=0.00 avg300=0.00 total=77`.
fn micros_of(psi: &str) -> Option<u64> {
    let line = psi.lines().find(|line| line.starts_with("some "))?;
    line.split_once("total=")?.1.trim().parse().ok()
}

/// An eventfd that counts reports of the level `medium`.
fn level(group: &Path, path: &Path) -> Option<OwnedFd> {
    let level = File::open(path).ok()?;
    let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?;
    let request = format!("{} {} medium", fd.as_raw_fd(), level.as_raw_fd());
    let mut control = OpenOptions::new();
    let control = control.write(true).open(group.join("cgroup.event_control"));
    control.ok()?.write_all(request.as_bytes()).ok()?;
    Some(fd)
}

/// How often the kernel was short of memory there, or killed for it. Reading also arms
/// the file for the next change.
fn oom_count(events: &File) -> u64 {
    text(events, &mut [0; SHORT_BYTES]).map_or(0, ooms_of)
}

fn ooms_of(events: &str) -> u64 {
    let counts = events.lines().filter_map(|line| {
        let count = line
            .strip_prefix("oom ")
            .or_else(|| line.strip_prefix("oom_kill "))?;
        count.trim().parse::<u64>().ok()
    });
    counts.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stalls_and_kills_are_read_and_limits_that_were_met_are_not() {
        let psi = "some avg10=0.00 avg60=0.00 avg300=0.27 total=123\nfull avg10=0 total=9\n";
        assert_eq!(micros_of(psi), Some(123));
        assert_eq!(micros_of("full total=9\n"), None);
        let events = "low 0\nhigh 44\nmax 41\noom 2\noom_kill 1\noom_group_kill 0\n";
        assert_eq!(ooms_of(events), 3);
    }

    #[test]
    #[cfg_attr(miri, ignore = "waits for real files")]
    fn a_pause_without_alarms_is_as_long_as_it_was_asked_for_and_a_bell_ends_it() {
        let bell = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let mut alarms = Alarms::set(std::iter::empty());
        let pause = Duration::from_millis(30);
        let begun = Instant::now();
        // Somebody may really stall meanwhile.
        while begun.elapsed() < pause {
            assert!(!alarms.wait(&bell, pause).stop);
        }
        rustix::io::write(&bell, &1u64.to_ne_bytes()).unwrap();
        let begun = Instant::now();
        while !alarms.wait(&bell, Duration::from_secs(20)).stop {}
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}
