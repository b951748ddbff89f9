//! The published measurement, redone: the merge of two chains in a half, a quarter and an eighth of
//! the memory that they need, and beside it the figures that were published.
//!
//! Guarantees that counts are told for a GiB of the set, since the published set is larger than what
//! a test machine has room for. Refuses to call figures of another machine a comparison: they show
//! the shape.

use super::super::plan::{Backend, Cell, Preset};
use super::super::summary::{Spread, Summary};
use super::figure::{Family, Figure, Row, Shape};
use super::tables::Table;

const GIB: f64 = (1u64 << 30) as f64;

/// Throughput as published: the share of the set that fits, threads, and GiB/s of swap and file.
/// 32 GiB on one encrypted NVMe of 1.4 GB/s.
const PUBLISHED_THROUGH: [(u32, u32, f64, f64); 6] = [
    (2, 1, 0.15, 0.50),
    (2, 16, 0.36, 1.47),
    (4, 1, 0.12, 0.44),
    (4, 16, 0.37, 0.79),
    (8, 1, 0.12, 0.36),
    (8, 16, 0.36, 1.21),
];

/// GiB of the set of which the published costs are.
const PUBLISHED_SET_GIB: f64 = 8.0;

/// Costs as published, of the whole run in a quarter of its set's memory, on one thread: wall, user
/// and system seconds, minor and major faults, pages swapped in and out, dTLB load misses.
const PUBLISHED_COSTS: [(Backend, [f64; 8]); 2] = [
    (
        Backend::Swap,
        [65.5, 1.5, 63.8, 5_187_868.0, 65_516.0, 2.12e6, 3.64e6, 42e6],
    ),
    (
        Backend::File,
        [24.0, 1.5, 9.0, 3_986.0, 1_913.0, 2.2e3, 3.1e3, 12e6],
    ),
];

const HEADER: [&str; 13] = [
    "what",
    "memory",
    "threads",
    "GiB/s",
    "wall s",
    "user s",
    "system s",
    "minor faults",
    "major faults",
    "pages in",
    "pages out",
    "dTLB misses",
    "notes",
];

/// Keys of the costs in build and merge, in the order of the published ones; wall is apart.
const COSTS: [&str; 7] = [
    "user_s",
    "sys_s",
    "minor_faults",
    "major_faults",
    "pswpin",
    "pswpout",
    "dtlb_load_misses",
];

/// Whether a cell is of the published shape: a pager as published or as it is now, capped at a half
/// to an eighth.
fn is_of_it(cell: Cell) -> bool {
    let strategy = matches!(cell.preset, Some(Preset::Seed | Preset::Fast));
    strategy && parts(cell).is_some()
}

/// How many times as large as its memory the set is.
fn parts(cell: Cell) -> Option<u32> {
    [2, 4, 8]
        .into_iter()
        .find(|parts| cell.cap.to_string() == format!("1/{parts}"))
}

/// Every cell of the published shape, with its costs.
pub(super) fn table(cells: &[Summary<'_>]) -> Option<Table> {
    let mut rows: Vec<Vec<String>> = cells
        .iter()
        .filter(|it| is_of_it(it.cell))
        .map(row)
        .collect();
    if rows.is_empty() {
        return None;
    }
    for (parts, threads, swap, file) in PUBLISHED_THROUGH {
        for (backend, through) in [(Backend::Swap, swap), (Backend::File, file)] {
            let costs = PUBLISHED_COSTS.into_iter().find(|(of, _)| *of == backend);
            let costs = costs.filter(|_| parts == 4 && threads == 1);
            let costs = costs.map(|(_, costs)| costs.map(|cost| Some(cost / PUBLISHED_SET_GIB)));
            let mut row = vec![
                format!(
                    "published, {}",
                    backend.label().trim_start_matches("pager, ")
                ),
                format!("1/{parts}"),
                threads.to_string(),
                format!("{through:.2}"),
            ];
            row.extend(costs.unwrap_or([None; 8]).map(told));
            row.push("another machine".to_owned());
            rows.push(row);
        }
    }
    let counts = cells.iter().filter(|it| is_of_it(it.cell));
    let are_counted = counts
        .flat_map(|it| it.good())
        .any(|run| run.number(COSTS[6]).is_some());
    let tlb = if are_counted {
        "TLB misses are those of the program, without the kernel's"
    } else {
        "this machine does not count TLB misses"
    };
    Some(Table {
        title: "The published measurement, redone".to_owned(),
        caption: format!(
            "Two chains of 2 MiB chunks, built and merged, in 1/2, 1/4 and 1/8 of the memory that \
             they need. Throughput is of the merge; seconds and counts are of build and merge, for \
             a GiB of both chains; {tlb}. Published: throughput of 32 GiB on one encrypted NVMe \
             (1.4 GB/s), costs of 8 GiB in 2 GiB (`doc/developer/design/20260504_pager.md` of \
             MaterializeInc/materialize). Machines differ: compare seed here with what was \
             published, and fast with seed."
        ),
        header: HEADER.map(str::to_owned).to_vec(),
        rows,
    })
}

fn row(summary: &Summary<'_>) -> Vec<String> {
    let cell = summary.cell;
    let through = summary.number("through_gib_s").map(|v| v.median);
    let mut row = vec![
        cell.label(),
        cell.cap.to_string(),
        cell.threads.to_string(),
        through.map_or_else(|| "-".to_owned(), |v| format!("{v:.3}")),
    ];
    row.push(told(per_gib(summary, "build_s", "merge_s")));
    row.extend(COSTS.map(|key| told(per_gib(summary, &format!("build.{key}"), key))));
    row.push(summary.notes());
    row
}

/// Of build and merge together, for a GiB of the set.
fn per_gib(summary: &Summary<'_>, build: &str, merge: &str) -> Option<f64> {
    let runs = summary.good().filter_map(|run| {
        let set_gib = 2.0 * run.number("chain_gib")?;
        Some((run.number(build)? + run.number(merge)?) / set_gib)
    });
    Spread::of(runs).map(|spread| spread.median)
}

/// Seconds with digits, counts without.
fn told(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value < 100.0 => format!("{value:.2}"),
        Some(value) => format!("{value:.0}"),
    }
}

/// Throughput of the published shape on one thread, by share, beside what was published.
pub(super) fn figure(cells: &[Summary<'_>]) -> Option<Figure> {
    let of_it = cells
        .iter()
        .filter(|it| is_of_it(it.cell) && it.cell.threads == 1);
    // Of one kind of data: that of most shares.
    let data = of_it.clone().map(|it| it.cell.data).next()?;
    let ours = of_it.filter(|it| it.cell.data == data);
    let mut rows: Vec<(u32, u32, Row)> = ours
        .filter_map(|it| {
            let parts = parts(it.cell)?;
            let through = it.number("through_gib_s");
            let is_seed = it.cell.preset == Some(Preset::Seed);
            let row = Row {
                label: format!("1/{parts}: {}", it.cell.label()),
                family: if is_seed { Family::Seed } else { Family::Pager },
                values: through.map_or_else(Vec::new, |v| vec![v.median, v.least, v.most]),
                note: it.notes(),
            };
            Some((parts, 1, row))
        })
        .collect();
    let shares: Vec<u32> = rows.iter().map(|row| row.0).collect();
    for (parts, threads, swap, file) in PUBLISHED_THROUGH {
        if threads != 1 || !shares.contains(&parts) {
            continue;
        }
        for (name, through) in [("swap", swap), ("file", file)] {
            let row = Row {
                label: format!("1/{parts}: published, {name}"),
                family: Family::Peer,
                values: vec![through; 3],
                note: "another machine".to_owned(),
            };
            rows.push((parts, 0, row));
        }
    }
    rows.sort_by_key(|(parts, place, _)| (*parts, *place));
    let set = cells
        .iter()
        .find_map(|it| Some(2.0 * it.number("chain_gib")?.median * GIB));
    let set = set.map_or(0.0, |bytes| bytes / f64::from(1 << 20));
    Some(Figure {
        id: "headline".to_owned(),
        title: "The published measurement, redone: in 1/2, 1/4, 1/8 of the memory, 1 thread"
            .to_owned(),
        unit: "GiB/s",
        caption: format!(
            "Two chains of {set:.0} MiB together here, and 32 GiB on an NVMe of 1.4 GB/s as \
             published; more is better. Its costs are in the table of the same name."
        ),
        columns: vec!["median", "least", "most"],
        shape: Shape::Bars {
            rows: rows.into_iter().map(|(_, _, row)| row).collect(),
            mark: None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::summary::summaries;
    use super::super::figure::Shape;
    use super::super::figures::tests::records;
    use super::{figure, table};

    #[test]
    fn the_table_has_costs_of_every_cell_and_what_was_published() {
        let (records, _) = records();
        let cells = summaries(&records);
        let table = table(&cells).unwrap();
        assert!(table.rows.iter().all(|row| row.len() == table.header.len()));
        let ours: Vec<_> = table
            .rows
            .iter()
            .filter(|row| row[0].starts_with("pager"))
            .collect();
        // Seed and fast of the file, fast of swap; the codec is no part of it.
        assert!(ours.len() >= 3 && ours.iter().all(|row| !row[0].contains("codec")));
        assert!(ours.iter().all(|row| row[1] == "1/4" && row[11] == "-"));
        let published: Vec<_> = table
            .rows
            .iter()
            .filter(|row| row[0] == "published, swap")
            .collect();
        assert_eq!(published.len(), 6);
        let costs = &published[2][4..12];
        assert_eq!(costs[..4], ["8.19", "0.19", "7.97", "648484"]);
        assert!(table.caption.contains("does not count TLB misses"));
    }

    #[test]
    fn the_figure_has_what_was_published_beside_each_share() {
        let (mut records, _) = records();
        let cells = summaries(&records);
        let Shape::Bars { rows, .. } = figure(&cells).unwrap().shape else {
            panic!("throughput is bars");
        };
        assert_eq!(rows[0].label, "1/4: published, swap");
        assert!(rows.len() > 3 && rows.iter().all(|row| row.label.starts_with("1/4")));
        records.retain(|record| record.cap_bytes.is_none());
        assert!(figure(&summaries(&records)).is_none() && table(&summaries(&records)).is_none());
    }
}
