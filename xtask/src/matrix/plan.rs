//! Which cells a matrix has, and in which order.
//!
//! Guarantees that the presets of one cell run next to each other, so that their ratio comes from
//! neighbouring moments of a machine that drifts. Refuses nothing: an empty filter means all.

use clap::ValueEnum;
use serde::Serialize;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// Where paged-out chunks go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Backend {
    Swap,
    File,
    /// Plain vectors, left to the operating system.
    None,
}

/// Which strategies the backend uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Preset {
    Seed,
    Fast,
}

/// What the chunks contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
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

/// One run of `merge`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Cell {
    pub(crate) data: Data,
    pub(crate) cap: Share,
    pub(crate) threads: u32,
    pub(crate) backend: Backend,
    /// Absent for plain vectors, which have no strategy.
    pub(crate) preset: Option<Preset>,
}

impl Cell {
    /// The cell that this one's ratio refers to.
    pub(crate) fn seed(self) -> Self {
        Self {
            preset: self.preset.map(|_| Preset::Seed),
            ..self
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let preset = self.preset.map_or_else(|| "-".to_owned(), |p| name(&p));
        write!(
            f,
            "{} {preset}, {} threads, cap {}, {}",
            name(&self.backend),
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

/// Every combination, the presets innermost.
pub(crate) fn plan(axes: &Axes) -> Vec<Cell> {
    let mut cells = Vec::new();
    for &data in &axes.data {
        for &cap in &axes.caps {
            for &threads in &axes.threads {
                for &backend in &axes.backends {
                    let presets = match backend {
                        Backend::None => vec![None],
                        _ => axes.presets.iter().copied().map(Some).collect(),
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
            backends: vec![Backend::Swap, Backend::File, Backend::None],
            presets: vec![Preset::Seed, Preset::Fast],
            threads: vec![1, 2, 4],
            caps: ["none", "1/2", "1/4", "1/8"]
                .map(|t| t.parse().unwrap())
                .into(),
            data: vec![Data::Random, Data::Lineitem],
        }
    }

    #[test]
    fn every_combination_is_planned_once_and_plain_vectors_have_no_preset() {
        let cells = plan(&axes());
        assert_eq!(cells.len(), (2 * 2 + 1) * 3 * 4 * 2);
        for (i, cell) in cells.iter().enumerate() {
            assert!(!cells[..i].contains(cell));
            assert_eq!(cell.preset.is_none(), cell.backend == Backend::None);
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
        assert_eq!(quarter.cap_bytes(1 << 30), Some(1 << 28));
        assert_eq!("none".parse::<Share>().unwrap().cap_bytes(1), None);
        for bad in ["", "1/0", "2/3", "half", "1/-1"] {
            assert!(bad.parse::<Share>().is_err(), "{bad}");
        }
    }
}
