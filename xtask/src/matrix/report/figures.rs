//! Which figures a report has, and what is in them.
//!
//! Guarantees throughput for every condition, and all else for the one that says most: where most
//! cells had to page. Refuses to draw what no cell has.

use super::super::journal::Ceiling;
use super::super::plan::{Backend, Cell, Preset, name};
use super::super::record::Record;
use super::super::summary::{Spread, Summary};
use super::figure::{Family, Figure, Mark, Row, Series, Shape};
use std::cmp::Reverse;

const GIB: f64 = (1u64 << 30) as f64;
const MIB: f64 = (1u64 << 20) as f64;
const PAGE_BYTES: f64 = 4096.0;

/// Cells that differ in what they put chunks into, and in nothing else.
#[derive(Debug)]
pub(super) struct Condition<'a> {
    pub(super) cells: Vec<&'a Summary<'a>>,
}

impl<'a> Condition<'a> {
    /// All of them, in the order of the plan.
    pub(super) fn all(cells: &'a [Summary<'a>]) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for cell in cells {
            let here = cell.cell.peer(Backend::None);
            let same = |known: &&mut Self| known.cell().peer(Backend::None) == here;
            match all.iter_mut().find(same) {
                Some(known) => known.cells.push(cell),
                None => all.push(Self { cells: vec![cell] }),
            }
        }
        all
    }

    /// The one in which most cells had to page; of equals the last with the fewest threads.
    pub(super) fn headline(all: &[Self]) -> Option<&Self> {
        let paged = |condition: &Self| condition.paged().count();
        let best = all
            .iter()
            .max_by_key(|it| (paged(it), Reverse(it.cell().threads)));
        best.filter(|best| paged(best) > 0)
    }

    /// Any of its cells.
    pub(super) fn cell(&self) -> Cell {
        self.cells[0].cell
    }

    /// What of it had to page.
    pub(super) fn paged(&self) -> impl Iterator<Item = &'a Summary<'a>> {
        let cells = self.cells.iter().copied();
        cells.filter(|cell| cell.good().next().is_some() && !cell.paged_nothing())
    }

    pub(super) fn find(&self, backend: Backend, preset: Option<Preset>) -> Option<&'a Summary<'a>> {
        let mut cells = self.cells.iter().copied();
        cells.find(|it| it.cell.backend == backend && it.cell.preset == preset)
    }

    /// What it is called.
    pub(super) fn title(&self) -> String {
        let Cell {
            data, cap, threads, ..
        } = self.cell();
        let plural = if threads == 1 { "" } else { "s" };
        let cap_bytes = self.cells[0].runs.first().and_then(|run| run.cap_bytes);
        let memory = cap_bytes.map_or_else(
            || "no memory cap".to_owned(),
            |bytes| format!("memory {cap} of the data ({} MiB)", bytes >> 20),
        );
        format!("{} data, {memory}, {threads} thread{plural}", name(&data))
    }
}

fn family(cell: Cell) -> Family {
    match cell.preset {
        Some(Preset::Seed) => Family::Seed,
        Some(_) => Family::Pager,
        None => Family::Peer,
    }
}

/// The throughput of the condition that says most, by the name of its figure.
pub(super) fn headline_throughput(cells: &[Summary<'_>]) -> Option<String> {
    let all = Condition::all(cells);
    let headline = Condition::headline(&all)?.cell();
    let place = all
        .iter()
        .position(|condition| condition.cell() == headline)?;
    Some(format!("throughput-{}", place + 1))
}

/// All figures.
pub(super) fn figures(cells: &[Summary<'_>], ceilings: &[Ceiling]) -> Vec<Figure> {
    let all = Condition::all(cells);
    let mut figures: Vec<Figure> = (1..)
        .zip(&all)
        .map(|(number, condition)| throughput(number, condition, ceilings))
        .collect();
    if let Some(headline) = Condition::headline(&all) {
        figures.extend(ratios(headline));
        figures.extend(memory(headline));
        figures.push(cpu(headline));
        figures.push(faults(headline));
        figures.push(io(headline));
        figures.push(latency(headline, "take", "waiting for a chunk (take)"));
        figures.push(latency(
            headline,
            "pageout",
            "handing a chunk over (pageout)",
        ));
    }
    figures
}

fn throughput(number: u32, condition: &Condition<'_>, ceilings: &[Ceiling]) -> Figure {
    let values = |cell: &Summary<'_>| {
        let through = cell.number("through_gib_s");
        through.map(|v| vec![v.median, v.least, v.most])
    };
    let ceiling = Spread::of(ceilings.iter().map(|ceiling| ceiling.gib_s));
    Figure {
        id: format!("throughput-{number}"),
        title: format!("Throughput: {}", condition.title()),
        unit: "GiB/s",
        caption: "Bytes of both inputs over the time of the merge; more is better. The device \
                  reads and writes each of them once."
            .to_owned(),
        columns: vec!["median", "least", "most"],
        shape: Shape::Bars {
            rows: rows(&condition.cells, values),
            mark: ceiling.map(|ceiling| Mark {
                label: "ceiling of the device".to_owned(),
                value: ceiling.median,
            }),
        },
    }
}

/// Pager over what else there is.
fn ratios(condition: &Condition<'_>) -> Option<Figure> {
    let ours = condition
        .cells
        .iter()
        .filter(|it| family(it.cell) == Family::Pager);
    let mut rows = Vec::new();
    for ours in ours {
        let others = condition.cells.iter().filter(|it| match it.cell.preset {
            Some(Preset::Seed) => it.cell.backend == ours.cell.backend,
            Some(_) => false,
            None => true,
        });
        for other in others {
            let ratio = ours.ratio_to(other);
            let ended = other.good().next().is_some();
            if ratio.is_none() && ended {
                continue;
            }
            rows.push(Row {
                label: format!("{} / {}", ours.cell.label(), other.cell.label()),
                family: family(other.cell),
                values: ratio.map_or_else(Vec::new, |v| vec![v.median, v.least, v.most]),
                note: if ended { String::new() } else { other.notes() },
            });
        }
    }
    (!rows.is_empty()).then(|| Figure {
        id: "ratios".to_owned(),
        title: format!("Pager over its peers: {}", condition.title()),
        unit: "times",
        caption: "Throughput over that of the peer in the same round; above 1 pager is faster."
            .to_owned(),
        columns: vec!["median", "least", "most"],
        shape: Shape::Bars {
            rows,
            mark: Some(Mark {
                label: "the same".to_owned(),
                value: 1.0,
            }),
        },
    })
}

fn memory(condition: &Condition<'_>) -> Option<Figure> {
    let series: Vec<Series> = condition
        .cells
        .iter()
        .filter(|it| family(it.cell) != Family::Seed)
        .filter_map(|it| {
            let points = course(it.good().next()?)?;
            let label = it.cell.label();
            Some(Series { label, points })
        })
        .collect();
    let budget = condition
        .cells
        .iter()
        .find(|it| family(it.cell) == Family::Pager)
        .and_then(|it| it.number("residency.budget_bytes"));
    let cap = condition.cells[0]
        .runs
        .first()
        .and_then(|run| run.cap_bytes);
    let mark = |label: &str, bytes: f64| Mark {
        label: label.to_owned(),
        value: bytes / MIB,
    };
    let marks = [
        budget.map(|bytes| mark("budget", bytes.median)),
        cap.map(|bytes| mark("memory cap", bytes as f64)),
    ];
    (!series.is_empty()).then(|| Figure {
        id: "memory".to_owned(),
        title: format!("Memory over time: {}", condition.title()),
        unit: "MiB",
        caption: "What the process has in memory while it builds the chains and merges them, its \
                  own buffers and program included, the page cache of its files not; the first \
                  round. Less is better, and above the cap nothing can be."
            .to_owned(),
        columns: vec!["% of the time", "memory"],
        shape: Shape::Lines {
            series,
            marks: marks.into_iter().flatten().collect(),
        },
    })
}

/// Share of the time and MiB.
fn course(run: &Record) -> Option<Vec<(f64, f64)>> {
    let samples = run.merge.get("memory")?.as_array()?;
    let number = |sample: &serde_json::Value, key| sample.get(key).and_then(|v| v.as_f64());
    let end = number(samples.last()?, "at_s").filter(|at| *at > 0.0)?;
    let points = samples.iter().filter_map(|sample| {
        let at = number(sample, "at_s")?;
        Some((100.0 * at / end, number(sample, "rss_bytes")? / MIB))
    });
    Some(points.collect())
}

fn cpu(condition: &Condition<'_>) -> Figure {
    stacked(
        condition,
        "cpu",
        "Processor time",
        "s per GiB",
        "Time of all threads for a GiB through, in the program and in the kernel; less is better.",
        ["user", "system"],
        |cell| per_gib(cell, [("user_s", 1.0), ("sys_s", 1.0)]),
    )
}

fn faults(condition: &Condition<'_>) -> Figure {
    stacked(
        condition,
        "faults",
        "Page faults",
        "thousands per GiB",
        "Faults for a GiB through: those that waited for the device, and the others. Less is \
         better.",
        ["major", "minor"],
        |cell| per_gib(cell, [("major_faults", 1e-3), ("minor_faults", 1e-3)]),
    )
}

fn io(condition: &Condition<'_>) -> Figure {
    let values = |cell: &Summary<'_>| {
        let (read, written, unit) = if cell.cell.backend.uses_files() {
            ("io_read_bytes", "io_written_bytes", 1.0 / GIB)
        } else {
            ("pswpin", "pswpout", PAGE_BYTES / GIB)
        };
        per_gib(cell, [(read, unit), (written, unit)])
    };
    stacked(
        condition,
        "io",
        "Device traffic",
        "GiB per GiB",
        "Bytes read and written in the merge for each byte through: of files those of the \
         process, of swap those of the machine. 1 each would be no cache and no waste.",
        ["read", "written"],
        values,
    )
}

/// Two parts of a whole, of each cell.
fn stacked(
    condition: &Condition<'_>,
    id: &str,
    title: &str,
    unit: &'static str,
    caption: &str,
    parts: [&'static str; 2],
    values: impl Fn(&Summary<'_>) -> Option<Vec<f64>>,
) -> Figure {
    Figure {
        id: id.to_owned(),
        title: format!("{title}: {}", condition.title()),
        unit,
        caption: caption.to_owned(),
        columns: parts.to_vec(),
        shape: Shape::Stacked {
            rows: rows(&condition.cells, values),
        },
    }
}

/// Each figure for a GiB through, in a unit: the median of the runs.
fn per_gib(cell: &Summary<'_>, keys: [(&str, f64); 2]) -> Option<Vec<f64>> {
    let of = |(key, unit): (&str, f64)| {
        let runs = cell.good().filter_map(|run| {
            let gib = run.number("through_gib_s")? * run.number("merge_s")?;
            Some(run.number(key)? * unit / gib)
        });
        Spread::of(runs).map(|spread| spread.median)
    };
    keys.into_iter().map(of).collect()
}

fn latency(condition: &Condition<'_>, operation: &str, what: &str) -> Figure {
    let values = |cell: &Summary<'_>| {
        let micros = ["p50", "p99", "p999"].map(|quantile| {
            let spread = cell.number(&format!("latency_us.{operation}.{quantile}"));
            spread.map(|spread| spread.median / 1e3)
        });
        micros.into_iter().collect()
    };
    Figure {
        id: format!("latency-{operation}"),
        title: format!("Time {what}: {}", condition.title()),
        unit: "ms",
        caption: "Per chunk of 2 MiB, on the thread that merges; half, 99 of 100 and 999 of 1000 \
                  took at most so long. Less is better. Memory that the kernel swaps is waited for \
                  later, when it is touched."
            .to_owned(),
        columns: vec!["p50", "p99", "p99.9"],
        shape: Shape::Points {
            rows: rows(&condition.cells, values),
        },
    }
}

fn rows(cells: &[&Summary<'_>], values: impl Fn(&Summary<'_>) -> Option<Vec<f64>>) -> Vec<Row> {
    let row = |cell: &&Summary<'_>| Row {
        label: cell.cell.label(),
        family: family(cell.cell),
        values: values(cell).unwrap_or_default(),
        note: cell.notes(),
    };
    cells.iter().map(row).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::super::journal::Ceiling;
    use super::super::super::plan::{Backend, Data, Preset, Share};
    use super::super::super::record::tests::{paged, record};
    use super::super::super::record::{Outcome, Record};
    use super::super::super::summary::summaries;
    use super::super::figure::Shape;
    use super::{Condition, figures};

    /// Three rounds of everything under two caps, of which one is none; `lgalloc` dies.
    pub(crate) fn records() -> (Vec<Record>, Vec<Ceiling>) {
        let mut all = Vec::new();
        let kinds = [
            (Backend::Swap, Some(Preset::Seed), 0.1),
            (Backend::Swap, Some(Preset::Fast), 0.5),
            (Backend::File, Some(Preset::Seed), 0.25),
            (Backend::File, Some(Preset::Fast), 1.0),
            (Backend::File, Some(Preset::Codec), 2.0),
            (Backend::None, None, 0.125),
            (Backend::Tempfile, None, 0.25),
            (Backend::Lgalloc, None, 0.0),
        ];
        for round in 1..=3 {
            for (cap, pages) in [(Share::NONE, 0.0), (Share::one_in(4), 1.0)] {
                for (backend, preset, through) in kinds {
                    let through = through * (1.0 + f64::from(round) / 10.0);
                    let mut run = paged(record(preset, Some(through)), pages, pages);
                    run.round = round;
                    run.cell.backend = backend;
                    run.cell.data = Data::Lineitem;
                    run.cell.cap = cap;
                    run.cap_bytes = cap.cap_bytes(256 << 20);
                    let more = serde_json::json!({
                        "merge_s": 2.0 / through.max(0.01), "user_s": 1.0, "sys_s": 0.5,
                        "minor_faults": 5000, "io_written_bytes": 2u64 << 30, "pswpin": 1000,
                        "latency_us": {
                            "take": {"p50": 100.0, "p99": 1000.0, "p999": 9000.0},
                            "pageout": {"p50": 10.0, "p99": 100.0, "p999": 900.0},
                        },
                        "residency": {"budget_bytes": 16 << 20},
                        "memory": [{"at_s": 0.0, "rss_bytes": 1 << 20},
                                   {"at_s": 1.0, "rss_bytes": 48 << 20}],
                    });
                    run.merge.extend(more.as_object().unwrap().clone());
                    if backend == Backend::Lgalloc && cap != Share::NONE {
                        run.outcome = Outcome::OutOfMemory;
                        run.merge.clear();
                    }
                    all.push(run);
                }
            }
        }
        let ceilings = (1..=3).map(|round| Ceiling { round, gib_s: 2.5 });
        (all, ceilings.collect())
    }

    #[test]
    fn every_condition_has_its_throughput_and_the_headline_everything() {
        let (records, ceilings) = records();
        let cells = summaries(&records);
        let all = figures(&cells, &ceilings);
        let ids: Vec<&str> = all.iter().map(|figure| figure.id.as_str()).collect();
        let rest = [
            "ratios",
            "memory",
            "cpu",
            "faults",
            "io",
            "latency-take",
            "latency-pageout",
        ];
        assert_eq!(ids[..2], ["throughput-1", "throughput-2"]);
        assert_eq!(ids[2..], rest);
        for figure in &all[2..] {
            assert!(figure.title.contains("memory 1/4 of the data (64 MiB)"));
        }
        let Shape::Bars { rows, .. } = &all[2].shape else {
            panic!("ratios are bars");
        };
        // Each of three against its seed and three peers; of the dead peer, a note.
        assert_eq!(rows.len(), 3 * 4);
        let dead: Vec<_> = rows.iter().filter(|row| row.values.is_empty()).collect();
        assert_eq!(dead.len(), 3);
        assert!(dead[0].note.contains("killed"));
        let Shape::Stacked { rows } = &all[4].shape else {
            panic!("processor time is stacked");
        };
        assert_eq!(rows[0].values, [0.5, 0.25]);
    }

    #[test]
    fn where_nothing_paged_there_is_no_headline() {
        let (mut records, ceilings) = records();
        records.retain(|record| record.cell.cap == Share::NONE);
        let cells = summaries(&records);
        assert!(Condition::headline(&Condition::all(&cells)).is_none());
        assert_eq!(figures(&cells, &ceilings).len(), 1);
    }
}
