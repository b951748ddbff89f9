//! The pagers that are measured, and words to put into them.

use pager::{BackendKind, Pager, Preset};
use pager_bench::buffer::Buffer;
use pager_bench::data::{ChunkId, DataKind, Generator};
use pager_bench::direct::scratch_or_default;
use tempfile::TempDir;

/// One pager with its scratch directory.
pub(crate) struct Subject {
    /// Backend and preset.
    pub(crate) name: String,
    pub(crate) pager: Pager,
    _scratch: TempDir,
}

/// Every backend with every preset.
pub(crate) fn subjects() -> Vec<Subject> {
    let backends = BackendKind::ALL.into_iter();
    backends
        .flat_map(|backend| Preset::ALL.map(|preset| subject(backend, preset)))
        .collect()
}

fn subject(backend: BackendKind, preset: Preset) -> Subject {
    let root = scratch_or_default(None);
    let scratch = TempDir::new_in(root).expect("the scratch directory can be written");
    let pager = Pager::builder()
        .backend(backend)
        .preset(preset)
        .scratch_dir(scratch.path())
        .build()
        .expect("a pager can be set up in a directory of our own");
    Subject {
        name: format!("{backend}/{preset}"),
        pager,
        _scratch: scratch,
    }
}

/// A vector of `len` random words.
pub(crate) fn random_words(len: usize) -> Vec<u64> {
    let id = ChunkId {
        chain: 0,
        thread: 0,
        index: 0,
    };
    let mut words = Vec::new();
    words
        .fill(Generator::new(DataKind::Random).blocks(id), len)
        .expect("there is memory for the words");
    words
}
