//! [`Chooser`]: which scheme makes page-out and page-in of a payload end soonest.
//!
//! A few elements of every payload are looked at: how far they lie apart, how far
//! neighbours do, how many are distinct. Payloads that are alike in that are a class.
//! What a class shrinks to is tried, on some KiB, when the class is new, again every
//! so many payloads, and when one of them came out otherwise than was expected. The
//! choice itself is made anew for each payload, by what the schemes and the device
//! take at that moment.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Instant;

use super::Scheme;
use super::block::{ElementWidth, encode, fingerprint};
use super::meter::Meter;
use super::workspace::Workspace;
use crate::Payload;
use crate::sync::{Mutex, lock};

/// Bytes of each sample.
const SAMPLE_BYTES: usize = 8 << 10;

/// Samples of a payload.
const SAMPLES: usize = 3;

/// Payloads of a class from one trial to the next.
const TRIAL_PERIOD: u32 = 64;

/// Classes that are remembered; when there are more, all are forgotten.
const MAX_CLASSES: usize = 64;

/// What a scheme has to save of the time that the best before it takes, or none.
const LEAST_GAIN: f64 = 0.02;

/// How far from what was expected a payload may come out before there is a trial.
const TOLERANCE: f64 = 0.25;

/// What is known of payloads that are alike.
#[derive(Debug, Clone, Copy)]
struct Class {
    /// Stored bytes to a plain byte, by scheme.
    shares: [f64; Scheme::ALL.len()],
    /// Payloads until the next trial.
    left: u32,
}

/// A scheme for a payload, and why.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    pub(super) scheme: Scheme,
    class: u64,
    share: f64,
}

/// Remembers what payloads came out as.
#[derive(Debug, Default)]
pub(super) struct Chooser {
    classes: Mutex<HashMap<u64, Class>>,
}

impl Chooser {
    /// The scheme for this payload; `None` if it had better be stored as it is. Also
    /// says whether there was a trial.
    pub(super) fn choose(
        &self,
        payload: &Payload<'_>,
        width: ElementWidth,
        meter: &Meter,
        workspace: &mut Workspace,
    ) -> (Option<Choice>, bool) {
        let Workspace {
            joined, scratch, ..
        } = workspace;
        sample(payload, joined);
        let sample = &joined[..];
        let key = fingerprint(width, sample);
        let known = self.known(key);
        let is_trial = known.is_none();
        let class = known.unwrap_or_else(|| {
            let mut shares = [1.0; Scheme::ALL.len()];
            for scheme in Scheme::ALL.into_iter().filter(|scheme| scheme.is_enabled()) {
                let blocks = sample.chunks(trial_bytes(scheme));
                let start = Instant::now();
                let stored: usize = blocks
                    .map(|block| size_of_val(encode(scheme, width, block, scratch)))
                    .sum();
                // So what was not chosen for long is known again.
                meter.encoded(scheme, sample.len(), start.elapsed());
                shares[scheme.index()] = share(stored, sample.len());
            }
            self.remember(key, shares)
        });
        let device = meter.device_nanos();
        let mut choice = None;
        let mut least_nanos = device;
        for scheme in Scheme::ALL {
            let share = class.shares[scheme.index()];
            let nanos = meter.scheme_nanos(scheme) + device * share;
            // The cheap ones come first, and one after them has to be better.
            if nanos < least_nanos * (1.0 - LEAST_GAIN) {
                least_nanos = nanos;
                choice = Some(Choice {
                    scheme,
                    class: key,
                    share,
                });
            }
        }
        (choice, is_trial)
    }

    /// Says what a payload came out as.
    pub(super) fn came_out(&self, choice: &Choice, stored_bytes: usize, plain_bytes: usize) {
        let share = share(stored_bytes, plain_bytes);
        if (share - choice.share).abs() > choice.share * TOLERANCE
            && let Some(class) = lock(&self.classes).get_mut(&choice.class)
        {
            // What it really is counts until then.
            class.shares[choice.scheme.index()] = share;
            class.left = class.left.min(TRIAL_PERIOD / 8);
        }
    }

    fn known(&self, key: u64) -> Option<Class> {
        let mut classes = lock(&self.classes);
        let class = classes.get_mut(&key)?;
        class.left = class.left.checked_sub(1)?;
        Some(*class)
    }

    fn remember(&self, key: u64, shares: [f64; Scheme::ALL.len()]) -> Class {
        let class = Class {
            shares,
            left: TRIAL_PERIOD,
        };
        let mut classes = lock(&self.classes);
        if classes.len() >= MAX_CLASSES {
            classes.clear();
        }
        classes.insert(key, class);
        class
    }
}

/// Bytes of the blocks that a scheme is tried on: of those of general bytes the whole
/// sample, for they shrink little if they are small.
const fn trial_bytes(scheme: Scheme) -> usize {
    match scheme {
        Scheme::Lz4 | Scheme::Zstd => SAMPLE_BYTES * SAMPLES,
        _ => SAMPLE_BYTES,
    }
}

#[allow(clippy::cast_precision_loss, reason = "an estimate")]
fn share(stored: usize, plain: usize) -> f64 {
    stored as f64 / plain.max(1) as f64
}

/// Collects samples of a payload: from its front, its middle and its end, or all of it.
fn sample(payload: &Payload<'_>, joined: &mut Vec<u8>) {
    joined.clear();
    let len_bytes = payload.len_bytes();
    if len_bytes <= SAMPLE_BYTES * SAMPLES {
        payload
            .chunks()
            .for_each(|chunk| joined.extend_from_slice(chunk));
        return;
    }
    for index in 0..SAMPLES {
        let start = (len_bytes - SAMPLE_BYTES) * index / (SAMPLES - 1);
        // Where an element begins, of whatever width a number has.
        let start = start - start % size_of::<u64>();
        copy_bytes(payload, start..start + SAMPLE_BYTES, joined);
    }
}

/// Appends bytes `range` of a payload.
pub(super) fn copy_bytes(payload: &Payload<'_>, range: Range<usize>, to: &mut Vec<u8>) {
    let mut chunk_start = 0;
    for chunk in payload.chunks() {
        let chunk_end = chunk_start + chunk.len();
        let start = range.start.clamp(chunk_start, chunk_end);
        let end = range.end.clamp(start, chunk_end);
        to.extend_from_slice(&chunk[start - chunk_start..end - chunk_start]);
        if range.end <= chunk_end {
            return;
        }
        chunk_start = chunk_end;
    }
}
