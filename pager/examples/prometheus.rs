//! Serves what a pager does to Prometheus.
//!
//! ```text
//! cargo run --release -p pager-out-of-core --features metrics --example prometheus -- 9100
//! curl http://127.0.0.1:9100/metrics
//! ```
//!
//! The exporter is whatever the program has already: pager only fills the recorder that is
//! installed. Here chunks come and go until it is interrupted, or for so many seconds as a second
//! argument says.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusBuilder;
use pager::metrics::Publisher;
use pager::{Handle, Pager};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let port = args.next().map_or(Ok(9100), |port| port.parse())?;
    let seconds = args.next().map(|seconds| seconds.parse()).transpose()?;
    PrometheusBuilder::new()
        .with_http_listener(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        // Without these, quantiles; a dashboard wants to add up what several programs say.
        .set_buckets(&[1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0])?
        .install()?;

    let pager = Pager::builder().budget_bytes(32 << 20).build()?;
    let mut publisher = Publisher::new("example");
    let begun = Instant::now();
    let is_over = |limit: u64| begun.elapsed() >= Duration::from_secs(limit);
    let mut held: Vec<Handle> = Vec::new();
    let mut column = Vec::new();
    for round in 0_u64.. {
        if seconds.is_some_and(is_over) {
            break;
        }
        let mut chunk: Vec<u64> = (0..1 << 18).map(|word| word ^ round).collect();
        held.push(pager.pageout(std::slice::from_mut(&mut chunk))?);
        if held.len() > 64 {
            pager.take(held.remove(0), &mut column)?;
        }
        // Once for each scrape would do; a program has a timer for it.
        publisher.publish(&pager);
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
