//! Which cells a matrix has, and in which order.
//!
//! Guarantees that what is compared runs next to each other, so that a ratio comes from
//! neighbouring moments of a machine that drifts. Refuses nothing: an empty filter means all.

use clap::ValueEnum;
use serde::{Deserialize, Deserializer, Serialize, de};
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// Where chunks go: a backend of pager, a peer, or nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Backend {
    Swap,
    File,
    /// Plain vectors, left to the operating system.
    None,
    /// One temporary file per chunk.
    Tempfile,
    /// Ranges of a mapped file.
    Memmap2,
    /// Large objects of an allocator, left to the operating system.
    Lgalloc,
}

impl Backend {
    /// All of them, pager's first.
    pub(crate) const ALL: [Self; 6] = [
        Self::Swap,
        Self::File,
        Self::None,
        Self::Tempfile,
        Self::Memmap2,
        Self::Lgalloc,
    ];

    /// Whether it is one of pager's, and has presets.
    pub(crate) fn is_pager(self) -> bool {
        matches!(self, Self::Swap | Self::File)
    }

    /// Whether what leaves memory goes to files; else it goes to swap.
    pub(crate) fn uses_files(self) -> bool {
        match self {
            Self::File | Self::Tempfile | Self::Memmap2 => true,
            Self::Swap | Self::None | Self::Lgalloc => false,
        }
    }

    /// What a reader calls it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Swap => "pager, swap",
            Self::File => "pager, file",
            Self::None => "plain Vecs",
            Self::Tempfile => "tempfile",
            Self::Memmap2 => "memmap2",
            Self::Lgalloc => "lgalloc",
        }
    }
}

/// Which strategies a backend of pager uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Preset {
    Seed,
    Fast,
    /// Fast, and a codec that chooses for itself.
    Codec,
}

/// What the chunks contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Data {
    Random,
    Lineitem,
}

/// The name of a clap value, which is also what `merge` calls it.
pub(crate) fn name(value: &impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map_or_else(String::new, |v| v.get_name().to_owned())
}

/// The share of the working set that fits in memory: none (no cap), or one in so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share(Option<NonZeroU32>);

impl Share {
    /// No cap.
    pub(crate) const NONE: Self = Self(None);

    /// One part of so many; of none, no cap.
    pub(crate) fn one_in(parts: u32) -> Self {
        Self(NonZeroU32::new(parts))
    }

    /// The cap on a working set, if there is one.
    pub(crate) fn cap_bytes(self, working_set_bytes: u64) -> Option<u64> {
        self.0.map(|part| working_set_bytes / u64::from(part.get()))
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self(None));
        }
        let part = text.strip_prefix("1/").and_then(|n| n.parse().ok());
        part.map(|part| Self(Some(part)))
            .ok_or_else(|| format!("{text:?} is neither none nor a share such as 1/4"))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("none"),
            Some(part) => write!(f, "1/{part}"),
        }
    }
}

impl Serialize for Share {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// One setting of `merge`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) data: Data,
    pub(crate) cap: Share,
    pub(crate) threads: u32,
    pub(crate) backend: Backend,
    /// Absent for what is not pager, and has no strategy to choose.
    pub(crate) preset: Option<Preset>,
}

impl Cell {
    /// The cell of the published strategies that this one's ratio refers to.
    pub(crate) fn seed(self) -> Self {
        Self {
            preset: self.preset.map(|_| Preset::Seed),
            ..self
        }
    }

    /// The same workload with a peer, or with none.
    pub(crate) fn peer(self, backend: Backend) -> Self {
        Self {
            backend,
            preset: None,
            ..self
        }
    }

    /// Backend and preset, as a reader calls them.
    pub(crate) fn label(self) -> String {
        let backend = self.backend.label();
        self.preset.map_or_else(
            || backend.to_owned(),
            |preset| format!("{backend}, {}", name(&preset)),
        )
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} threads, cap {}, {}",
            self.label(),
            self.threads,
            self.cap,
            name(&self.data)
        )
    }
}

/// The values of each axis.
#[derive(Clone, Debug)]
pub(crate) struct Axes {
    pub(crate) backends: Vec<Backend>,
    pub(crate) presets: Vec<Preset>,
    pub(crate) threads: Vec<u32>,
    pub(crate) caps: Vec<Share>,
    pub(crate) data: Vec<Data>,
}

/// Every combination, presets innermost. Random words are not encoded: nothing would come of it.
pub(crate) fn plan(axes: &Axes) -> Vec<Cell> {
    let mut cells = Vec::new();
    for &data in &axes.data {
        for &cap in &axes.caps {
            for &threads in &axes.threads {
                for &backend in &axes.backends {
                    let makes_sense =
                        |preset: &Preset| *preset != Preset::Codec || data != Data::Random;
                    let presets = if backend.is_pager() {
                        let chosen = axes.presets.iter().copied().filter(makes_sense);
                        chosen.map(Some).collect()
                    } else {
                        vec![None]
                    };
                    cells.extend(presets.into_iter().map(|preset| Cell {
                        data,
                        cap,
                        threads,
                        backend,
                        preset,
                    }));
                }
            }
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::{Axes, Backend, Data, Preset, Share, plan};

    fn axes() -> Axes {
        Axes {
            backends: Backend::ALL.to_vec(),
            presets: vec![Preset::Seed, Preset::Fast, Preset::Codec],
            threads: vec![1, 2, 4],
            caps: ["none", "1/2", "1/4", "1/8"]
                .map(|t| t.parse().unwrap())
                .into(),
            data: vec![Data::Random, Data::Lineitem],
        }
    }

    #[test]
    fn every_combination_is_planned_once_and_what_is_not_pager_has_no_preset() {
        let cells = plan(&axes());
        assert_eq!(cells.len(), (2 * 2 + 4 + 2 * 3 + 4) * 3 * 4);
        for (i, cell) in cells.iter().enumerate() {
            assert!(!cells[..i].contains(cell));
            assert_eq!(cell.preset.is_none(), !cell.backend.is_pager());
        }
    }

    #[test]
    fn seed_and_fast_of_a_cell_are_neighbours() {
        for pair in plan(&axes()).windows(2) {
            if pair[0].preset == Some(Preset::Seed) {
                assert_eq!(pair[1].preset, Some(Preset::Fast));
                assert_eq!(pair[1].seed(), pair[0]);
            }
        }
    }

    #[test]
    fn a_share_parses_prints_and_divides() {
        let quarter: Share = "1/4".parse().unwrap();
        assert_eq!(quarter.to_string(), "1/4");
        assert_eq!(quarter, Share::one_in(4));
        let read: Share = serde_json::from_str("\"1/4\"").unwrap();
        assert_eq!(read, quarter);
        assert_eq!(quarter.cap_bytes(1 << 30), Some(1 << 28));
        assert_eq!("none".parse::<Share>().unwrap().cap_bytes(1), None);
        for bad in ["", "1/0", "2/3", "half", "1/-1"] {
            assert!(bad.parse::<Share>().is_err(), "{bad}");
        }
    }
}
