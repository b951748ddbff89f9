//! What must be true of documents.
//!
//! Guarantees that each offence is named with its file and line. Refuses nothing for its style.

use super::SUMMARY;
use super::document::{Document, resolve};
use anyhow::Context;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Where the words are explained, a row each.
const GLOSSARY: &str = "docs/glossary.md";
/// The most words that a reader has to learn.
const WORDS_AT_MOST: usize = 30;
/// What has the snippets compiled and run, by including the documents.
const SNIPPETS: &str = "docs/snippets/src/lib.rs";
/// What may follow the language of a Rust snippet. All of these are compiled.
const COMPILED: [&str; 3] = ["no_run", "should_panic", "compile_fail"];

/// Everything that is wrong.
///
/// # Errors
/// When what the rules go by cannot be read.
pub(super) fn offences(
    root: &Path,
    documents: &BTreeMap<PathBuf, Document>,
) -> anyhow::Result<Vec<String>> {
    let snippets = fs::read_to_string(root.join(SNIPPETS)).with_context(|| SNIPPETS.to_owned())?;
    let chapters = chapters(documents);
    let mut found = Vec::new();
    for (path, document) in documents {
        let name = path.display();
        let offences = dead_links(root, documents, &chapters, path);
        found.extend(offences.map(|(line, offence)| format!("{name}:{line}: {offence}")));
        if path.starts_with("docs")
            && path != Path::new(SUMMARY)
            && !chapters.contains(path)
            && !is_report(path)
        {
            found.push(format!("{name}: is not in {SUMMARY}"));
        }
        if chapters.contains(path) {
            let offences = loose_snippets(path, document, &snippets).into_iter();
            found.extend(offences.map(|(line, offence)| format!("{name}:{line}: {offence}")));
        }
    }
    let glossary = documents.get(Path::new(GLOSSARY));
    let words = words(&glossary.context("there is no glossary")?.text);
    if words > WORDS_AT_MOST {
        found.push(format!(
            "{GLOSSARY}: {words} words, more than {WORDS_AT_MOST}"
        ));
    }
    Ok(found)
}

/// What the table of contents leads to.
pub(super) fn chapters(documents: &BTreeMap<PathBuf, Document>) -> BTreeSet<PathBuf> {
    let summary = documents.get(Path::new(SUMMARY));
    let links = summary.iter().flat_map(|summary| &summary.links);
    let targets = links.filter_map(|link| resolve(Path::new(SUMMARY), &link.said).ok()?);
    targets.map(|(path, _)| path).collect()
}

/// What a program wrote, and the next run of it writes again.
fn is_report(path: &Path) -> bool {
    path.starts_with("docs/report")
}

fn dead_links<'a>(
    root: &'a Path,
    documents: &'a BTreeMap<PathBuf, Document>,
    chapters: &'a BTreeSet<PathBuf>,
    from: &'a Path,
) -> impl Iterator<Item = (usize, String)> + 'a {
    documents[from].links.iter().filter_map(move |link| {
        let why = match resolve(from, &link.said) {
            Ok(None) => return None,
            Ok(Some((path, anchor))) => match documents.get(&path) {
                None if !root.join(&path).exists() => "which is not there",
                None if anchor.is_empty() => return None,
                Some(there) if anchor.is_empty() || there.anchors.contains(&anchor) => {
                    // It would lead nowhere in the book.
                    if chapters.contains(from) && !chapters.contains(&path) && !is_report(&path) {
                        "which is no chapter of the book"
                    } else {
                        return None;
                    }
                }
                _ => "which has no such heading",
            },
            Err(why) => why,
        };
        Some((link.line, format!("links to {}, {why}", link.said)))
    })
}

/// Snippets that nobody compiles.
fn loose_snippets(path: &Path, document: &Document, snippets: &str) -> Vec<(usize, String)> {
    let is_included = snippets.contains(&format!("\"../../../{}\"", path.display()));
    let mut found = Vec::new();
    for snippet in &document.snippets {
        if snippet.said.is_empty() {
            // To rustdoc it would be Rust.
            found.push((
                snippet.line,
                "a snippet does not name its language".to_owned(),
            ));
        }
    }
    for snippet in document.rust() {
        let mut rest = snippet.said.split(',').skip(1);
        if let Some(tag) = rest.find(|tag| !COMPILED.contains(tag)) {
            found.push((snippet.line, format!("a Rust snippet is marked {tag}")));
        }
        if !is_included {
            found.push((snippet.line, format!("{SNIPPETS} does not compile it")));
        }
    }
    found
}

/// Rows of the table of words, without its head.
fn words(glossary: &str) -> usize {
    let rows = glossary.lines().filter(|line| line.starts_with('|'));
    rows.count().saturating_sub(2)
}

#[cfg(test)]
mod tests {
    use super::{Document, SUMMARY, offences, words};
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::PathBuf;
    use std::process::Command;

    const GOOD: [(&str, &str); 4] = [
        (
            SUMMARY,
            "# A\n- [B](b.md)\n- [W](glossary.md)\n- [R](../README.md)\n",
        ),
        (
            "docs/b.md",
            "# B\n[a](glossary.md#words) [c](#b) [d](../x.txt) [e](../README.md)\n",
        ),
        (
            "docs/glossary.md",
            "# Words\n\n| word | meaning |\n|---|---|\n| a | b |\n",
        ),
        (
            "README.md",
            "# R\n[b](docs/b.md)\n\n```rust\nlet _ = 1;\n```\n",
        ),
    ];

    /// What is wrong with the good documents and these, which come in their place.
    fn wrong(others: &[(&str, &str)]) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("docs/snippets/src")).unwrap();
        let included = "#[doc = include_str!(\"../../../README.md\")]\n";
        fs::write(root.path().join(super::SNIPPETS), included).unwrap();
        fs::write(root.path().join("x.txt"), "x").unwrap();
        let mut documents = BTreeMap::new();
        for (path, text) in GOOD.iter().chain(others) {
            let document = Document::parse((*text).to_owned());
            documents.insert(PathBuf::from(path), document);
        }
        offences(root.path(), &documents).unwrap()
    }

    #[test]
    fn good_documents_pass() {
        assert_eq!(wrong(&[]), [] as [&str; 0]);
    }

    #[test]
    fn a_broken_link_is_found() {
        let found = wrong(&[("docs/b.md", "# B\n\n[a](gone.md)\n")]);
        assert_eq!(found, ["docs/b.md:3: links to gone.md, which is not there"]);
        assert_eq!(wrong(&[("RELEASING.md", "[a](docs/gone.md)\n")]).len(), 1);
        assert_eq!(wrong(&[("docs/b.md", "[a](../../secret)\n")]).len(), 1);
    }

    #[test]
    fn a_missing_anchor_is_found() {
        let found = wrong(&[("docs/b.md", "# B\n[a](glossary.md#letters) [b](#c)\n")]);
        assert_eq!(
            found,
            [
                "docs/b.md:2: links to glossary.md#letters, which has no such heading",
                "docs/b.md:2: links to #c, which has no such heading",
            ]
        );
    }

    #[test]
    fn a_link_that_leaves_the_book_for_another_document_is_found() {
        let others = [
            ("docs/b.md", "[a](../c/README.md)\n"),
            ("c/README.md", "# C\n"),
        ];
        let found = wrong(&others);
        assert_eq!(
            found,
            ["docs/b.md:1: links to ../c/README.md, which is no chapter of the book"]
        );
    }

    #[test]
    fn a_chapter_that_nobody_finds_is_found() {
        let found = wrong(&[("docs/lost.md", "# L\n")]);
        assert_eq!(found, ["docs/lost.md: is not in docs/SUMMARY.md"]);
    }

    #[test]
    fn a_snippet_that_nobody_compiles_is_found() {
        let in_b = |fence: &str| wrong(&[("docs/b.md", &format!("# B\n```{fence}\n1\n```\n"))]);
        assert_eq!(in_b("text"), [] as [&str; 0]);
        assert_eq!(
            in_b(""),
            ["docs/b.md:2: a snippet does not name its language"]
        );
        assert_eq!(
            in_b("rust"),
            ["docs/b.md:2: docs/snippets/src/lib.rs does not compile it"]
        );
        let ignored = wrong(&[("README.md", "# R\n```rust,ignore\n1\n```\n")]);
        assert_eq!(ignored, ["README.md:2: a Rust snippet is marked ignore"]);
    }

    #[test]
    fn a_snippet_that_does_not_compile_fails_its_test() {
        let directory = tempfile::tempdir().unwrap();
        let chapter = directory.path().join("chapter.md");
        for (snippet, compiles) in [("let _: u8 = 1;", true), ("let _: u8 = \"one\";", false)] {
            fs::write(&chapter, format!("# C\n\n```rust\n{snippet}\n```\n")).unwrap();
            let rustdoc = Command::new("rustdoc")
                .args(["--edition", "2024", "--test"])
                .arg(&chapter)
                .output();
            let status = rustdoc.unwrap().status;
            assert_eq!(status.success(), compiles, "{snippet}");
        }
    }

    #[test]
    fn a_thirty_first_word_is_found() {
        let glossary = |rows| format!("| w | m |\n|---|---|\n{}", "| a | b |\n".repeat(rows));
        assert_eq!(words(&glossary(7)), 7);
        assert_eq!(
            wrong(&[("docs/glossary.md", &format!("# Words\n{}", glossary(30)))]).len(),
            0
        );
        assert_eq!(
            wrong(&[("docs/glossary.md", &format!("# Words\n{}", glossary(31)))]).len(),
            1
        );
    }
}
