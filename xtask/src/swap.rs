//! A swap device that lives as long as a value: a loop device over a file, with direct I/O, marked
//! non-rotational so that huge pages leave whole.
//!
//! Guarantees that dropping the value takes the swap, the device and the file away again; the file
//! has no name from the start, so that not even a kill leaves it behind once the swap is off.
//! Refuses without root, without util-linux, and on a directory that is itself memory.

use crate::size::Size;
use pager_tool::{NoRoom, ensure_disk, warn};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Why there is no provisioned swap.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SwapError {
    /// Loop devices and swapon are root's.
    #[error("provisioning swap needs root; run as root, or leave the swap option out")]
    NotRoot,
    /// The tools are not installed.
    #[error("provisioning swap needs {tool} in PATH; install the util-linux and mount packages")]
    ToolMissing {
        /// The one that is missing.
        tool: &'static str,
    },
    /// The directory is on tmpfs or ramfs.
    #[error("{} is on a memory file system; name a directory on a disk with --swap-dir", .dir.display())]
    MemoryFs {
        /// The directory given.
        dir: PathBuf,
    },
    /// mkswap wants at least ten pages, and less than a mebibyte serves nobody.
    #[error("a swap of {0} is below 1MiB")]
    TooSmall(Size),
    /// The disk has not so much left.
    #[error(transparent)]
    NoRoom(NoRoom),
    /// A file could not be made or written.
    #[error("{what}")]
    Io {
        /// What was attempted.
        what: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A tool failed.
    #[error("{command} failed: {said}")]
    Tool {
        /// The command line.
        command: String,
        /// What it said.
        said: String,
    },
}

/// The magic numbers of tmpfs and ramfs (statfs(2)).
const MEMORY_FS: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// A swap device in use.
#[derive(Debug)]
pub(crate) struct ProvisionedSwap {
    // Fields drop in this order: the swap goes off before its device is detached.
    _on: SwapOn,
    device: Loop,
}

impl ProvisionedSwap {
    /// Makes `size` of swap over a nameless file in `dir` and switches it on.
    ///
    /// # Errors
    /// [`SwapError`]; what had been done until then is undone.
    pub(crate) fn new(dir: &Path, size: Size) -> Result<Self, SwapError> {
        if !rustix::process::geteuid().is_root() {
            return Err(SwapError::NotRoot);
        }
        if size.bytes() < 1 << 20 {
            return Err(SwapError::TooSmall(size));
        }
        for tool in ["losetup", "mkswap", "swapon", "swapoff"] {
            find_tool(tool)?;
        }
        sweep();
        ensure_disk("the swap", size.bytes(), 0, dir).map_err(SwapError::NoRoom)?;
        let device = Loop::over_new_file(dir, size)?;
        device.set_non_rotational()?;
        let path = device.path.as_os_str();
        tool("mkswap", &[path])?;
        // The highest priority: measurements are about this device, not the machine's own.
        tool("swapon", &["--priority".as_ref(), "32767".as_ref(), path])?;
        let on = SwapOn {
            device: device.path.clone(),
        };
        Ok(Self { _on: on, device })
    }

    /// The block device, for instance `/dev/loop0`.
    pub(crate) fn device(&self) -> &Path {
        &self.device.path
    }
}

/// An attached loop device.
#[derive(Debug)]
struct Loop {
    path: PathBuf,
    /// Holds the lock by which a device in use is told from one whose owner was killed.
    lock: Option<File>,
}

/// What backing files are called while they have a name.
const PREFIX: &str = "pager-swap-";

impl Loop {
    fn over_new_file(dir: &Path, size: Size) -> Result<Self, SwapError> {
        let io = |what: &str, source| SwapError::Io {
            what: format!("{what} in {}", dir.display()),
            source,
        };
        let file = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempfile_in(dir)
            .map_err(|e| io("cannot make a swap file", e))?;
        let fs = rustix::fs::fstatfs(&file).map_err(|e| io("cannot ask for the kind", e.into()))?;
        if MEMORY_FS.contains(&(fs.f_type as u64)) {
            return Err(SwapError::MemoryFs {
                dir: dir.to_owned(),
            });
        }
        // A disk that is too full says so here, not in the middle of a page-out.
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size.bytes())
            .map_err(|e| io(&format!("cannot allocate {size}"), e.into()))?;
        let said = tool(
            "losetup",
            &[
                "--find".as_ref(),
                "--show".as_ref(),
                "--direct-io=on".as_ref(),
                file.path().as_os_str(),
            ],
        )?;
        let mut device = Self {
            path: PathBuf::from(said.trim()),
            lock: None,
        };
        device.lock = lock(&device.path);
        if device.lock.is_none() {
            warn("the swap device cannot be locked: another start may take it away");
        }
        // The name goes when `file` drops, here; the device holds the file itself. A sweep looks
        // at devices without a name only, and so at none that is not locked yet.
        Ok(device)
    }

    fn set_non_rotational(&self) -> Result<(), SwapError> {
        let name = self.path.file_name().unwrap_or_default();
        let flag = Path::new("/sys/block").join(name).join("queue/rotational");
        fs::write(&flag, "0").map_err(|source| SwapError::Io {
            what: format!("cannot write {}", flag.display()),
            source,
        })
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        complain(tool(
            "losetup",
            &["--detach".as_ref(), self.path.as_os_str()],
        ));
        // The device goes with the last descriptor of it.
        self.lock = None;
    }
}

/// A device switched on for swapping.
#[derive(Debug)]
struct SwapOn {
    device: PathBuf,
}

impl Drop for SwapOn {
    fn drop(&mut self) {
        complain(tool("swapoff", &[self.device.as_os_str()]));
    }
}

/// Takes down what owners that were killed have left: swap that is on, devices that are attached.
fn sweep() {
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        let backing = entry.path().join("loop/backing_file");
        let path = Path::new("/dev").join(entry.file_name());
        if !fs::read_to_string(backing).is_ok_and(|file| is_nameless_swap(&file)) {
            continue;
        }
        let Some(lock) = lock(&path) else {
            continue;
        };
        warn(format_args!(
            "taking down {}, whose owner was killed",
            path.display()
        ));
        let is_on = swaps
            .lines()
            .any(|line| line.split(' ').next() == path.to_str());
        drop(is_on.then(|| SwapOn {
            device: path.clone(),
        }));
        drop(Loop {
            path,
            lock: Some(lock),
        });
    }
}

/// Whether a loop device stands on a file of ours that has lost its name.
fn is_nameless_swap(backing_file: &str) -> bool {
    backing_file
        .trim_end()
        .strip_suffix(" (deleted)")
        .and_then(|path| Path::new(path).file_name())
        .is_some_and(|name| name.to_string_lossy().starts_with(PREFIX))
}

/// The lock of a device, unless somebody has it.
fn lock(device: &Path) -> Option<File> {
    let file = File::open(device).ok()?;
    file.try_lock().is_ok().then_some(file)
}

/// Clean-up has nobody to return an error to, and must not be silent.
fn complain(result: Result<String, SwapError>) {
    if let Err(error) = result {
        warn(error);
    }
}

fn find_tool(name: &'static str) -> Result<PathBuf, SwapError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // The directories of system tools are not in every user's PATH.
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|candidate| candidate.is_file())
        .ok_or(SwapError::ToolMissing { tool: name })
}

/// Runs a tool and gives what it printed.
fn tool(name: &'static str, args: &[&OsStr]) -> Result<String, SwapError> {
    let mut command = Command::new(find_tool(name)?);
    command.args(args).stdin(Stdio::null());
    // In a process group of its own: a Ctrl-C must not end `swapoff` half way.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let fail = |said: String| SwapError::Tool {
        command: format!("{name} {}", args.join(OsStr::new(" ")).display()),
        said,
    };
    let output = command.output().map_err(|e| fail(e.to_string()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(fail(said.trim().to_owned()))
    }
}

/// Whether the machine swaps to anything now, by the text of `/proc/swaps`.
pub(crate) fn any_active(proc_swaps: &str) -> bool {
    proc_swaps
        .lines()
        .skip(1)
        .any(|line| !line.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::{ProvisionedSwap, SwapError, any_active, find_tool, is_nameless_swap};
    use crate::size::Size;
    use std::path::Path;

    #[test]
    fn swap_is_seen_in_proc_swaps() {
        let head = "Filename\tType\tSize\tUsed\tPriority\n";
        assert!(!any_active(head));
        assert!(!any_active(""));
        assert!(any_active(&format!(
            "{head}/dev/loop0 partition 1 0 32767\n"
        )));
    }

    #[test]
    fn only_files_of_ours_that_have_lost_their_name_are_swept() {
        assert!(is_nameless_swap("/var/tmp/pager-swap-Ab1 (deleted)\n"));
        assert!(!is_nameless_swap("/var/tmp/pager-swap-Ab1\n"));
        assert!(!is_nameless_swap("/var/tmp/image (deleted)\n"));
    }

    #[test]
    fn a_missing_tool_is_a_typed_error() {
        assert!(matches!(
            find_tool("no-such-tool-of-pager"),
            Err(SwapError::ToolMissing { .. })
        ));
    }

    #[test]
    fn swap_on_a_memory_file_system_is_refused() {
        let root = rustix::process::geteuid().is_root();
        if !root || find_tool("losetup").is_err() || find_tool("mkswap").is_err() {
            println!("skipped: not root, or no util-linux");
            return;
        }
        let size = Size::from_bytes(16 << 20);
        assert!(matches!(
            ProvisionedSwap::new(Path::new("/dev/shm"), size),
            Err(SwapError::MemoryFs { .. })
        ));
    }
}
