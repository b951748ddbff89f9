//! Lists of ranges, overlapping, reversed, overflowing or none of it, read from
//! one payload on every backend and mode, wherever its bytes are.

use arbitrary::Arbitrary;
use pager::{BackendKind, IoChoice, Pager, Preset};

use super::input::{BYTES_AT_MOST, Length, Memory, Span, scene};
use super::operations::FacadeTo;
use super::table::Table;

/// The most lists of one scene: what a fuzzer gets through often.
const LISTS_AT_MOST: usize = 16;

#[derive(Debug, Arbitrary)]
struct Scene {
    medium: Medium,
    /// Whether a budget lets the payload begin in memory.
    has_budget: bool,
    chunks: [Option<Length>; 3],
    memory: Memory,
    lists: Vec<List>,
}

/// Where the payload goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
enum Medium {
    Swap,
    SwapOfTheSeed,
    Direct,
    Buffered,
    BufferedWithoutChecksums,
    FileOfTheSeed,
}

#[derive(Debug, Arbitrary)]
struct List {
    before: Before,
    memory: Memory,
    spans: Vec<Span>,
}

/// What happens to the payload before a list is read.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Before {
    Nothing,
    Flush,
    Prefetch(Span),
}

/// Plays one input.
///
/// # Panics
///
/// If a byte differs, or an operation fails that must not.
pub fn run(input: &[u8]) {
    let Some(scene) = scene::<Scene>(input) else {
        return;
    };
    let root = tempfile::tempdir().expect("a temporary directory");
    let pager = scene.medium.pager(&root, scene.has_budget);
    let lens = scene.chunks.iter().flatten().map(|len| len.bytes());
    let mut table = Table::new();
    let kind = pager.backend();
    table
        .page_out(lens, scene.memory, FacadeTo(&pager, kind))
        .expect("there is room");
    let entry = &table.live[0];
    for list in scene.lists.iter().take(LISTS_AT_MOST) {
        match list.before {
            Before::Nothing => {}
            Before::Flush => pager.flush().expect("there is room"),
            Before::Prefetch(span) => entry.prefetch(&span.range(entry.content.len())),
        }
        let mut wanted_bytes = 0usize;
        let ranges = list
            .spans
            .iter()
            .map(|span| span.range(entry.content.len()));
        // Legal lists of any length are read; one that wants the payload a
        // thousand times is cut short. What is out of bounds costs nothing.
        let ranges: Vec<_> = ranges
            .take_while(|range| {
                if range.end <= entry.content.len() {
                    wanted_bytes += range.len();
                }
                wanted_bytes <= BYTES_AT_MOST
            })
            .collect();
        entry
            .read_many(&ranges, list.memory)
            .expect("a healthy backend reads");
        if let [range] = &ranges[..] {
            entry.read(range).expect("a healthy backend reads");
        }
    }
    table
        .take(0, scene.memory, 3)
        .expect("a healthy backend reads");
    assert_eq!(pager.stats().total.live_handles, 0);
}

impl Medium {
    fn pager(self, root: &tempfile::TempDir, has_budget: bool) -> Pager {
        let (kind, preset) = match self {
            Self::Swap => (BackendKind::Swap, Preset::Fast),
            Self::SwapOfTheSeed => (BackendKind::Swap, Preset::Seed),
            Self::Direct | Self::Buffered | Self::BufferedWithoutChecksums => {
                (BackendKind::File, Preset::Fast)
            }
            Self::FileOfTheSeed => (BackendKind::File, Preset::Seed),
        };
        // `Auto` goes past the page cache wherever the file system can do that.
        let io = match self {
            Self::Direct => IoChoice::Auto,
            _ => IoChoice::Buffered,
        };
        let budget_bytes = if has_budget { BYTES_AT_MOST * 2 } else { 0 };
        let settings = Pager::builder().backend(kind).preset(preset).io(io);
        let settings = settings.checksums(self != Self::BufferedWithoutChecksums);
        let settings = settings.budget_bytes(budget_bytes).io_threads(1);
        let settings = match kind {
            BackendKind::File => settings.scratch_dir(root.path()).allow_memory_fs(true),
            _ => settings,
        };
        settings.build().expect("a pager over a fresh directory")
    }
}
