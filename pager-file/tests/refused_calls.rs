//! System calls that a seccomp profile, an old kernel or a sandbox refuses: the file
//! backend does without, or says which call it was. Every call that the crate makes has
//! a row in the table.
//!
//! A filter holds for the thread that asks for it and for those that it starts, so each
//! row is played by a thread of its own. The same for the whole pager, and for what the
//! memory below asks, is `pager/tests/refused_calls.rs`.

#![cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::path::Path;

use common::{names, scratch, words};
use nix::libc;
use pager_core::{Error, Registry};
use pager_file::{FileBackend, FileConfig, FileMode, IoChoice};
use rstest::rstest;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

/// What becomes of a backend without a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It works, and leaves nothing.
    Works,
    /// It works, and leaves its directory to a later sweep.
    Leaves,
    /// It cannot be opened, and the error names the call.
    Unopened(&'static str),
    /// Nothing can be written, and the error names the call.
    Unwritten(&'static str),
    /// Nothing comes back, and the error names the call; the handle does.
    Unread(&'static str),
}
use Fate::{Leaves, Unopened, Unread, Unwritten, Works};

struct Row {
    calls: &'static [i64],
    /// Only with all these bits in the argument of this number.
    argument: Option<(u8, i32)>,
    fate: Fate,
}

const fn row(calls: &'static [i64], fate: Fate) -> Row {
    Row {
        calls,
        argument: None,
        fate,
    }
}

const TABLE: &[Row] = &[
    row(&[libc::SYS_openat], Unopened("openat")),
    Row {
        calls: &[libc::SYS_openat],
        argument: Some((2, libc::O_TMPFILE)),
        fate: Works,
    },
    row(&[libc::SYS_mkdirat], Unopened("mkdirat")),
    row(&[libc::SYS_flock], Unopened("flock")),
    // The directory keeps the hidden name that it was made under.
    row(&[libc::SYS_renameat, libc::SYS_renameat2], Works),
    row(&[libc::SYS_unlinkat], Leaves),
    // No sweep: `Reaped::unfinished`.
    row(&[libc::SYS_getdents64], Works),
    row(&[libc::SYS_newfstatat], Works),
    row(&[libc::SYS_fstat], Works),
    row(&[libc::SYS_statx], Works),
    row(&[libc::SYS_fstatfs, libc::SYS_statfs], Works),
    row(&[libc::SYS_readlinkat], Works),
    row(&[libc::SYS_fchmod, libc::SYS_fchmodat], Works),
    row(&[libc::SYS_fcntl], Works),
    row(&[libc::SYS_ioctl], Works),
    row(&[libc::SYS_fallocate], Works),
    row(&[libc::SYS_pwritev], Works),
    row(&[libc::SYS_pwritev2], Works),
    row(&[libc::SYS_pwrite64], Works),
    row(
        &[libc::SYS_pwritev, libc::SYS_pwritev2, libc::SYS_pwrite64],
        Unwritten("pwrite64"),
    ),
    row(&[libc::SYS_pread64], Unread("pread64")),
    row(&[libc::SYS_pwritev2, libc::SYS_fdatasync], Works),
    row(&[libc::SYS_fadvise64], Works),
    row(&[libc::SYS_prlimit64], Works),
    row(&[libc::SYS_clone, libc::SYS_clone3], Works),
    row(&[libc::SYS_getcwd], Works),
    row(&[libc::SYS_getrandom], Works),
    // The guards of a key, and what memory is told; what is refused is in the stats.
    row(&[libc::SYS_mlock, libc::SYS_mlock2], Works),
    row(&[libc::SYS_madvise], Works),
];

/// As a seccomp profile, a stricter one, and a kernel or sandbox without the call say it.
const ERRORS: [i32; 3] = [libc::EPERM, libc::EACCES, libc::ENOSYS];

/// Words of the payloads: in one block, over some, and enough to be written out.
const LENS: [usize; 3] = [1, 40_001, (9 << 20) / size_of::<u64>()];

#[rstest]
#[case::segments(FileMode::Segments, false)]
#[case::encrypted(FileMode::Segments, true)]
#[case::seed(FileMode::Seed, false)]
fn what_is_refused_is_done_without_or_named(
    #[case] mode: FileMode,
    #[case] encryption: bool,
    #[values(IoChoice::Auto, IoChoice::Buffered)] io: IoChoice,
) {
    for row in TABLE {
        for errno in ERRORS {
            let root = scratch();
            let what = format!(
                "{mode}, {io}, encryption {encryption}, {:?} is {errno}",
                row.calls
            );
            let played = std::thread::scope(|scope| {
                let config = FileConfig::new(root.path()).mode(mode).io(io);
                let config = config.encryption(encryption);
                // A key of anything but random bytes would be none. (The library has
                // another source, but only if the call was never answered before.)
                let has_no_key = encryption && row.calls == [libc::SYS_getrandom];
                let fate = if has_no_key {
                    Unopened("getrandom")
                } else {
                    row.fate
                };
                let play = move || {
                    refuse(row, errno);
                    play(config, fate);
                };
                scope.spawn(play).join()
            });
            assert!(played.is_ok(), "{what}");
            let left = names(root.path());
            assert_eq!(
                left.len(),
                usize::from(row.fate == Leaves),
                "{what}: {left:?}"
            );
            if row.fate == Leaves {
                is_swept(root.path());
            }
        }
    }
}

/// What the row's backend has left goes with the next that may remove it.
fn is_swept(root: &Path) {
    drop(FileBackend::open(FileConfig::new(root)).unwrap());
    common::eventually(|| names(root).is_empty());
}

fn play(config: FileConfig, fate: Fate) {
    // Whatever is freed goes back to the file system at once, by a thread.
    let opened = FileBackend::open(config.slack_bytes(0));
    if let Unopened(call) = fate {
        return assert_names(&opened.unwrap_err(), call);
    }
    let registry = Registry::new(opened.unwrap());
    for (seed, len) in (0..).zip(LENS) {
        let mut chunk = [words(seed, len)];
        let paged_out = registry.pageout(&mut chunk);
        if let Unwritten(call) = fate {
            assert_names(&paged_out.unwrap_err(), call);
            assert!(chunk[0] == words(seed, len), "the chunk is as it was");
            continue;
        }
        let (handle, mut back) = (paged_out.unwrap(), Vec::new());
        match (fate, registry.take(handle, &mut back)) {
            (Unread(call), taken) => {
                let (error, handle) = taken.unwrap_err().into_parts();
                assert_names(&error, call);
                assert_eq!((handle.len(), back.len()), (len, 0));
            }
            (_, taken) => {
                taken.unwrap();
                assert!(back == words(seed, len), "{len} words");
            }
        }
    }
    registry.backend().reap().unwrap();
    registry.backend().trim().unwrap();
    assert_eq!(registry.stats().backend.stored_bytes, 0);
}

/// Whether somebody who reads the error, with its causes, knows what to allow.
#[track_caller]
fn assert_names(error: &Error, call: &str) {
    let text = error.to_string();
    assert!(text.contains(call), "{text}");
    assert!(error.source().is_some(), "{text}");
}

/// Lets the calls of a row fail from now on, for this thread and those that it starts.
fn refuse(row: &Row, errno: i32) {
    let rules = row.argument.map(|(index, bits)| {
        let bits = u64::try_from(bits).unwrap();
        let has_bits = SeccompCmpOp::MaskedEq(bits);
        let condition = SeccompCondition::new(index, SeccompCmpArgLen::Dword, has_bits, bits);
        SeccompRule::new(vec![condition.unwrap()]).unwrap()
    });
    let rules: Vec<_> = rules.into_iter().collect();
    let calls: BTreeMap<_, _> = row
        .calls
        .iter()
        .map(|call| (*call, rules.clone()))
        .collect();
    let refusal = SeccompAction::Errno(errno.cast_unsigned());
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, refusal, arch).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    apply_filter(&program).unwrap();
}
