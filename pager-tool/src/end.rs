//! From arguments to an exit code.
//!
//! | what happened | exit code | said |
//! |---|---|---|
//! | the program's own result | its own | by the program |
//! | an error, a full disk under the output included | 1 | one line on standard error |
//! | wrong arguments | 2 | what is wrong, on standard error |
//! | the reader closed the pipe | 141, as if by `SIGPIPE` | nothing |

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use crate::output::{OutputError, warn};

/// The exit code of a program whose reader has gone: 128 and the number of the
/// signal that ends other programs then. Not by the signal itself: what was set up
/// has to be taken down first.
pub const EXIT_CLOSED: u8 = 141;

/// Reads the arguments, does the work, and ends as the table above says.
pub fn run<A: Parser>(work: impl FnOnce(A) -> anyhow::Result<ExitCode>) -> ExitCode {
    let name = &name();
    match A::try_parse() {
        Ok(args) => end(name, work(args)),
        Err(told) => {
            // Help and versions come as an error, too.
            let printed = told.print().and_then(|()| io::stdout().flush());
            if told.use_stderr() {
                return ExitCode::from(2);
            }
            let printed = printed.map_err(OutputError::from);
            end(
                name,
                printed.map(|()| ExitCode::SUCCESS).map_err(Into::into),
            )
        }
    }
}

/// What the program was started as.
fn name() -> String {
    let path = std::env::args_os().next().map(PathBuf::from);
    let name = path.as_deref().and_then(Path::file_name);
    name.map_or_else(
        || "pager".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// The exit code of what was done, after saying what went wrong.
pub fn end(name: &str, done: anyhow::Result<ExitCode>) -> ExitCode {
    let error = match done {
        Ok(code) => return code,
        Err(error) => error,
    };
    if let Some(OutputError::Closed(_)) = error.downcast_ref() {
        return ExitCode::from(EXIT_CLOSED);
    }
    warn(format_args!("{name}: {error:#}"));
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(done: anyhow::Result<ExitCode>) -> String {
        format!("{:?}", end("test", done))
    }

    #[test]
    fn a_closed_pipe_ends_as_by_its_signal_whatever_was_added_to_it() {
        let closed = || OutputError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        let expected = format!("{:?}", ExitCode::from(EXIT_CLOSED));
        assert_eq!(code(Err(closed().into())), expected);
        let with_context = anyhow::Error::from(closed()).context("the figures were not printed");
        assert_eq!(code(Err(with_context)), expected);
    }

    #[test]
    fn every_other_error_is_a_failure() {
        let full = OutputError::from(io::Error::from(io::ErrorKind::StorageFull));
        let failure = format!("{:?}", ExitCode::FAILURE);
        assert_eq!(code(Err(full.into())), failure);
        assert_eq!(code(Err(anyhow::anyhow!("no"))), failure);
        assert_eq!(
            code(Ok(ExitCode::from(7))),
            format!("{:?}", ExitCode::from(7))
        );
    }
}
