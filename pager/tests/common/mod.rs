//! What the tests of the facade share: pagers in scratch directories of their
//! own, and payloads that are told apart.

#![allow(dead_code, reason = "not every test binary uses all of it")]

use pager::{BackendKind, Pager, PagerBuilder, Preset};
use tempfile::TempDir;

/// A pager, and the scratch root that goes when it goes.
pub(crate) struct Scratched {
    pub(crate) pager: Pager,
    pub(crate) root: TempDir,
}

/// A pager with a scratch root of its own. Where temporary files are kept in
/// memory, that must do for a test.
pub(crate) fn scratched(kind: BackendKind, preset: Preset) -> Scratched {
    build(kind, Pager::builder().preset(preset))
}

/// As [`scratched`], with the best strategies and a budget.
pub(crate) fn budgeted(kind: BackendKind, budget_bytes: usize) -> Scratched {
    build(kind, Pager::builder().budget_bytes(budget_bytes))
}

fn build(kind: BackendKind, settings: PagerBuilder) -> Scratched {
    let root = tempfile::tempdir().expect("a temporary directory");
    let pager = settings
        .backend(kind)
        .scratch_dir(root.path())
        .allow_memory_fs(true)
        .build()
        .expect("a pager over a fresh directory");
    Scratched { pager, root }
}

/// `len` words that differ from those of every other seed.
pub(crate) fn words(seed: u64, len: usize) -> Vec<u64> {
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        })
        .collect()
}

/// Cuts words into chunks of these lengths; the last takes what remains.
pub(crate) fn chunked(words: &[u64], lens: &[usize]) -> Vec<Vec<u64>> {
    let mut rest = words;
    let mut chunks: Vec<Vec<u64>> = lens
        .iter()
        .map(|&len| {
            let (chunk, tail) = rest.split_at(len.min(rest.len()));
            rest = tail;
            chunk.to_vec()
        })
        .collect();
    chunks.push(rest.to_vec());
    chunks
}
