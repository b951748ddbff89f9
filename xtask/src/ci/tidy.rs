//! House rules that no compiler checks.
//!
//! Guarantees that each Rust file opens with `//!`, that none is over 400 lines (tests aside),
//! that the front of a product crate is thirty lines at most, that no text holds characters that look like something else, and that none names a path of the
//! machine it was written on. Refuses nothing else: taste is for reviews, links are the book's.

use crate::{cargo, files};
use anyhow::{Context, ensure};
use pager_tool::{print, warn};
use std::fs;
use std::path::Path;

/// The longest a file may be, without its tests.
const LINES_AT_MOST: usize = 400;
/// What the front of a product crate may have before its first heading, or the map of its files.
const FRONT_LINES_AT_MOST: usize = 30;
/// Product crates: what a user meets first is their front.
const PRODUCTS: [&str; 4] = ["pager", "pager-core", "pager-file", "pager-swap"];
/// Kinds of files that are text of ours.
const TEXT: [&str; 5] = ["rs", "md", "toml", "sh", "yml"];
/// Where people's checkouts and homes are; in two parts, so that this file passes.
const MACHINE_PATHS: [&str; 4] = [
    concat!("/", "work/"),
    concat!("/", "root/"),
    concat!("/", "home/"),
    concat!("/", "Users/"),
];

/// Checks every file of the checkout and names each offence.
///
/// # Errors
/// When a rule is broken, or the files cannot be listed or read.
pub(crate) fn check() -> anyhow::Result<()> {
    let root = cargo::root();
    let (mut offences, mut count) = (0, 0);
    for path in files::ours()? {
        let kind = path.extension().unwrap_or_default().to_string_lossy();
        if !TEXT.contains(&&*kind) {
            continue;
        }
        count += 1;
        let name = path.display();
        let text = fs::read_to_string(root.join(&path)).with_context(|| name.to_string())?;
        for offence in offences_of(&path, &text) {
            warn(format_args!("{name}: {offence}"));
            offences += 1;
        }
    }
    ensure!(offences == 0, "{offences} offences");
    Ok(print(format_args!("{count} files are tidy"))?)
}

fn offences_of(path: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if path.extension().is_some_and(|kind| kind == "rs") {
        if !text.starts_with("//!") {
            found.push("does not open with //!".to_owned());
        }
        let lines = lines_without_tests(text);
        if lines > LINES_AT_MOST && !is_test(path) {
            found.push(format!("has {lines} lines, more than {LINES_AT_MOST}"));
        }
        let lines = front_lines(text);
        if lines > FRONT_LINES_AT_MOST && is_front(path) {
            found.push(format!(
                "has a front of {lines} lines, more than {FRONT_LINES_AT_MOST}"
            ));
        }
    }
    for (number, line) in text.lines().enumerate() {
        if let Some(bad) = line.chars().find(|&c| is_surprise(c)) {
            found.push(format!(
                "line {}: holds {}",
                number + 1,
                bad.escape_unicode()
            ));
        }
        if let Some(bad) = MACHINE_PATHS.iter().find(|path| line.contains(**path)) {
            found.push(format!("line {}: names a path below {bad}", number + 1));
        }
    }
    found
}

/// Lines before the unit tests, which end a file. Tests in a file of their own shorten nothing.
fn lines_without_tests(text: &str) -> usize {
    let mut lines = text.lines().peekable();
    let mut count = 0;
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" && lines.peek().is_none_or(|next| !next.ends_with(';')) {
            break;
        }
        count += 1;
    }
    count
}

/// Lines of what a crate says first, up to a heading or a map. A line of an example that readers
/// are not shown begins with `# ` too, and is one of a program.
fn front_lines(text: &str) -> usize {
    let mut in_example = false;
    let front = text.lines().take_while(|line| {
        let is_end = *line == "//! ```text" || (!in_example && line.starts_with("//! # "));
        in_example ^= line.starts_with("//! ```");
        line.starts_with("//!") && !is_end
    });
    front
        .collect::<Vec<_>>()
        .join("\n")
        .trim_end_matches("\n//!")
        .lines()
        .count()
}

fn is_front(path: &Path) -> bool {
    PRODUCTS
        .iter()
        .any(|product| path == Path::new(product).join("src/lib.rs"))
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests")
        || path.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            name.ends_with("tests.rs") || name.ends_with("interleavings.rs")
        })
}

/// Characters that cannot be seen, or that reorder what is seen.
fn is_surprise(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::{MACHINE_PATHS, offences_of};
    use std::path::Path;

    fn count(path: &str, text: &str) -> usize {
        offences_of(Path::new(path), text).len()
    }

    #[test]
    fn a_rust_file_opens_with_its_doc_and_others_need_none() {
        assert_eq!(count("a.rs", "//! A.\n"), 0);
        assert_eq!(count("a.rs", "use b;\n"), 1);
        assert_eq!(count("a.md", "# A\n"), 0);
    }

    #[test]
    fn a_long_file_is_an_offence_unless_the_length_is_tests() {
        let long = format!("//! A.\n{}", "\n".repeat(400));
        assert_eq!(count("src/a.rs", &long), 1);
        assert_eq!(count("tests/a.rs", &long), 0);
        assert_eq!(count("src/a_tests.rs", &long), 0);
        assert_eq!(count("src/interleavings.rs", &long), 0);
        let tests = format!("//! A.\n#[cfg(test)]\n{}", "\n".repeat(400));
        assert_eq!(count("src/a.rs", &tests), 0);
        let elsewhere = format!("//! A.\n#[cfg(test)]\nmod tests;\n{}", "\n".repeat(400));
        assert_eq!(count("src/a.rs", &elsewhere), 1);
    }

    #[test]
    fn the_front_of_a_product_is_short_and_what_follows_it_may_be_long() {
        let front = |lines: usize| {
            let text = "//! a\n".repeat(lines - 3);
            format!("{text}//! ```\n//! # x\n//! ```\n")
        };
        assert_eq!(count("pager/src/lib.rs", &front(30)), 0);
        assert_eq!(count("pager/src/lib.rs", &front(31)), 1);
        assert_eq!(count("pager-bench/src/lib.rs", &front(31)), 0);
        for end in ["//!\n//! # More\n", "//!\n//! ```text\n"] {
            let long = format!("{}{end}{}", front(30), "//! b\n".repeat(50));
            assert_eq!(count("pager/src/lib.rs", &long), 0, "{end}");
        }
    }

    #[test]
    fn invisible_characters_and_machine_paths_are_offences_and_words_are_not() {
        assert_eq!(count("a.md", "a\u{a0}b\n"), 1);
        assert_eq!(count("a.md", "a\u{202e}b\n"), 1);
        assert_eq!(count("a.md", "a\tb\n"), 1);
        assert_eq!(count("a.md", "1 \u{d7} 2, na\u{ef}ve\n"), 0);
        for path in MACHINE_PATHS {
            assert_eq!(count("a.md", &format!("see {path}x\n")), 1);
        }
    }
}
