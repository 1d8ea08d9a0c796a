//! What `--help`, the man pages and `docs/command-line.md` say of each command beside its options: its group, two examples,
//! its exit codes, the shape of its JSON, and where the docs say more. Tests hold that no command is left out.

mod operators;
mod users;

/// What is said of one command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    /// The words after `genflow`.
    pub path: &'static str,
    /// What an example is for, and the words after `genflow`.
    pub examples: [(&'static str, &'static str); 2],
    /// Follows "Exit code: ".
    pub exit: &'static str,
    /// An example of what `--json` prints, a line for each shape; `None` if the command has no `--json`.
    pub json: Option<&'static str>,
    /// Titles and links of pages in `docs`.
    pub see: &'static [(&'static str, &'static str)],
}

/// The groups of the root's `--help`: what a person wants to do, and the commands for it.
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

/// Returns what is said of a command; `None` for one that only has commands below it, and for hidden ones.
pub(super) fn of(path: &str) -> Option<&'static Page> {
    all().find(|page| page.path == path)
}

/// Returns an example of what `--json` of a command prints, a line for each shape.
pub fn json_of(path: &str) -> Option<&'static str> {
    of(path)?.json
}
