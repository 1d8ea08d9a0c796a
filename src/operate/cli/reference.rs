//! The reference of commands in `docs/command-line.md`, made from the command line itself. Its test compares the two;
//! `GENFLOW_RECORD=docs cargo test --lib the_reference` writes it anew.

use std::fmt::Write as _;

use clap::{Arg, Command};

use super::command::{command, leaves};
use super::pages::{self, GROUPS, Page};

/// Returns the reference as Markdown.
fn markdown() -> String {
    let mut root = command();
    root.build();
    let leaves = leaves(&root);
    let mut text = String::new();
    for (heading, names) in GROUPS {
        // Writing to a string does not fail.
        write!(text, "## {heading}\n\n").ok();
        for name in *names {
            let is_of = |path: &str| path.split(' ').next() == Some(*name);
            for (path, command) in leaves.iter().filter(|(path, _)| is_of(path)) {
                if let Some(page) = pages::of(path) {
                    section(page, command, &mut text);
                }
            }
        }
    }
    text
}

fn section(page: &Page, command: &Command, text: &mut String) {
    let about = command.get_long_about().or(command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let about = about.trim_end_matches('.').replace("\n\n", ".\n\n");
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    write!(
        text,
        "### {}\n\n{about}.\n\n```\n{usage}\n```\n\n",
        page.path
    )
    .ok();
    let shown = |arg: &&Arg| {
        !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "quiet" | "version")
    };
    let options: Vec<_> = command.get_arguments().filter(shown).collect();
    if !options.is_empty() {
        text.push_str("| option | |\n|---|---|\n");
    }
    for option in &options {
        writeln!(
            text,
            "| `{}` | {} |",
            cell(&name(option)),
            cell(&help(option))
        )
        .ok();
    }
    if !options.is_empty() {
        text.push('\n');
    }
    text.push_str("```sh\n");
    for (what, words) in page.examples {
        write!(text, "# {what}\ngenflow {words}\n").ok();
    }
    write!(text, "```\n\nExit code: {}.\n\n", page.exit).ok();
    if let Some(json) = page.json {
        write!(text, "With `--json`:\n\n```json\n{json}\n```\n\n").ok();
    }
    let links = page.see.iter().map(|(title, link)| {
        let link = link.strip_prefix("command-line.md").unwrap_or(link);
        format!("[{title}]({link})")
    });
    let links: Vec<_> = links.collect();
    if !links.is_empty() {
        write!(text, "More: {}.\n\n", links.join(", ")).ok();
    }
}

/// Returns how an option is written: `-q, --quiet`, `--file <FILE>`, `[ID]...`.
fn name(arg: &Arg) -> String {
    let shown = arg.to_string();
    match arg.get_short() {
        Some(short) if arg.get_long().is_some() => format!("-{short}, {shown}"),
        _ => shown,
    }
}

/// Returns what an option does, with its values, its default and its variable.
fn help(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help());
    let mut text = help.map(ToString::to_string).unwrap_or_default();
    let is_flag = !arg.get_action().takes_values();
    let values: Vec<_> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !is_flag && !values.is_empty() {
        write!(text, ". One of {}", values.join(", ")).ok();
    }
    let defaults = arg.get_default_values().iter();
    let defaults: Vec<_> = defaults.map(|it| it.to_string_lossy()).collect();
    if !is_flag && !defaults.is_empty() {
        write!(text, ". Default: `{}`", defaults.join(",")).ok();
    }
    if let Some(variable) = arg.get_env() {
        write!(text, ". Variable: `{}`", variable.to_string_lossy()).ok();
    }
    text
}

/// Makes a text fit for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str =
        "<!-- The rest is made from the program: see src/operate/cli/reference.rs. -->\n\n";

    #[test]
    fn the_reference_is_that_of_the_program() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/command-line.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (prose, reference) = page.split_once(BEGIN).unwrap();
        let made = markdown();

        if std::env::var("GENFLOW_RECORD").is_ok_and(|what| what == "docs") {
            std::fs::write(path, format!("{prose}{BEGIN}{}\n", made.trim_end())).unwrap();
            return;
        }

        assert!(
            reference.trim_end() == made.trim_end(),
            "docs/command-line.md is not as the program: GENFLOW_RECORD=docs cargo test --lib the_reference writes it"
        );
    }

    #[test]
    fn an_option_is_shown_with_its_values_and_its_default() {
        let by = Arg::new("by")
            .long("by")
            .short('b')
            .value_name("FIELD")
            .value_parser(["user", "model"])
            .default_value("model")
            .help("Group by a|b");
        let mut command = Command::new("costs").arg(by);
        command.build();
        let arg = command.get_arguments().next().unwrap();

        assert_eq!(name(arg), "-b, --by <FIELD>");
        assert_eq!(
            cell(&help(arg)),
            "Group by a\\|b. One of `user`, `model`. Default: `model`"
        );
    }
}
