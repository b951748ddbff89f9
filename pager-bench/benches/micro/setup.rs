//! The pagers that are measured, and words to put into them.

use pager::{BackendKind, Pager, PagerBuilder, Preset};
use pager_bench::buffer::Buffer;
use pager_bench::data::{ChunkId, DataKind, Generator};
use pager_bench::direct::scratch_or_default;
use tempfile::TempDir;

/// One pager with its scratch directory.
pub(crate) struct Subject {
    /// Backend and preset, or backend and `stored`.
    pub(crate) name: String,
    pub(crate) pager: Pager,
    _scratch: TempDir,
}

/// Every backend: with every preset, and with the best strategies but without a
/// budget, so that every chunk is stored and comes back (`stored`).
pub(crate) fn subjects() -> Vec<Subject> {
    let backends = BackendKind::ALL.into_iter();
    backends
        .flat_map(|backend| {
            let presets = Preset::ALL.map(|preset| {
                let name = format!("{backend}/{preset}");
                subject(name, backend, Pager::builder().preset(preset))
            });
            let stored = format!("{backend}/stored");
            let stored = subject(stored, backend, Pager::builder().budget_bytes(0));
            presets.into_iter().chain([stored])
        })
        .collect()
}

fn subject(name: String, backend: BackendKind, settings: PagerBuilder) -> Subject {
    let root = scratch_or_default(None);
    let scratch = TempDir::new_in(root).expect("the scratch directory can be written");
    let pager = settings
        .backend(backend)
        .scratch_dir(scratch.path())
        .build()
        .expect("a pager can be set up in a directory of our own");
    Subject {
        name,
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
