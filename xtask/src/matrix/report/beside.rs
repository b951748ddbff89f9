//! Figures of what is measured beside the merge: curves of growth, and whole jobs.
//!
//! Guarantees a row for every job and a point for every size that was planned. Refuses a number for
//! one that was skipped or died.

use super::super::extra::{Extra, ExtraRecord};
use super::super::growth::{Axis, Point};
use super::super::job::Job;
use super::super::plan::Backend;
use super::super::summary::Spread;
use super::figure::{CurvePoint, Family, Figure, Mark, Row, Shape};
use crate::matrix::job::Engine;

const MIB: f64 = (1u64 << 20) as f64;

/// All records of one thing.
#[derive(Debug)]
struct All<'a> {
    extra: Extra,
    runs: Vec<&'a ExtraRecord>,
}

impl All<'_> {
    /// A figure over all runs that have it.
    fn number(&self, of: impl Fn(&ExtraRecord) -> Option<f64>) -> Option<Spread> {
        let good = self.runs.iter().filter(|run| run.is_good());
        Spread::of(good.filter_map(|run| of(run)))
    }

    fn note(&self) -> String {
        let notes = self.runs.iter().map(|run| run.notes());
        notes
            .reduce(|one, other| if one.is_empty() { other } else { one })
            .unwrap_or_default()
    }
}

fn grouped(extras: &[ExtraRecord]) -> Vec<All<'_>> {
    let mut all: Vec<All<'_>> = Vec::new();
    for record in extras {
        match all.iter_mut().find(|known| known.extra == record.extra) {
            Some(known) => known.runs.push(record),
            None => all.push(All {
                extra: record.extra,
                runs: vec![record],
            }),
        }
    }
    all
}

/// All figures.
pub(super) fn figures(extras: &[ExtraRecord]) -> Vec<Figure> {
    let all = grouped(extras);
    let mut figures = Vec::new();
    figures.extend(sort_time(&all));
    figures.extend(sort_memory(&all));
    figures.extend(Axis::ALL.into_iter().filter_map(|axis| growth(&all, axis)));
    figures.extend(remembered(&all));
    figures
}

fn jobs<'a, 'b>(all: &'b [All<'a>]) -> impl Iterator<Item = (Job, &'b All<'a>)> {
    all.iter().filter_map(|it| match it.extra {
        Extra::Sort(job) => Some((job, it)),
        Extra::Growth(_) => None,
    })
}

fn points<'a, 'b>(all: &'b [All<'a>], axis: Axis) -> impl Iterator<Item = (Point, &'b All<'a>)> {
    all.iter().filter_map(move |it| match it.extra {
        Extra::Growth(point) if point.axis == axis => Some((point, it)),
        Extra::Growth(_) | Extra::Sort(_) => None,
    })
}

fn sort_title(what: &str, job: Job) -> String {
    format!(
        "{what}: {:.0} MiB of rows, a limit of {} MiB, a memory cap of {} MiB",
        job.rows_bytes() / MIB,
        job.limit_bytes >> 20,
        job.cap_bytes() >> 20
    )
}

fn family(engine: Engine) -> Family {
    match engine.backend() {
        Some(_) => Family::Pager,
        None => Family::Peer,
    }
}

fn job_row(job: Job, all: &All<'_>, values: Option<Vec<f64>>) -> Row {
    Row {
        label: job.engine.label().to_owned(),
        family: family(job.engine),
        values: values.unwrap_or_default(),
        note: all.note(),
    }
}

fn sort_time(all: &[All<'_>]) -> Option<Figure> {
    let (first, _) = jobs(all).next()?;
    let seconds = |it: &All<'_>| it.number(|run| run.number("sort_s"));
    let sorts = jobs(all).filter(|(job, _)| job.engine != Engine::Rows);
    let rows = sorts.map(|(job, it)| {
        let spread = seconds(it);
        let values = spread.map(|v| vec![v.median, v.least, v.most]);
        job_row(job, it, values)
    });
    let rows: Vec<Row> = rows.collect();
    let made = jobs(all).find(|(job, _)| job.engine == Engine::Rows);
    let made = made.and_then(|(_, it)| seconds(it));
    Some(Figure {
        id: "sort".to_owned(),
        title: sort_title("A whole sort", first),
        unit: "s",
        caption:
            "TPC-H lineitem by price, order and line, 16 columns: until the rows are stored in \
                  order (pager, DuckDB) or were handed out in order (the crates); every row was \
                  then compared. Less is better. Making the rows is part of it, but for DuckDB, \
                  which has loaded them into a table before."
                .to_owned(),
        columns: vec!["median", "least", "most"],
        shape: Shape::Bars {
            rows,
            mark: made.map(|v| Mark {
                label: "making the rows alone".to_owned(),
                value: v.median,
            }),
        },
    })
}

fn sort_memory(all: &[All<'_>]) -> Option<Figure> {
    let (first, _) = jobs(all).next()?;
    let sorts = jobs(all).filter(|(job, _)| job.engine != Engine::Rows);
    let rows = sorts.map(|(job, it)| {
        let peak = it.number(|run| run.number("peak_rss_bytes"));
        job_row(job, it, peak.map(|v| vec![v.median / MIB]))
    });
    Some(Figure {
        id: "sort-memory".to_owned(),
        title: sort_title("Memory of a whole sort", first),
        unit: "MiB",
        caption: "The most that the process had in memory, its program included. Less is better; \
                  above the cap nothing can be."
            .to_owned(),
        columns: vec!["peak"],
        shape: Shape::Bars {
            rows: rows.collect(),
            mark: Some(Mark {
                label: "limit that it was told".to_owned(),
                value: first.limit_bytes as f64 / MIB,
            }),
        },
    })
}

/// A GiB, or a handle, out and back.
fn growth(all: &[All<'_>], axis: Axis) -> Option<Figure> {
    let (id, title, grows, by_handle) = match axis {
        Axis::Set => ("growth-set", "The set grows", "times the budget", false),
        Axis::Handles => ("growth-handles", "Handles grow in number", "handles", true),
        Axis::Payload => ("growth-payload", "Payloads grow", "KiB of a payload", false),
        Axis::Threads => ("growth-threads", "Threads grow in number", "threads", false),
    };
    let (first, _) = points(all, axis).next()?;
    let conditions = match axis {
        Axis::Set => "Payloads of 2 MiB on one thread.".to_owned(),
        Axis::Handles => "Payloads of 64 bytes on one thread, all of them in memory.".to_owned(),
        Axis::Payload => "On one thread, in a quarter of the memory.".to_owned(),
        Axis::Threads => {
            let (set, budget) = (first.handles * first.payload_bytes, first.budget_bytes);
            format!(
                "{} MiB in payloads of 2 MiB, in {} MiB.",
                set >> 20,
                budget >> 20
            )
        }
    };
    let (bytes, handle) = ("s per GiB", "us per handle");
    let (columns, unit) = if by_handle {
        (vec![grows, handle, bytes], handle)
    } else {
        (vec![grows, bytes, handle], bytes)
    };
    let points: Vec<CurvePoint> = points(all, axis)
        .map(|(point, it)| curve_point(point, it, by_handle))
        .collect();
    let is_there = points.iter().any(|point| !point.values.is_empty());
    is_there.then(|| Figure {
        id: id.to_owned(),
        title: format!("{title}: cost of paging out and taking back"),
        unit,
        caption: format!(
            "{conditions} Per GiB the wall time out and back, with making and comparing every word; \
             per handle the time inside the calls, over all threads. Less is better."
        ),
        columns,
        shape: Shape::Curves { points },
    })
}

fn curve_point(point: Point, all: &All<'_>, by_handle: bool) -> CurvePoint {
    let of = |key: &str| all.number(|run| run.number(key));
    let both = of("seconds_per_gib").zip(of("micros_per_handle"));
    CurvePoint {
        series: point.backend.label().to_owned(),
        at: point.at(),
        values: both.map_or_else(Vec::new, |(bytes, handle)| {
            if by_handle {
                vec![handle.median, bytes.median]
            } else {
                vec![bytes.median, handle.median]
            }
        }),
        note: all.note(),
    }
}

/// What a handle takes in memory, however many there are.
fn remembered(all: &[All<'_>]) -> Option<Figure> {
    let points = points(all, Axis::Handles).map(|(point, it)| {
        let bytes =
            it.number(|run| Some(run.number("bookkeeping_bytes")? / run.number("handles")?));
        let held = it.number(|run| run.number("peak_held_bytes"));
        let both = bytes.zip(held);
        CurvePoint {
            series: point.backend.label().to_owned(),
            at: point.at(),
            values: both.map_or_else(Vec::new, |(b, h)| vec![b.median, h.median / MIB]),
            note: it.note(),
        }
    });
    let points: Vec<CurvePoint> = points.collect();
    let is_there = points.iter().any(|point| !point.values.is_empty());
    is_there.then(|| Figure {
        id: "growth-remembered".to_owned(),
        title: "Handles grow in number: what is remembered of each".to_owned(),
        unit: "bytes per handle",
        caption: "Memory besides the payload of 64 bytes, which the budget counts. Less is better."
            .to_owned(),
        columns: vec!["handles", "bytes per handle", "MiB held in all"],
        shape: Shape::Curves { points },
    })
}

/// What follows, in words.
pub(super) fn verdict(extras: &[ExtraRecord]) -> Vec<String> {
    let all = grouped(extras);
    let mut said = Vec::new();
    said.extend(sort_verdict(&all));
    said.extend(growth_verdict(&all));
    said
}

fn sort_verdict(all: &[All<'_>]) -> Option<String> {
    let time = |it: &All<'_>| Some(it.number(|run| run.number("sort_s"))?.median);
    let timed = || jobs(all).filter_map(|(job, it)| Some((job.engine, time(it)?)));
    let ours = timed().filter(|(engine, _)| engine.backend().is_some());
    let (engine, best) = ours.min_by(|a, b| a.1.total_cmp(&b.1))?;
    let mut others: Vec<String> = timed()
        .filter(|(engine, _)| engine.backend().is_none() && *engine != Engine::Rows)
        .map(|(engine, time)| format!("{} takes {:.1} times as long", engine.label(), time / best))
        .collect();
    let without =
        jobs(all).filter(|(job, it)| job.engine.backend().is_none() && time(it).is_none());
    others.extend(without.map(|(job, it)| format!("{}: {}", job.engine.label(), it.note())));
    let (job, _) = jobs(all).next()?;
    let mut text = format!(
        "A sort of {:.0} MiB of rows within {} MiB: {best:.1} s ({})",
        job.rows_bytes() / MIB,
        job.limit_bytes >> 20,
        engine.label()
    );
    for other in others {
        text.push_str(&format!("; {other}"));
    }
    Some(text + ".")
}

fn growth_verdict(all: &[All<'_>]) -> Option<String> {
    let of = |backend: Backend| {
        let on = points(all, Axis::Set).filter(move |(point, _)| point.backend == backend);
        let costs: Vec<(f64, f64)> = on
            .filter_map(|(point, it)| {
                let cost = it.number(|run| run.number("seconds_per_gib"))?;
                Some((point.at(), cost.median))
            })
            .collect();
        let (first, last) = (*costs.first()?, *costs.last()?);
        (first.0 < last.0).then_some((first, last))
    };
    let told: Vec<String> = [Backend::File, Backend::Swap]
        .into_iter()
        .filter_map(|backend| {
            let (first, last) = of(backend)?;
            Some(format!(
                "{} from {:.2} to {:.2} s",
                backend.label(),
                first.1,
                last.1
            ))
        })
        .collect();
    let (first, last) = of(Backend::File).or_else(|| of(Backend::Swap))?;
    Some(format!(
        "From {:.0} to {:.0} times the budget, a GiB out and back goes: {}.",
        first.0,
        last.0,
        told.join("; ")
    ))
}

#[cfg(test)]
mod tests {
    use super::super::super::extra::tests::extras;
    use super::super::figure::Shape;
    use super::{figures, verdict};

    #[test]
    fn there_is_a_figure_of_each_curve_and_each_job_has_a_row() {
        let all = figures(&extras());
        let ids: Vec<&str> = all.iter().map(|figure| figure.id.as_str()).collect();
        let expected = [
            "sort",
            "sort-memory",
            "growth-set",
            "growth-handles",
            "growth-payload",
            "growth-threads",
            "growth-remembered",
        ];
        assert_eq!(ids, expected);
        let Shape::Bars { rows, mark } = &all[0].shape else {
            panic!("times are bars");
        };
        assert_eq!(rows.len(), 6);
        assert!(rows[4].values.is_empty() && rows[4].note == "killed by the memory cap");
        assert!(rows[5].note.starts_with("skipped: python3"));
        assert_eq!(mark.as_ref().unwrap().value, 10.0);
        let Shape::Curves { points } = &all[2].shape else {
            panic!("growth is curves");
        };
        assert_eq!(points.len(), 2 * 5);
        let (header, rows) = all[2].table();
        assert_eq!(
            header[1..4],
            ["times the budget", "s per GiB", "us per handle"]
        );
        assert!(rows.iter().all(|row| row.len() == header.len()));
        assert!(figures(&[]).is_empty());
    }

    #[test]
    fn the_verdict_names_who_sorts_fastest_who_died_and_who_was_not_there() {
        let said = verdict(&extras()).join("\n");
        for part in [
            "A sort of 733 MiB of rows within 96 MiB: 4.0 s (pager, swap)",
            "spillsort takes 1.8 times as long",
            "ext-sort: killed by the memory cap",
            "DuckDB: skipped: python3 has no module duckdb",
            "From 2 to 32 times the budget, a GiB out and back goes: pager, file from",
        ] {
            assert!(said.contains(part), "{part}\n{said}");
        }
        assert!(verdict(&[]).is_empty());
    }
}
