//! What limits of the process do to the default mode. Alone in its binary, for
//! the limits are the whole process's.

#![cfg(target_os = "linux")]

use nix::sys::resource::{Resource, setrlimit};
use pager_core::{Error, Registry};
use pager_file::{FileBackend, FileConfig};

const CHUNK_WORDS: usize = 1 << 18;

#[test]
fn the_limits_of_the_process_are_typed_errors() {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    // A file that grows beyond this brings a signal that kills the process.
    setrlimit(Resource::RLIMIT_FSIZE, 9 << 20, 9 << 20).unwrap();
    let backend = FileBackend::open(FileConfig::new(scratch.path())).unwrap();
    let registry = Registry::new(backend);

    let mut too_large = [vec![1u64; 5 * CHUNK_WORDS]];
    let error = registry.pageout(&mut too_large).unwrap_err();
    assert!(matches!(error, Error::OutOfSpace { .. }), "{error}");
    assert_eq!(too_large, [vec![1; 5 * CHUNK_WORDS]]);

    // Smaller payloads spread over as many files as they need.
    let handles: Vec<_> = (0..20)
        .map(|word| registry.pageout(&mut [vec![word; CHUNK_WORDS]]).unwrap())
        .collect();
    assert!(registry.backend().stats().files >= 5);

    // And when there are no descriptors left, that is an error, not a loss.
    setrlimit(Resource::RLIMIT_NOFILE, 3, 3).unwrap();
    let mut more: Vec<_> = (20..30).map(|word| vec![word; CHUNK_WORDS]).collect();
    let mut kept = Vec::new();
    let error = loop {
        let chunk = &mut more[kept.len()..=kept.len()];
        match registry.pageout(chunk) {
            Ok(handle) => kept.push(handle),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert_eq!(more[kept.len()], vec![20 + kept.len() as u64; CHUNK_WORDS]);

    for (word, handle) in (0..).zip(handles.into_iter().chain(kept)) {
        let mut found = Vec::new();
        registry.take(handle, &mut found).unwrap();
        assert!(found == vec![word; CHUNK_WORDS], "payload {word}");
    }
    assert_eq!(registry.stats().backend.stored_bytes, 0);
}
