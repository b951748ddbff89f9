//! [`Report`]: one run of the merge, as a line of JSON or a few for people.

use std::collections::BTreeMap;
use std::fmt;

use pager::{CodecStats, ResidencyStats, Scheme};
use serde::{Deserialize, Serialize};

use crate::GIB;
use crate::measure::latency::Summary;
use crate::measure::{Cost, Host, Latencies, Operation, Sample};
use crate::merge::{Config, Outcome};

/// How chunks were held and where they went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// `swap`, `file`, the name of a peer, or `none`.
    pub backend: String,
    /// `fast` or `seed`; says nothing without a pager.
    pub preset: String,
    /// `vec` or `buf`: the memory in which the workload holds its chunks.
    pub chunks: String,
    /// Background threads of the pager.
    pub io_threads: usize,
    /// Whether the file backend may keep checksums; seed never does.
    pub checksums: bool,
    /// What was done with chunks on their way out: `off`, `auto`, or a scheme.
    pub codec: String,
    /// How what was stored was encrypted, and how the key was guarded; `None` if it was
    /// not.
    #[serde(default)]
    pub encryption: Option<String>,
    /// The scratch directory, whether or not the backend uses it.
    pub scratch: String,
}

/// All there is to say about one run. Faults, CPU time, swap traffic and I/O are
/// those of the merge; those of the build are in [`build`](Self::build).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Where chunks went.
    #[serde(flatten)]
    pub setting: Setting,
    /// GiB of each of the two chains, as run: whole chunks.
    pub chain_gib: f64,
    /// Threads, each with its share of both chains.
    pub threads: u32,
    /// `random` or `lineitem`.
    pub data: String,
    /// Pairs prefetched ahead.
    pub lookahead: usize,
    /// Whether outputs were said to be wanted later than all inputs.
    pub hints: bool,
    /// Share of chunks dropped as soon as they were paged out.
    pub die_young: f64,
    /// Whether the output was to be read back and compared.
    pub verify: bool,
    /// The machine and the program.
    #[serde(flatten)]
    pub host: Host,
    /// Wall time of building the chains.
    pub build_s: f64,
    /// The same until the pager had stored everything.
    pub build_stored_s: f64,
    /// Wall time of merging them.
    pub merge_s: f64,
    /// The same until the pager had stored everything.
    pub merge_stored_s: f64,
    /// GiB of input merged per second.
    pub through_gib_s: f64,
    /// GiB of input merged, and the output stored, per second.
    pub stored_through_gib_s: f64,
    /// What the merge cost.
    #[serde(flatten)]
    pub merge: Cost,
    /// What the build cost.
    pub build: Cost,
    /// Bytes paged out in build and merge.
    pub paged_out_bytes: u64,
    /// The most memory of the process, up to the end of the merge.
    pub peak_rss_bytes: u64,
    /// The most anonymous memory seen during build and merge.
    pub peak_anon_rss_bytes: u64,
    /// All memory of the process over time, from the beginning of the build.
    #[serde(default)]
    pub memory: Vec<Sample>,
    /// Whether the output was read back and every word was right.
    pub verified: bool,
    /// What was wrong with it, if anything was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mismatch: Option<String>,
    /// How long each operation took.
    pub latency_us: Percentiles,
    /// What the residency layer did.
    pub residency: Resident,
    /// What the codec did, in build and merge.
    pub encoded: Encoded,
}

/// What the codec did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Encoded {
    /// Bytes of all chunks that were stored, before.
    pub plain_bytes: u64,
    /// The same, after.
    pub stored_bytes: u64,
    /// Bytes among them that were stored as they are.
    pub passed_bytes: u64,
    /// Bytes after that stayed in memory at first.
    #[serde(default)]
    pub kept_bytes: u64,
    /// Of those, bytes that were stored later.
    #[serde(default)]
    pub moved_bytes: u64,
    /// Times that all schemes were tried on a sample.
    pub trials: u64,
    /// Time that choosing took, trials included.
    pub choosing_s: f64,
    /// What was encoded, by scheme.
    pub schemes: BTreeMap<String, EncodedBy>,
}

/// What was encoded by one scheme.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncodedBy {
    /// Chunks.
    pub payloads: u64,
    /// Their bytes before.
    pub plain_bytes: u64,
    /// Their bytes after.
    pub stored_bytes: u64,
    /// Time to encode them, on all threads.
    pub encode_s: f64,
    /// Bytes that were decoded.
    pub decoded_bytes: u64,
    /// Time to decode them, on all threads.
    pub decode_s: f64,
}

impl From<&CodecStats> for Encoded {
    fn from(stats: &CodecStats) -> Self {
        let used = Scheme::ALL.map(|scheme| (scheme, stats.of(scheme)));
        Self {
            plain_bytes: stats.plain_bytes(),
            stored_bytes: stats.stored_bytes(),
            passed_bytes: stats.passed_bytes,
            kept_bytes: stats.came_bytes,
            moved_bytes: stats.moved_bytes,
            trials: stats.trials,
            choosing_s: stats.choosing_time.as_secs_f64(),
            schemes: used
                .into_iter()
                .filter(|(_, of)| of.payloads > 0)
                .map(|(scheme, of)| {
                    let by = EncodedBy {
                        payloads: of.payloads,
                        plain_bytes: of.plain_bytes,
                        stored_bytes: of.stored_bytes,
                        encode_s: of.encode_time.as_secs_f64(),
                        decoded_bytes: of.decoded_bytes,
                        decode_s: of.decode_time.as_secs_f64(),
                    };
                    (scheme.to_string(), by)
                })
                .collect(),
        }
    }
}

/// What the residency layer did, in build and merge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resident {
    /// Bytes that paged-out chunks may occupy.
    pub budget_bytes: u64,
    /// The most that they occupied.
    pub peak_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Chunks that were taken or dropped before they were written.
    pub elided_writes: u64,
    /// Takes that found their chunk in memory though it was stored.
    pub cache_hits: u64,
    /// Those among them for which it had been fetched.
    pub prefetch_hits: u64,
    /// Page-outs that had to help or wait.
    pub stalls: u64,
    /// The longest of them, in microseconds.
    pub stall_longest_us: u64,
}

impl From<&ResidencyStats> for Resident {
    fn from(stats: &ResidencyStats) -> Self {
        Self {
            budget_bytes: stats.budget_bytes,
            peak_bytes: stats.peak_resident_bytes,
            written_bytes: stats.written_bytes,
            elided_writes: stats.elided_writes,
            cache_hits: stats.cache_hits,
            prefetch_hits: stats.prefetch_hits,
            stalls: stats.stalls,
            stall_longest_us: u64::try_from(stats.stall_longest.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

/// Percentiles of every operation, in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// `pageout` while building.
    pub build_pageout: Summary,
    /// `pageout` while merging.
    pub pageout: Summary,
    /// `take` while merging.
    pub take: Summary,
    /// `prefetch` while merging.
    pub prefetch: Summary,
    /// Dropping handles, in build and merge.
    pub drop: Summary,
}

impl From<&Latencies> for Percentiles {
    fn from(latencies: &Latencies) -> Self {
        Self {
            build_pageout: latencies.summary(Operation::BuildPageout),
            pageout: latencies.summary(Operation::Pageout),
            take: latencies.summary(Operation::Take),
            prefetch: latencies.summary(Operation::Prefetch),
            drop: latencies.summary(Operation::Drop),
        }
    }
}

impl Report {
    /// The report on `outcome`.
    #[must_use]
    pub fn new(setting: Setting, config: &Config, host: Host, outcome: &Outcome) -> Self {
        let chain_bytes = f64::from(config.chain_chunks) * crate::CHUNK_BYTES as f64;
        let merged_gib = outcome.merged_bytes as f64 / GIB;
        Self {
            setting,
            chain_gib: chain_bytes / GIB,
            threads: config.threads,
            data: config.data.to_string(),
            lookahead: config.lookahead,
            hints: config.hints,
            die_young: config.die_young,
            verify: config.verify,
            host,
            build_s: outcome.build.wall_s,
            build_stored_s: outcome.build_stored_s,
            merge_s: outcome.merge.wall_s,
            merge_stored_s: outcome.merge_stored_s,
            through_gib_s: merged_gib / outcome.merge.wall_s,
            stored_through_gib_s: merged_gib / outcome.merge_stored_s,
            merge: outcome.merge,
            build: outcome.build,
            paged_out_bytes: outcome.paged_out_bytes,
            peak_rss_bytes: outcome.peak_rss_bytes,
            peak_anon_rss_bytes: outcome.memory.peak_anon_bytes,
            memory: outcome.memory.samples.clone(),
            verified: outcome.verdict == Some(Ok(())),
            mismatch: match &outcome.verdict {
                Some(Err(wrong)) => Some(wrong.to_string()),
                _ => None,
            },
            latency_us: Percentiles::from(&outcome.latencies),
            residency: Resident::from(&outcome.residency),
            encoded: Encoded::from(&outcome.codec),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes >> 20;
        let Setting {
            backend,
            preset,
            chunks,
            scratch,
            ..
        } = &self.setting;
        writeln!(
            f,
            "{backend}/{preset} ({chunks} chunks, scratch {scratch} on {}), 2 x {} GiB of {} on {} thread(s), lookahead {}",
            self.host.fs, self.chain_gib, self.data, self.threads, self.lookahead
        )?;
        writeln!(
            f,
            "build {:.3} s, merge {:.3} s: {:.3} GiB/s through; until all is stored {:.3} s and {:.3} s: {:.3} GiB/s",
            self.build_s,
            self.merge_s,
            self.through_gib_s,
            self.build_stored_s,
            self.merge_stored_s,
            self.stored_through_gib_s
        )?;
        let merge = &self.merge;
        writeln!(
            f,
            "merge: user {:.2} s, sys {:.2} s, faults {} minor {} major, swapped {} pages in {} out ({} huge pages whole, {} split), device {} MiB read {} MiB written",
            merge.user_s,
            merge.sys_s,
            merge.minor_faults,
            merge.major_faults,
            merge.pswpin,
            merge.pswpout,
            merge.thp_swpout,
            merge.thp_swpout_fallback,
            mib(merge.io_read_bytes),
            mib(merge.io_written_bytes)
        )?;
        writeln!(
            f,
            "memory: peak {} MiB, anonymous {} MiB; paged out {} MiB",
            mib(self.peak_rss_bytes),
            mib(self.peak_anon_rss_bytes),
            mib(self.paged_out_bytes)
        )?;
        for (name, operation) in self.latency_us.named() {
            if operation.count > 0 {
                writeln!(
                    f,
                    "{name:>13}: {} calls, mean {:.1} us, p50 {:.1} us, p99 {:.1} us, p99.9 {:.1} us, max {:.1} us",
                    operation.count,
                    operation.mean,
                    operation.p50,
                    operation.p99,
                    operation.p999,
                    operation.max
                )?;
            }
        }
        let resident = &self.residency;
        writeln!(
            f,
            "budget: {} MiB, at most {} MiB used; {} MiB written, {} writes elided, {} cache hits ({} prefetched), {} stalls of at most {} us",
            mib(resident.budget_bytes),
            mib(resident.peak_bytes),
            mib(resident.written_bytes),
            resident.elided_writes,
            resident.cache_hits,
            resident.prefetch_hits,
            resident.stalls,
            resident.stall_longest_us
        )?;
        if self.setting.codec != "off" {
            writeln!(f, "codec {}: {}", self.setting.codec, self.encoded)?;
        }
        if let Some(encryption) = &self.setting.encryption {
            writeln!(f, "encrypted: {encryption}")?;
        }
        match (&self.mismatch, self.verified) {
            (Some(mismatch), _) => write!(f, "WRONG: {mismatch}"),
            (None, true) => write!(f, "verified: every word of the output is right"),
            (None, false) => write!(f, "not verified"),
        }
    }
}

impl fmt::Display for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes >> 20;
        let (plain, stored) = (mib(self.plain_bytes), mib(self.stored_bytes));
        write!(f, "{plain} MiB became {stored}")?;
        for (scheme, by) in &self.schemes {
            let (plain, stored) = (mib(by.plain_bytes), mib(by.stored_bytes));
            write!(
                f,
                "; {scheme} {plain} became {stored} in {:.2} s, and {} in {:.2} s back",
                by.encode_s,
                mib(by.decoded_bytes),
                by.decode_s
            )?;
        }
        write!(
            f,
            "; {} kept in memory at first, {} of that stored later; {} stored as they are; {} trials, and {:.3} s to choose",
            mib(self.kept_bytes),
            mib(self.moved_bytes),
            mib(self.passed_bytes),
            self.trials,
            self.choosing_s
        )
    }
}

impl Percentiles {
    /// Every operation with its name.
    #[must_use]
    pub fn named(&self) -> [(&'static str, &Summary); 5] {
        [
            ("build pageout", &self.build_pageout),
            ("pageout", &self.pageout),
            ("take", &self.take),
            ("prefetch", &self.prefetch),
            ("drop", &self.drop),
        ]
    }
}
