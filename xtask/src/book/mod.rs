//! `cargo xtask book`: the book of `docs/`, checked and built.
//!
//! Guarantees that every link and anchor in every document of ours leads somewhere, that every
//! chapter is in the table of contents and that each of its Rust snippets is compiled, and that
//! the book is built without a warning. Refuses to install mdBook, which builds it, and to write
//! into a directory that holds something else.
//!
//! ```text
//! document  one document: its links, headings and snippets
//! check     what must be true of all of them
//! build     the pages, by mdBook
//! ```

mod build;
mod check;
mod document;

use crate::cargo::target_directory;
use crate::files;
use anyhow::{Context, ensure};
use pager_tool::{print, warn};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use document::Document;

/// Where the table of contents is.
const SUMMARY: &str = "docs/SUMMARY.md";

/// Check the documents and build the book of docs/.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the pages go: a directory that is empty or not there [default: book in the target
    /// directory, which is emptied].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Only check, which needs no mdBook.
    #[arg(long, conflicts_with = "out")]
    check: bool,
}

/// What came of a book.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Built {
    /// Its first page.
    Page(PathBuf),
    /// All is right, and there is no mdBook to build it.
    NoTool,
}

/// Checks, builds, and returns the exit code.
///
/// # Errors
/// When a document breaks a rule, or the book cannot be built.
pub(crate) fn run(args: &Args) -> anyhow::Result<u8> {
    let documents = documents()?;
    check(&documents)?;
    if args.check {
        return Ok(0);
    }
    match build_to(&documents, args.out.as_deref())? {
        Built::Page(page) => print(page.display())?,
        Built::NoTool => anyhow::bail!("no mdBook: {}", build::INSTALL),
    }
    Ok(0)
}

/// As [`run`], for CI: into the target directory.
///
/// # Errors
/// As there, but for a machine without mdBook.
pub(crate) fn checked_and_built() -> anyhow::Result<Built> {
    let documents = documents()?;
    check(&documents)?;
    build_to(&documents, None)
}

fn build_to(documents: &BTreeMap<PathBuf, Document>, out: Option<&Path>) -> anyhow::Result<Built> {
    if !build::is_possible() {
        return Ok(Built::NoTool);
    }
    let out = match out {
        Some(out) => {
            // mdBook removes whatever is in it.
            let is_empty = fs::read_dir(out).map_or(true, |mut entries| entries.next().is_none());
            ensure!(is_empty, "{} is not empty", out.display());
            out.to_owned()
        }
        None => target_directory()?.join("book"),
    };
    build::build(documents, &out).map(Built::Page)
}

/// Every document of ours, by its path from the root.
fn documents() -> anyhow::Result<BTreeMap<PathBuf, Document>> {
    let root = crate::cargo::root();
    let ours = files::ours()?.into_iter();
    ours.filter(|path| path.extension().is_some_and(|kind| kind == "md"))
        .map(|path| {
            let text = fs::read_to_string(root.join(&path))
                .with_context(|| format!("cannot read {}", path.display()))?;
            let document = Document::parse(text);
            Ok((path, document))
        })
        .collect()
}

fn check(documents: &BTreeMap<PathBuf, Document>) -> anyhow::Result<()> {
    let offences = check::offences(&crate::cargo::root(), documents)?;
    for offence in &offences {
        warn(offence);
    }
    ensure!(offences.is_empty(), "{} offences", offences.len());
    Ok(print(format_args!(
        "{} documents are right",
        documents.len()
    ))?)
}
