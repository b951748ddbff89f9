//! A memory cap by a transient systemd scope, for users who may not write cgroup files.
//!
//! Guarantees, by a trial run, that the limit really reaches the kernel: a user manager without
//! the memory controller accepts the property and ignores it. Refuses where there is no manager.

use crate::size::Size;
use std::ffi::OsString;
use std::process::{Command, Stdio};

/// The means to run commands in capped scopes.
#[derive(Debug)]
pub(crate) struct Scope {
    limit: Size,
    user: bool,
}

/// Prints the limit that is in force for the shell that runs it.
const PROBE: &str = r#"cat "/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/memory.max""#;

impl Scope {
    /// Tries a scope with `limit`, or tells why it is not to be had.
    pub(crate) fn probe(limit: Size) -> Result<Self, String> {
        let scope = Self {
            limit,
            user: !rustix::process::geteuid().is_root(),
        };
        let output = scope
            .command(&["sh".into(), "-c".into(), PROBE.into()])
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("systemd-run: {e}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("systemd-run: {}", said.trim()));
        }
        let said = String::from_utf8_lossy(&output.stdout);
        match said.trim().parse::<u64>() {
            Ok(bytes) if bytes <= limit.bytes() => Ok(scope),
            _ => Err(format!(
                "systemd-run made a scope whose memory.max is {:?}",
                said.trim()
            )),
        }
    }

    /// A command that runs `argv` in a scope of its own.
    pub(crate) fn command(&self, argv: &[OsString]) -> Command {
        let mut command = Command::new("systemd-run");
        if self.user {
            command.arg("--user");
        }
        command
            .args(["--scope", "--quiet", "--collect", "-p"])
            .arg(format!("MemoryMax={}", self.limit.bytes()))
            .arg("--")
            .args(argv);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::Scope;
    use crate::size::Size;

    #[test]
    fn a_scope_passes_the_limit_in_bytes_and_the_command_untouched() {
        let scope = Scope {
            limit: Size::from_bytes(1 << 20),
            user: true,
        };
        let command = scope.command(&["echo".into(), "-n".into()]);
        let args: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
        assert_eq!(
            args.join(" "),
            "--user --scope --quiet --collect -p MemoryMax=1048576 -- echo -n"
        );
    }
}
