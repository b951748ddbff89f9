//! Other users of the machine, who share a scratch root with us and wish us ill:
//! they make what they guess we shall make, and try to get at what we have.
//!
//! Plays us and the stranger as two users without privileges; needs root for that.
//! Without, it says so and passes.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::*;
use pager_core::{Handle, Registry};
use pager_file::{FileBackend, FileConfig, FileMode, IoChoice};
use rstest::rstest;
use tempfile::TempDir;

const STRANGER: u32 = 65533;

/// Names as this crate gives them.
const GUESSES: [&str; 6] = [
    "pager-1-0123456789abcdef",
    "pager-2-0123456789abcdef",
    "pager-3-0123456789abcdef",
    ".pager-4-0123456789abcdef",
    "pager-5-0123456789abcdef",
    ".pager-6-0123456789abcdef",
];

fn given(variable: &str) -> PathBuf {
    std::env::var_os(variable).unwrap().into()
}

/// A root as `/var/tmp` is: everybody may write, nobody may touch what is not his.
fn shared_root() -> TempDir {
    let root = scratch();
    fs::set_permissions(root.path(), Permissions::from_mode(0o1777)).unwrap();
    root
}

/// Runs a script as the stranger, and gives what it printed.
fn as_stranger(script: &str, root: &Path, target: &Path) -> String {
    let output = Command::new("sh")
        .args(["-c", script])
        .env("ROOT", root)
        .env("TARGET", target)
        .uid(STRANGER)
        .gid(STRANGER)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    format!("{}{said}", String::from_utf8_lossy(&output.stdout))
}

/// Every kind of trap, under names of our kind.
const TRAPS: &str = r#"
umask 0; cd "$ROOT"
ln -s "$TARGET" pager-1-0123456789abcdef
mkdir pager-2-0123456789abcdef
ln -s "$TARGET/precious" pager-2-0123456789abcdef/0000000000000000
mkfifo pager-3-0123456789abcdef
ln -s "$TARGET" .pager-4-0123456789abcdef
ln "$TARGET/precious" pager-5-0123456789abcdef 2>/dev/null || touch pager-5-0123456789abcdef
mkdir .pager-6-0123456789abcdef
mkfifo .pager-6-0123456789abcdef/0000000000000000
"#;

#[rstest]
fn what_a_stranger_has_made_in_a_shared_root_gains_nothing(
    #[values(FileMode::Seed, FileMode::Segments)] mode: FileMode,
) {
    if role().is_some() {
        let registry = registry(&given("PAGER_TEST_ROOT"), mode);
        assert_eq!(registry.backend().stats().reaped.directories, 0);
        return round_trip(&registry);
    }
    if !is_root() {
        return skip("not root");
    }
    let (root, target) = (shared_root(), scratch());
    let precious = target.path().join("precious");
    fs::write(&precious, "ours").unwrap();
    // Ours, and open to all, so that a trap would work if it were stepped into.
    for path in [target.path(), &precious] {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
    }
    let said = as_stranger(TRAPS, root.path(), target.path());
    let traps = names(root.path());
    assert_eq!(traps.len(), GUESSES.len(), "{said}");
    let within = |name: &str| names(&root.path().join(name));
    let filled = [within(GUESSES[1]), within(GUESSES[5])];

    let test = std::thread::current().name().unwrap().to_owned();
    for user in ["nobody", "root"] {
        let ours = Role::new(&test, "us").env("PAGER_TEST_ROOT", root.path());
        match user {
            "nobody" => ours.unprivileged().run(),
            _ => ours.run(),
        };
        assert_eq!(names(root.path()), traps, "{user}");
        assert_eq!([within(GUESSES[1]), within(GUESSES[5])], filled);
        assert_eq!(names(target.path()), ["precious"]);
        assert_eq!(fs::read(&precious).unwrap(), b"ours");
    }
}

fn round_trip(registry: &Registry<FileBackend>) {
    let handle = registry.pageout(&mut [words(3, 9000)]).unwrap();
    let mut found = Vec::new();
    registry.take(handle, &mut found).unwrap();
    assert_eq!(found, words(3, 9000));
}

/// What a stranger tries on a process whose id and directory he knows; every
/// success is a line.
const ATTEMPTS: &str = r#"
cd "$ROOT"
ls "$TARGET" && echo listed
cat "$TARGET"/* && echo read
touch "$TARGET/x" && echo written
mv "$TARGET" "$ROOT/moved" && echo moved
rmdir "$TARGET" && echo removed
rm -rf "$TARGET" && echo removed all
flock -n "$TARGET" true && echo locked
ls /proc/$PID/fd && echo listed descriptors
for number in 0 1 2 3 4 5 6 7 8 9 10 11 12; do
  cat /proc/$PID/fd/$number && echo read descriptor $number
  : >> /proc/$PID/fd/$number && echo wrote descriptor $number
done
cat /proc/$PID/mem && echo read memory
true
"#;

#[rstest]
fn a_stranger_gets_at_nothing_of_a_running_process(
    #[values(FileMode::Seed, FileMode::Segments)] mode: FileMode,
    #[values("nobody", "root")] user: &str,
) {
    let test = std::thread::current().name().unwrap().to_owned();
    if role().is_some() {
        let registry = registry(&given("PAGER_TEST_ROOT"), mode);
        let handle = registry.pageout(&mut [words(3, 9000)]).unwrap();
        let directory = registry.backend().directory().display().to_string();
        say(format!("{} {directory}", std::process::id()));
        wait_to_be_told();
        let mut found = Vec::new();
        registry.take(handle, &mut found).unwrap();
        return assert_eq!(found, words(3, 9000));
    }
    if !is_root() {
        return skip("not root");
    }
    let root = shared_root();
    let ours = Role::new(&test, "us").env("PAGER_TEST_ROOT", root.path());
    let ours = match user {
        "nobody" => ours.unprivileged(),
        _ => ours,
    };
    let (ours, said) = ours.start();
    let (pid, directory) = said.split_once(' ').unwrap();
    let script = format!("PID={pid}; exec 2>/dev/null; {ATTEMPTS}");

    let gained = as_stranger(&script, root.path(), directory.as_ref());

    assert_eq!(gained, "", "a stranger has");
    assert_eq!(mode_of(directory.as_ref()), 0o700);
    ours.finish();
    assert!(names(root.path()).is_empty());
}

/// The modes of the nameless files of this process under `root`.
fn modes_of_nameless_files(root: &Path) -> Vec<u32> {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap();
    let paths = descriptors.map(|entry| entry.unwrap().path());
    let ours = paths.filter(|path| {
        fs::read_link(path)
            .is_ok_and(|to| to.starts_with(root) && to.to_string_lossy().ends_with("(deleted)"))
    });
    ours.map(|path| fs::metadata(path).unwrap().permissions().mode() & 0o7777)
        .collect()
}

#[rstest]
fn segments_are_0600_and_a_new_root_0700_whatever_the_umask(
    #[values(IoChoice::Auto, IoChoice::Buffered)] io: IoChoice,
    #[values("0", "777", "277", "77")] umask: &str,
) {
    if let Some(umask) = role() {
        let root = given("PAGER_TEST_ROOT");
        let bits = u32::from_str_radix(&umask, 8).unwrap();
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(bits));
        let config = FileConfig::new(&root).io(io);
        let registry = Registry::new(FileBackend::open(config).unwrap());
        let handle: Handle<_> = registry.pageout(&mut [words(3, 9000)]).unwrap();
        assert_eq!(mode_of(&root), 0o700);
        assert_eq!(mode_of(registry.backend().directory()), 0o700);
        assert_eq!(modes_of_nameless_files(&root), [0o600]);
        drop(handle);
        return round_trip(&registry);
    }
    let scratch = scratch();
    if is_root() {
        chown(scratch.path(), Some(NOBODY), None).unwrap();
    }
    let test = std::thread::current().name().unwrap().to_owned();
    Role::new(&test, umask)
        .env("PAGER_TEST_ROOT", scratch.path().join("new"))
        .unprivileged()
        .run();
    assert!(names(&scratch.path().join("new")).is_empty());
}

#[test]
fn every_descriptor_is_closed_on_exec() {
    let test = "every_descriptor_is_closed_on_exec";
    if role().is_none() {
        // In a process that has no descriptors but its own.
        Role::new(test, "alone").run();
        return;
    }
    let scratch = scratch();
    let inherited = descriptors();
    let registries =
        [FileMode::Seed, FileMode::Segments].map(|mode| registry(scratch.path(), mode));
    let mut seen = 0;
    let handles = registries
        .each_ref()
        .map(|registry| registry.pageout(&mut [words(1, 90_000)]).unwrap());
    for number in descriptors().difference(&inherited) {
        let Ok(info) = fs::read_to_string(format!("/proc/self/fdinfo/{number}")) else {
            continue;
        };
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = u32::from_str_radix(flags.unwrap().trim(), 8).unwrap();
        assert!(flags & 0o2_000_000 != 0, "descriptor {number} survives");
        seen += 1;
    }
    assert!(seen >= 5, "two roots, two directories, a segment: {seen}");
    drop(handles);
}

fn descriptors() -> std::collections::BTreeSet<String> {
    let listed = names("/proc/self/fd".as_ref());
    // Without the one that the listing itself had.
    let is_open = |number: &String| fs::read_link(format!("/proc/self/fd/{number}")).is_ok();
    listed.into_iter().filter(is_open).collect()
}

#[test]
fn a_fresh_name_that_exists_already_is_passed_over_by_the_seed_mode() {
    let scratch = scratch();
    let registry = registry(scratch.path(), FileMode::Seed);
    let directory = registry.backend().directory().to_owned();
    let other = scratch.path().join("other");
    File::create(&other).unwrap();
    symlink(&other, directory.join("0000000000000000")).unwrap();
    fs::hard_link(&other, directory.join("0000000000000001")).unwrap();
    fs::create_dir(directory.join("0000000000000002")).unwrap();
    round_trip(&registry);
    assert_eq!(fs::metadata(&other).unwrap().len(), 0);
    assert_eq!(names(&directory).len(), 3);
    fs::remove_dir(directory.join("0000000000000002")).unwrap();
}
