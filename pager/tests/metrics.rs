//! What is published, and that the dashboard and the alerts in `docs/` ask for nothing else.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use pager::metrics::Publisher;
use pager::{BackendKind, Group, Handle, Pager};
use serde_json::Value;

/// Everything that a pager says when it has done everything once; a process has one recorder.
fn published() -> &'static str {
    static SAID: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    SAID.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets(&[0.001, 1.0])
            .unwrap()
            .build_recorder();
        let handle: PrometheusHandle = recorder.handle();
        metrics::set_global_recorder(recorder).unwrap();
        let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
        let pager = Pager::builder()
            .budget_bytes(16 << 20)
            .scratch_dir(scratch.path())
            .build()
            .unwrap();
        let mut publisher = Publisher::new("test");
        publisher.publish(&pager);
        let held = work(&pager);
        let (mut writer, _spill) = pager.spill().unwrap();
        writer.write_all(&[7; 1000]).unwrap();
        publisher.publish(&pager);
        drop(held);
        #[cfg(feature = "codec")]
        compress(scratch.path());
        overflow(scratch.path());
        handle.render()
    })
}

/// Gives back what is still paged out.
fn work(pager: &Pager) -> Vec<Handle> {
    let mut held = Vec::new();
    let group = Group::new("query \"7\"").quota_bytes(1 << 30);
    for backend in BackendKind::ALL {
        let options = pager.options().backend(backend).group(&group);
        let mut handles: Vec<_> = (0..32_u64)
            .map(|key| options.pageout(&mut [vec![key; 1 << 18]]).unwrap())
            .collect();
        pager.flush().unwrap();
        let mut words = Vec::new();
        pager.read_at(&handles[3], 7, 1, &mut words).unwrap();
        assert!(
            pager
                .read_at(&handles[3], usize::MAX, 1, &mut words)
                .is_err()
        );
        handles[..8]
            .iter()
            .for_each(|handle| pager.prefetch(handle));
        // A read of all that is prefetched: whoever comes first, somebody has waited or fetched.
        for handle in handles.drain(..8) {
            pager.take(handle, &mut words).unwrap();
        }
        let fetched = || pager.stats().residency.fetches > 0;
        for handle in &handles {
            pager.prefetch(handle);
        }
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !fetched() && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(fetched());
        held.extend(handles);
    }
    held
}

/// Has a second pager keep something in memory that is encoded.
#[cfg(feature = "codec")]
fn compress(scratch: &Path) {
    let pager = Pager::builder()
        .budget_bytes(16 << 20)
        .scratch_dir(scratch)
        .codec(pager::Codec::Auto)
        .build()
        .unwrap();
    let options = pager.options().backend(BackendKind::File);
    // These page-outs are not counted with the others: who listens is asked each time.
    let held: Vec<_> = metrics::with_local_recorder(&metrics::NoopRecorder, || {
        let pageout = |key: u64| options.pageout(&mut [vec![key; 1 << 18]]).unwrap();
        (0..32).map(pageout).collect()
    });
    pager_testkit::eventually("a payload is encoded", || {
        pager.codec_stats().kept_bytes > 0
    });
    Publisher::new("compressed").publish(&pager);
    drop(held);
}

/// Has a third pager keep in memory what there is no room for.
fn overflow(scratch: &Path) {
    let pager = Pager::builder()
        .backend(BackendKind::File)
        .budget_bytes(0)
        .scratch_dir(scratch)
        .quota_bytes(1 << 20)
        .last_resort(pager::LastResort::Memory)
        .build()
        .unwrap();
    let held = metrics::with_local_recorder(&metrics::NoopRecorder, || {
        pager.pageout(&mut [vec![7u64; 1 << 18]]).unwrap()
    });
    Publisher::new("overflowing").publish(&pager);
    drop(held);
}

/// The value of the series whose name and labels are these, in whichever order.
fn value(text: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let line = text.lines().find(|line| {
        let (series, _) = line.split_once(['{', ' ']).unwrap_or((line, ""));
        series == name && labels.iter().all(|label| line.contains(label))
    })?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn figures_have_their_names_labels_and_values() {
    let text = published();
    let of = |name, labels: &[&str]| value(text, name, labels);
    let test = "pager=\"test\"";
    for backend in ["backend=\"swap\"", "backend=\"file\""] {
        assert_eq!(
            of("pager_pageouts_total", &[test, backend]),
            Some(32.0),
            "{text}"
        );
        assert_eq!(of("pager_takes_total", &[test, backend]), Some(8.0));
        assert_eq!(of("pager_pageout_seconds_count", &[backend]), Some(32.0));
        assert_eq!(of("pager_take_seconds_count", &[backend]), Some(8.0));
        assert!(of("pager_write_seconds_count", &[backend]).unwrap() >= 32.0);
        let refused = [backend, "operation=\"read\"", "kind=\"out_of_bounds\""];
        assert_eq!(of("pager_errors_total", &refused), Some(1.0));
    }
    assert!(of("pager_write_seconds_sum", &["backend=\"file\""]).unwrap() > 0.0);
    assert_eq!(of("pager_budget_bytes", &[test]), Some(f64::from(16 << 20)));
    assert!(of("pager_memory_relief_byte_seconds", &[test]).unwrap() > 0.0);
    let group = [test, r#"group="query \"7\"""#];
    assert_eq!(
        of("pager_group_logical_bytes", &group),
        Some(f64::from(2 * 24 * (2 << 20)))
    );
    assert_eq!(of("pager_group_handles", &group), Some(48.0));
    assert_eq!(
        of("pager_group_quota_bytes", &group),
        Some(f64::from(1 << 30))
    );
    assert_eq!(of("pager_group_refused_pageouts_total", &group), Some(0.0));
}

#[test]
fn streams_files_and_the_compressed_tier_are_told() {
    let text = published();
    let of = |name, labels: &[&str]| value(text, name, labels);
    let test = "pager=\"test\"";
    let file = [test, "backend=\"file\""];
    assert!(of("pager_spill_bytes", &[test]).unwrap() >= 1000.0);
    let stored = of("pager_stored_bytes", &file).unwrap();
    assert!(of("pager_on_disk_bytes", &file).unwrap() >= stored);
    assert_eq!(of("pager_corrupt_reads_total", &file), Some(0.0));
    assert!(of("pager_device_written_bytes_total", &file).unwrap() > 0.0);
    assert!(of("pager_device_read_bytes_total", &file).unwrap() > 0.0);
    let overflowing = ["pager=\"overflowing\"", "backend=\"memory\""];
    let there = of("pager_last_resort_bytes", &overflowing);
    assert_eq!(there, Some(f64::from(2 << 20)));
    assert_eq!(of("pager_last_resort_bytes", &[test]), None);
    let compressed = ["pager=\"compressed\""];
    let kept = of("pager_compressed_bytes", &compressed);
    assert_eq!(kept.is_some(), cfg!(feature = "codec"));
    if let Some(kept) = kept {
        assert!(kept > 0.0);
        let plain = of("pager_codec_plain_bytes_total", &compressed).unwrap();
        assert!(plain > of("pager_codec_stored_bytes_total", &compressed).unwrap());
    }
}

/// Names of series in an expression: words that begin as ours do.
fn names(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("pager_"))
        .map(str::to_owned)
        .collect()
}

/// Fails if somebody asks for what is not published.
fn assert_published(expression: &str) {
    let asked = names(expression);
    assert!(
        !asked.is_empty(),
        "{expression} asks for nothing of pager's"
    );
    for name in asked {
        // What only a build with the feature has.
        let is_codec = name.starts_with("pager_compressed_") || name.starts_with("pager_codec_");
        if is_codec && !cfg!(feature = "codec") {
            continue;
        }
        assert!(
            value(published(), &name, &[]).is_some(),
            "{name} of {expression} is not published"
        );
    }
}

fn document(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/grafana");
    fs::read_to_string(root.join(name)).unwrap()
}

#[test]
fn the_dashboard_loads_and_asks_for_nothing_that_is_not_published() {
    let dashboard: Value = serde_json::from_str(&document("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() >= 14);
    let mut ids = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        assert!(
            !panel["description"].as_str().unwrap().is_empty(),
            "{title}"
        );
        assert!(
            panel["fieldConfig"]["defaults"]["unit"].is_string(),
            "{title}"
        );
        for target in panel["targets"].as_array().unwrap() {
            assert_published(target["expr"].as_str().unwrap());
        }
    }
    let query = &dashboard["templating"]["list"][1]["query"]["query"];
    assert_published(&query.as_str().unwrap().replace(", pager)", ")"));
}

#[test]
fn the_alerts_ask_for_nothing_that_is_not_published() {
    let text = document("alerts.yml");
    let expressions: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "))
        .collect();
    assert_eq!(expressions.len(), text.matches("- alert: ").count());
    expressions.into_iter().for_each(assert_published);
}
