//! The pages of the book, by mdBook.
//!
//! The chapters lie in `docs/` and beside it, and link to each other and to sources as anybody
//! does who reads them in the checkout. So that the same links work in the book, it is built from
//! a copy of the chapters, and of what they link to, in the places where they are.
//!
//! Guarantees that a warning of mdBook is an error, and that every link between two pages, or from
//! a page to a file, finds it in what was built. Refuses to change the checkout.

use super::SUMMARY;
use super::check::chapters;
use super::document::{Document, resolve};
use crate::cargo::root;
use anyhow::{Context, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How to get it.
pub(super) const INSTALL: &str =
    "cargo install --locked mdbook@0.5.4 --no-default-features --features search";

/// Whether there is an mdBook.
pub(super) fn is_possible() -> bool {
    let mut version = Command::new("mdbook");
    version.arg("--version").stdin(Stdio::null());
    let output = version.output();
    output.is_ok_and(|output| output.status.success())
}

/// Builds into `out`, which is emptied, and says where the first page is.
///
/// # Errors
/// When mdBook fails or warns, or a page links to nothing.
pub(super) fn build(
    documents: &BTreeMap<PathBuf, Document>,
    out: &Path,
) -> anyhow::Result<PathBuf> {
    let copy = tempfile::tempdir()?;
    lay_out(documents, copy.path())?;
    let out = std::path::absolute(out)?;
    let output = Command::new("mdbook")
        .args(["build", "--dest-dir"])
        .arg(&out)
        .arg(copy.path())
        // So that all it says is wrong; the one variable or the other, by version.
        .envs([("RUST_LOG", "warn"), ("MDBOOK_LOG", "warn")])
        .stdin(Stdio::null())
        .output()
        .context("cannot run mdbook")?;
    let said = [&*output.stdout, &*output.stderr].map(String::from_utf8_lossy);
    if !output.status.success() || said.iter().any(|said| !said.trim().is_empty()) {
        bail!("mdbook says: {}", said.concat().trim());
    }
    let dead = dead_links(&out)?;
    ensure!(
        dead.is_empty(),
        "dead links in the book: {}",
        dead.join(", ")
    );
    Ok(out.join("index.html"))
}

/// Copies the chapters and what they link to, so that mdBook finds the former.
fn lay_out(documents: &BTreeMap<PathBuf, Document>, copy: &Path) -> anyhow::Result<()> {
    let chapters = chapters(documents);
    let mut files: BTreeSet<PathBuf> = chapters.clone();
    for path in &chapters {
        let links = documents.get(path).into_iter().flat_map(|it| &it.links);
        let targets = links.filter_map(|link| resolve(path, &link.said).ok()?);
        files.extend(targets.map(|(target, _)| target));
    }
    let (from, to) = (root(), copy.join("src"));
    for file in files {
        if from.join(&file).is_dir() {
            fs::create_dir_all(to.join(&file))?;
            continue;
        }
        let target = to.join(&file);
        fs::create_dir_all(target.parent().unwrap_or(&to))?;
        fs::copy(from.join(&file), &target).with_context(|| file.display().to_string())?;
    }
    let summary = documents.get(Path::new(SUMMARY));
    let summary = summary.with_context(|| format!("there is no {SUMMARY}"))?;
    fs::write(to.join("SUMMARY.md"), seen_from_the_root(&summary.text))?;
    fs::copy(from.join("docs/book.toml"), copy.join("book.toml"))?;
    Ok(())
}

/// The table of contents with its links as they are from the root.
fn seen_from_the_root(summary: &str) -> String {
    let from_docs = summary.replace("](", "](docs/");
    from_docs.replace("](docs/../", "](")
}

/// Links of the pages that find nothing, as `page -> link`.
fn dead_links(out: &Path) -> anyhow::Result<Vec<String>> {
    let mut dead = Vec::new();
    let mut folders = vec![out.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "html") {
                let page = fs::read_to_string(&path)?;
                let is_dead = |link: &&str| !folder.join(link).exists();
                let links = links_of_page(&page).filter(is_dead);
                let page = path.strip_prefix(out).unwrap_or(&path);
                dead.extend(links.map(|link| format!("{} -> {link}", page.display())));
            }
        }
    }
    Ok(dead)
}

/// Where the links of a page lead, if that is no other site: relative to the page, without
/// anchors.
fn links_of_page(page: &str) -> impl Iterator<Item = &str> {
    let links = page.split("href=\"").skip(1);
    let links = links.filter_map(|rest| rest.split(['"', '#', '?']).next());
    links.filter(|link| !link.is_empty() && !link.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::{dead_links, seen_from_the_root};
    use std::fs;

    #[test]
    fn the_table_of_contents_is_seen_from_the_root() {
        let summary = "- [A](a.md)\n- [B](b/c.md)\n- [D](../D.md)\n";
        let seen = "- [A](docs/a.md)\n- [B](docs/b/c.md)\n- [D](D.md)\n";
        assert_eq!(seen_from_the_root(summary), seen);
    }

    #[test]
    fn a_page_that_links_to_nothing_is_found() {
        let out = tempfile::tempdir().unwrap();
        fs::create_dir(out.path().join("docs")).unwrap();
        let page = "<a href=\"https://example.org\"><a href=\"#here\"><a href=\"../index.html#x\">";
        fs::write(out.path().join("index.html"), "").unwrap();
        fs::write(out.path().join("docs/a.html"), page).unwrap();
        assert_eq!(dead_links(out.path()).unwrap(), [] as [&str; 0]);
        fs::write(out.path().join("docs/b.html"), "<a href=\"gone.html\">").unwrap();
        assert_eq!(
            dead_links(out.path()).unwrap(),
            ["docs/b.html -> gone.html"]
        );
    }
}
