//! The machine that a matrix ran on, as far as it explains the figures.
//!
//! Guarantees that a missing fact is an `unknown` and never an error. Refuses to change anything.

use crate::cargo;
use serde::Serialize;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// Everything a reader needs to judge a figure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Host {
    pub(crate) time_utc: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_bytes: u64,
    pub(crate) kernel: String,
    /// The setting of transparent huge pages.
    pub(crate) thp: String,
    /// Lines of `/proc/swaps`.
    pub(crate) swap: Vec<String>,
    pub(crate) scratch_fs: String,
    pub(crate) commit: String,
}

impl Host {
    /// Looks around; `scratch` is where scratch files will go.
    pub(crate) fn describe(scratch: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let kernel = rustix::system::uname();
        Self {
            time_utc: timestamp(SystemTime::now()),
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: field(&read("/proc/meminfo"), "MemTotal")
                .trim_end_matches(" kB")
                .parse::<u64>()
                .map_or(0, |kib| kib * 1024),
            kernel: kernel.release().to_string_lossy().into_owned(),
            thp: selected(&read("/sys/kernel/mm/transparent_hugepage/enabled")),
            swap: read("/proc/swaps")
                .lines()
                .skip(1)
                .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect(),
            scratch_fs: scratch
                .canonicalize()
                .ok()
                .and_then(|path| fs_type(&read("/proc/self/mountinfo"), &path))
                .unwrap_or_else(unknown),
            commit: commit().unwrap_or_else(unknown),
        }
    }

    /// Name and value of each fact, for the report.
    pub(crate) fn facts(&self) -> Vec<(&'static str, String)> {
        let swap = if self.swap.is_empty() {
            "none".to_owned()
        } else {
            self.swap.join("; ")
        };
        vec![
            ("time (UTC)", self.time_utc.clone()),
            ("cpu", self.cpu.clone()),
            ("cores", self.cores.to_string()),
            ("memory MiB", (self.memory_bytes >> 20).to_string()),
            ("kernel", self.kernel.clone()),
            ("huge pages", self.thp.clone()),
            ("swap", swap),
            ("scratch file system", self.scratch_fs.clone()),
            ("commit", self.commit.clone()),
        ]
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// The value of the first `name : value` line.
fn field(text: &str, name: &str) -> String {
    text.lines()
        .find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == name).then(|| value.trim().to_owned())
        })
        .unwrap_or_else(unknown)
}

/// The bracketed one of `always [madvise] never`.
fn selected(text: &str) -> String {
    text.split_whitespace()
        .find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
        .map_or_else(unknown, str::to_owned)
}

/// The type of the file system of the innermost mount above `path`.
fn fs_type(mountinfo: &str, path: &Path) -> Option<String> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mount = before.split(' ').nth(4)?;
            let depth = Path::new(mount).components().count();
            let kind = after.split(' ').next()?;
            path.starts_with(mount).then(|| (depth, kind.to_owned()))
        })
        // Of equals the later mount lies on top.
        .max_by_key(|(depth, _)| *depth)
        .map(|(_, kind)| kind)
}

fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git")
            .current_dir(cargo::root())
            .args(args)
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(if changed {
        format!("{commit}-dirty")
    } else {
        commit
    })
}

/// `20260131T235959Z`, which sorts and is a legal file name everywhere.
pub(crate) fn timestamp(at: SystemTime) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (day, second) = (seconds / 86_400, seconds % 86_400);
    // Days to a date of the Gregorian calendar, counted in years that begin in March, so that
    // the leap day is the last of its year; 719,468 days lie between 0000-03-01 and 1970-01-01.
    let day = day + 719_468;
    let era = day / 146_097;
    let of_era = day % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::{Host, field, fs_type, selected, timestamp};
    use std::path::Path;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn timestamps_are_calendar_dates() {
        for (seconds, text) in [
            (0, "19700101T000000Z"),
            (951_827_696, "20000229T123456Z"),
            (1_709_164_800, "20240229T000000Z"),
            (4_102_444_799, "20991231T235959Z"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn facts_are_read_from_proc_texts() {
        assert_eq!(
            field("a\t: x\nmodel name\t: Some CPU\n", "model name"),
            "Some CPU"
        );
        assert_eq!(field("", "model name"), "unknown");
        assert_eq!(selected("always [madvise] never\n"), "madvise");
        let mounts = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:5 / /var/tmp rw - xfs /dev/b rw\n";
        assert_eq!(fs_type(mounts, Path::new("/var/tmp/x")).unwrap(), "xfs");
        assert_eq!(fs_type(mounts, Path::new("/var/tmpx")).unwrap(), "ext4");
    }

    #[test]
    fn a_host_can_be_described_anywhere() {
        let host = Host::describe(Path::new("/var/tmp"));
        assert!(host.cores >= 1);
        assert!(host.facts().iter().all(|(_, value)| !value.is_empty()));
    }
}
