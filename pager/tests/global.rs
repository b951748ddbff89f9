//! The free functions, and that they share one pager. One test, because they do.

#![cfg(all(unix, feature = "swap", feature = "file"))]

mod common;

use common::words;
use pager::{BackendKind, Pager, Preset};

#[test]
fn the_free_functions_work_on_one_pager() {
    let root = tempfile::tempdir().unwrap();
    let chosen = Pager::builder()
        .preset(Preset::Seed)
        .allow_memory_fs(true)
        .build()
        .unwrap();
    pager::install(chosen).unwrap();
    assert_eq!(pager::global::pager().preset(), Preset::Seed);
    assert!(pager::install(Pager::new()).is_err());

    assert_eq!(pager::backend(), BackendKind::Swap);
    pager::set_scratch_dir(root.path()).unwrap();
    let in_swap = pager::pageout(&mut [words(1, 1000)]).unwrap();
    pager::set_backend(BackendKind::File).unwrap();
    let in_file = pager::pageout(&mut [words(2, 1000)]).unwrap();
    let named = pager::options()
        .backend(BackendKind::Swap)
        .pageout(&mut [words(3, 1000)])
        .unwrap();
    assert_eq!(pager::handles().len(), 3);
    assert_eq!(pager::stats().file.unwrap().live_handles, 1);

    pager::prefetch(&in_swap);
    pager::prefetch_at(&in_file, 10, 10);
    let mut read = Vec::new();
    pager::read_at(&in_file, 10, 10, &mut read).unwrap();
    pager::read_at_many(&named, &[0..1, 5..6], &mut read).unwrap();
    assert_eq!(read[..10], words(2, 1000)[10..20]);
    assert_eq!(read[10..], [words(3, 1000)[0], words(3, 1000)[5]]);
    pager::take(in_swap, &mut read).unwrap();
    assert_eq!(read, words(1, 1000));
    pager::reap().unwrap();

    // The process-wide pager outlives the test; its directory must not.
    drop((in_file, named));
}

/// The names of the public functions in a source file, at this depth of indentation.
fn functions(file: &str, indent: &str) -> Vec<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let source = std::fs::read_to_string(path.join(file)).expect("the source is here");
    let start = format!("{indent}pub fn ");
    let name = |line: &str| {
        let rest = line.strip_prefix(&start)?;
        Some(rest.split(['(', '<']).next()?.to_owned())
    };
    source.lines().filter_map(name).collect()
}

#[test]
fn whatever_a_pager_does_the_free_functions_do() {
    let free = functions("global.rs", "");
    let methods = ["pager.rs", "budget.rs", "operate.rs"].map(|file| functions(file, "    "));
    let missing: Vec<_> = methods
        .concat()
        .into_iter()
        .filter(|name| !["new", "builder"].contains(&&**name) && !free.contains(name))
        .collect();
    assert_eq!(missing, [""; 0]);
}
