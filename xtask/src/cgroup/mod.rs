//! Memory caps: a way to run a command that may use so much memory and no more.
//!
//! Guarantees that a cap that was handed out is in force, by cgroup version 1, version 2 or a
//! systemd scope, and that nothing of it stays behind. Refuses, with each reason and an advice,
//! where none of them works; it never runs a command uncapped in silence.

mod group;
mod locate;
mod scope;

use crate::size::Size;
use group::Group;
use std::ffi::OsString;
use std::fs;
use std::process::Command;

/// Less than this and not even the command's own start fits.
const LEAST_BYTES: u64 = 1 << 20;

/// Why a command cannot be capped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CapError {
    /// The limit is so small that nothing runs under it.
    #[error("a memory limit of {0} is below 1MiB, under which no process starts")]
    TooSmall(Size),
    /// No mechanism worked; each said why.
    #[error(
        "memory cannot be capped here: {}. Run as root with a cgroup memory controller, \
         in a container with a writable cgroup mount, or in a login session with a \
         systemd user manager",
        .reasons.join("; ")
    )]
    Unavailable {
        /// What each mechanism said.
        reasons: Vec<String>,
    },
}

/// Removes the groups that killed starts have left, for a task that may need no cap of its own.
pub(crate) fn sweep() {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    for place in locate::places(&mountinfo, &own) {
        // A group may have been made in any of them: see `Group::create`.
        for parent in place.own.ancestors() {
            group::sweep(parent, place.version);
            if parent == place.mount {
                break;
            }
        }
    }
}

/// A cap in force; dropping it removes its cgroup.
#[derive(Debug)]
pub(crate) enum Cap {
    /// A cgroup of our own.
    Group(Group),
    /// `systemd-run` makes the scope when the command starts, and systemd removes it.
    Scope(scope::Scope),
}

impl Cap {
    /// A cap of `limit`, by the first mechanism that works.
    ///
    /// # Errors
    /// [`CapError`] with what each mechanism said.
    pub(crate) fn new(limit: Size) -> Result<Self, CapError> {
        if limit.bytes() < LEAST_BYTES {
            return Err(CapError::TooSmall(limit));
        }
        let mut reasons = Vec::new();
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        for place in locate::places(&mountinfo, &own) {
            match Group::create(&place, limit) {
                Ok(group) => return Ok(Self::Group(group)),
                Err(reason) => reasons.push(reason),
            }
        }
        if reasons.is_empty() {
            reasons.push("no cgroup with a memory controller is mounted".to_owned());
        }
        match scope::Scope::probe(limit) {
            Ok(scope) => Ok(Self::Scope(scope)),
            Err(reason) => {
                reasons.push(reason);
                Err(CapError::Unavailable { reasons })
            }
        }
    }

    /// A command that runs `argv` under this cap.
    pub(crate) fn command(&self, argv: &[OsString]) -> Command {
        match self {
            Self::Group(group) => {
                // A shell joins the group and becomes the command: nothing of the command runs
                // outside, and no code of ours runs between fork and exec.
                let mut command = Command::new("sh");
                command
                    .arg("-c")
                    .arg(r#"echo $$ > "$1/cgroup.procs" || exit 125; shift; exec "$@""#)
                    .arg("sh")
                    .arg(group.dir())
                    .args(argv);
                command
            }
            Self::Scope(scope) => scope.command(argv),
        }
    }

    /// How many processes under the cap died for want of memory, where that can be known.
    pub(crate) fn oom_kills(&self) -> u64 {
        match self {
            Self::Group(group) => group.oom_kills(),
            Self::Scope(_) => 0,
        }
    }
}
