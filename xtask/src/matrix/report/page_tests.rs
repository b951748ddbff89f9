//! The page in a browser, as a reader has it: on a phone and on a desk, and as text beside it.

use super::super::compare::{Change, Measured};
use super::super::extra::tests::extras;
use super::super::host::Host;
use super::Report;
use super::figures::tests::records;
use super::tables::tests::change;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn written(change: Vec<Change>) -> tempfile::TempDir {
    let (runs, ceilings) = records();
    let measured = Measured {
        ceilings,
        runs,
        extras: extras(),
    };
    let host = Host::describe(Path::new("/"));
    let dir = tempfile::tempdir().unwrap();
    let report = Report::new(&host, "Conditions & more.", &measured, &change);
    report.write(dir.path()).unwrap();
    assert!(report.terminal().contains("On this host: file."));
    dir
}

#[test]
fn the_text_has_the_figures_of_the_page() {
    let dir = written(vec![change()]);
    let page = fs::read_to_string(dir.path().join("report.html")).unwrap();
    let text = fs::read_to_string(dir.path().join("report.md")).unwrap();
    let titles: Vec<&str> = page
        .split("<h2>")
        .skip(1)
        .map(|rest| rest.split("</h2>").next().unwrap())
        .collect();
    // The change, throughputs, figures of the merge, the headline twice, and what is beside.
    assert_eq!(titles.len(), 1 + 2 + 7 + 2 + 7);
    for title in &titles {
        assert!(text.contains(&format!("## {title}\n")), "{title}");
    }
    assert_eq!(page.matches("<svg").count(), 2 + 7 + 1 + 7);
    // A table of each figure, of each group of cells, and of the machine.
    assert_eq!(page.matches("<table>").count(), 2 + 7 + 1 + 7 + 3 + 1);
    for part in [
        "On this host: file.",
        "faster (1.250 times",
        "ceiling of the device",
        "A sort of 733 MiB of rows within 96 MiB",
        "spillsort takes 1.8 times as long",
        "skipped: python3 has no module duckdb",
        "The published measurement, redone",
        "bytes per handle",
    ] {
        assert!(page.contains(part) && text.contains(part), "{part}");
    }
    assert!(page.contains("Conditions &amp; more."));
    let picture = fs::read_to_string(dir.path().join("throughput.svg")).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("prefers-color-scheme"));
    assert!(picture.contains("killed by the memory cap"));
    for outside in ["http://", "https://", "<script", "src="] {
        // The name of the format of a chart is an address that nobody visits.
        let page = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!page.contains(outside), "{outside}");
    }
}

/// A page that holds the report in frames of two widths and writes down what it finds.
const PROBE: &str = r#"<!doctype html><meta charset="utf-8"><body><pre id="found">nothing</pre>
<script>
const frames = [360, 1200].map(width => {
  const frame = document.createElement('iframe');
  frame.style.cssText = `width:${width}px;height:800px;border:0`;
  frame.srcdoc = PAGE;
  document.body.append(frame);
  return [width, frame];
});
addEventListener('load', () => {
  const lines = [];
  for (const [width, frame] of frames) {
    const page = frame.contentDocument;
    page.querySelectorAll('details').forEach(it => it.open = true);
    const charts = [...page.querySelectorAll('section svg')];
    const seen = charts.filter(it => it.getBoundingClientRect().width > 200);
    const outside = charts.flatMap(chart => [...chart.querySelectorAll('text')].filter(text => {
      const [all, box] = [chart.getBoundingClientRect(), text.getBoundingClientRect()];
      return box.left < all.left - 1 || box.right > all.right + 1 || box.bottom > all.bottom + 1;
    })).map(text => text.textContent);
    const { scrollWidth, clientWidth } = page.documentElement;
    lines.push(`width ${width}: too wide ${scrollWidth > clientWidth}, ` +
      `charts ${charts.length}, seen ${seen.length}, outside [${outside.join('|')}]`);
  }
  document.getElementById('found').textContent = lines.join('\n');
});
</script>"#;

/// The browser, if there is one.
fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut found = names
        .iter()
        .flat_map(|name| dirs.iter().map(move |dir| dir.join(name)));
    found.find(|program| program.is_file())
}

#[test]
fn a_browser_shows_every_chart_on_a_phone_and_complains_of_nothing() {
    let Some(browser) = browser() else {
        println!("skipped: no chromium on this machine");
        return;
    };
    let dir = written(vec![change()]);
    let page = fs::read_to_string(dir.path().join("report.html")).unwrap();
    let page = serde_json::to_string(&page).unwrap().replace("</", "<\\/");
    let probe = dir.path().join("probe.html");
    fs::write(&probe, PROBE.replace("PAGE", &page)).unwrap();
    let run = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .args(["--enable-logging=stderr", "--virtual-time-budget=5000"])
        .arg(format!(
            "--user-data-dir={}",
            dir.path().join("profile").display()
        ))
        .arg(format!("file://{}", probe.display()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    assert!(!said.contains("CONSOLE"), "{said}");
    let shown = String::from_utf8_lossy(&run.stdout);
    let found = shown.split("id=\"found\">").nth(1).unwrap_or_default();
    let found = found.split("</pre>").next().unwrap();
    let expected = "width 360: too wide false, charts 17, seen 17, outside []\n\
                    width 1200: too wide false, charts 17, seen 17, outside []";
    assert_eq!(found, expected);
}
