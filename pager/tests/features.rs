//! Builds without one backend, or without any: what is missing is a typed error.
//!
//! Run with `--no-default-features`, plus `--features swap` or `file`.

#![cfg(not(all(feature = "swap", feature = "file")))]

use pager::{BackendKind, Error, Pager};

#[test]
fn a_backend_that_is_not_in_the_build_is_a_typed_error() {
    let pager = Pager::new();
    for kind in BackendKind::ALL {
        if kind.is_enabled() {
            assert_eq!(pager.backend(), kind);
            continue;
        }
        let mut chunk = vec![1, 2, 3];
        let errors = [
            pager
                .options()
                .backend(kind)
                .pageout(std::slice::from_mut(&mut chunk))
                .err(),
            Pager::builder().backend(kind).build().err(),
        ];
        for error in errors {
            assert!(matches!(
                error,
                Some(Error::BackendDisabled { backend }) if backend == kind.name()
            ));
        }
        assert_eq!(chunk, [1, 2, 3]);
        let before = pager.backend();
        if before != kind {
            assert!(pager.set_backend(kind).is_err());
        }
        assert_eq!(pager.backend(), before);
    }
}

#[cfg(feature = "swap")]
#[test]
fn settings_of_the_file_backend_are_refused_without_it() {
    let root = tempfile::tempdir().unwrap();
    for builder in [
        Pager::builder().scratch_dir(root.path()),
        Pager::builder().quota_bytes(1),
        Pager::builder().allow_memory_fs(true),
    ] {
        assert!(matches!(
            builder.build(),
            Err(Error::BackendDisabled { backend: "file" })
        ));
    }
    assert!(Pager::new().set_scratch_dir(root.path()).is_err());
}

#[cfg(any(feature = "swap", feature = "file"))]
#[test]
fn the_backend_that_is_there_works() {
    let pager = Pager::new();
    let handle = pager.pageout(&mut [vec![1, 2, 3]]).unwrap();
    assert!(handle.backend().is_enabled());
    let mut back = Vec::new();
    pager.take(handle, &mut back).unwrap();
    assert_eq!(back, [1, 2, 3]);
}
