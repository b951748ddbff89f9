//! What an operator sees of what happens: spans and events (feature `tracing`), latencies and
//! errors by kind (feature `metrics`).
//!
//! Without these features every function here is empty and every value of no size, and nothing of
//! it is left in the program. Hidden from users: it crosses crates; what is told is described in
//! `docs/operations.md`.
//!
//! Events have the target `pager`. What a caller does is told at `TRACE`, what happens to a device
//! at `DEBUG` and within a span, stalls at `DEBUG`, changes of a budget or a directory at `INFO`,
//! and failures at `WARN`.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::Error;

/// What is done to a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A caller pages out.
    Pageout,
    /// A caller takes.
    Take,
    /// A caller reads.
    Read,
    /// A backend stores, on whichever thread.
    Write,
    /// A piece is brought back in the background.
    Fetch,
}

/// Who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stalled {
    /// A page-out, for room.
    #[default]
    Pageout,
    /// A read or take, for a transfer.
    Read,
}

/// What an operation is about.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// What is done.
    pub operation: Operation,
    /// Name of the backend.
    pub backend: &'static str,
    /// Number of the handle, once it has one.
    pub handle: Option<u64>,
    /// Bytes that are to be moved.
    pub bytes: usize,
}

/// An operation under way.
#[derive(Debug)]
#[must_use = "what is not ended is not told"]
pub struct Watch {
    #[cfg(any(feature = "tracing", feature = "metrics"))]
    on: on::Watch,
}

impl Watch {
    /// An operation begins.
    #[inline]
    pub fn begin(about: About) -> Self {
        #[cfg(any(feature = "tracing", feature = "metrics"))]
        return Self {
            on: on::Watch::begin(about),
        };
        #[cfg(not(any(feature = "tracing", feature = "metrics")))]
        {
            let _ = about;
            Self {}
        }
    }

    /// It has ended, for a payload with this handle if it was not known before.
    #[inline]
    pub fn end<T>(self, outcome: &Result<T, Error>, handle: Option<u64>) {
        #[cfg(any(feature = "tracing", feature = "metrics"))]
        self.on.end(outcome.as_ref().err(), handle);
        #[cfg(not(any(feature = "tracing", feature = "metrics")))]
        let _ = (outcome, handle);
    }
}

/// Somebody has waited.
#[inline]
pub fn stalled(who: Stalled, time: Duration) {
    #[cfg(any(feature = "tracing", feature = "metrics"))]
    on::stalled(who, time);
    #[cfg(not(any(feature = "tracing", feature = "metrics")))]
    let _ = (who, time);
}

/// The budget has been moved for want of memory, or because there is some again.
#[inline]
pub fn pressure(budget_bytes: usize, lowered: bool) {
    #[cfg(feature = "tracing")]
    on::pressure(budget_bytes, lowered);
    #[cfg(not(feature = "tracing"))]
    let _ = (budget_bytes, lowered);
}

/// A directory is used, swept, or no longer used, and why. The reason is asked for where
/// somebody listens.
#[inline]
pub fn directory<R: fmt::Display>(path: &Path, state: &'static str, reason: impl FnOnce() -> R) {
    #[cfg(feature = "tracing")]
    tracing::info!(
        target: "pager", path = %path.display(), state, reason = %reason(), "directory"
    );
    #[cfg(not(feature = "tracing"))]
    let _ = (path, state, reason);
}

/// A payload went to the last resort, where none was.
#[inline]
pub(crate) fn last_resort(backend: &'static str, why: &crate::Error) {
    #[cfg(feature = "tracing")]
    tracing::warn!(
        target: "pager", backend, why = why as &dyn std::error::Error, "last resort"
    );
    #[cfg(not(feature = "tracing"))]
    let _ = (backend, why);
}

#[cfg(any(feature = "tracing", feature = "metrics"))]
mod on {
    use std::time::{Duration, Instant};

    use super::{About, Operation, Stalled};
    use crate::Error;

    #[derive(Debug)]
    pub(super) struct Watch {
        about: About,
        /// Nothing where nobody listens.
        begun: Option<Instant>,
        #[cfg(feature = "tracing")]
        _span: tracing::span::EnteredSpan,
    }

    impl Operation {
        fn name(self) -> &'static str {
            match self {
                Self::Pageout => "pageout",
                Self::Take => "take",
                Self::Read => "read",
                Self::Write => "write",
                Self::Fetch => "fetch",
            }
        }

        /// Whether it is a caller's, and often nothing but a move of a pointer.
        #[cfg(feature = "tracing")]
        fn is_call(self) -> bool {
            matches!(self, Self::Pageout | Self::Take | Self::Read)
        }

        #[cfg(feature = "metrics")]
        fn histogram(self) -> &'static str {
            match self {
                Self::Pageout => "pager_pageout_seconds",
                Self::Take => "pager_take_seconds",
                Self::Read => "pager_read_seconds",
                Self::Write => "pager_write_seconds",
                Self::Fetch => "pager_fetch_seconds",
            }
        }
    }

    impl Stalled {
        fn name(self) -> &'static str {
            match self {
                Self::Pageout => "pageout",
                Self::Read => "read",
            }
        }
    }

    /// What an error is called in a label: one word for each variant.
    fn kind(error: &Error) -> &'static str {
        match error {
            Error::OutOfBounds { .. } => "out_of_bounds",
            Error::OutOfSpace { .. } => "out_of_space",
            Error::QuotaExceeded { .. } => "quota_exceeded",
            Error::GroupQuotaExceeded { .. } => "group_quota_exceeded",
            Error::Contradiction { .. } => "contradiction",
            Error::Corrupt { .. } => "corrupt",
            Error::ScratchUnavailable { .. } => "scratch_unavailable",
            Error::NoRoom { .. } => "no_room",
            Error::OutOfMemory { .. } => "out_of_memory",
            Error::Io { .. } => "io",
            Error::Backend { .. } => "backend",
            Error::BackendDisabled { .. } => "backend_disabled",
            Error::Unsupported { .. } => "unsupported",
            Error::ForeignProcess => "foreign_process",
            Error::WriterFailed { .. } => "writer_failed",
            Error::NoReader => "no_reader",
            Error::ShutDown => "shut_down",
        }
    }

    impl Watch {
        pub(super) fn begin(about: About) -> Self {
            #[cfg(feature = "tracing")]
            let (span, listens) = {
                let span = if about.operation.is_call() {
                    tracing::Span::none()
                } else {
                    tracing::debug_span!(
                        target: "pager",
                        "transfer",
                        operation = about.operation.name(),
                        backend = about.backend,
                        handle = about.handle,
                        bytes = about.bytes,
                    )
                };
                let listens = if about.operation.is_call() {
                    tracing::enabled!(target: "pager", tracing::Level::TRACE)
                } else {
                    tracing::enabled!(target: "pager", tracing::Level::DEBUG)
                };
                (span.entered(), listens)
            };
            #[cfg(not(feature = "tracing"))]
            let listens = false;
            Self {
                about,
                // A recorder of metrics does not say whether it listens.
                begun: (listens || cfg!(feature = "metrics")).then(Instant::now),
                #[cfg(feature = "tracing")]
                _span: span,
            }
        }

        pub(super) fn end(self, error: Option<&Error>, handle: Option<u64>) {
            let time = self.begun.map(|begun| begun.elapsed());
            #[cfg(feature = "metrics")]
            self.count(error, time);
            #[cfg(feature = "tracing")]
            self.tell(error, handle.or(self.about.handle), time);
            #[cfg(not(feature = "tracing"))]
            let _ = handle;
        }

        #[cfg(feature = "metrics")]
        fn count(&self, error: Option<&Error>, time: Option<Duration>) {
            let About {
                operation, backend, ..
            } = self.about;
            if let Some(error) = error {
                let name = operation.name();
                metrics::counter!(
                    "pager_errors_total",
                    "backend" => backend, "operation" => name, "kind" => kind(error)
                )
                .increment(1);
            } else if let Some(time) = time {
                super::times::record(operation.histogram(), ("backend", backend), time);
            }
        }

        #[cfg(feature = "tracing")]
        fn tell(&self, error: Option<&Error>, handle: Option<u64>, time: Option<Duration>) {
            let About {
                operation,
                backend,
                bytes,
                ..
            } = self.about;
            let name = operation.name();
            let duration_us = time.map(micros);
            match error {
                // The caller asked not to wait, and asks again.
                Some(Error::NoRoom { .. }) => tracing::debug!(
                    target: "pager", operation = name, backend, bytes, "no room"
                ),
                Some(error) => tracing::warn!(
                    target: "pager",
                    operation = name, backend, handle, bytes, duration_us,
                    kind = kind(error), error = error as &dyn std::error::Error, "failed"
                ),
                None if operation.is_call() => tracing::trace!(
                    target: "pager",
                    operation = name, backend, handle, bytes, duration_us, "done"
                ),
                None => tracing::debug!(
                    target: "pager",
                    operation = name, backend, handle, bytes, duration_us, "done"
                ),
            }
        }
    }

    #[cfg(feature = "tracing")]
    fn micros(time: Duration) -> u64 {
        u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn stalled(who: Stalled, time: Duration) {
        #[cfg(feature = "metrics")]
        super::times::record("pager_stall_seconds", ("on", who.name()), time);
        #[cfg(feature = "tracing")]
        tracing::debug!(target: "pager", on = who.name(), duration_us = micros(time), "stalled");
    }

    #[cfg(feature = "tracing")]
    pub(super) fn pressure(budget_bytes: usize, lowered: bool) {
        tracing::info!(target: "pager", budget_bytes, lowered, "memory pressure");
    }
}

/// Histograms of times, under names that each thread makes once: what is told of every operation
/// allocates nothing.
#[cfg(feature = "metrics")]
mod times {
    use std::cell::RefCell;
    use std::time::Duration;

    use metrics::{Key, Label, Level, Metadata};

    const METADATA: Metadata<'static> = Metadata::new("pager", Level::INFO, None);

    /// A label, by name and value.
    type Named = (&'static str, &'static str);

    thread_local! {
        /// A handful: one for each operation on each backend.
        static KEYS: RefCell<Vec<(&'static str, Named, Key)>> = const { RefCell::new(Vec::new()) };
    }

    /// Tells the recorder that is installed now, if there is one.
    pub(super) fn record(histogram: &'static str, label: Named, time: Duration) {
        let tell = |key: &Key| {
            metrics::with_recorder(|recorder| {
                let of_key = recorder.register_histogram(key, &METADATA);
                of_key.record(time.as_secs_f64());
            });
        };
        let told = KEYS.try_with(|keys| {
            let Ok(mut keys) = keys.try_borrow_mut() else {
                return false;
            };
            let same = |known: &(_, _, _)| (known.0, known.1) == (histogram, label);
            let place = keys.iter().position(same).unwrap_or_else(|| {
                keys.push((histogram, label, key(histogram, label)));
                keys.len() - 1
            });
            tell(&keys[place].2);
            true
        });
        // The thread ends and its keys are gone, or a recorder came back here.
        if !matches!(told, Ok(true)) {
            tell(&key(histogram, label));
        }
    }

    fn key(histogram: &'static str, (name, value): Named) -> Key {
        Key::from_parts(histogram, vec![Label::from_static_parts(name, value)])
    }
}
