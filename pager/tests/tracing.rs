//! What is told of what happens: page-outs, writes, fetches, stalls, directories and failures,
//! each with its fields.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use pager::{BackendKind, Pager};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

type Fields = BTreeMap<&'static str, String>;

/// Keeps everything that is told under the target of pager.
#[derive(Clone, Default)]
struct Listener {
    events: Arc<Mutex<Vec<(tracing::Level, Fields)>>>,
    spans: Arc<Mutex<Vec<Fields>>>,
    next: Arc<AtomicU64>,
}

struct Collect<'a>(&'a mut Fields);

impl Visit for Collect<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "pager"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::new();
        span.record(&mut Collect(&mut fields));
        self.spans.lock().unwrap().push(fields);
        Id::from_u64(1 + self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::new();
        event.record(&mut Collect(&mut fields));
        let level = *event.metadata().level();
        self.events.lock().unwrap().push((level, fields));
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn every_step_of_a_payload_is_told_with_its_fields() {
    let listener = Listener::default();
    tracing::subscriber::set_global_default(listener.clone()).unwrap();
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let pager = Pager::builder()
        .backend(BackendKind::File)
        .budget_bytes(8 << 20)
        .scratch_dir(scratch.path())
        .build()
        .unwrap();
    let mut handles: Vec<_> = (0..32_u64)
        .map(|key| pager.pageout(&mut [vec![key; 1 << 18]]).unwrap())
        .collect();
    pager.flush().unwrap();
    let handle = handles.pop().unwrap();
    pager.prefetch(&handle);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while pager.stats().residency.fetches == 0 {
        assert!(std::time::Instant::now() < deadline, "nothing was fetched");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let mut words = Vec::new();
    assert!(pager.read_at(&handle, 1 << 18, 1, &mut words).is_err());
    let id = handle.id().to_string();
    pager.take(handle, &mut words).unwrap();

    let events = listener.events.lock().unwrap().clone();
    let of = |operation: &str| {
        let is = |fields: &Fields| fields.get("operation").is_some_and(|it| it == operation);
        let found = events.iter().filter(|(_, fields)| is(fields));
        found.cloned().collect::<Vec<_>>()
    };
    for (operation, level, count) in [
        ("pageout", tracing::Level::TRACE, 32),
        ("write", tracing::Level::DEBUG, 32),
        ("take", tracing::Level::TRACE, 1),
    ] {
        let told = of(operation);
        assert_eq!(told.len(), count, "{operation}");
        for (at, fields) in &told {
            assert_eq!(*at, level);
            assert_eq!(fields["backend"], "file");
            assert_eq!(fields["bytes"], (2 << 20).to_string());
            assert!(fields.contains_key("handle") && fields.contains_key("duration_us"));
        }
    }
    assert!(!of("fetch").is_empty());
    let (level, failed) = of("read").pop().unwrap();
    assert_eq!(level, tracing::Level::WARN);
    assert_eq!(
        (&failed["kind"], &failed["handle"]),
        (&"out_of_bounds".to_owned(), &id)
    );
    let stalled = |(_, fields): &(_, Fields)| fields.get("on").is_some_and(|on| on == "pageout");
    assert!(
        events.iter().any(stalled),
        "64 MiB through 8 MiB have to wait"
    );
    let opened = events
        .iter()
        .find(|(_, fields)| fields.contains_key("state"));
    assert_eq!(opened.unwrap().1["state"], "opened");
    let spans = listener.spans.lock().unwrap().clone();
    let told_before = spans.len();
    let writes = spans.iter().filter(|fields| fields["operation"] == "write");
    assert_eq!(writes.count(), 32);

    // The segment of a spill that is stored at once is written as any payload is.
    drop(pager);
    let at_once = Pager::builder()
        .backend(BackendKind::File)
        .budget_bytes(0)
        .scratch_dir(scratch.path())
        .build()
        .unwrap();
    let (mut writer, _spill) = at_once.spill().unwrap();
    writer.write_frame(&[7; 1000]).unwrap();
    writer.finish().unwrap();
    let spans = listener.spans.lock().unwrap().clone();
    let last = spans.last().unwrap();
    assert_eq!(last["operation"], "write");
    assert_eq!(spans.len(), told_before + 1);

    // What finds no room is told once, until there was none of it.
    let full = Pager::builder()
        .backend(BackendKind::File)
        .budget_bytes(0)
        .scratch_dir(scratch.path())
        .quota_bytes(4096)
        .last_resort(pager::LastResort::Memory)
        .build()
        .unwrap();
    let pageout = || full.pageout(&mut [vec![1u64; 1000]]).unwrap();
    drop((pageout(), pageout()));
    drop(pageout());
    let events = listener.events.lock().unwrap().clone();
    let warned = events.iter().filter(|(_, it)| it.contains_key("why"));
    let warned: Vec<_> = warned.collect();
    assert_eq!(warned.len(), 2);
    assert_eq!(warned[0].0, tracing::Level::WARN);
    assert_eq!(warned[0].1["backend"], "memory");
}
