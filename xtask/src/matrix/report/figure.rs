//! [`Figure`]: one figure, its numbers, and the table of them.
//!
//! Guarantees that what a chart shows can be read as numbers. Refuses nothing.

/// Whose a row is, and so which colour it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Pager,
    /// Pager as published.
    Seed,
    Peer,
}

/// One thing that was measured.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) label: String,
    pub(super) family: Family,
    /// As many as the figure has columns, or none.
    pub(super) values: Vec<f64>,
    /// Why there are none, or what has to be known of them.
    pub(super) note: String,
}

/// A value that rows are to be compared with.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mark {
    pub(super) label: String,
    pub(super) value: f64,
}

/// One thing over time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    pub(super) label: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// One measured point of a curve.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CurvePoint {
    /// Which curve.
    pub(super) series: String,
    /// What grew.
    pub(super) at: f64,
    /// As many as the figure has columns after the first, or none; the first is drawn.
    pub(super) values: Vec<f64>,
    /// Why there are none, or what has to be known of them.
    pub(super) note: String,
}

/// How it is drawn.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    /// A bar for the first column; the second and third are its ends, if there are any.
    Bars { rows: Vec<Row>, mark: Option<Mark> },
    /// A bar in parts.
    Stacked { rows: Vec<Row> },
    /// A point for each column, on a logarithmic scale.
    Points { rows: Vec<Row> },
    /// A line each; the columns are two: what goes right and what goes up.
    Lines {
        series: Vec<Series>,
        marks: Vec<Mark>,
    },
    /// A curve each, on logarithmic scales; the first column is what grew, the second what is
    /// drawn, and each has a unit of its own.
    Curves { points: Vec<CurvePoint> },
}

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figure {
    /// Its name within the page.
    pub(super) id: String,
    pub(super) title: String,
    pub(super) unit: &'static str,
    /// What it says, and which way is better.
    pub(super) caption: String,
    pub(super) columns: Vec<&'static str>,
    pub(super) shape: Shape,
}

/// Points of a line that its table shows.
const LINE_POINTS: usize = 10;

impl Figure {
    /// Header and rows of its table.
    pub(super) fn table(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let unit = self.unit;
        match &self.shape {
            Shape::Bars { rows, mark } => {
                let mut lines = self.lines(rows);
                lines.extend(
                    mark.iter()
                        .map(|mark| self.line(&mark.label, &[mark.value], "")),
                );
                (self.header(), lines)
            }
            Shape::Stacked { rows } | Shape::Points { rows } => (self.header(), self.lines(rows)),
            Shape::Lines { series, marks } => {
                let header = ["", self.columns[0], self.columns[1]];
                let mut header = header.map(str::to_owned).to_vec();
                header[2].push_str(&format!(", {unit}"));
                let line =
                    |label: &str, at: String, value: f64| vec![label.to_owned(), at, number(value)];
                let mut lines = Vec::new();
                for series in series {
                    let step = series.points.len().div_ceil(LINE_POINTS).max(1);
                    for stretch in series.points.chunks(step) {
                        let most = stretch.iter().map(|point| point.1).fold(0.0, f64::max);
                        lines.push(line(&series.label, number(stretch[0].0), most));
                    }
                }
                let marks = marks.iter();
                lines.extend(marks.map(|mark| line(&mark.label, String::new(), mark.value)));
                (header, lines)
            }
            Shape::Curves { points } => {
                let columns = self.columns.iter().map(|column| (*column).to_owned());
                let header = std::iter::once(String::new()).chain(columns);
                let header = header.chain(std::iter::once("notes".to_owned()));
                let line = |point: &CurvePoint| {
                    let mut line = self.line(&point.series, &point.values, &point.note);
                    line.insert(1, number(point.at));
                    line.remove(self.columns.len() + 1);
                    line
                };
                (header.collect(), points.iter().map(line).collect())
            }
        }
    }

    fn header(&self) -> Vec<String> {
        let columns = self.columns.iter();
        let columns = columns.map(|column| format!("{column}, {}", self.unit));
        let header = std::iter::once(String::new()).chain(columns);
        header.chain(std::iter::once("notes".to_owned())).collect()
    }

    fn lines(&self, rows: &[Row]) -> Vec<Vec<String>> {
        let line = |row: &Row| self.line(&row.label, &row.values, &row.note);
        rows.iter().map(line).collect()
    }

    fn line(&self, label: &str, values: &[f64], note: &str) -> Vec<String> {
        let value = |place| {
            values
                .get(place)
                .map_or_else(|| "-".to_owned(), |v| number(*v))
        };
        let values = (0..self.columns.len()).map(value);
        let line = std::iter::once(label.to_owned()).chain(values);
        line.chain(std::iter::once(note.to_owned())).collect()
    }
}

/// Three digits, or all of those before the point.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 100.0 || value == 0.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else if size >= 1.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{CurvePoint, Family, Figure, Mark, Row, Series, Shape, number};

    pub(crate) fn row(label: &str, family: Family, values: &[f64], note: &str) -> Row {
        Row {
            label: label.to_owned(),
            family,
            values: values.to_vec(),
            note: note.to_owned(),
        }
    }

    /// One of each shape.
    pub(crate) fn samples() -> Vec<Figure> {
        let rows = vec![
            row("pager, file, fast", Family::Pager, &[1.5, 1.25, 1.75], ""),
            row("pager, file, seed", Family::Seed, &[0.25, 0.2, 0.3], ""),
            row(
                "<lgalloc> & co",
                Family::Peer,
                &[],
                "killed by the memory cap",
            ),
        ];
        let figure = |id: &str, columns: &[&'static str], shape| Figure {
            id: id.to_owned(),
            title: format!("Figure {id}"),
            unit: "GiB/s",
            caption: "More is better.".to_owned(),
            columns: columns.to_vec(),
            shape,
        };
        let mark = Mark {
            label: "device".to_owned(),
            value: 2.0,
        };
        let three = ["median", "least", "most"];
        let course = (0..100).map(|at| (f64::from(at), f64::from(at % 50)));
        let curve = |at: u32, values: &[f64], note: &str| CurvePoint {
            series: "device".to_owned(),
            at: f64::from(at),
            values: values.to_vec(),
            note: note.to_owned(),
        };
        let curves = vec![
            curve(1000, &[1.75, 0.2], ""),
            curve(100_000, &[2.5, 0.3], ""),
            curve(1_000_000, &[], "killed by the memory cap"),
        ];
        let series = Series {
            label: "pager, swap, fast".to_owned(),
            points: course.collect(),
        };
        vec![
            figure(
                "bars",
                &three,
                Shape::Bars {
                    rows: rows.clone(),
                    mark: Some(mark.clone()),
                },
            ),
            figure("stacked", &three, Shape::Stacked { rows: rows.clone() }),
            figure("points", &three, Shape::Points { rows }),
            figure(
                "lines",
                &["% of the time", "memory"],
                Shape::Lines {
                    series: vec![series.clone(), series],
                    marks: vec![mark],
                },
            ),
            figure(
                "curves",
                &["handles", "GiB/s", "us per handle"],
                Shape::Curves { points: curves },
            ),
        ]
    }

    #[test]
    fn every_number_of_a_chart_is_in_its_table() {
        for figure in samples() {
            let (header, lines) = figure.table();
            assert!(lines.iter().all(|line| line.len() == header.len()));
            let all: Vec<String> = lines.concat();
            let has = |text: &str| all.iter().any(|cell| cell == text);
            match figure.shape {
                Shape::Lines { .. } => assert!(has("49.0") && has("2.00")),
                _ => assert!(has("1.75") && has("0.200") && has("killed by the memory cap")),
            }
        }
    }

    #[test]
    fn numbers_have_three_digits() {
        let all = [0.0, 0.1234, 1.234, 12.34, 123.4, 12345.6].map(number);
        assert_eq!(all, ["0", "0.123", "1.23", "12.3", "123", "12346"]);
    }
}
