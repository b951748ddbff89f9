//! [`Host`]: where a figure was taken, so that it can be judged later.

use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::proc;

/// The machine and the program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub host: String,
    /// Threads that run at the same time.
    pub cpus: usize,
    /// Physical memory.
    pub memory_bytes: u64,
    /// Kernel name and release.
    pub kernel: String,
    /// Type of the file system under the scratch directory.
    pub fs: String,
    /// The commit of the checkout that this runs in, with `-dirty` if files
    /// differ from it; `unknown` elsewhere.
    pub commit: String,
}

impl Host {
    /// Looks around.
    #[must_use]
    pub fn describe(scratch: &Path) -> Self {
        let (host, kernel) = system_name();
        Self {
            host,
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: proc::number("/proc/meminfo", "MemTotal") * 1024,
            kernel,
            fs: file_system(scratch),
            commit: commit().unwrap_or_else(unknown),
        }
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

#[cfg(unix)]
fn system_name() -> (String, String) {
    let name = rustix::system::uname();
    let text = |field: &std::ffi::CStr| field.to_string_lossy().into_owned();
    let kernel = format!("{} {}", text(name.sysname()), text(name.release()));
    (text(name.nodename()), kernel)
}

#[cfg(not(unix))]
fn system_name() -> (String, String) {
    (unknown(), std::env::consts::OS.to_owned())
}

/// Name of the type of the file system that `path`, or the nearest directory
/// above it that exists, lies on; its number in hex where we have no name.
#[cfg(target_os = "linux")]
#[must_use]
pub fn file_system(path: &Path) -> String {
    let found = path.ancestors().find_map(|dir| {
        let dir = if dir.as_os_str().is_empty() {
            Path::new(".")
        } else {
            dir
        };
        rustix::fs::statfs(dir).ok()
    });
    let Some(found) = found else {
        return unknown();
    };
    // Numbers from linux/magic.h.
    match found.f_type {
        0xef53 => "ext4".to_owned(),
        0x5846_5342 => "xfs".to_owned(),
        0x9123_683e => "btrfs".to_owned(),
        0xf2f5_2010 => "f2fs".to_owned(),
        0x2fc1_2fc1 => "zfs".to_owned(),
        0x794c_7630 => "overlay".to_owned(),
        0x0102_1994 => "tmpfs".to_owned(),
        0x8584_58f6 => "ramfs".to_owned(),
        0x6969 => "nfs".to_owned(),
        other => format!("{other:#x}"),
    }
}

/// Not known here.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn file_system(_: &Path) -> String {
    unknown()
}

fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        // The sources' directory, where it still exists, else the current one.
        let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
        let dir = if sources.is_dir() {
            sources
        } else {
            Path::new(".")
        };
        let output = Command::new("git")
            .arg("-C")
            .arg(dir)
            .args(args)
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changes = git(&[
        "--no-optional-locks",
        "status",
        "--porcelain",
        "--untracked-files=no",
    ])?;
    Some(if changes.is_empty() {
        commit
    } else {
        format!("{commit}-dirty")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_yet_to_be_made_is_on_its_parents_file_system() {
        let here = std::env::temp_dir();
        assert_eq!(file_system(&here.join("not/yet")), file_system(&here));
        #[cfg(target_os = "linux")]
        assert_eq!(file_system(Path::new("/dev/shm")), "tmpfs");
    }

    #[test]
    fn a_host_has_a_name_for_everything() {
        let host = Host::describe(&std::env::temp_dir());
        assert!(host.cpus > 0);
        for text in [host.host, host.kernel, host.fs, host.commit] {
            assert!(!text.is_empty());
        }
    }
}
