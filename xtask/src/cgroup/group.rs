//! A memory cgroup that lives as long as a value.
//!
//! Guarantees that the limit read back is the limit asked for, that swap is not limited, and that
//! dropping the value ends what still runs in the group and removes it. Refuses to touch any group
//! that it did not make, except to enable the memory controller for its children.

use super::locate::{Place, Version};
use crate::size::Size;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A cgroup of our own, with a limit on its memory.
#[derive(Debug)]
pub(crate) struct Group {
    dir: PathBuf,
    version: Version,
    /// Holds the lock by which the living are told from the dead.
    _lock: Option<File>,
}

/// What our groups are called.
const PREFIX: &str = "pager-cap-";

/// How often a sweep may take a new group away before something else must be wrong.
const ATTEMPTS: usize = 100;

/// Distinguishes the groups of one process.
static SERIAL: AtomicU32 = AtomicU32::new(0);

impl Group {
    /// Makes a group limited to `limit` at `place`, or tells why it cannot.
    pub(crate) fn create(place: &Place, limit: Size) -> Result<Self, String> {
        let parent = match place.version {
            Version::V1 => place.own.clone(),
            Version::V2 => delegating_parent(place)?,
        };
        sweep(&parent, place.version);
        let (dir, lock) = make(&parent)?;
        let group = Self {
            dir,
            version: place.version,
            _lock: Some(lock),
        };
        group.set_limit(limit)?;
        Ok(group)
    }

    /// The directory to write a process id into (`cgroup.procs`).
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// How many processes of the group the kernel has killed for want of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        let file = match self.version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        fs::read_to_string(self.dir.join(file)).map_or(0, |text| oom_kills(&text))
    }

    fn set_limit(&self, limit: Size) -> Result<(), String> {
        let file = self.dir.join(match self.version {
            Version::V1 => "memory.limit_in_bytes",
            Version::V2 => "memory.max",
        });
        let fail = |what: &dyn std::fmt::Display| format!("{}: {what}", file.display());
        fs::write(&file, limit.bytes().to_string()).map_err(|e| fail(&e))?;
        let text = fs::read_to_string(&file).map_err(|e| fail(&e))?;
        // The kernel rounds down to a page; anything else means that the limit is not in force.
        let in_force = text.trim().parse::<u64>().map_err(|e| fail(&e))?;
        if limit.bytes() - in_force.min(limit.bytes()) >= page_bytes() {
            return Err(fail(&format!("holds {in_force}, not {}", limit.bytes())));
        }
        Ok(())
    }

    fn processes(&self) -> Vec<Pid> {
        fs::read_to_string(self.dir.join("cgroup.procs"))
            .unwrap_or_default()
            .lines()
            .filter_map(|line| Pid::from_raw(line.parse().ok()?))
            .collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            // A grandchild may have outlived the command; the group cannot go while it is there.
            for pid in self.processes() {
                // A process that ended in between is what we want.
                let _ = kill_process(pid, Signal::KILL);
            }
            match fs::remove_dir(&self.dir) {
                Ok(()) => return,
                Err(e) if e.kind() == io::ErrorKind::NotFound => return,
                Err(e) if Instant::now() > deadline => {
                    let dir = self.dir.display();
                    pager_tool::warn(format_args!("cannot remove cgroup {dir}: {e}"));
                    return;
                }
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

/// Makes a directory and locks it.
fn make(parent: &Path) -> Result<(PathBuf, File), String> {
    let mut said = String::new();
    for _ in 0..ATTEMPTS {
        // Relaxed: only uniqueness matters.
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let dir = parent.join(format!("{PREFIX}{}-{serial}", std::process::id()));
        fs::create_dir(&dir).map_err(|e| format!("mkdir {}: {e}", dir.display()))?;
        let locked = File::open(&dir).and_then(|lock| Ok(lock.try_lock().map(|()| lock)?));
        match locked {
            Ok(lock) if dir.exists() => return Ok((dir, lock)),
            Ok(_) => {}
            Err(error) => said = error.to_string(),
        }
        // Another start has taken it for a dead one's.
        let _ = fs::remove_dir(&dir);
    }
    Err(format!("lock a cgroup in {}: {said}", parent.display()))
}

/// Removes the groups of processes that were killed, and ends what still runs in them: a group
/// that nobody has locked has no owner. One that was made this moment and is not locked yet may be
/// taken away, too; its maker then makes another.
pub(super) fn sweep(parent: &Path, version: Version) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let Ok(lock) = File::open(entry.path()) else {
            continue;
        };
        if is_ours && lock.try_lock().is_ok() {
            drop(Group {
                dir: entry.path(),
                version,
                _lock: Some(lock),
            });
        }
    }
}

fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

/// The nearest cgroup, from our own upwards, whose children have the memory controller.
///
/// Version 2 lets a group with processes in it have no controlled children (the root apart), so
/// our own group usually refuses and its parent, which systemd manages, usually agrees.
fn delegating_parent(place: &Place) -> Result<PathBuf, String> {
    let mut reasons = Vec::new();
    for dir in place.own.ancestors() {
        match enable_memory(dir) {
            Ok(()) => return Ok(dir.to_owned()),
            Err(reason) => reasons.push(reason),
        }
        if dir == place.mount {
            break;
        }
    }
    Err(reasons.join("; "))
}

fn enable_memory(dir: &Path) -> Result<(), String> {
    let has = |file: &str| {
        fs::read_to_string(dir.join(file))
            .is_ok_and(|text| text.split_whitespace().any(|name| name == "memory"))
    };
    if !has("cgroup.controllers") {
        return Err(format!("{} has no memory controller", dir.display()));
    }
    if has("cgroup.subtree_control") {
        return Ok(());
    }
    let file = dir.join("cgroup.subtree_control");
    fs::write(&file, "+memory").map_err(|e| format!("{}: {e}", file.display()))
}

fn oom_kills(text: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{delegating_parent, oom_kills};
    use crate::cgroup::locate::{Place, Version};
    use std::fs;

    #[test]
    fn oom_kills_are_read_from_both_versions() {
        let v1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        let v2 = "low 0\nhigh 0\nmax 41\noom 2\noom_kill 1\noom_group_kill 0\n";
        assert_eq!((oom_kills(v1), oom_kills(v2)), (3, 1));
        assert_eq!(oom_kills(""), 0);
    }

    #[test]
    fn the_nearest_ancestor_that_delegates_memory_is_the_parent() {
        let root = tempfile::tempdir().unwrap();
        let slice = root.path().join("a.slice");
        let own = slice.join("b.scope");
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("cgroup.controllers"), "cpu pids\n").unwrap();
        fs::write(slice.join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        fs::write(slice.join("cgroup.subtree_control"), "cpu memory\n").unwrap();
        let place = Place {
            version: Version::V2,
            mount: root.path().to_owned(),
            own,
        };
        assert_eq!(delegating_parent(&place).unwrap(), slice);
    }

    #[test]
    fn where_nothing_delegates_memory_every_ancestor_says_why() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("a");
        let place = Place {
            version: Version::V2,
            mount: root.path().to_owned(),
            own,
        };
        let reasons = delegating_parent(&place).unwrap_err();
        assert_eq!(reasons.matches("no memory controller").count(), 2);
    }
}
