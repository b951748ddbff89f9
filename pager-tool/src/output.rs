//! To whoever reads what a program prints.
//!
//! `println!` panics when it cannot write; these return an error that says why, and
//! flush, so that a disk that is full is noticed here and not after the end. What
//! goes to standard error has nobody to tell that it was lost, and is let go.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;

/// What was to be printed was not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The reader has closed its end of the pipe: it has read enough. A program
    /// that hears it ends, and says nothing.
    #[error("standard output was closed")]
    Closed(#[source] io::Error),
    /// The output could not be written: a full disk, most often.
    #[error("standard output cannot be written")]
    Failed(#[source] io::Error),
    /// A value has no form in JSON.
    #[error("the result cannot be written as JSON")]
    Json(#[source] serde_json::Error),
}

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::Closed(error)
        } else {
            Self::Failed(error)
        }
    }
}

/// Prints a text and ends the line.
///
/// # Errors
///
/// [`OutputError`]; part of the text may have been written.
pub fn print(text: impl Display) -> Result<(), OutputError> {
    write_line(&mut io::stdout().lock(), text)?;
    Ok(())
}

/// Prints a value as one line of JSON.
///
/// # Errors
///
/// As for [`print()`].
pub fn print_json(value: &impl Serialize) -> Result<(), OutputError> {
    print(serde_json::to_string(value).map_err(OutputError::Json)?)
}

/// Says something on standard error, if it can be said there.
pub fn warn(text: impl Display) {
    // There is no third place to complain in.
    let _ = write_line(&mut io::stderr().lock(), text);
}

fn write_line(out: &mut impl Write, text: impl Display) -> io::Result<()> {
    // One piece, so that lines of several processes do not mix.
    out.write_all(format!("{text}\n").as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_told_from_a_full_disk() {
        let failed = |kind| OutputError::from(write_line(&mut Broken(kind), 1).unwrap_err());
        assert!(matches!(
            failed(io::ErrorKind::BrokenPipe),
            OutputError::Closed(_)
        ));
        assert!(matches!(
            failed(io::ErrorKind::StorageFull),
            OutputError::Failed(_)
        ));
    }

    #[test]
    fn a_text_is_a_line() {
        let mut out = Vec::new();
        write_line(&mut out, format_args!("{} {}", 1, 2)).unwrap();
        assert_eq!(out, b"1 2\n");
    }
}
