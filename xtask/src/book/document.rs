//! One document: where it links to, what can be linked to in it, and its snippets.
//!
//! Guarantees to read Markdown as mdBook does, by the same parser. Refuses to judge.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// A document of ours.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) text: String,
    pub(super) links: Vec<At>,
    pub(super) anchors: BTreeSet<String>,
    /// Blocks of code; what is said there is their language and what goes with it.
    pub(super) snippets: Vec<At>,
}

/// Something that a document says, and in which line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) line: usize,
    pub(super) said: String,
}

impl Document {
    pub(super) fn parse(text: String) -> Self {
        let mut found = Self::default();
        let mut heading: Option<String> = None;
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for (event, range) in Parser::new_ext(&text, Options::ENABLE_TABLES).into_offset_iter() {
            let at = |said: &str| At {
                line: text[..range.start].matches('\n').count() + 1,
                said: said.to_owned(),
            };
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    found.links.push(at(&dest_url));
                }
                Event::Start(Tag::CodeBlock(kind)) => found.snippets.push(at(match &kind {
                    CodeBlockKind::Fenced(language) => language,
                    CodeBlockKind::Indented => "",
                })),
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::Text(words) | Event::Code(words) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&words);
                    }
                }
                Event::End(TagEnd::Heading(_)) => {
                    let name = anchor(&heading.take().unwrap_or_default());
                    let time = times.entry(name.clone()).or_default();
                    found.anchors.insert(match *time {
                        0 => name,
                        again => format!("{name}-{again}"),
                    });
                    *time += 1;
                }
                _ => {}
            }
        }
        found.text = text;
        found
    }

    /// Those of its snippets that are Rust.
    pub(super) fn rust(&self) -> impl Iterator<Item = &At> {
        let is_rust = |at: &&At| at.said.split(',').next() == Some("rust");
        self.snippets.iter().filter(is_rust)
    }
}

/// What a heading is called in links.
fn anchor(heading: &str) -> String {
    let of = |c: char| match c {
        _ if c.is_whitespace() => Some('-'),
        '-' | '_' => Some(c),
        _ => c.is_alphanumeric().then_some(c),
    };
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter_map(of)
        .collect()
}

/// Where a link leads, seen from the root, and the anchor there. `None` if that is on the web.
///
/// # Errors
/// When it leads out of the checkout.
pub(super) fn resolve(from: &Path, link: &str) -> Result<Option<(PathBuf, String)>, &'static str> {
    if link.contains("://") || link.starts_with("mailto:") {
        return Ok(None);
    }
    let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
    if target.is_empty() {
        return Ok(Some((from.to_owned(), anchor.to_owned())));
    }
    let mut path = from.parent().map(Path::to_owned).unwrap_or_default();
    for part in Path::new(target).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir if path.pop() => {}
            _ => return Err("leads out of the checkout"),
        }
    }
    Ok(Some((path, anchor.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::{Document, resolve};
    use std::path::Path;

    fn said(of: &[super::At]) -> Vec<(usize, &str)> {
        of.iter().map(|at| (at.line, &*at.said)).collect()
    }

    #[test]
    fn links_are_found_where_they_are_links_and_nowhere_else() {
        let text = "# A\n[b](c.md#d) and `[no](e)`\n\n| [f](g) |\n|---|\n| ![h](i.svg) |\n\
                    ```rust\n[k](l)\n```\n";
        let document = Document::parse(text.to_owned());
        assert_eq!(
            said(&document.links),
            [(2, "c.md#d"), (4, "g"), (6, "i.svg")]
        );
        assert_eq!(said(&document.snippets), [(7, "rust")]);
    }

    #[test]
    fn headings_have_the_anchors_that_readers_see() {
        let text = "# What's `take` for?\n## A\n## A\n## Writing a backend\n";
        let anchors = Document::parse(text.to_owned()).anchors;
        let anchors: Vec<&str> = anchors.iter().map(|it| &**it).collect();
        assert_eq!(anchors, ["a", "a-1", "whats-take-for", "writing-a-backend"]);
    }

    #[test]
    fn links_are_resolved_from_where_they_are() {
        let from = Path::new("docs/a.md");
        let found = |link: &str| resolve(from, link).map(|it| it.map(|(path, _)| path));
        assert_eq!(found("../B.md#c"), Ok(Some("B.md".into())));
        assert_eq!(found("b/c.md"), Ok(Some("docs/b/c.md".into())));
        assert_eq!(found("#x"), Ok(Some(from.into())));
        assert_eq!(found("https://example.org/#x"), Ok(None));
        assert!(found("../../b").is_err() && found("/b").is_err());
    }
}
