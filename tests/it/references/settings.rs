//! The reference of settings, from the catalogue that `.env.example` is.

use std::fmt::Write as _;

use genflow::engines::config::Config;
use genflow::engines::config::catalogue::{self, Entry, Setting};

/// Characters that Markdown would take for its own.
const MARKUP: [char; 10] = ['*', '<', '>', '|', '[', ']', '{', '}', '=', '_'];

#[test]
fn the_settings_on_the_page_are_those_of_the_program() {
    let made = markdown(&catalogue::entries());

    for name in Config::variables() {
        assert!(made.contains(&format!("`{name}`")), "{name}");
    }
    super::check("docs/configuration.md", &made);
}

fn markdown(entries: &[Entry]) -> String {
    let mut text = String::new();
    let mut row: Vec<&Setting> = Vec::new();
    let mut in_table = false;
    for entry in entries {
        if let Entry::Setting(setting) = entry {
            if row.first().is_some_and(|it| it.about != setting.about) {
                text.push_str(&cells(&row));
                row.clear();
            }
            if !in_table {
                text.push_str("| setting | default | |\n|---|---|---|\n");
                in_table = true;
            }
            row.push(setting);
            continue;
        }
        if in_table {
            text.push_str(&cells(&row));
            text.push('\n');
            row.clear();
            in_table = false;
        }
        match entry {
            Entry::Section(heading) => write!(text, "### {heading}\n\n").unwrap(),
            Entry::Note(note) => write!(text, "{}\n\n", prose(note)).unwrap(),
            Entry::Setting(_) => unreachable!("a setting is in a table"),
        }
    }
    text.push_str(&cells(&row));
    text
}

/// Returns the row of settings that share what is said of them.
fn cells(settings: &[&Setting]) -> String {
    let Some(first) = settings.first() else {
        return String::new();
    };
    let lines = |line: fn(&Setting) -> String| {
        let lines = settings.iter().map(|setting| line(setting));
        lines.collect::<Vec<_>>().join("<br>")
    };
    let name = |setting: &Setting| match setting.is_secret {
        true => format!("`{}` (secret)", setting.name),
        false => format!("`{}`", setting.name),
    };
    let default = |setting: &Setting| match setting.default {
        Some(_) if setting.is_secret => "public".to_owned(),
        Some(value) => code(value),
        None => "–".to_owned(),
    };
    let (names, defaults) = (lines(name), lines(default));
    format!("| {names} | {defaults} | {} |\n", prose(&first.about))
}

/// Makes Markdown of what is said of a setting: links to pages, and code where a word is no word.
fn prose(text: &str) -> String {
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

fn word(word: &str) -> String {
    // Code already.
    if word.contains('`') {
        return word.to_owned();
    }
    let bare = word.trim_start_matches('(');
    let (before, _) = word.split_at(word.len() - bare.len());
    let core = bare.trim_end_matches(['.', ',', ';', ':', ')']);
    let (_, after) = bare.split_at(core.len());
    let shown = match core.strip_prefix("docs/") {
        Some(page) => format!("[{core}]({page})"),
        None if core.contains(MARKUP) || core.contains("://") => code(core),
        None => core.to_owned(),
    };
    format!("{before}{shown}{after}")
}

/// Returns code for a cell of a table.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

#[test]
fn words_become_links_and_code() {
    let text = "See docs/events.md, or (SMTP_URL). `a b` is host:port[,host:port] or a|b.";

    assert_eq!(
        prose(text),
        "See [docs/events.md](events.md), or (`SMTP_URL`). `a b` is `host:port[,host:port]` or `a\\|b`."
    );
}

#[test]
fn settings_that_share_a_text_share_a_row() {
    let setting = |name, default, is_secret| {
        Entry::Setting(Setting {
            name,
            default,
            about: "For logins.".to_owned(),
            is_secret,
        })
    };
    let entries = [
        Entry::Section("Kafka"),
        setting("USER", Some("ann"), false),
        setting("PASSWORD", None, true),
        Entry::Note("More.".to_owned()),
        setting("KEY", Some("needle"), true),
    ];

    assert_eq!(
        markdown(&entries),
        "### Kafka\n\n| setting | default | |\n|---|---|---|\n\
         | `USER`<br>`PASSWORD` (secret) | `ann`<br>– | For logins. |\n\n\
         More.\n\n| setting | default | |\n|---|---|---|\n| `KEY` (secret) | public | For logins. |\n"
    );
}
