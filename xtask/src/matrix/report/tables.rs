//! Every cell, by data and cap: one row each.
//!
//! Guarantees the same rows wherever they are shown. Refuses to print a number for a cell that has
//! none, and a ratio for one in which nothing was paged.

use super::super::compare::Change;
use super::super::journal::Ceiling;
use super::super::plan::{Backend, name};
use super::super::summary::{Spread, Summary};
use super::Report;

const HEADER: [&str; 9] = [
    "what",
    "threads",
    "GiB/s",
    "least to most",
    "x seed",
    "x Vecs",
    "of ceiling",
    "peak MiB",
    "notes",
];

/// One table.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) title: String,
    /// What it says, if its title does not.
    pub(super) caption: String,
    pub(super) header: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

/// The tables of a matrix, in the order of its plan.
pub(super) fn tables(all: &[Summary<'_>], ceilings: &[Ceiling]) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    for summary in all {
        let cell = summary.cell;
        let cap_bytes = summary.runs.first().and_then(|run| run.cap_bytes);
        let cap = cap_bytes.map_or_else(
            || "no memory cap".to_owned(),
            |bytes| {
                format!(
                    "memory cap {} of the working set ({} MiB)",
                    cell.cap,
                    bytes >> 20
                )
            },
        );
        let title = format!("All of {} data, {cap}", name(&cell.data));
        let row = row(summary, all, ceilings).to_vec();
        match tables.iter_mut().find(|table| table.title == title) {
            Some(table) => table.rows.push(row),
            None => tables.push(Table {
                title,
                caption: String::new(),
                header: HEADER.map(str::to_owned).to_vec(),
                rows: vec![row],
            }),
        }
    }
    tables
}

fn row(summary: &Summary<'_>, all: &[Summary<'_>], ceilings: &[Ceiling]) -> [String; 9] {
    let cell = summary.cell;
    let dash = || "-".to_owned();
    let find = |cell| all.iter().find(|other| other.cell == cell);
    let times = |other: Option<&Summary<'_>>| {
        let ratio = other.and_then(|other| summary.ratio_to(other));
        ratio.map_or_else(dash, |ratio| format!("{:.2}", ratio.median))
    };
    let through = summary.number("through_gib_s");
    let seed = cell.preset.and_then(|_| find(cell.seed()));
    [
        cell.label(),
        cell.threads.to_string(),
        through.map_or_else(dash, |v| format!("{:.3}", v.median)),
        through.map_or_else(dash, |v| format!("{:.3} to {:.3}", v.least, v.most)),
        times(seed),
        times(find(cell.peer(Backend::None))),
        summary
            .share_of_ceiling(ceilings)
            .map_or_else(dash, |share| format!("{:.0} %", 100.0 * share.median)),
        summary
            .number("peak_rss_bytes")
            .map_or_else(dash, |bytes| format!("{:.0}", bytes.median / 1048576.0)),
        summary.notes(),
    ]
}

/// For a terminal.
pub(super) fn terminal(report: &Report<'_>) -> String {
    let mut text = String::new();
    if let Some(line) = &report.ceiling {
        text.push_str(&format!("{line}\n"));
    }
    for table in &report.tables {
        let mut drawn = comfy_table::Table::new();
        drawn.load_style(comfy_table::presets::UTF8_BORDERS_ONLY);
        drawn.set_header(&table.header);
        drawn.add_rows(table.rows.iter().cloned());
        text.push_str(&format!("{}\n{drawn}\n", table.title));
    }
    for line in report.changes.iter().map(change_line) {
        text.push_str(&format!("{line}\n"));
    }
    for sentence in &report.verdict {
        text.push_str(&format!("{sentence}\n"));
    }
    text
}

/// The device, in all rounds.
pub(super) fn ceiling_line(ceilings: &[Ceiling]) -> Option<String> {
    let spread = Spread::of(ceilings.iter().map(|ceiling| ceiling.gib_s))?;
    Some(format!(
        "Ceiling of the scratch device: {:.3} GiB/s ({:.3} to {:.3}).",
        spread.median, spread.least, spread.most
    ))
}

/// A change, in a line.
pub(super) fn change_line(change: &Change) -> String {
    format!(
        "{}: {} ({:.3} times, {:.3} to {:.3} over {} pairs, p = {:.3})",
        change.label,
        change.verdict,
        change.ratio,
        change.least,
        change.most,
        change.pairs,
        change.p
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::super::compare::{Change, Verdict};
    use super::super::super::journal::Ceiling;
    use super::super::super::plan::Preset;
    use super::super::super::record::tests::{paged, record};
    use super::super::super::summary::summaries;
    use super::{change_line, tables};

    const CEILINGS: [Ceiling; 1] = [Ceiling {
        round: 1,
        gib_s: 2.0,
    }];

    #[test]
    fn a_cell_in_which_nothing_was_paged_says_so_instead_of_a_ratio() {
        let all = [
            paged(record(Some(Preset::Seed), Some(0.5)), 1.0, 1.0),
            paged(record(Some(Preset::Fast), Some(4.0)), 0.0, 0.0),
        ];
        let rows = &tables(&summaries(&all), &CEILINGS)[0].rows;
        let seed = ["0.500", "0.500 to 0.500", "1.00", "-", "25 %"];
        assert_eq!(rows[0][2..7], seed);
        assert_eq!(rows[1][2..7], ["4.000", "4.000 to 4.000", "-", "-", "-"]);
        assert_eq!(rows[1][8], "nothing was paged");
    }

    #[test]
    fn a_table_shows_ratios_the_share_of_the_ceiling_memory_and_failures() {
        let all = [
            record(Some(Preset::Seed), Some(0.5)),
            record(Some(Preset::Fast), Some(1.5)),
            record(None, Some(0.75)),
        ];
        let tables_of = |records| tables(&summaries(records), &CEILINGS);
        let first = tables_of(&all);
        assert_eq!(first.len(), 1);
        let fast = ["1.500", "1.500 to 1.500", "3.00", "2.00", "75 %", "3", ""];
        assert_eq!(first[0].rows[1][0], "pager, swap, fast");
        assert_eq!(first[0].rows[1][2..], fast);
        let failed = [record(None, None)];
        let row = ["plain Vecs", "1", "-", "-", "-", "-", "-", "-", "it broke"];
        assert_eq!(tables_of(&failed)[0].rows[0], row);
    }

    /// One that was found.
    pub(crate) fn change() -> Change {
        Change {
            label: "pager, file, fast".to_owned(),
            pairs: 12,
            ratio: 1.25,
            least: 1.125,
            most: 1.5,
            p: 0.0123,
            verdict: Verdict::Faster,
        }
    }

    #[test]
    fn a_change_is_a_line() {
        let line =
            "pager, file, fast: faster (1.250 times, 1.125 to 1.500 over 12 pairs, p = 0.012)";
        assert_eq!(change_line(&change()), line);
    }
}
