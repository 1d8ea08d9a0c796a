//! What a person sees on a terminal: help that fits, colours unless they are unwanted, bars; and none of it elsewhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Space, eventually, nowhere};

/// A command on a terminal.
pub(super) struct Terminal<'t> {
    pub(super) columns: usize,
    pub(super) typed: &'t str,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) folder: PathBuf,
}

impl Terminal<'_> {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            columns: 100,
            typed: "",
            variables: BTreeMap::from([("TERM".to_owned(), "xterm-256color".to_owned())]),
            folder: folder.to_owned(),
        }
    }

    /// Returns the exit code and what the terminal shows.
    pub(super) fn run(&self, arguments: &[&str]) -> (i32, String) {
        let columns = self.columns.to_string();
        let ran = Command::new("python3")
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/it/command_line/on_terminal.py"
            ))
            .args([&columns, self.typed, env!("CARGO_BIN_EXE_genflow")])
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(&self.variables)
            .current_dir(&self.folder)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&ran.stderr);
        assert!(errors.is_empty(), "{errors}");
        let shown = String::from_utf8(ran.stdout).unwrap();
        (ran.status.code().unwrap(), shown.replace("\r\n", "\n"))
    }
}

/// Returns a text without the sequences that colour it.
pub(super) fn uncolored(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}

pub(super) fn folder(name: &str) -> PathBuf {
    let name = format!("{name}-{}", std::process::id());
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn the_help_fits_the_terminal_and_has_colours_unless_they_are_unwanted() {
    let folder = folder("help");
    let mut terminal = Terminal::new(&folder);
    for columns in [60, 80] {
        terminal.columns = columns;
        for arguments in [
            &["--help"][..],
            &["submit", "--help"],
            &["dlq", "redrive", "--help"],
        ] {
            let (code, shown) = terminal.run(arguments);

            assert_eq!(code, 0, "{shown}");
            assert!(shown.contains("\u{1b}[1m"), "{shown:?}");
            let plain = uncolored(&shown);
            let is_long =
                |line: &&str| line.chars().count() > columns && line.trim().contains("  ");
            let long: Vec<_> = plain.lines().filter(is_long).collect();
            assert!(long.is_empty(), "{columns}: {long:#?}");
        }
    }
    for variable in [("NO_COLOR", "1"), ("CLICOLOR", "0"), ("TERM", "dumb")] {
        let mut terminal = Terminal::new(&folder);
        terminal
            .variables
            .insert(variable.0.to_owned(), variable.1.to_owned());

        let (_, shown) = terminal.run(&["--help"]);

        assert!(!shown.contains('\u{1b}'), "{variable:?}: {shown:?}");
        assert!(shown.contains("Send requests:\n  submit "), "{shown}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_list_has_colours_and_a_bar_shows_progress_on_a_terminal_only() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let orders = r#"[{"request_id": "bar-1", "user_id": "ann", "prompt": "a fox", "width": 64, "height": 64},
        {"request_id": "bar-2", "user_id": "ann", "prompt": "an owl", "width": 64, "height": 64}]"#;
    let file = space.folder().join("orders.json");
    std::fs::write(&file, orders).unwrap();
    let submit = ["submit", "--file", file.to_str().unwrap(), "--watch"];
    let mut terminal = Terminal::new(space.folder());
    terminal.variables.extend(space.variables.clone());

    let (code, shown) = terminal.run(&submit);
    let (quiet_code, quiet) = terminal.run(&[&submit[..], &["--quiet"]].concat());
    let piped = space.succeed(&submit).await;

    assert_eq!((code, quiet_code), (0, 0), "{shown}\n{quiet}");
    assert!(shown.contains("requests ended"), "{shown:?}");
    for silent in [&quiet, &piped] {
        assert!(!silent.contains("requests ended"), "{silent:?}");
        assert!(silent.contains("bar-2"), "{silent}");
    }
    assert!(shown.contains("\u{1b}[32mCOMPLETED\u{1b}[0m"), "{shown:?}");
    assert!(!piped.contains('\u{1b}'), "{piped:?}");
    eventually(
        "the runs are listed with their state in green",
        async || {
            let (_, shown) = terminal.run(&["list"]);
            (shown.matches("\u{1b}[32mcompleted").count() == 2).then_some(())
        },
    )
    .await;
    let (_, list) = terminal.run(&["list"]);
    let plain = uncolored(&list);
    assert!(plain.starts_with("started"), "{plain}");
    assert!(
        plain.contains(" s ago ") || plain.contains(" min ago "),
        "{plain}"
    );
}

#[test]
fn man_pages_have_examples_and_exit_codes() {
    let folder = folder("man");
    let ran = Command::new(env!("CARGO_BIN_EXE_genflow"))
        .args(["man", "."])
        .current_dir(&folder)
        .status()
        .unwrap();

    assert!(ran.success());
    let page = std::fs::read_to_string(folder.join("genflow-config-check.1")).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    assert!(
        page.contains("genflow config check \\-\\-role worker \\-\\-json"),
        "{page}"
    );
    assert!(page.contains("Exit code:"), "{page}");
    assert!(!page.contains('\u{1b}'), "{page:?}");
}

#[test]
fn a_misspelt_command_is_answered_with_the_one_that_is_probably_meant() {
    let ran = Command::new(env!("CARGO_BIN_EXE_genflow"))
        .arg("doctr")
        .output()
        .unwrap();

    let reported = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(64));
    assert_eq!(
        reported,
        "genflow: unrecognized subcommand 'doctr'; a similar subcommand exists: 'doctor'\n"
    );
}

#[tokio::test]
async fn a_role_says_that_it_has_started() {
    let space = Space::new().await;
    for role in ["intake", "worker", "notifier"] {
        let mut process = space.start(&[role]);
        eventually("the role has started", async || {
            let output = process.output();
            (output.contains("role started") && output.contains(role)).then_some(())
        })
        .await;
        assert!(process.terminate().await.success(), "{}", process.output());
    }
    let address = nowhere().to_string();
    let mut simulator = space.start(&["provider-sim", "--listen", &address]);
    eventually("the simulator says where it is", async || {
        let line = format!("provider simulator on http://{address}\n");
        (simulator.output() == line).then_some(())
    })
    .await;
    assert!(simulator.terminate().await.success());
}
