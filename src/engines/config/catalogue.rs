//! Every setting with its default and what it is for, as `.env.example` lists them. A test compares the list with the
//! variables that are read.

use super::Config;
use super::vars::without_login;

/// A part of `.env.example`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The heading of the settings of a role or of an engine.
    Section(&'static str),
    /// A paragraph about several settings, or about variables that have no name of their own.
    Note(String),
    Setting(Setting),
}

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub name: &'static str,
    /// `None`: not set, or it depends on others; then `about` says so.
    pub default: Option<&'static str>,
    /// What it is for; several settings may share it.
    pub about: String,
    /// Whether its value is a secret, which can also be in a file that `{name}_FILE` names.
    pub is_secret: bool,
}

const EXAMPLE: &str = include_str!("../../../.env.example");
/// Variables of genflow that are no settings of its roles.
const BESIDE: [&str; 2] = ["GENFLOW_API_KEY", "GENFLOW_API_KEY_FILE"];
/// What an unknown name may differ in from a setting's, in edits.
const CLOSE: usize = 2;

/// Returns all settings, in the order of `.env.example`.
pub fn settings() -> Vec<Setting> {
    let settings = entries().into_iter().filter_map(|entry| match entry {
        Entry::Setting(setting) => Some(setting),
        Entry::Section(_) | Entry::Note(_) => None,
    });
    settings.collect()
}

/// Returns the parts of `.env.example`, in its order, without its head.
pub fn entries() -> Vec<Entry> {
    let secrets = secrets();
    let (mut about, mut entries) = (Vec::new(), Vec::new());
    let mut follows_setting = false;
    for line in EXAMPLE.lines() {
        let text = line.strip_prefix('#').unwrap_or(line).trim();
        if let Some(heading) = text.strip_prefix("--- ") {
            entries.push(Entry::Section(heading.trim_end_matches(['-', ' '])));
            continue;
        }
        if let Some((name, default)) = assignment(text) {
            entries.push(Entry::Setting(Setting {
                name,
                default: Some(default.trim_matches('"')).filter(|it| !it.is_empty()),
                about: about.join(" "),
                is_secret: secrets.contains(&name),
            }));
            follows_setting = true;
            continue;
        }
        if follows_setting {
            about.clear();
        } else if text.is_empty() && !about.is_empty() {
            entries.push(Entry::Note(about.join(" ")));
            about.clear();
        }
        follows_setting = false;
        if !text.is_empty() {
            about.push(text);
        }
    }
    let is_note = |entry: &&Entry| matches!(entry, Entry::Note(_));
    let head = entries.iter().take_while(is_note).count();
    entries.split_off(head)
}

/// Reads `NAME=value`.
fn assignment(line: &'static str) -> Option<(&'static str, &'static str)> {
    let (name, value) = line.split_once('=')?;
    let is_name = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_';
    (!name.is_empty() && name.bytes().all(is_name)).then_some((name, value))
}

/// Returns the setting whose name is probably meant by one that genflow does not read; `None` for names that are nothing
/// like a setting's, and for those that genflow reads.
pub fn nearest(name: &str, settings: &[Setting]) -> Option<&'static str> {
    let plain = name.strip_suffix("_FILE").unwrap_or(name);
    let is_read =
        |setting: &Setting| setting.name == name || setting.is_secret && setting.name == plain;
    if settings.iter().any(is_read) || BESIDE.contains(&name) {
        return None;
    }
    let distance = |setting: &Setting| strsim::osa_distance(plain, setting.name);
    let closest = settings.iter().min_by_key(|setting| distance(setting))?;
    // Each provider has a name of its own in front of this one, such as XAI_API_KEY, which is no FAL_API_KEY.
    let close = if plain.ends_with("_API_KEY") {
        1
    } else {
        CLOSE
    };
    let is_close = distance(closest) <= close.min(plain.len() / 4);
    // A whole word too few or too many, such as KAFKA_URL_BROKERS, is more than two edits.
    let words = |name: &str| name.split('_').map(str::to_owned).collect::<Vec<_>>();
    let differs_by_a_word = |setting: &&Setting| {
        let (one, other) = (words(plain), words(setting.name));
        let (short, long) = if one.len() < other.len() {
            (one, other)
        } else {
            (other, one)
        };
        let mut rest = long.iter();
        short.len() >= 2
            && short.first() == long.first()
            && long.len() == short.len() + 1
            && short.iter().all(|word| rest.any(|it| it == word))
    };
    match is_close {
        true => Some(closest.name),
        // Other programs have many of these, such as AWS_DEFAULT_REGION.
        false if name.starts_with("AWS_") => None,
        false => settings.iter().find(differs_by_a_word).map(|it| it.name),
    }
}

/// Returns a value as a person may see it: not if it is a secret, and without the login of a URL.
pub fn masked(value: &str, is_secret: bool) -> String {
    match is_secret {
        true => "****".to_owned(),
        false => without_login(value),
    }
}

/// Returns the names of the variables of secrets.
fn secrets() -> Vec<&'static str> {
    let names = Config::secret_names();
    [names.renewed, names.fixed].concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn of(name: &str) -> Setting {
        settings().into_iter().find(|it| it.name == name).unwrap()
    }

    #[test]
    fn all_variables_are_listed_once_with_what_they_are_for() {
        let listed = settings();
        let names: BTreeSet<_> = listed.iter().map(|setting| setting.name).collect();
        let read: BTreeSet<_> = Config::variables().into_iter().collect();

        assert_eq!(names, read);
        assert_eq!(names.len(), listed.len());
        let silent = listed.iter().filter(|setting| setting.about.is_empty());
        assert_eq!(silent.count(), 0);
        assert_eq!(of("KAFKA_BROKERS").default, Some("127.0.0.1:9092"));
        assert_eq!(
            of("KAFKA_BROKERS").about,
            "Bootstrap brokers: host:port[,host:port]."
        );
        assert_eq!(of("KAFKA_SASL_PASSWORD").about, "For PLAIN and SCRAM.");
        assert_eq!(
            of("EMAIL_FROM").default,
            Some("genflow <genflow@localhost>")
        );
        assert!(of("SMTP_URL").is_secret && !of("KAFKA_BROKERS").is_secret);
    }

    #[test]
    fn what_no_setting_follows_is_a_note_of_its_section() {
        let all = entries();

        assert_eq!(all.first(), Some(&Entry::Section("Kafka")));
        let sections = all.iter().filter(|it| matches!(it, Entry::Section(_)));
        assert_eq!(sections.count(), 8);
        let begins = |word: &str| {
            let is_note = |it: &&Entry| matches!(it, Entry::Note(text) if text.starts_with(word));
            all.iter().filter(is_note).count()
        };
        assert_eq!(begins("A header of each call"), 1);
        assert_eq!(begins("A request keeps"), 1);
        assert!(of("HEARTBEAT_TIMEOUT").about.starts_with("If a worker"));
    }

    #[test]
    fn the_defaults_are_those_of_the_program() {
        let all = settings();
        let set = all.iter().filter_map(|it| Some((it.name, it.default?)));
        let set: Vec<_> = set.collect();

        let listed = Config::of(&set).unwrap();

        assert!(set.len() > 80, "{}", set.len());
        assert_eq!(
            format!("{listed:#?}"),
            format!("{:#?}", Config::of(&[]).unwrap())
        );
    }

    #[test]
    fn a_misspelt_name_has_a_nearest_one_and_others_have_none() {
        let all = settings();
        for (name, meant) in [
            ("KAFKA_BROKER", Some("KAFKA_BROKERS")),
            ("KAFAK_BROKERS", Some("KAFKA_BROKERS")),
            ("SLACK_WEBHOOK_URL_FILE", None),
            ("SLACK_WEBHOOK_URLS", Some("SLACK_WEBHOOK_URL")),
            ("WEBHOOK_SECRET", Some("WEBHOOK_SIGNING_SECRET")),
            ("KAFKA_BROKERS", None),
            ("GENFLOW_API_KEY", None),
            ("KAFKA_HEAP_OPTS", None),
            ("TEMPORAL_SERVICE_HOST_7233", None),
            ("HTTP_PROXY", None),
            ("AWS_DEFAULT_REGION", None),
            ("XAI_API_KEY", None),
            ("LOG_DIR", None),
            ("PATH", None),
        ] {
            assert_eq!(nearest(name, &all), meant, "{name}");
        }
    }

    #[test]
    fn a_secret_is_not_shown_nor_is_a_login() {
        assert_eq!(masked("needle", true), "****");
        assert_eq!(masked("http://me:needle@host/", false), "…@host/");
        assert_eq!(masked("kafka:9092", false), "kafka:9092");
    }
}
