//! Runs the ways in turns, each in processes of its own, and prints what they cost.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};

use crate::work::Report;
use crate::{Args, Way};

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    pager_tool::print("round  way      wall s   cpu s   peak MiB (each process)")?;
    let mut reports: Vec<(Way, Report)> = Vec::new();
    for round in 1..=args.rounds {
        for &way in &args.ways {
            let parts = processes(args, way)?;
            let mut whole = Report::default();
            for part in &parts {
                whole.bytes += part.bytes;
                whole.sum = whole.sum.wrapping_add(part.sum);
                whole.wall = whole.wall.max(part.wall);
                whole.cpu += part.cpu;
            }
            let peaks = parts.iter().map(|part| (part.peak_bytes >> 20).to_string());
            pager_tool::print(format_args!(
                "{round:>5}  {:<7} {:>7.2} {:>7.2}   {}",
                way.to_string(),
                whole.wall.as_secs_f64(),
                whole.cpu.as_secs_f64(),
                peaks.collect::<Vec<_>>().join(" "),
            ))?;
            let (bytes, sum) = reports.first().map_or((whole.bytes, whole.sum), |first| {
                (first.1.bytes, first.1.sum)
            });
            ensure!(
                whole.bytes == args.total_mib << 20 && (whole.bytes, whole.sum) == (bytes, sum),
                "what was received by way of {way} is not what was sent"
            );
            reports.push((way, whole));
        }
    }
    pager_tool::print("all have received the same")?;
    ratio(&reports)
}

/// The engine's own spilling over pager, medians.
fn ratio(reports: &[(Way, Report)]) -> anyhow::Result<()> {
    let median = |way: Way, of: fn(&Report) -> f64| {
        let mut all: Vec<f64> = reports
            .iter()
            .filter(|report| report.0 == way)
            .map(|report| of(&report.1))
            .collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    };
    let of = |figure| Some(median(Way::Stock, figure)? / median(Way::Pager, figure)?);
    if let (Some(wall), Some(cpu)) = (
        of(|it| it.wall.as_secs_f64()),
        of(|it| it.cpu.as_secs_f64()),
    ) {
        pager_tool::print(format_args!("stock / pager: wall {wall:.2}, CPU {cpu:.2}"))?;
    }
    Ok(())
}

/// Runs this program as each part of one round.
fn processes(args: &Args, way: Way) -> anyhow::Result<Vec<Report>> {
    let addresses = addresses(args.processes)?;
    let parts: Vec<Child> = (0..args.processes)
        .map(|part| start(args, way, part, &addresses))
        .collect::<anyhow::Result<_>>()?;
    parts.into_iter().map(report).collect()
}

fn start(args: &Args, way: Way, part: u8, addresses: &str) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    let set = [
        ("--total-mib", args.total_mib.to_string()),
        ("--rate", args.rate.to_string()),
        ("--processes", args.processes.to_string()),
        ("--budget-mib", args.budget_mib.to_string()),
        ("--threshold-mib", args.threshold_mib.to_string()),
        ("--reserve-mib", args.reserve_mib.to_string()),
        ("--ways", way.to_string()),
        ("--part", part.to_string()),
        ("--addresses", addresses.to_owned()),
    ];
    for (name, value) in set {
        command.args([name, &value]);
    }
    command.arg("--scratch").arg(&args.scratch);
    if args.burst {
        command.arg("--burst");
    }
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    started.context("cannot start a part")
}

fn report(part: Child) -> anyhow::Result<Report> {
    let output = part.wait_with_output()?;
    ensure!(
        output.status.success(),
        "a part ended with {}",
        output.status
    );
    let said = String::from_utf8_lossy(&output.stdout);
    // The engine prints while it connects.
    said.lines().last().unwrap_or_default().parse()
}

/// Addresses that nobody listens on, a moment ago.
fn addresses(count: u8) -> anyhow::Result<String> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    let addresses: Vec<String> = listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.to_string()))
        .collect::<std::io::Result<_>>()?;
    Ok(addresses.join(","))
}
