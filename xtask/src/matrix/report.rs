//! The tables: for a terminal and for `report.md`.
//!
//! Guarantees the same rows in both. Refuses to print a number for a cell that has none, and a
//! ratio for one in which nothing was paged.

use super::compare::Change;
use super::host::Host;
use super::journal::Ceiling;
use super::plan::{Backend, name};
use super::summary::{Spread, Summary};
use std::fmt::Write;

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

/// One table: a data kind under a cap.
#[derive(Debug)]
pub(crate) struct Table {
    title: String,
    rows: Vec<[String; 9]>,
}

/// The tables of a matrix, in the order of its plan.
pub(crate) fn tables(all: &[Summary<'_>], ceilings: &[Ceiling]) -> Vec<Table> {
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
        let title = format!("{} data, {cap}", name(&cell.data));
        let row = row(summary, all, ceilings);
        match tables.iter_mut().find(|table| table.title == title) {
            Some(table) => table.rows.push(row),
            None => tables.push(Table {
                title,
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
pub(crate) fn terminal(tables: &[Table], ceilings: &[Ceiling], changes: &[Change]) -> String {
    let mut text = ceiling_line(ceilings).map_or_else(String::new, |line| line + "\n");
    for table in tables {
        let mut drawn = comfy_table::Table::new();
        drawn.load_style(comfy_table::presets::UTF8_BORDERS_ONLY);
        drawn.set_header(HEADER);
        drawn.add_rows(table.rows.iter().cloned());
        text.push_str(&format!("{}\n{drawn}\n", table.title));
    }
    for change in changes {
        text.push_str(&format!("{}\n", change_line(change)));
    }
    text
}

fn ceiling_line(ceilings: &[Ceiling]) -> Option<String> {
    let spread = Spread::of(ceilings.iter().map(|ceiling| ceiling.gib_s))?;
    Some(format!(
        "Ceiling of the scratch device: {:.3} GiB/s ({:.3} to {:.3}).",
        spread.median, spread.least, spread.most
    ))
}

fn change_line(change: &Change) -> String {
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

/// For `report.md`.
///
/// # Errors
/// Never in practice: writing to a string does not fail.
pub(crate) fn markdown(
    host: &Host,
    conditions: &str,
    ceilings: &[Ceiling],
    tables: &[Table],
    changes: &[Change],
) -> Result<String, std::fmt::Error> {
    let mut text = String::from("# Merge matrix\n\n");
    writeln!(text, "{conditions}\n")?;
    if let Some(line) = ceiling_line(ceilings) {
        writeln!(text, "{line}\n")?;
    }
    text.push_str("| host | |\n|---|---|\n");
    for (fact, value) in host.facts() {
        writeln!(text, "| {fact} | {} |", cell_text(&value))?;
    }
    if !changes.is_empty() {
        text.push_str("\n## Since the other matrix\n\n");
        for change in changes {
            writeln!(text, "* {}", change_line(change))?;
        }
    }
    for table in tables {
        writeln!(text, "\n## {}\n", table.title)?;
        writeln!(text, "| {} |", HEADER.join(" | "))?;
        writeln!(text, "|{}", "---|".repeat(HEADER.len()))?;
        for row in &table.rows {
            let cells: Vec<_> = row.iter().map(|value| cell_text(value)).collect();
            writeln!(text, "| {} |", cells.join(" | "))?;
        }
    }
    Ok(text)
}

/// A bar would end the cell.
fn cell_text(value: &str) -> String {
    value.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::super::compare::{Change, Verdict};
    use super::super::host::Host;
    use super::super::journal::Ceiling;
    use super::super::plan::Preset;
    use super::super::record::tests::{paged, record};
    use super::super::summary::summaries;
    use super::{markdown, tables, terminal};
    use std::path::Path;

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
        assert_eq!(
            rows[0][2..7],
            ["0.500", "0.500 to 0.500", "1.00", "-", "25 %"]
        );
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
        let first = tables(&summaries(&all), &CEILINGS);
        assert_eq!(first.len(), 1);
        assert_eq!(
            first[0].rows[1],
            [
                "pager, swap, fast",
                "1",
                "1.500",
                "1.500 to 1.500",
                "3.00",
                "2.00",
                "75 %",
                "3",
                ""
            ]
        );
        let failed = [record(None, None)];
        let without = tables(&summaries(&failed), &[]);
        assert_eq!(
            without[0].rows[0],
            ["plain Vecs", "1", "-", "-", "-", "-", "-", "-", "it broke"]
        );
        let change = Change {
            label: "pager, file, fast".to_owned(),
            pairs: 12,
            ratio: 1.25,
            least: 1.125,
            most: 1.5,
            p: 0.0123,
            verdict: Verdict::Faster,
        };
        let line =
            "pager, file, fast: faster (1.250 times, 1.125 to 1.500 over 12 pairs, p = 0.012)";
        let host = Host::describe(Path::new("/"));
        let text = markdown(&host, "c", &CEILINGS, &first, std::slice::from_ref(&change)).unwrap();
        assert!(text.contains("| pager, swap, fast | 1 | 1.500 |"), "{text}");
        assert!(
            text.contains("2.000 GiB/s") && text.contains(line),
            "{text}"
        );
        let text = terminal(&first, &CEILINGS, &[change]);
        assert!(text.contains("1.500") && text.contains(line));
        assert!(text.starts_with("Ceiling of the scratch device: 2.000 GiB/s"));
        assert!(!terminal(&first, &[], &[]).contains("Ceiling"));
    }
}
