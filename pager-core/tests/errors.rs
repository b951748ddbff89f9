//! Every error, told apart by what a caller does next: never again or try again, and
//! as which kind it goes through an interface of `io::Error`.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are tests, which clippy does not see"
)]

use std::error::Error as _;
use std::io::{self, ErrorKind as Kind};

use pager_core::{Error, ScratchProblem, TakeError};

fn io_error(kind: Kind) -> Error {
    Error::Io {
        backend: "file",
        operation: "write",
        path: None,
        source: kind.into(),
    }
}

fn quota(needed_bytes: u64) -> Error {
    Error::QuotaExceeded {
        backend: "file",
        needed_bytes,
        used_bytes: 10,
        quota_bytes: 10,
        path: None,
    }
}

fn full(source: io::Error) -> Error {
    Error::from_io("file", "write", None, 7, source)
}

fn scratch(problem: ScratchProblem, source: Option<io::Error>) -> Error {
    Error::ScratchUnavailable {
        path: "/nowhere".into(),
        call: None,
        problem,
        source,
    }
}

/// Every variant, and every case in which its answer differs: the error, whether it
/// is permanent, its kind.
fn table() -> Vec<(Error, bool, Kind)> {
    use ScratchProblem as Problem;
    let bounds = Error::OutOfBounds {
        offset: 1,
        len: 2,
        payload_len: 3,
    };
    let corrupt = Error::Corrupt {
        backend: "file",
        handle: None,
        offset_bytes: 0,
        expected: 1,
        found: 2,
        path: None,
    };
    let group_quota = |needed_bytes| Error::GroupQuotaExceeded {
        group: "query 7".to_owned(),
        needed_bytes,
        used_bytes: 5,
        quota_bytes: 10,
    };
    let memory = |needed_bytes| Error::OutOfMemory { needed_bytes };
    let room = |needed_bytes| Error::NoRoom {
        needed_bytes,
        budget_bytes: 10,
    };
    let backend = |source: Box<dyn std::error::Error + Send + Sync>| {
        Error::from_backend("tape", "rewind", source)
    };
    let unsupported = Error::Unsupported {
        backend: "file",
        what: "it",
    };
    vec![
        (bounds, true, Kind::InvalidInput),
        (full(Kind::StorageFull.into()), false, Kind::StorageFull),
        (full(Kind::QuotaExceeded.into()), false, Kind::QuotaExceeded),
        (full(Kind::FileTooLarge.into()), false, Kind::FileTooLarge),
        (quota(10), false, Kind::QuotaExceeded),
        (quota(11), true, Kind::QuotaExceeded),
        (group_quota(10), false, Kind::QuotaExceeded),
        (group_quota(11), true, Kind::QuotaExceeded),
        (
            Error::Contradiction {
                what: "up and down",
            },
            true,
            Kind::InvalidInput,
        ),
        (corrupt, true, Kind::InvalidData),
        (
            scratch(Problem::NotConfigured, None),
            true,
            Kind::InvalidInput,
        ),
        (scratch(Problem::Missing, None), true, Kind::NotFound),
        (
            scratch(Problem::NotADirectory, None),
            true,
            Kind::NotADirectory,
        ),
        (
            scratch(Problem::SymbolicLink, None),
            true,
            Kind::NotADirectory,
        ),
        (
            scratch(Problem::NotWritable, None),
            true,
            Kind::PermissionDenied,
        ),
        (
            scratch(Problem::NotWritable, Some(Kind::ReadOnlyFilesystem.into())),
            true,
            Kind::ReadOnlyFilesystem,
        ),
        (scratch(Problem::InMemory, None), true, Kind::InvalidInput),
        (
            scratch(Problem::NotPrivate, None),
            true,
            Kind::PermissionDenied,
        ),
        (scratch(Problem::InUse, None), false, Kind::ResourceBusy),
        (
            scratch(Problem::Refused, Some(Kind::Interrupted.into())),
            false,
            Kind::Interrupted,
        ),
        (
            scratch(Problem::Refused, Some(Kind::Unsupported.into())),
            true,
            Kind::Unsupported,
        ),
        (room(10), false, Kind::OutOfMemory),
        (room(11), true, Kind::OutOfMemory),
        (memory(1 << 20), false, Kind::OutOfMemory),
        (memory(usize::MAX), true, Kind::OutOfMemory),
        (io_error(Kind::Interrupted), false, Kind::Interrupted),
        (io_error(Kind::WouldBlock), false, Kind::WouldBlock),
        (
            io_error(Kind::ReadOnlyFilesystem),
            true,
            Kind::ReadOnlyFilesystem,
        ),
        (
            io_error(Kind::PermissionDenied),
            true,
            Kind::PermissionDenied,
        ),
        (io_error(Kind::UnexpectedEof), true, Kind::UnexpectedEof),
        (backend("the tape is torn".into()), false, Kind::Other),
        (
            backend(io::Error::from(Kind::NotFound).into()),
            true,
            Kind::NotFound,
        ),
        (
            backend(io::Error::from(Kind::TimedOut).into()),
            false,
            Kind::TimedOut,
        ),
        (backend(quota(11).into()), true, Kind::QuotaExceeded),
        (
            backend(io::Error::from(quota(10)).into()),
            false,
            Kind::QuotaExceeded,
        ),
        (
            Error::BackendDisabled { backend: "file" },
            true,
            Kind::Unsupported,
        ),
        (unsupported, true, Kind::Unsupported),
        (Error::ForeignProcess, true, Kind::PermissionDenied),
        (
            Error::WriterFailed {
                reason: "no more".to_owned(),
            },
            true,
            Kind::UnexpectedEof,
        ),
        (Error::NoReader, true, Kind::BrokenPipe),
        (Error::ShutDown, true, Kind::Other),
    ]
}

/// The name of a variant, as `Debug` has it.
fn variant(error: &Error) -> String {
    let text = format!("{error:?}");
    text.split([' ', '{']).next().unwrap().to_owned()
}

#[test]
fn every_variant_says_never_or_try_again() {
    for (error, is_permanent, _) in table() {
        assert_eq!(error.is_permanent(), is_permanent, "{error:?}");
    }
}

#[test]
fn every_variant_keeps_its_kind_its_words_and_its_cause_as_an_io_error() {
    for (error, _, kind) in table() {
        let (text, name) = (error.to_string(), variant(&error));
        let cause = error.source().map(ToString::to_string);
        let as_io = io::Error::from(error);
        assert_eq!(as_io.kind(), kind, "{as_io:?}");
        assert_eq!(as_io.to_string(), text);
        assert_eq!(as_io.source().map(ToString::to_string), cause);
        let inner = as_io.into_inner().unwrap().downcast::<Error>().unwrap();
        assert_eq!(variant(&inner), name);
    }
}

#[test]
fn the_table_has_every_variant_there_is() {
    // The enumeration is open to additions, so the source says what there is.
    let source = include_str!("../src/error.rs");
    let start = source.find("pub enum Error {").unwrap();
    let body = &source[start..start + source[start..].find("\n}\n").unwrap()];
    let listed: Vec<String> = table().iter().map(|(error, ..)| variant(error)).collect();
    let mut count = 0;
    for line in body.lines().filter_map(|line| line.strip_prefix("    ")) {
        if line.starts_with(|first: char| first.is_ascii_uppercase()) {
            let name = line.trim_end_matches([' ', '{', ',']);
            assert!(listed.iter().any(|listed| listed == name), "{name}");
            count += 1;
        }
    }
    assert!(count >= 12, "{count} variants were found in the source");
}

#[test]
fn a_system_error_number_is_still_to_be_found() {
    let error = io::Error::from(full(io::Error::from_raw_os_error(28)));
    let source = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(source.raw_os_error(), Some(28));
}

#[test]
fn an_error_of_its_own_goes_through_and_can_be_had_back() {
    #[derive(Debug, thiserror::Error)]
    #[error("the tape is torn")]
    struct Torn;

    let error = Error::from_backend("tape", "rewind", Torn);
    assert_eq!(error.to_string(), "tape: rewind failed");
    let source = error.source().unwrap();
    assert!(source.is::<Torn>(), "{source}");
    let text = Error::from_backend("tape", "rewind", "no tape");
    assert_eq!(text.source().unwrap().to_string(), "no tape");
}

#[test]
fn a_failed_take_becomes_an_io_error_by_a_question_mark() {
    fn take() -> io::Result<()> {
        Err(TakeError::new(Error::ShutDown, "handle"))?
    }
    assert_eq!(take().unwrap_err().to_string(), Error::ShutDown.to_string());
}
