//! The tables: for a terminal and for `report.md`.
//!
//! Guarantees the same rows in both. Refuses to print a number for a cell that has none, and a
//! ratio for one in which nothing was paged.

use super::host::Host;
use super::plan::name;
use super::record::{Record, ratio_to_seed};
use std::fmt::Write;

const HEADER: [&str; 9] = [
    "backend",
    "preset",
    "threads",
    "GiB/s",
    "x seed",
    "of ceiling",
    "faults maj+min",
    "peak/anon MiB",
    "notes",
];

/// One table: a data kind under a cap.
#[derive(Debug)]
pub(crate) struct Table {
    title: String,
    rows: Vec<[String; 9]>,
}

/// The tables of a matrix, in the order of its plan.
pub(crate) fn tables(records: &[Record], ceiling_gib_s: Option<f64>) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    for record in records {
        let cell = record.cell;
        let cap = record.cap_bytes.map_or_else(
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
        let row = row(record, records, ceiling_gib_s);
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

fn row(record: &Record, all: &[Record], ceiling_gib_s: Option<f64>) -> [String; 9] {
    let number = |key| record.number(key);
    let dash = || "-".to_owned();
    let mib = |key| number(key).map_or_else(dash, |bytes| format!("{:.0}", bytes / 1048576.0));
    let count = |key| number(key).map_or_else(dash, |count| format!("{count:.0}"));
    let through = number("through_gib_s");
    [
        name(&record.cell.backend),
        record.cell.preset.map_or_else(dash, |preset| name(&preset)),
        record.cell.threads.to_string(),
        through.map_or_else(dash, |v| format!("{v:.3}")),
        ratio_to_seed(record, all).map_or_else(dash, |v| format!("{v:.2}")),
        through
            .filter(|_| !record.paged_nothing())
            .zip(ceiling_gib_s.filter(|ceiling| *ceiling > 0.0))
            .map_or_else(dash, |(ours, ceiling)| {
                format!("{:.0}%", 100.0 * ours / ceiling)
            }),
        format!("{}+{}", count("major_faults"), count("minor_faults")),
        format!("{}/{}", mib("peak_rss_bytes"), mib("peak_anon_rss_bytes")),
        record.notes(),
    ]
}

/// For a terminal.
pub(crate) fn terminal(tables: &[Table], ceiling_gib_s: Option<f64>) -> String {
    let mut text = ceiling_gib_s.map_or_else(String::new, |ceiling| ceiling_line(ceiling) + "\n");
    for table in tables {
        let mut drawn = comfy_table::Table::new();
        drawn.load_style(comfy_table::presets::UTF8_BORDERS_ONLY);
        drawn.set_header(HEADER);
        drawn.add_rows(table.rows.iter().cloned());
        text.push_str(&format!("{}\n{drawn}\n", table.title));
    }
    text
}

fn ceiling_line(gib_s: f64) -> String {
    format!("Ceiling of the scratch device: {gib_s:.3} GiB/s.")
}

/// For `report.md`.
///
/// # Errors
/// Never in practice: writing to a string does not fail.
pub(crate) fn markdown(
    host: &Host,
    conditions: &str,
    ceiling_gib_s: Option<f64>,
    tables: &[Table],
) -> Result<String, std::fmt::Error> {
    let mut text = String::from("# Merge matrix\n\n");
    writeln!(text, "{conditions}\n")?;
    if let Some(ceiling) = ceiling_gib_s {
        writeln!(text, "{}\n", ceiling_line(ceiling))?;
    }
    text.push_str("| host | |\n|---|---|\n");
    for (fact, value) in host.facts() {
        writeln!(text, "| {fact} | {} |", cell_text(&value))?;
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
    use super::super::host::Host;
    use super::super::plan::Preset;
    use super::super::record::tests::{paged, record};
    use super::{markdown, tables, terminal};
    use std::path::Path;

    #[test]
    fn a_cell_in_which_nothing_was_paged_says_so_instead_of_a_ratio() {
        let all = [
            paged(record(Some(Preset::Seed), Some(0.5)), 1.0, 1.0),
            paged(record(Some(Preset::Fast), Some(4.0)), 0.0, 0.0),
        ];
        let rows = &tables(&all, Some(1.0))[0].rows;
        assert_eq!(rows[0][3..6], ["0.500", "1.00", "50%"]);
        assert_eq!(rows[1][3..6], ["4.000", "-", "-"]);
        assert_eq!(rows[1][8], "nothing was paged");
    }

    #[test]
    fn a_table_shows_ratio_share_of_the_ceiling_faults_memory_and_failures() {
        let all = [
            record(Some(Preset::Seed), Some(0.5)),
            record(Some(Preset::Fast), Some(1.5)),
            record(None, None),
        ];
        let tables = tables(&all, Some(2.0));
        assert_eq!(tables.len(), 1);
        assert_eq!(
            tables[0].rows[1],
            [
                "swap", "fast", "1", "1.500", "3.00", "75%", "7+-", "3/-", ""
            ]
        );
        assert_eq!(
            tables[0].rows[2],
            ["none", "-", "1", "-", "-", "-", "-+-", "-/-", "it broke"]
        );
        let text = markdown(&Host::describe(Path::new("/")), "c", Some(2.0), &tables).unwrap();
        assert!(text.contains("| swap | fast | 1 | 1.500 | 3.00 | 75% | 7+- | 3/- |  |"));
        assert!(text.contains("2.000 GiB/s"));
        let text = terminal(&tables, Some(2.0));
        assert!(text.contains("1.500"));
        assert!(text.starts_with("Ceiling of the scratch device: 2.000 GiB/s.\n"));
        assert!(!terminal(&tables, None).contains("Ceiling"));
    }
}
