//! A figure as SVG, narrow enough for a phone and legible in both colour schemes.
//!
//! Guarantees colours out of a fixed set, which [`DARK`] has a counterpart for: a page swaps them
//! by rules on the attributes. Refuses fonts of its own: text stays text.

use super::figure::{CurvePoint, Family, Figure, Mark, Row, Series, Shape, number};
use anyhow::anyhow;
use plotters::chart::MeshStyle;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

const WIDTH: u32 = 400;
/// Of one row: its label above, its bar below.
const ROW: u32 = 36;
/// Of the axis below.
const AXIS: u32 = 42;
const LEGEND: u32 = 18;
const MARGIN: u32 = 10;

const INK: RGBColor = RGBColor(0x1f, 0x23, 0x28);
const GRID: RGBColor = RGBColor(0xd0, 0xd7, 0xde);
const MARK: RGBColor = RGBColor(0xcf, 0x22, 0x2e);
/// Of lines, and of parts of a bar.
const SERIES: [RGBColor; 8] = [
    RGBColor(0x09, 0x69, 0xda),
    RGBColor(0xbc, 0x4c, 0x00),
    RGBColor(0x1a, 0x7f, 0x37),
    RGBColor(0x82, 0x50, 0xdf),
    RGBColor(0xbf, 0x39, 0x89),
    RGBColor(0x6e, 0x77, 0x81),
    RGBColor(0x9a, 0x67, 0x00),
    RGBColor(0x1b, 0x7c, 0x83),
];

/// Each colour and what takes its place on a dark ground.
const DARK: [(&str, &str); 11] = [
    ("#1F2328", "#E6EDF3"),
    ("#D0D7DE", "#30363D"),
    ("#CF222E", "#FF7B72"),
    ("#0969DA", "#58A6FF"),
    ("#BC4C00", "#F0883E"),
    ("#1A7F37", "#3FB950"),
    ("#8250DF", "#BC8CFF"),
    ("#BF3989", "#F778BA"),
    ("#6E7781", "#8B949E"),
    ("#9A6700", "#D29922"),
    ("#1B7C83", "#39C5CF"),
];

type Result<T = ()> = anyhow::Result<T>;

/// Rules that give each colour of a chart its counterpart on a dark ground.
pub(super) fn dark_rules() -> String {
    let mut rules = String::from("@media (prefers-color-scheme: dark) {\n");
    for (light, dark) in DARK {
        rules.push_str(&format!(
            "svg [fill=\"{light}\"] {{ fill: {dark}; }} svg [stroke=\"{light}\"] {{ stroke: {dark}; }}\n"
        ));
    }
    rules + "}\n"
}

/// Draws it, as a file of its own.
///
/// # Errors
/// As for [`svg`].
pub(super) fn file(figure: &Figure) -> Result<String> {
    let text = svg(figure)?;
    let end = text.find('>').map_or(0, |at| at + 1);
    let (tag, rest) = text.split_at(end);
    Ok(format!("{tag}<style>{}</style>{rest}", dark_rules()))
}

/// Draws it.
///
/// # Errors
/// When the library cannot.
pub(super) fn svg(figure: &Figure) -> Result<String> {
    let mut text = String::new();
    let entries: Vec<(&str, RGBColor)> = legend(figure);
    let legend_height = LEGEND * u32::try_from(entries.len().div_ceil(2))?;
    let body = match &figure.shape {
        Shape::Bars { rows, .. } | Shape::Stacked { rows } | Shape::Points { rows } => {
            ROW * u32::try_from(rows.len().max(1))?
        }
        Shape::Lines { .. } | Shape::Curves { .. } => 220,
    };
    let size = (WIDTH, legend_height + body + AXIS + 2 * MARGIN);
    {
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        draw_legend(&area, &entries)?;
        let (_, below) = area.split_vertically(legend_height);
        match &figure.shape {
            Shape::Bars { rows, mark } => bars(&below, figure, rows, mark.as_ref())?,
            Shape::Stacked { rows } => stacked(&below, figure, rows)?,
            Shape::Points { rows } => points(&below, figure, rows)?,
            Shape::Lines { series, marks } => lines(&below, figure, series, marks)?,
            Shape::Curves { points } => curves(&below, figure, points)?,
        }
        area.present().map_err(failed)?;
    }
    Ok(text)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Chart<'a, 'b, X> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, RangedCoordf64>>;

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("a chart cannot be drawn: {error}")
}

fn legend(figure: &Figure) -> Vec<(&str, RGBColor)> {
    match &figure.shape {
        Shape::Bars { mark, .. } => {
            let mark = mark.iter().map(|mark| (mark.label.as_str(), MARK));
            mark.collect()
        }
        Shape::Stacked { .. } | Shape::Points { .. } => {
            let columns = figure.columns.iter().copied();
            columns.zip(SERIES).collect()
        }
        Shape::Lines { series, marks } => {
            let marks = marks.iter().map(|mark| (mark.label.as_str(), MARK));
            let series = series.iter().map(|series| series.label.as_str());
            series
                .zip(SERIES.into_iter().cycle())
                .chain(marks)
                .collect()
        }
        Shape::Curves { points } => names(points).into_iter().zip(SERIES).collect(),
    }
}

/// The curves, in the order in which they come.
fn names(points: &[CurvePoint]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for point in points {
        if !names.contains(&point.series.as_str()) {
            names.push(&point.series);
        }
    }
    names
}

fn draw_legend(area: &Area<'_>, entries: &[(&str, RGBColor)]) -> Result {
    for (place, (label, color)) in entries.iter().enumerate() {
        let column = i32::try_from(place % 2)?;
        let row = i32::try_from(place / 2)?;
        let (x, y) = (10 + 195 * column, 6 + 18 * row);
        let square = Rectangle::new([(x, y), (x + 10, y + 10)], color.filled());
        area.draw(&square).map_err(failed)?;
        let text = Text::new((*label).to_owned(), (x + 15, y - 2), ink(12));
        area.draw(&text).map_err(failed)?;
    }
    Ok(())
}

fn ink(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

/// A chart of rows, the first on top, with an axis below.
fn rows_chart<'a, 'b, X>(
    area: &'a Area<'b>,
    figure: &Figure,
    x: X,
    rows: usize,
) -> Result<Chart<'a, 'b, X::CoordDescType>>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64> + Ranged<ValueType = f64>,
{
    let mut chart = ChartBuilder::on(area)
        .margin(MARGIN)
        .x_label_area_size(AXIS)
        .build_cartesian_2d(x, 0.0..rows.max(1) as f64)
        .map_err(failed)?;
    let mut mesh = chart.configure_mesh();
    mesh.disable_y_mesh().disable_y_axis();
    draw_mesh(&mut mesh, figure.unit)?;
    Ok(chart)
}

/// Draws it with an axis below of which `x` tells what it counts.
fn draw_mesh<X, Y>(mesh: &mut MeshStyle<'_, '_, X, Y, SVGBackend<'_>>, x: &str) -> Result
where
    X: ValueFormatter<f64> + Ranged<ValueType = f64>,
    Y: ValueFormatter<f64> + Ranged<ValueType = f64>,
{
    mesh.x_labels(5)
        .x_desc(x)
        .x_label_formatter(&|value| number(*value))
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .label_style(ink(11))
        .axis_desc_style(ink(12))
        .draw()
        .map_err(failed)
}

/// The label of a row, and why it has no values if it has none.
fn label<X: Ranged<ValueType = f64>>(
    chart: &mut Chart<'_, '_, X>,
    row: &Row,
    left: f64,
    top: f64,
) -> Result {
    let at = |y, text: String| Text::new(text, (left, y), ink(12));
    let mut texts = vec![at(top - 0.06, row.label.clone())];
    if row.values.is_empty() {
        let why: String = row.note.chars().take(56).collect();
        texts.push(at(top - 0.52, format!("  {why}")));
    }
    chart.draw_series(texts).map_err(failed)?;
    Ok(())
}

/// Where the rows are: each with its top.
fn placed(rows: &[Row]) -> impl Iterator<Item = (f64, &Row)> {
    let count = rows.len();
    let tops = (0..count).map(move |place| (count - place) as f64);
    tops.zip(rows)
}

fn color(family: Family) -> RGBColor {
    match family {
        Family::Pager => SERIES[0],
        Family::Seed => SERIES[5],
        Family::Peer => SERIES[1],
    }
}

/// Room to the right of the longest bar for its number.
fn reach(values: impl Iterator<Item = f64>) -> f64 {
    let most = values.filter(|v| v.is_finite()).fold(0.0, f64::max);
    if most > 0.0 { 1.22 * most } else { 1.0 }
}

fn bars(area: &Area<'_>, figure: &Figure, rows: &[Row], mark: Option<&Mark>) -> Result {
    let values = rows.iter().flat_map(|row| row.values.iter().copied());
    let end = reach(values.chain(mark.map(|mark| mark.value)));
    let mut chart = rows_chart(area, figure, 0.0..end, rows.len())?;
    for (top, row) in placed(rows) {
        label(&mut chart, row, 0.0, top)?;
        let Some(&value) = row.values.first() else {
            continue;
        };
        let corners = [(0.0, top - 0.9), (value, top - 0.5)];
        let bar = Rectangle::new(corners, color(row.family).filled());
        chart.draw_series([bar]).map_err(failed)?;
        let mut right = value;
        if let [_, least, most, ..] = row.values[..] {
            right = right.max(most);
            let whisker = PathElement::new([(least, top - 0.7), (most, top - 0.7)], INK);
            chart.draw_series([whisker]).map_err(failed)?;
        }
        let told = Text::new(number(value), (right + end / 100.0, top - 0.55), ink(12));
        chart.draw_series([told]).map_err(failed)?;
    }
    if let Some(mark) = mark {
        let line = [(mark.value, 0.0), (mark.value, rows.len().max(1) as f64)];
        let line = PathElement::new(line, MARK.stroke_width(2));
        chart.draw_series([line]).map_err(failed)?;
    }
    Ok(())
}

fn stacked(area: &Area<'_>, figure: &Figure, rows: &[Row]) -> Result {
    let sums = rows.iter().map(|row| row.values.iter().sum::<f64>());
    let end = reach(sums);
    let mut chart = rows_chart(area, figure, 0.0..end, rows.len())?;
    for (top, row) in placed(rows) {
        label(&mut chart, row, 0.0, top)?;
        let mut from = 0.0;
        for (value, color) in row.values.iter().zip(SERIES) {
            let corners = [(from, top - 0.9), (from + value, top - 0.5)];
            let part = Rectangle::new(corners, color.filled());
            chart.draw_series([part]).map_err(failed)?;
            from += value;
        }
        if !row.values.is_empty() {
            let told = Text::new(number(from), (from + end / 100.0, top - 0.55), ink(12));
            chart.draw_series([told]).map_err(failed)?;
        }
    }
    Ok(())
}

fn points(area: &Area<'_>, figure: &Figure, rows: &[Row]) -> Result {
    let values = rows.iter().flat_map(|row| row.values.iter().copied());
    let ends = decades(values.chain([1.0]));
    let mut chart = rows_chart(area, figure, (ends.0..ends.1).log_scale(), rows.len())?;
    for (top, row) in placed(rows) {
        label(&mut chart, row, ends.0, top)?;
        let places: Vec<_> = row
            .values
            .iter()
            .map(|v| (v.max(ends.0), top - 0.7))
            .collect();
        if places.is_empty() {
            continue;
        }
        let line = PathElement::new(places.clone(), GRID);
        chart.draw_series([line]).map_err(failed)?;
        let dots = places.into_iter().zip(SERIES);
        let dots = dots.map(|(place, color)| Circle::new(place, 4, color.filled()));
        chart.draw_series(dots).map_err(failed)?;
    }
    Ok(())
}

/// The whole decades that positive values lie in.
fn decades(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let positive: Vec<f64> = values.filter(|v| *v > 0.0 && v.is_finite()).collect();
    let least = positive.iter().copied().reduce(f64::min).unwrap_or(1.0);
    let most = positive.iter().copied().fold(least * 1.01, f64::max);
    (
        10f64.powf(least.log10().floor()),
        10f64.powf(most.log10().ceil()),
    )
}

fn curves(area: &Area<'_>, figure: &Figure, points: &[CurvePoint]) -> Result {
    let right = decades(points.iter().map(|point| point.at));
    let up = decades(
        points
            .iter()
            .filter_map(|point| point.values.first().copied()),
    );
    let mut chart = ChartBuilder::on(area)
        .margin(MARGIN)
        .margin_right(2 * MARGIN)
        .x_label_area_size(AXIS)
        .y_label_area_size(58)
        .build_cartesian_2d((right.0..right.1).log_scale(), (up.0..up.1).log_scale())
        .map_err(failed)?;
    let mut mesh = chart.configure_mesh();
    mesh.y_labels(5)
        .y_desc(figure.unit)
        .y_label_formatter(&|value| number(*value));
    draw_mesh(&mut mesh, figure.columns[0])?;
    for (name, color) in names(points).into_iter().zip(SERIES) {
        let of_it = points.iter().filter(|point| point.series == name);
        let places: Vec<_> = of_it
            .filter_map(|point| Some((point.at, *point.values.first()?)))
            .filter(|place| place.1 > 0.0)
            .collect();
        let line = LineSeries::new(places.iter().copied(), color.stroke_width(2));
        chart.draw_series(line).map_err(failed)?;
        let dots = places.into_iter();
        let dots = dots.map(|place| Circle::new(place, 3, color.filled()));
        chart.draw_series(dots).map_err(failed)?;
    }
    Ok(())
}

fn lines(area: &Area<'_>, figure: &Figure, series: &[Series], marks: &[Mark]) -> Result {
    let points = || {
        series
            .iter()
            .flat_map(|series| series.points.iter().copied())
    };
    let right = points().map(|point| point.0).fold(1.0, f64::max);
    let up = points().map(|point| point.1);
    let top = up
        .chain(marks.iter().map(|mark| mark.value))
        .fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(MARGIN)
        .margin_right(2 * MARGIN)
        .x_label_area_size(AXIS)
        .y_label_area_size(58)
        .build_cartesian_2d(0.0..right, 0.0..1.12 * top)
        .map_err(failed)?;
    let mut mesh = chart.configure_mesh();
    mesh.y_labels(5)
        .y_desc(figure.unit)
        .y_label_formatter(&|value| number(*value));
    draw_mesh(&mut mesh, figure.columns[0])?;
    for mark in marks {
        let line = [(0.0, mark.value), (right, mark.value)];
        let line = PathElement::new(line, MARK.stroke_width(1));
        chart.draw_series([line]).map_err(failed)?;
        let told = format!("{} {}", mark.label, number(mark.value));
        let place = (right / 100.0, mark.value + top / 14.0);
        chart
            .draw_series([Text::new(told, place, ink(11))])
            .map_err(failed)?;
    }
    for (series, color) in series.iter().zip(SERIES.into_iter().cycle()) {
        let line = LineSeries::new(series.points.iter().copied(), color.stroke_width(2));
        chart.draw_series(line).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::figure::tests::samples;
    use super::{DARK, svg};

    #[test]
    fn every_shape_is_drawn_with_its_labels_and_unit() {
        for figure in samples() {
            let text = svg(&figure).unwrap();
            assert!(
                text.starts_with("<svg") && text.contains("viewBox"),
                "{text}"
            );
            assert!(text.contains("GiB/s"), "{}", figure.id);
            let label = if ["lines", "curves"].contains(&figure.id.as_str()) {
                "device"
            } else {
                "killed by the memory cap"
            };
            assert!(text.contains(label), "{}: {text}", figure.id);
            assert!(!text.contains("<lgalloc>"), "text is escaped");
        }
    }

    #[test]
    fn every_colour_has_its_counterpart_on_a_dark_ground() {
        for text in samples().iter().map(|figure| svg(figure).unwrap()) {
            let colours = text.split('"').filter(|part| part.starts_with('#'));
            for colour in colours {
                assert!(DARK.iter().any(|(light, _)| *light == colour), "{colour}");
            }
        }
    }

    #[test]
    fn a_figure_without_rows_and_one_of_zeros_are_drawn() {
        use super::super::figure::{Family, Shape, tests::row};
        for rows in [vec![], vec![row("a", Family::Peer, &[0.0, 0.0, 0.0], "")]] {
            for shape in [
                Shape::Bars {
                    rows: rows.clone(),
                    mark: None,
                },
                Shape::Stacked { rows: rows.clone() },
                Shape::Points { rows: rows.clone() },
            ] {
                let mut figure = samples().swap_remove(0);
                figure.shape = shape;
                assert!(!svg(&figure).unwrap().contains("NaN"));
            }
        }
        let mut figure = samples().swap_remove(3);
        for shape in [
            Shape::Lines {
                series: vec![],
                marks: vec![],
            },
            Shape::Curves { points: vec![] },
        ] {
            figure.shape = shape;
            assert!(!svg(&figure).unwrap().contains("NaN"));
        }
    }
}
