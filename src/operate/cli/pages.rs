//! What `--help`, the man pages and `docs/command-line.md` say about each command besides its options: its group, two
//! examples, its exit codes, the shape of its JSON, and links to the docs. A test fails if a command is missing.

mod operators;
mod users;

/// The text about one command, besides its options.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    /// The words after `genflow`.
    pub path: &'static str,
    /// For each example: its purpose, and the words after `genflow`.
    pub examples: [(&'static str, &'static str); 2],
    /// Follows "Exit code: ".
    pub exit: &'static str,
    /// An example of what `--json` prints, one line for each shape; `None` if the command has no `--json`.
    pub json: Option<&'static str>,
    /// Titles and links of pages in `docs`.
    pub see: &'static [(&'static str, &'static str)],
}

/// The groups in `genflow --help`: a purpose, and the commands for it.
pub(super) const GROUPS: &[(&str, &[&str])] = &[
    (
        "Get started",
        &["init", "secrets", "config", "setup", "doctor"],
    ),
    ("Send requests", &["submit", "models", "cancel", "retry"]),
    ("Follow requests", &["watch", "status", "list", "get"]),
    ("Watch the money", &["costs", "budget"]),
    (
        "Run genflow",
        &[
            "all",
            "intake",
            "worker",
            "notifier",
            "console",
            "codec-server",
        ],
    ),
    (
        "Operate genflow",
        &["health", "dlq", "notifications", "replay", "webhook-secret"],
    ),
    #[cfg(feature = "dev")]
    (
        "Everything on this machine",
        &["dev", "test", "bench", "provider-sim"],
    ),
    ("Packages", &["completions", "man"]),
];

/// Returns the pages of all commands.
pub(super) fn all() -> impl Iterator<Item = &'static Page> {
    users::PAGES.iter().chain(operators::PAGES)
}

/// Returns the page of a command; `None` if the command is hidden or only groups subcommands.
pub(super) fn of(path: &str) -> Option<&'static Page> {
    all().find(|page| page.path == path)
}

/// Returns an example of what a command prints with `--json`, one line for each shape.
pub fn json_of(path: &str) -> Option<&'static str> {
    of(path)?.json
}
