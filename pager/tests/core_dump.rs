//! What a crash costs: a core dump leaves out what the swap backend keeps, for all
//! that is on swap would be read back for it; a program that wants it says so.

#![cfg(all(target_os = "linux", feature = "swap", feature = "file"))]
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

#[path = "common/process.rs"]
mod process;

use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use pager::{BackendKind, ChunkBuf, Pager};
use process::{Role, role};

/// Where a child finds its working directory, into which it is dumped.
const PLACE: &str = "PAGER_CORE_PLACE";

const KEPT_BYTES: u64 = 96 << 20;
const ABORTED: i32 = 6;

#[test]
fn a_core_dump_holds_paged_out_memory_only_if_it_was_asked_to() {
    let test = "a_core_dump_holds_paged_out_memory_only_if_it_was_asked_to";
    if let Some(included) = role() {
        crash(included == "included");
    }
    if let Some(why) = cannot_dump() {
        // That the mapping carries the flag is a test of the arena's own.
        process::skip(&why);
        return;
    }
    let dumped_bytes = |role: &str| {
        let place = tempfile::tempdir_in("/var/tmp").unwrap();
        let signal = Role::new(test, role).env(PLACE, place.path()).signal();
        assert_eq!(signal, Some(ABORTED));
        let core = core_in(place.path()).expect("the kernel dumps a core");
        core.metadata().unwrap().len()
    };
    let (left_out, included) = (dumped_bytes("left out"), dumped_bytes("included"));
    println!("{left_out} bytes without, {included} with");
    assert!(included >= KEPT_BYTES, "{included} bytes");
    assert!(left_out < KEPT_BYTES / 3, "{left_out} bytes");
}

/// Pages out, and ends as a program does that found a bug in itself.
fn crash(is_included: bool) -> ! {
    std::env::set_current_dir(std::env::var_os(PLACE).unwrap()).unwrap();
    let (_, hard) = getrlimit(Resource::RLIMIT_CORE).unwrap();
    setrlimit(Resource::RLIMIT_CORE, hard, hard).unwrap();
    let settings = Pager::builder().backend(BackendKind::Swap).budget_bytes(0);
    let pager = settings.core_dumps(is_included).build().unwrap();
    // Nothing but the payloads is large: each is filled in a buffer that is reused.
    let mut chunk = Vec::new();
    let handles: Vec<_> = (0..KEPT_BYTES >> 20)
        .map(|word| {
            chunk.resize(1 << 17, word + 1);
            pager.pageout(std::slice::from_mut(&mut chunk)).unwrap()
        })
        .collect();
    // Buffers in the shared arena are left out in either case.
    let mut buf = ChunkBuf::new();
    buf.resize(1 << 20, 7).unwrap();
    assert_eq!(handles.len() as u64, KEPT_BYTES >> 20);
    std::process::abort()
}

/// Why no core file can be looked at here.
fn cannot_dump() -> Option<String> {
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    if !pattern.starts_with("core") {
        return Some(format!("core dumps go to {pattern:?}"));
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_CORE).unwrap();
    (hard < 2 * KEPT_BYTES).then(|| format!("no core dump may have more than {hard} bytes"))
}

fn core_in(place: &Path) -> Option<PathBuf> {
    let mut entries = std::fs::read_dir(place)
        .unwrap()
        .map(|it| it.unwrap().path());
    entries.find(|path| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("core")
    })
}
