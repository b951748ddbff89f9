//! What a matrix found, for a terminal, as `report.md`, and as `report.html`.
//!
//! Guarantees that all of them show the same figures, and that a file needs no other and no
//! network. Refuses to print a number for a cell that has none, and a ratio for one in which
//! nothing was paged.
//!
//! ```text
//! tables    every cell, by data and cap
//! verdict   what follows, in words
//! figure    one figure: its numbers, and the table of them
//! figures   which figures there are of the merge
//! beside    those of growth and of whole jobs
//! headline  the published measurement, redone
//! chart     a figure as SVG
//! html      the page
//! markdown  the same as text
//! ```

mod beside;
mod chart;
mod figure;
mod figures;
mod headline;
mod html;
mod markdown;
#[cfg(test)]
mod page_tests;
mod tables;
mod verdict;

use super::compare::{Change, Measured};
use super::host::Host;
use super::summary::{Summary, summaries};
use figure::Figure;
use std::fs;
use std::path::Path;
use tables::Table;

/// All that a report says.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    host: &'a Host,
    conditions: &'a str,
    changes: &'a [Change],
    ceiling: Option<String>,
    verdict: Vec<String>,
    figures: Vec<Figure>,
    /// Which of them says most.
    headline: Option<String>,
    tables: Vec<Table>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(
        host: &'a Host,
        conditions: &'a str,
        measured: &'a Measured,
        changes: &'a [Change],
    ) -> Self {
        let cells: Vec<Summary<'_>> = summaries(&measured.runs);
        let ceilings = &measured.ceilings;
        let mut verdict = verdict::verdict(&cells, ceilings);
        verdict.extend(beside::verdict(&measured.extras));
        let mut figures = figures::figures(&cells, ceilings);
        figures.extend(headline::figure(&cells));
        figures.extend(beside::figures(&measured.extras));
        let mut tables = Vec::from_iter(headline::table(&cells));
        tables.extend(tables::tables(&cells, ceilings));
        Self {
            host,
            conditions,
            changes,
            ceiling: tables::ceiling_line(ceilings),
            verdict,
            figures,
            headline: figures::headline_throughput(&cells),
            tables,
        }
    }

    /// Writes `report.md`, `report.html` and, where something was paged, `throughput.svg` into
    /// `out`.
    ///
    /// # Errors
    /// When a file cannot be written or a chart cannot be drawn.
    pub(crate) fn write(&self, out: &Path) -> anyhow::Result<()> {
        fs::write(out.join("report.md"), markdown::markdown(self)?)?;
        fs::write(out.join("report.html"), html::html(self)?)?;
        let mut figures = self.figures.iter();
        if let Some(figure) = figures.find(|it| Some(&it.id) == self.headline.as_ref()) {
            fs::write(out.join("throughput.svg"), chart::file(figure)?)?;
        }
        Ok(())
    }

    /// For a terminal.
    pub(crate) fn terminal(&self) -> String {
        tables::terminal(self)
    }
}
