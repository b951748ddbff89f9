//! What the model looks at after each operation.

use super::content::assert_words;
use pager_core::Error;

/// All empty after a page-out that worked, all as they were after one that did
/// not.
pub(super) fn check_chunks<C: pager_core::Chunk<Element = u64>>(
    paged_out: bool,
    chunks: &[C],
    lens: &[usize],
    content: &[u64],
) {
    let mut start = 0;
    for (chunk, len) in chunks.iter().zip(lens) {
        let expected = &content[start..start + len];
        start += len;
        if paged_out {
            assert!(chunk.elements().is_empty(), "a chunk still has words");
        } else {
            assert_words(
                chunk.elements(),
                expected,
                "a chunk after a failed page-out",
            );
        }
    }
}

/// Checks what a read appended to `held`; `expected` is `None` out of bounds.
/// Returns whether the backend failed.
pub(super) fn check_read(
    outcome: Result<(), Error>,
    found: &[u64],
    held: &[u64],
    expected: Option<Vec<u64>>,
) -> bool {
    match (outcome, expected) {
        (Ok(()), Some(expected)) => {
            assert_words(found, &[held, &expected].concat(), "a read");
            false
        }
        (Err(Error::OutOfBounds { .. }), None) => {
            assert_words(found, held, "a destination after a refused read");
            false
        }
        (Err(error), Some(_)) if !matches!(error, Error::OutOfBounds { .. }) => {
            assert_words(found, held, "a destination after a failed read");
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
