//! The report as text: the same figures as the page, as tables.

use super::Report;
use super::tables::change_line;
use std::fmt::{self, Write};

/// The whole of `report.md`.
///
/// # Errors
/// Never in practice: writing to a string does not fail.
pub(super) fn markdown(report: &Report<'_>) -> Result<String, fmt::Error> {
    let mut text = String::from("# Pager on this machine\n\n");
    for sentence in &report.verdict {
        writeln!(text, "* {sentence}")?;
    }
    writeln!(text, "\n{}\n", report.conditions)?;
    if let Some(line) = &report.ceiling {
        writeln!(text, "{line}\n")?;
    }
    text.push_str("| host | |\n|---|---|\n");
    for (fact, value) in report.host.facts() {
        writeln!(text, "| {fact} | {} |", cell(&value))?;
    }
    if !report.changes.is_empty() {
        text.push_str("\n## Since the other matrix\n\n");
        for change in report.changes {
            writeln!(text, "* {}", change_line(change))?;
        }
    }
    for figure in &report.figures {
        writeln!(text, "\n## {}\n\n{}\n", figure.title, figure.caption)?;
        let (header, rows) = figure.table();
        table(&mut text, &header, &rows)?;
    }
    for group in &report.tables {
        writeln!(text, "\n## {}\n", group.title)?;
        if !group.caption.is_empty() {
            writeln!(text, "{}\n", group.caption)?;
        }
        table(&mut text, &group.header, &group.rows)?;
    }
    Ok(text)
}

fn table(text: &mut String, header: &[String], rows: &[Vec<String>]) -> fmt::Result {
    let line = |cells: &[String]| {
        let cells: Vec<_> = cells.iter().map(|value| cell(value)).collect();
        format!("| {} |", cells.join(" | "))
    };
    writeln!(text, "{}", line(header))?;
    writeln!(text, "|{}", "---|".repeat(header.len()))?;
    for row in rows {
        writeln!(text, "{}", line(row))?;
    }
    Ok(())
}

/// A bar would end the cell.
fn cell(value: &str) -> String {
    value.replace('|', "\\|")
}
