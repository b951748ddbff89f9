//! Every public function of a few types, called in forked children whose parent
//! never rests: what a table says of each must hold, the table must be complete, and
//! no child may hang.
//!
//! Included by the tests of other crates too, so it knows no crate of ours.

#![allow(dead_code, reason = "every test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

/// How long a child may live: far longer than any that ends by itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// One entry of a table: a function by its name, and whether it does as it should
/// in a child.
pub(crate) type Call<I> = (&'static str, fn(&mut I) -> bool);

/// The inherent public functions of `types`, as `Type::function`, that are declared
/// anywhere below `source`.
pub(crate) fn methods(types: &[&str], source: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for text in sources(source) {
        let mut within = None;
        for line in text.lines() {
            if line.starts_with("impl") && !line.contains(" for ") {
                within = types.iter().find(|name| type_of(line) == **name);
            } else if line == "}" {
                within = None;
            }
            if let (Some(name), Some(function)) = (within, public(line, "    ")) {
                found.insert(format!("{name}::{function}"));
            }
        }
    }
    found
}

/// The free public functions of one file.
pub(crate) fn functions(file: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let names = text.lines().filter_map(|line| public(line, ""));
    names.map(str::to_owned).collect()
}

/// The type of `impl<B: Backend> Registry<B> {`.
fn type_of(line: &str) -> &str {
    let declared = line.strip_prefix("impl").unwrap_or(line);
    let named = match declared.strip_prefix('<') {
        Some(generic) => generic.split_once("> ").map_or("", |(_, named)| named),
        None => declared.trim_start(),
    };
    named.split(['<', ' ']).next().unwrap_or_default()
}

/// The name of the public function that this line begins to declare.
fn public<'a>(line: &'a str, indent: &str) -> Option<&'a str> {
    let declared = line.strip_prefix(indent)?.strip_prefix("pub ")?;
    let declared = declared.strip_prefix("const ").unwrap_or(declared);
    declared.strip_prefix("fn ")?.split(['(', '<']).next()
}

fn sources(folder: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts.extend(sources(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            texts.push(std::fs::read_to_string(path).unwrap());
        }
    }
    texts
}

/// Nothing is missing in the table, and nothing in it has gone.
#[track_caller]
pub(crate) fn assert_complete<I>(calls: &[Call<I>], declared: &BTreeSet<String>) {
    let listed: BTreeSet<_> = calls.iter().map(|(name, _)| (*name).to_owned()).collect();
    let missing: Vec<_> = declared.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(declared).collect();
    assert!(missing.is_empty(), "nobody calls {missing:?}");
    assert!(gone.is_empty(), "there is no {gone:?}");
}

/// Makes all `calls` in a forked child, one after the other; names the one that did
/// not do as it should, panicked or hung.
pub(crate) fn in_child<I>(calls: &[Call<I>], inherited: &mut I) -> Result<(), String> {
    let (mut tell, mut told) = UnixStream::pair().unwrap();
    // SAFETY: the child runs the calls, which is what is to be tested, prints
    // nothing, and leaves without unwinding.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let is_fine = calls.iter().enumerate().all(|(index, (_, call))| {
                let index = [u8::try_from(index).unwrap_or(u8::MAX)];
                tell.write_all(&index).is_ok()
                    && catch_unwind(AssertUnwindSafe(|| call(inherited))).unwrap_or(false)
            });
            // SAFETY: ends the child without the parent's exit handlers.
            unsafe { nix::libc::_exit(i32::from(!is_fine)) }
        }
        ForkResult::Parent { child } => {
            let ended = end_of(child);
            drop(tell);
            let mut made = Vec::new();
            told.read_to_end(&mut made).unwrap();
            let last = made
                .last()
                .map_or("nothing", |it| calls[usize::from(*it)].0);
            ended.map_err(|how| format!("{last}: {how}"))
        }
    }
}

fn end_of(child: Pid) -> Result<(), String> {
    let since = Instant::now();
    while since.elapsed() < PATIENCE {
        match waitpid(child, Some(WaitPidFlag::WNOHANG)).unwrap() {
            WaitStatus::Exited(_, 0) => return Ok(()),
            WaitStatus::Exited(..) => return Err("it did something else".to_owned()),
            WaitStatus::StillAlive => std::thread::sleep(Duration::from_micros(200)),
            other => return Err(format!("the child ended as {other:?}")),
        }
    }
    kill(child, Signal::SIGKILL).unwrap();
    waitpid(child, None).unwrap();
    Err("it hung".to_owned())
}
