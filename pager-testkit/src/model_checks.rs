//! What the model looks at after each operation.

use super::content::assert_bytes;
use super::sample::Sample;
use pager_core::Error;

/// All empty after a page-out that worked, all as they were after one that did
/// not.
pub(super) fn check_chunks<C: Sample>(
    paged_out: bool,
    chunks: &[C],
    lens: &[usize],
    content: &[u8],
) {
    let mut start = 0;
    for (chunk, len) in chunks.iter().zip(lens) {
        let expected = &content[start..start + len];
        start += len;
        if paged_out {
            assert!(chunk.bytes().is_empty(), "a chunk still has bytes");
        } else {
            assert_bytes(chunk.bytes(), expected, "a chunk after a failed page-out");
        }
    }
}

/// Checks what a read appended to `held`; `expected` is `None` out of bounds.
/// Returns whether the backend failed.
pub(super) fn check_read(
    outcome: Result<(), Error>,
    found: &[u8],
    held: &[u8],
    expected: Option<Vec<u8>>,
) -> bool {
    match (outcome, expected) {
        (Ok(()), Some(expected)) => {
            assert_bytes(found, &[held, &expected].concat(), "a read");
            false
        }
        (Err(Error::OutOfBounds { .. }), None) => {
            assert_bytes(found, held, "a destination after a refused read");
            false
        }
        (Err(error), Some(_)) if !matches!(error, Error::OutOfBounds { .. }) => {
            assert_bytes(found, held, "a destination after a failed read");
            true
        }
        (outcome, expected) => panic!(
            "{outcome:?} for a range {} bounds",
            if expected.is_some() {
                "within"
            } else {
                "out of"
            }
        ),
    }
}
