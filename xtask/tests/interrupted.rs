//! A matrix that is stopped, gently or not: no child lives on, no scratch file is left.
//! The cells are scripts that fill their scratch directory and do not heed a signal.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are tests, which clippy does not see"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Says who it is, fills its scratch directory as a cell does, and sleeps.
const MERGE: &str = r#"#!/bin/sh
trap '' INT TERM
while [ "$1" != --scratch ]; do shift; done
mkdir "$2/pager-1-0123456789abcdef"
head -c 1000000 /dev/zero > "$2/pager-1-0123456789abcdef/0"
echo $$ > "$TELL.new"; mv "$TELL.new" "$TELL"
exec sleep 60
"#;

struct Stage {
    dir: tempfile::TempDir,
}

impl Stage {
    fn new(merge: &str) -> Self {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        for (name, script) in [("merge", merge), ("ceiling", "#!/bin/sh\nexit 1\n")] {
            let path = dir.path().join(name);
            fs::write(&path, script).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        }
        fs::create_dir(dir.path().join("root")).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn start(&self) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command
            .args(["bench-matrix", "--suite", "quick", "--cap", "none"])
            .args(["--data", "random", "--backend", "file"])
            .arg("--binaries")
            .arg(self.dir.path())
            .arg("--scratch")
            .arg(self.path("root"))
            // What was begun is gone on with.
            .arg(if self.path("out/journal.jsonl").exists() {
                "--resume"
            } else {
                "--out"
            })
            .arg(self.path("out"))
            .env("TELL", self.path("tell"))
            .env("RUNS", self.path("runs"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.spawn().unwrap()
    }

    /// The process id of the cell that runs, once there is one.
    fn cell(&self) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Ok(pid) = fs::read_to_string(self.path("tell")) {
                fs::remove_file(self.path("tell")).unwrap();
                return pid.trim().to_owned();
            }
            assert!(Instant::now() < deadline, "no cell after 30 s");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn left(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("root")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

fn signal(child: &Child, signal: &str) {
    let id = child.id().to_string();
    let sent = Command::new("kill").args([signal, &id]).status();
    assert!(sent.unwrap().success());
}

/// Whether a process runs; one that is dead and not yet reaped does not.
fn runs(pid: &str) -> bool {
    Path::new("/proc").join(pid).join("exe").read_link().is_ok()
}

#[test]
fn an_interrupted_matrix_leaves_neither_a_cell_nor_a_file() {
    for name in ["-INT", "-TERM"] {
        let stage = Stage::new(MERGE);
        let mut matrix = stage.start();
        let cell = stage.cell();
        assert!(
            !stage.left().is_empty(),
            "the cell has left nothing to clean up"
        );
        signal(&matrix, name);
        assert_eq!(matrix.wait().unwrap().code(), Some(130), "{name}");
        assert!(!runs(&cell), "{name}");
        assert_eq!(stage.left(), [] as [PathBuf; 0], "{name}");
        // What it has is written.
        for file in ["results.json", "results.csv", "report.md"] {
            assert!(stage.path("out").join(file).exists(), "{file}");
        }
    }
}

#[test]
fn what_a_killed_matrix_has_left_goes_with_the_next_start() {
    let stage = Stage::new(MERGE);
    let mut killed = stage.start();
    let cell = stage.cell();
    signal(&killed, "-KILL");
    killed.wait().unwrap();
    let has_setpriv = Command::new("setpriv").arg("--version").output().is_ok();
    if has_setpriv {
        let deadline = Instant::now() + Duration::from_secs(10);
        while runs(&cell) {
            assert!(Instant::now() < deadline, "the cell outlives its matrix");
            thread::sleep(Duration::from_millis(10));
        }
    } else {
        println!("skipped: no setpriv, so the cell is ended by hand");
        Command::new("kill")
            .args(["-KILL", &cell])
            .status()
            .unwrap();
    }
    let dead = stage.left();
    assert_eq!(dead.len(), 1);
    // Whoever inherits the lock has it for as long as it lives, and no longer.
    let mut matrix = loop {
        let mut matrix = stage.start();
        stage.cell();
        if !dead[0].exists() {
            break matrix;
        }
        signal(&matrix, "-INT");
        matrix.wait().unwrap();
    };
    signal(&matrix, "-INT");
    matrix.wait().unwrap();
    assert_eq!(stage.left(), [] as [PathBuf; 0]);
}

#[test]
fn what_has_ended_before_an_interruption_is_not_measured_again() {
    // The first three cells end at once, and each says that it ran.
    let script = MERGE.replace(
        "exec sleep 60",
        r#"echo run >> "$RUNS"
[ "$(wc -l < "$RUNS")" -gt 3 ] && exec sleep 60
echo '{"through_gib_s": 1.0}'"#,
    );
    let stage = Stage::new(&script);
    let runs = || {
        let text = fs::read_to_string(stage.path("runs")).unwrap_or_default();
        text.lines().count()
    };
    let wait_for = |count| {
        let deadline = Instant::now() + Duration::from_secs(30);
        while runs() < count {
            assert!(Instant::now() < deadline, "{} runs after 30 s", runs());
            thread::sleep(Duration::from_millis(20));
        }
    };
    let mut matrix = stage.start();
    wait_for(4);
    signal(&matrix, "-KILL");
    matrix.wait().unwrap();
    let ended = || {
        let text = fs::read_to_string(stage.path("out/journal.jsonl")).unwrap();
        text.matches("\"outcome\":\"ok\"").count()
    };
    assert_eq!(ended(), 3);
    // Six runs are planned: three are left.
    fs::write(stage.path("merge"), script.replace("-gt 3", "-gt 99")).unwrap();
    let mut resumed = stage.start();
    assert_eq!(resumed.wait().unwrap().code(), Some(0));
    assert_eq!(runs(), 4 + 3);
    assert_eq!(ended(), 6);
    let json = fs::read_to_string(stage.path("out/results.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["runs"].as_array().unwrap().len(), 6);
}

#[test]
fn a_cell_that_fails_leaves_nothing_either() {
    let stage = Stage::new(&MERGE.replace("exec sleep 60", "exit 3"));
    let mut matrix = stage.start();
    assert_eq!(matrix.wait().unwrap().code(), Some(1));
    assert_eq!(stage.left(), [] as [PathBuf; 0]);
}
