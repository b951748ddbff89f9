//! `cargo xtask diagnose`: what about this machine and process matters to paging, and what to do.
//!
//! Guarantees to print what the library itself finds and would choose. Refuses to change anything.

use pager::BackendChoice;
use pager::diagnose::{Finding, Severity};
use pager_tool::{print, print_json};
use serde_json::json;
use std::fmt;
use std::path::PathBuf;

/// Say whether both backends can do their work here, which is recommended, and what to do.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// End with code 1 when a finding is more than a note, for use in scripts.
    #[arg(long)]
    strict: bool,
    /// The scratch root to look at [default: PAGER_SCRATCH, else /var/tmp].
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
}

/// Prints the findings and returns the exit code.
///
/// # Errors
/// When they cannot be printed.
pub(crate) fn run(args: &Args) -> anyhow::Result<u8> {
    let root = args.scratch.as_deref();
    let findings = root.map_or_else(pager::diagnose, pager::diagnose_at);
    let recommended = BackendChoice::Auto.resolve(root);
    if args.json {
        print_json(&json(recommended.name(), &findings))?;
    } else {
        print(Text {
            recommended: recommended.name(),
            findings: &findings,
        })?;
    }
    let is_bad = |finding: &Finding| finding.severity > Severity::Note;
    Ok(u8::from(args.strict && findings.iter().any(is_bad)))
}

fn json(recommended: &str, findings: &[Finding]) -> serde_json::Value {
    let findings: Vec<_> = findings
        .iter()
        .map(|finding| {
            json!({
                "concern": finding.concern,
                "severity": finding.severity.name(),
                "what": finding.what.name(),
                "evidence": finding.evidence,
                "remedy": finding.remedy,
            })
        })
        .collect();
    json!({ "recommended": recommended, "findings": findings })
}

/// The findings for people, the worst of each concern first.
struct Text<'a> {
    recommended: &'a str,
    findings: &'a [Finding],
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for concern in ["process", "swap", "file"] {
            let of_it = |finding: &&Finding| finding.concern == concern;
            let mut found: Vec<_> = self.findings.iter().filter(of_it).collect();
            found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
            if found.is_empty() {
                writeln!(f, "{concern}: nothing to say")?;
            } else {
                writeln!(f, "{concern}:")?;
            }
            for finding in found {
                writeln!(f, "  {:<7}  {}: {finding}", finding.severity, finding.what)?;
            }
        }
        write!(f, "recommended: {}", self.recommended)
    }
}

#[cfg(test)]
mod tests {
    use super::{Text, json};
    use pager::diagnose::{Finding, Severity, What};

    fn findings() -> [Finding; 2] {
        [
            Finding::unknown("swap", "/proc/swaps"),
            Finding::new("swap", Severity::Blocked, What::NoSwap, "none", "add some"),
        ]
    }

    #[test]
    fn people_see_the_worst_first() {
        let findings = findings();
        let text = Text {
            recommended: "file",
            findings: &findings,
        }
        .to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "process: nothing to say");
        assert_eq!(lines[2], "  blocked  no-swap: none; add some");
        assert!(lines[3].starts_with("  note     unknown: /proc/swaps"));
        assert_eq!(lines[5], "recommended: file");
    }

    #[test]
    fn programs_see_every_field() {
        let json = json("swap", &findings());
        assert_eq!(json["recommended"], "swap");
        let found = &json["findings"][1];
        for (field, value) in [
            ("concern", "swap"),
            ("severity", "blocked"),
            ("what", "no-swap"),
            ("evidence", "none"),
            ("remedy", "add some"),
        ] {
            assert_eq!(found[field], value, "{field}");
        }
    }
}
