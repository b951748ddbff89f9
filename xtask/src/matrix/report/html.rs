//! The report as one page that needs no other file and no network.
//!
//! Guarantees that each chart has a title, a caption, its unit, and its numbers as a table, that
//! nothing is wider than a phone, and that both colour schemes are legible. Refuses scripts.

use super::Report;
use super::chart;
use super::tables::change_line;
use std::fmt::{self, Write};

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1f2328; --ground: #ffffff; --line: #d0d7de; --soft: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --ground: #0d1117; --line: #30363d; --soft: #161b22; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 72rem; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.05rem; margin: 0 0 .25rem; }
.verdict { padding: 1rem 1rem 1rem 2rem; background: var(--soft); border: 1px solid var(--line); border-radius: 6px; }
.verdict li:first-child { font-weight: 600; }
.figures { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); align-items: start; }
section { border: 1px solid var(--line); border-radius: 6px; padding: .75rem; min-width: 0; }
section p { margin: 0 0 .5rem; font-size: .9rem; }
svg { display: block; width: 100%; height: auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; }
th, td { border: 1px solid var(--line); padding: .2rem .5rem; text-align: left; overflow-wrap: normal; }
td + td { font-variant-numeric: tabular-nums; }
summary { cursor: pointer; font-size: .9rem; }
";

/// The whole of `report.html`.
///
/// # Errors
/// When a chart cannot be drawn.
pub(super) fn html(report: &Report<'_>) -> anyhow::Result<String> {
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>Pager on this machine</title>\n<style>",
    );
    page.push_str(STYLE);
    page.push_str(&chart::dark_rules());
    page.push_str(
        "</style>\n</head>\n<body>\n<h1>Pager on this machine</h1>\n<ul class=\"verdict\">\n",
    );
    for sentence in &report.verdict {
        writeln!(page, "<li>{}</li>", escape(sentence))?;
    }
    writeln!(page, "</ul>\n<p>{}</p>", escape(report.conditions))?;
    if let Some(line) = &report.ceiling {
        writeln!(page, "<p>{}</p>", escape(line))?;
    }
    let facts = report.host.facts();
    let facts = facts
        .into_iter()
        .map(|(fact, value)| vec![fact.to_owned(), value]);
    let facts: Vec<Vec<String>> = facts.collect();
    details(
        &mut page,
        "The machine",
        &["host".to_owned(), String::new()],
        &facts,
    )?;
    if !report.changes.is_empty() {
        page.push_str("<h2>Since the other matrix</h2>\n<ul>\n");
        for change in report.changes {
            writeln!(page, "<li>{}</li>", escape(&change_line(change)))?;
        }
        page.push_str("</ul>\n");
    }
    page.push_str("<div class=\"figures\">\n");
    for figure in &report.figures {
        let (title, id) = (escape(&figure.title), escape(&figure.id));
        let chart = chart::svg(figure)?;
        let named = format!("<svg role=\"img\" aria-label=\"{title}\" ");
        writeln!(
            page,
            "<section id=\"{id}\">\n<h2>{title}</h2>\n<p>{}</p>\n{}",
            escape(&figure.caption),
            chart.replacen("<svg ", &named, 1)
        )?;
        let (header, rows) = figure.table();
        details(&mut page, "The numbers", &header, &rows)?;
        page.push_str("</section>\n");
    }
    page.push_str("</div>\n");
    for group in &report.tables {
        if !group.caption.is_empty() {
            writeln!(
                page,
                "<h2>{}</h2>\n<p>{}</p>",
                escape(&group.title),
                escape(&group.caption)
            )?;
        }
        details(&mut page, &group.title, &group.header, &group.rows)?;
    }
    page.push_str("</body>\n</html>\n");
    Ok(page)
}

fn details(page: &mut String, title: &str, header: &[String], rows: &[Vec<String>]) -> fmt::Result {
    let line = |tag: &str, cells: &[String]| {
        let cells = cells
            .iter()
            .map(|cell| format!("<{tag}>{}</{tag}>", escape(cell)));
        format!("<tr>{}</tr>", cells.collect::<String>())
    };
    writeln!(
        page,
        "<details><summary>{}</summary><div class=\"scroll\"><table>",
        escape(title)
    )?;
    writeln!(page, "<thead>{}</thead><tbody>", line("th", header))?;
    for row in rows {
        writeln!(page, "{}", line("td", row))?;
    }
    writeln!(page, "</tbody></table></div></details>")
}

/// Text as it may stand in an element and in an attribute.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
