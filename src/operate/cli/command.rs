//! The command line as clap knows it: the derived one, with the groups and what `pages` says of each command.

use std::fmt::Write as _;

use clap::builder::styling::Style;
use clap::{Command, CommandFactory as _};

use super::Cli;
use super::pages::{self, GROUPS, Page};

const BOLD: Style = Style::new().bold();
const HEADING: Style = Style::new().bold().underline();
const MORE: &str = "genflow COMMAND --help shows the options of a command, with examples.";

/// Returns the command line.
pub fn command() -> Command {
    let command = with_pages(Cli::command(), "");
    let groups = groups(&command);
    command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}{HEADING}Options:{HEADING:#}\n{{options}}\n\n{MORE}\n"
    ))
}

fn with_pages(command: Command, path: &str) -> Command {
    let command = match pages::of(path) {
        Some(page) => command.after_help(after(page)),
        None => command,
    };
    command.mut_subcommands(|below| {
        let path = format!("{path} {}", below.get_name());
        with_pages(below, path.trim())
    })
}

/// Returns what `--help` of a command says after its options.
fn after(page: &Page) -> String {
    let mut text = format!("{HEADING}Examples:{HEADING:#}");
    for (what, words) in page.examples {
        // Writing to a string does not fail.
        write!(text, "\n  {what}:\n    {BOLD}genflow {words}{BOLD:#}\n").ok();
    }
    let Page { exit, .. } = page;
    write!(text, "\n{HEADING}Exit code:{HEADING:#}\n  {exit}").ok();
    if !page.see.is_empty() {
        write!(text, "\n\n{HEADING}Docs:{HEADING:#}").ok();
    }
    for (title, link) in page.see {
        write!(text, "\n  {title}: docs/{link}").ok();
    }
    text
}

/// Returns the commands that users see, by what they are for.
fn groups(root: &Command) -> String {
    let width = root
        .get_subcommands()
        .map(|command| command.get_name().len());
    let width = width.max().unwrap_or(0);
    let mut text = String::new();
    for (heading, names) in GROUPS {
        writeln!(text, "{HEADING}{heading}:{HEADING:#}").ok();
        for name in *names {
            let about = root.find_subcommand(name).and_then(Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            writeln!(text, "  {BOLD}{name:<width$}{BOLD:#}  {about}").ok();
        }
        text.push('\n');
    }
    text
}

/// Returns the paths of all commands that users see and that do something, with each command.
#[cfg(test)]
pub(super) fn leaves(command: &Command) -> Vec<(String, &Command)> {
    let mut found = Vec::new();
    for below in command.get_subcommands().filter(|it| !it.is_hide_set()) {
        let name = below.get_name();
        if name == "help" {
            continue;
        }
        let further = leaves(below);
        match further.is_empty() {
            true => found.push((name.to_owned(), below)),
            false => found.extend(
                further
                    .into_iter()
                    .map(|(path, command)| (format!("{name} {path}"), command)),
            ),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Splits a line as a shell does, up to a pipe or a redirection.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec!["genflow".to_owned()];
        let mut rest = line.trim();
        while let Some(first) = rest.chars().next() {
            if matches!(first, '|' | '>') || rest.starts_with("2>") {
                break;
            }
            let (word, after) = match first {
                '"' | '\'' => {
                    let quoted = rest.strip_prefix(first).unwrap();
                    quoted.split_once(first).unwrap()
                }
                _ => rest.split_once(' ').unwrap_or((rest, "")),
            };
            words.push(word.to_owned());
            rest = after.trim_start();
        }
        words
    }

    #[test]
    fn every_command_has_a_page_and_every_page_a_command() {
        let root = command();
        let commands: BTreeSet<_> = leaves(&root).into_iter().map(|(path, _)| path).collect();
        let pages: Vec<_> = pages::all().map(|page| page.path.to_owned()).collect();
        let unique: BTreeSet<_> = pages.iter().cloned().collect();

        assert_eq!(unique, commands);
        assert_eq!(unique.len(), pages.len(), "{pages:?}");
    }

    #[test]
    fn every_command_is_in_one_group_of_the_help() {
        let root = command();
        let shown = root.get_subcommands().filter(|it| !it.is_hide_set());
        let shown: BTreeSet<_> = shown.map(Command::get_name).collect();
        let grouped: Vec<_> = GROUPS
            .iter()
            .flat_map(|(_, names)| *names)
            .copied()
            .collect();
        let unique: BTreeSet<_> = grouped.iter().copied().collect();

        assert_eq!(unique, shown);
        assert_eq!(unique.len(), grouped.len(), "{grouped:?}");
    }

    #[test]
    fn the_examples_are_valid_and_different() {
        for page in pages::all() {
            for (_, line) in page.examples {
                let words = words(line);
                let parsed = command().try_get_matches_from(&words);
                assert!(parsed.is_ok(), "{words:?}: {}", parsed.unwrap_err());
                assert!(line.starts_with(page.path), "{line}");
            }
            assert_ne!(page.examples[0].1, page.examples[1].1);
        }
    }

    #[test]
    fn a_command_has_json_exactly_if_its_page_shows_it() {
        for (path, command) in leaves(&command()) {
            let has = command.get_arguments().any(|arg| {
                let takes_no_value = !arg.get_action().takes_values();
                arg.get_id() == "json" && takes_no_value
            });
            let sample = pages::json_of(&path);
            assert_eq!(has, sample.is_some(), "{path}");
            for line in sample.unwrap_or_default().lines() {
                let read: serde_json::Value = serde_json::from_str(line).unwrap();
                assert!(read.is_object(), "{path}");
            }
        }
    }

    #[test]
    fn the_help_shows_groups_examples_and_exit_codes() {
        let root = command().render_help().to_string();
        let submit = command()
            .find_subcommand_mut("submit")
            .unwrap()
            .render_long_help()
            .to_string();

        assert!(root.contains("Send requests:\n  submit"), "{root}");
        assert!(root.contains("-q, --quiet"), "{root}");
        assert!(
            submit.contains("    genflow submit image --prompt \"a red fox\""),
            "{submit}"
        );
        assert!(
            submit.contains("Exit code:\n  0 when all were sent"),
            "{submit}"
        );
    }
}
