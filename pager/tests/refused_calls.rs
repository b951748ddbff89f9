//! System calls that an old kernel does not know, or that a sandbox refuses to all
//! that runs in it (a seccomp profile of a container, gVisor and its like): what is
//! advice is done without, what is needed is a typed error, and nothing is lost.
//!
//! Each row of the table is a child of this test binary under a filter of its own,
//! refusing in each of the ways that such systems have.

#![cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    feature = "swap",
    feature = "file"
))]
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]
#![allow(unsafe_code, reason = "forks")]

#[path = "common/kept.rs"]
mod kept;
#[path = "common/process.rs"]
mod process;

use std::collections::BTreeMap;

use kept::{Kept, assert_nothing_is_left};
use nix::libc;
use pager::{BackendKind, ChunkBuf, Error, Pager, Preset};
use process::{Role, in_forked_child, role};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter_all_threads,
};

/// What is refused, and what still works.
struct Row {
    name: &'static str,
    calls: &'static [i64],
    /// Only with this value in this argument.
    argument: Option<(u8, i32)>,
    backends: &'static [BackendKind],
    /// Whether the filter leaves a way to fork.
    forks: bool,
}

const BOTH: &[BackendKind] = &BackendKind::ALL;
const SWAP: &[BackendKind] = &[BackendKind::Swap];

const fn advice(name: &'static str, advice: i32) -> Row {
    Row {
        name,
        calls: &[libc::SYS_madvise],
        argument: Some((2, advice)),
        backends: BOTH,
        forks: true,
    }
}

const fn whole(
    name: &'static str,
    calls: &'static [i64],
    backends: &'static [BackendKind],
    forks: bool,
) -> Row {
    Row {
        name,
        calls,
        argument: None,
        backends,
        forks,
    }
}

const TABLE: &[Row] = &[
    advice("MADV_WIPEONFORK", libc::MADV_WIPEONFORK),
    advice("MADV_HUGEPAGE", libc::MADV_HUGEPAGE),
    advice("MADV_DONTDUMP", libc::MADV_DONTDUMP),
    advice("MADV_DONTNEED", libc::MADV_DONTNEED),
    advice("MADV_COLD", libc::MADV_COLD),
    advice("MADV_PAGEOUT", libc::MADV_PAGEOUT),
    advice("MADV_WILLNEED", libc::MADV_WILLNEED),
    advice("MADV_POPULATE_READ", libc::MADV_POPULATE_READ),
    whole("madvise", &[libc::SYS_madvise], BOTH, true),
    whole("munmap", &[libc::SYS_munmap], BOTH, true),
    whole("clone", &[libc::SYS_clone, libc::SYS_clone3], BOTH, false),
    // What the swap backend asks of files is whether pages have left.
    whole("openat", &[libc::SYS_openat], SWAP, true),
    whole("pread64", &[libc::SYS_pread64], SWAP, true),
    whole("prlimit64", &[libc::SYS_prlimit64], SWAP, true),
];

/// As a seccomp profile, a sandbox and an old kernel say it.
const ERRORS: [i32; 3] = [libc::EPERM, libc::ENOSYS, libc::EINVAL];

#[test]
fn what_may_be_refused_is_done_without() {
    let test = "what_may_be_refused_is_done_without";
    if let Some(role) = role() {
        let (name, error) = role.split_once(' ').unwrap();
        let row = TABLE.iter().find(|row| row.name == name).unwrap();
        return play(row, error.parse().unwrap());
    }
    for row in TABLE {
        for error in ERRORS {
            // What the C library takes a refusal of a thread for is its own affair.
            if row.forks || error == libc::EPERM {
                Role::new(test, &format!("{} {error}", row.name)).run();
            }
        }
    }
}

/// The child: everything that a program does, under the filter.
fn play(row: &Row, error: i32) {
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    refuse(row, error);
    for preset in Preset::ALL {
        for budget_bytes in [0, 1 << 20] {
            let settings = Pager::builder().preset(preset).budget_bytes(budget_bytes);
            // Without files there is no scratch directory.
            let pager = if row.backends == BOTH {
                settings.scratch_dir(root.path()).build()
            } else {
                settings.build()
            };
            use_it(&pager.unwrap(), row);
        }
    }
    if row.forks {
        children_are_told_apart();
    }
}

fn use_it(pager: &Pager, row: &Row) {
    for kind in row.backends {
        let mut kept: Vec<_> = [1, 40_001, (1 << 18) + 1]
            .iter()
            .map(|len| Kept::new(pager, *kind, *len as u64, *len).unwrap())
            .collect();
        pager.flush().unwrap();
        kept.iter().for_each(|one| one.handle.prefetch());
        kept.iter().for_each(|one| one.read().unwrap());
        kept.rotate_left(1);
        for one in kept {
            one.take().map_err(|failed| failed.0).unwrap();
        }
        let mut buf = ChunkBuf::with_capacity(1 << 18).unwrap();
        buf.resize(1 << 18, 7u64).unwrap();
        let handle = pager.options().backend(*kind).pageout(&mut [buf]).unwrap();
        let mut back = ChunkBuf::new();
        handle.take(&mut back).unwrap();
        assert!(back.iter().all(|word| *word == 7) && back.len() == 1 << 18);
    }
    assert_nothing_is_left(pager);
    pager.shutdown().unwrap();
}

/// Forked by the C library, and past it.
fn children_are_told_apart() {
    let pager = Pager::builder().budget_bytes(0).build().unwrap();
    let handle = pager
        .options()
        .backend(BackendKind::Swap)
        .pageout(&mut [vec![1u64; 700]])
        .unwrap();
    let mut buf = ChunkBuf::try_from(&[7; 700][..]).unwrap();
    let is_told = |buf: &mut ChunkBuf| {
        let refused = handle.read_at(0, 1, &mut Vec::new());
        let is_foreign = matches!(refused, Err(Error::ForeignProcess));
        let is_as_it_was = buf.iter().all(|word| *word == 7);
        is_foreign && is_as_it_was && buf.resize(9000, 8).is_ok() && buf[8999] == 8
    };
    assert_eq!(in_forked_child(|| is_told(&mut buf)), 0, "a child");
    assert_eq!(
        in_forked_child(|| in_raw_child(|| is_told(&mut buf)) == 0),
        0
    );
    assert_eq!(
        in_raw_child(|| is_told(&mut buf)),
        0,
        "one forked past the library"
    );
    assert_eq!(*buf, [7; 700]);
    let mut words = Vec::new();
    handle.take(&mut words).unwrap();
    assert_eq!(words, [1; 700]);
}

/// As [`in_forked_child`], with the bare system call.
fn in_raw_child(child: impl FnOnce() -> bool) -> i32 {
    let flags = libc::SIGCHLD;
    // SAFETY: as `fork`, but that the C library does not learn of it: the child
    // allocates a little, which nobody else does here, and leaves at once.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    assert!(pid >= 0, "it must be possible to fork");
    if pid == 0 {
        let is_fine = child();
        // SAFETY: ends the child.
        unsafe { libc::_exit(i32::from(!is_fine)) }
    }
    let mut status = 0;
    // SAFETY: the child is this process's own.
    unsafe { libc::waitpid(i32::try_from(pid).unwrap(), &raw mut status, 0) };
    if libc::WIFEXITED(status) {
        libc::WEXITSTATUS(status)
    } else {
        -1
    }
}

/// Lets the calls of a row fail from now on, for every thread.
fn refuse(row: &Row, error: i32) {
    let rules = row.argument.map(|(index, value)| {
        let value = u64::try_from(value).unwrap();
        let is_it = SeccompCondition::new(index, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value);
        SeccompRule::new(vec![is_it.unwrap()]).unwrap()
    });
    let rules: Vec<_> = rules.into_iter().collect();
    let calls: BTreeMap<_, _> = row
        .calls
        .iter()
        .map(|call| (*call, rules.clone()))
        .collect();
    let refusal = SeccompAction::Errno(error.cast_unsigned());
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, refusal, arch).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    apply_filter_all_threads(&program).unwrap();
}
