//! Runs the merge workload once and prints its figures.
//!
//! Ends with a failure when the output was to be verified and a word is wrong.

#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use bytesize::ByteSize;
use clap::builder::RangedU64ValueParser;
use clap::{Parser, ValueEnum};
use pager::{BackendChoice, BackendKind, Codec, Pager, Preset};
use pager_bench::buffer::Buffer;
use pager_bench::data::DataKind;
use pager_bench::direct::scratch_list;
use pager_bench::measure::Host;
use pager_bench::merge::{self, Config, Outcome};
use pager_bench::peer::PeerKind;
use pager_bench::report::{Report, Setting};
use pager_bench::store::Store;
use pager_bench::{CHUNK_BYTES, bytes_of_gib};
use pager_core::ChunkBuf;
use pager_tool::{ensure_disk, ensure_machine, ensure_memory, print, print_json, usable_bytes};

/// Builds two chains of 2 MiB chunks, pages them out, merges them.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Args {
    /// Where chunks go: swap, file, auto for whichever works here, none to keep them as
    /// they are, or a peer: tempfile, memmap2, lgalloc.
    #[arg(long, default_value = "swap")]
    backend: Backing,
    /// How: fast (the best there is) or seed (the published strategies).
    #[arg(long, default_value_t)]
    preset: Preset,
    /// GiB of each of the two chains, over all threads together.
    #[arg(long, default_value_t = 1.0)]
    chain_gib: f64,
    /// Threads, each with its share of both chains.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: u32,
    /// What the chunks contain: random or lineitem.
    #[arg(long, default_value_t = DataKind::Random)]
    data: DataKind,
    /// Pairs of chunks to prefetch ahead of the one being merged.
    #[arg(long, default_value_t = 0)]
    lookahead: usize,
    /// Do not say that outputs are wanted later than all inputs.
    #[arg(long)]
    no_hints: bool,
    /// Scratch directory, or a list of them, separated by colons [default: PAGER_SCRATCH,
    /// else /var/tmp].
    #[arg(long)]
    scratch: Option<PathBuf>,
    /// Memory that the workload holds its chunks in.
    #[arg(long, value_enum, default_value_t = ChunksArg::Vec)]
    chunks: ChunksArg,
    /// Memory that paged-out chunks may occupy, such as 64MiB; 0 stores each at
    /// once [default: the pager's own for the preset].
    #[arg(long)]
    budget: Option<ByteSize>,
    /// Background threads of the pager.
    #[arg(long, default_value_t = 2, value_parser = RangedU64ValueParser::<usize>::new().range(..=1024))]
    io_threads: usize,
    /// Keep no checksums of what the file backend stores: what they cost is the
    /// difference.
    #[arg(long)]
    no_checksums: bool,
    /// What is done with chunks on their way out: off, auto, or a scheme by name.
    #[arg(long, default_value_t)]
    codec: Codec,
    /// Encrypt what the file backend stores.
    #[arg(long)]
    encrypt: bool,
    /// Share of all chunks that are dropped as soon as they are paged out.
    #[arg(long, default_value_t = 0.0)]
    die_young: f64,
    /// Read the output back and compare every word.
    #[arg(long)]
    verify: bool,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
}

/// A backend by name or by what works here, a peer, or none at all.
#[derive(Debug, Clone, Copy)]
enum Backing {
    None,
    Pager(BackendChoice),
    Peer(PeerKind),
}

impl FromStr for Backing {
    type Err = <BackendChoice as FromStr>::Err;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match (name, name.parse()) {
            ("none", _) => Ok(Self::None),
            (_, Ok(peer)) => Ok(Self::Peer(peer)),
            (name, Err(_)) => name.parse().map(Self::Pager),
        }
    }
}

/// [`Backing`], with what works here found out.
#[derive(Debug, Clone, Copy)]
enum Place {
    None,
    Pager(BackendKind),
    Peer(PeerKind),
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pager(kind) => kind.name(),
            Self::Peer(kind) => kind.name(),
        }
    }

    /// Whether chunks go to files of the scratch directory.
    fn uses_files(self) -> bool {
        match self {
            Self::None => false,
            Self::Pager(kind) => kind == BackendKind::File,
            Self::Peer(kind) => kind.uses_files(),
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ChunksArg {
    /// Plain memory of the general allocator.
    Vec,
    /// Huge-page-aligned memory of pager's arena, filled in place.
    Buf,
}

fn main() -> ExitCode {
    pager_tool::run(|args: Args| merge(&args))
}

fn merge(args: &Args) -> Result<ExitCode> {
    let config = config(args)?;
    // Before there is any thread: those that begin later are counted.
    let _ = pager_bench::measure::tlb::load_misses();
    #[cfg(feature = "observed")]
    watch()?;
    // Asked once: a choice that is made twice may differ.
    let resolve = |choice: BackendChoice| match (choice, args.encrypt) {
        // What the pager takes, too.
        (BackendChoice::Auto, true) => BackendKind::File,
        (choice, _) => choice.resolve(Some(&scratch(args))),
    };
    let place = match args.backend {
        Backing::None => Place::None,
        Backing::Pager(choice) => Place::Pager(resolve(choice)),
        Backing::Peer(kind) => Place::Peer(kind),
    };
    ensure!(
        !args.encrypt || matches!(place, Place::Pager(BackendKind::File)),
        "--encrypt is for --backend file: nothing else is encrypted"
    );
    ensure_room(args, place, &config)?;
    let store = store(args, place)?;
    let (outcome, chunks) = match args.chunks {
        ChunksArg::Vec => run::<Vec<u64>>(&config, &store)?,
        ChunksArg::Buf => run::<ChunkBuf>(&config, &store)?,
    };
    let scratch = scratch(args);
    let setting = Setting {
        backend: place.name().to_owned(),
        preset: args.preset.to_string(),
        chunks: chunks.to_owned(),
        io_threads: args.io_threads,
        checksums: !args.no_checksums,
        codec: args.codec.to_string(),
        encryption: store.encryption(),
        scratch: scratch.display().to_string(),
    };
    let report = Report::new(setting, &config, Host::describe(&scratch), &outcome);
    if args.json {
        print_json(&report)?;
    } else {
        print(&report)?;
    }
    Ok(match report.mismatch {
        Some(_) => ExitCode::FAILURE,
        None => ExitCode::SUCCESS,
    })
}

/// Has everything that is told written to a file that keeps nothing, and everything that is
/// counted counted, as a program in production has.
#[cfg(feature = "observed")]
fn watch() -> Result<()> {
    use metrics_exporter_prometheus::PrometheusBuilder;

    let nowhere = std::fs::File::options().write(true).open("/dev/null")?;
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_writer(nowhere)
        .init();
    let buckets = PrometheusBuilder::new().set_buckets(&[0.001, 0.01, 0.1, 1.0])?;
    metrics::set_global_recorder(buckets.build_recorder())?;
    Ok(())
}

fn run<C: Buffer>(config: &Config, store: &Store) -> Result<(Outcome, &'static str)> {
    let outcome = merge::run::<C>(config, store).context("the merge could not be finished")?;
    Ok((outcome, C::NAME))
}

fn config(args: &Args) -> Result<Config> {
    ensure!(
        (0.0..=1.0).contains(&args.die_young),
        "--die-young is a share: 0 to 1"
    );
    ensure!(
        args.chain_gib.is_finite() && args.chain_gib > 0.0,
        "--chain-gib must be positive"
    );
    let chunks = bytes_of_gib(args.chain_gib).div_ceil(CHUNK_BYTES as u64);
    Ok(Config {
        chain_chunks: u32::try_from(chunks).context("--chain-gib is too large")?,
        threads: args.threads,
        data: args.data,
        lookahead: args.lookahead,
        hints: !args.no_hints,
        die_young: args.die_young,
        verify: args.verify,
    })
}

/// Refuses what can only end in an allocation that fails, a full disk, or the
/// kernel's killer. What a memory cgroup makes of the rest is what is measured.
fn ensure_room(args: &Args, place: Place, config: &Config) -> Result<()> {
    if let Some(budget) = args.budget {
        ensure_memory("--budget", budget.as_u64())?;
    }
    // Chunks that die young are gone before the next one is built.
    let kept =
        u64::from(config.chain_chunks - merge::doomed_below(config.chain_chunks, config.die_young));
    let bytes = kept.saturating_mul(2 * CHUNK_BYTES as u64);
    if place.uses_files() {
        let directories = scratch_list(args.scratch.as_deref().map(Path::as_os_str));
        // As much goes to each, as far as they are alike.
        let share_bytes = bytes / directories.len() as u64;
        for directory in &directories {
            ensure_disk("--chain-gib", share_bytes, usable_bytes(), directory)?;
        }
    } else {
        ensure_machine("--chain-gib", bytes)?;
    }
    Ok(())
}

fn store(args: &Args, place: Place) -> Result<Store> {
    let kind = match place {
        Place::None => return Ok(Store::None),
        Place::Pager(kind) => kind,
        Place::Peer(kind) => {
            let opened = kind.open(&scratch(args));
            let peer = opened.with_context(|| format!("{} could not be set up", kind.name()))?;
            return Ok(Store::Peer(kind, peer));
        }
    };
    let mut builder = Pager::builder()
        .backend(kind)
        .preset(args.preset)
        .io_threads(args.io_threads)
        .codec(args.codec)
        .encryption(args.encrypt)
        .checksums(!args.no_checksums);
    if let Some(budget) = args.budget {
        builder = builder.budget_bytes(usize::try_from(budget.as_u64())?);
    }
    if let Some(scratch) = &args.scratch {
        builder = builder.scratch_dirs(scratch_list(Some(scratch.as_os_str())));
    }
    let pager = builder.build().context("the pager could not be set up")?;
    Ok(Store::Pager(Box::new(pager)))
}

/// The scratch directory that the pager uses, the first of several, by the same rule.
fn scratch(args: &Args) -> PathBuf {
    let given = args.scratch.as_deref();
    scratch_list(given.map(Path::as_os_str)).swap_remove(0)
}
