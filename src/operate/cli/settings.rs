//! `genflow config`: shows the settings with their values and where these come from, and checks them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use serde::Serialize;
use serde_json::json;

use super::table::{BAD, Cell, Column, FAINT, GOOD, Table, UNSURE};
use super::terminal::note;
use crate::engines::config::catalogue::{self, Setting, masked, nearest};
use crate::engines::config::{Config, Fault, Faults};

/// `genflow config`.
#[derive(Debug, clap::Subcommand)]
pub enum Settings {
    /// Show each setting with its value, and where the value comes from; secrets are masked
    Show(Show),
    /// Validate all settings and report names that look misspelt; makes no connections
    Check(Check),
}

/// `genflow config show`.
#[derive(Debug, clap::Args)]
pub struct Show {
    /// Only settings whose names contain this, in any case
    pub part: Option<String>,
    /// Only settings that are set, not those with their defaults
    #[arg(long)]
    pub set: bool,
    /// Print each setting as a line of JSON
    #[arg(long)]
    pub json: bool,
}

/// `genflow config check`.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// Check the rules of this role
    #[arg(long, value_enum, default_value_t = CheckedRole::All)]
    pub role: CheckedRole,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A role, which may have rules of its own for settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum CheckedRole {
    All,
    Intake,
    Worker,
    Notifier,
    /// The commands of operators, such as list and setup
    Commands,
}

/// The variables of this process.
#[derive(Debug, Default)]
pub struct Environment {
    pub variables: BTreeMap<String, String>,
    /// The names that are set by `.env`, and not by the environment.
    pub of_env_file: BTreeSet<String>,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Source {
    Environment,
    EnvFile,
    Default,
    Unset,
}

/// A setting as it is now.
#[derive(Debug, Serialize)]
struct Shown<'s> {
    name: &'s str,
    /// Masked if it is a secret.
    value: Option<String>,
    source: Source,
    /// The file that has the value: `.env`, or that of `{name}_FILE`.
    file: Option<String>,
    default: Option<&'s str>,
    secret: bool,
    problem: Option<String>,
}

impl Environment {
    /// Returns the value of a variable; for a name with `*` at its end, the names that begin so, separated by commas.
    pub fn get(&self, name: &str) -> Option<String> {
        let Some(prefix) = name.strip_suffix('*') else {
            return self.variables.get(name).cloned();
        };
        let names = self.variables.keys();
        let names: Vec<_> = names.filter(|name| name.starts_with(prefix)).collect();
        Some(
            names
                .into_iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(","),
        )
    }

    /// Returns whether a variable counts as set, and where it is.
    fn source_of(&self, name: &str) -> Option<Source> {
        let value = self.variables.get(name)?;
        let is_of_file = self.of_env_file.contains(name);
        (!value.trim().is_empty()).then_some(match is_of_file {
            true => Source::EnvFile,
            false => Source::Environment,
        })
    }

    fn shown<'s>(&self, setting: &'s Setting, faults: &[Fault]) -> Shown<'s> {
        let name = setting.name;
        let secret = setting.is_secret;
        let mut of_name = faults.iter().filter(|fault| fault.variable == name);
        let in_file = format!("{name}_FILE");
        let (value, source, file) = match (self.source_of(name), self.source_of(&in_file)) {
            (Some(source), _) => {
                let value = self
                    .variables
                    .get(name)
                    .map(|value| masked(value.trim(), secret));
                let file = (source == Source::EnvFile).then(|| ".env".to_owned());
                (value, source, file)
            }
            (None, Some(source)) if secret => {
                let file = self.variables.get(&in_file).cloned();
                (Some(masked("", true)), source, file)
            }
            _ => match setting.default {
                Some(default) => (Some(masked(default, secret)), Source::Default, None),
                None => (None, Source::Unset, None),
            },
        };
        Shown {
            name,
            value,
            source,
            file,
            default: setting.default.filter(|_| !secret),
            secret,
            problem: of_name.next().map(|fault| fault.problem.clone()),
        }
    }

    /// Returns the names that genflow does not read, each with the setting that is probably meant.
    fn unknown(&self) -> Vec<(&str, &'static str)> {
        let read = RefCell::new(BTreeSet::new());
        let lookup = |name: &str| {
            read.borrow_mut().insert(name.to_owned());
            self.get(name)
        };
        // Faults are reported elsewhere.
        Config::load(lookup).ok();
        let read = read.into_inner();
        let prefixes = || read.iter().filter_map(|name| name.strip_suffix('*'));
        let all = catalogue::settings();
        let names = self.variables.keys().filter(|name| {
            !read.contains(*name) && !prefixes().any(|prefix| name.starts_with(prefix))
        });
        names
            .filter_map(|name| Some((name.as_str(), nearest(name, &all)?)))
            .collect()
    }
}

/// Shows the settings.
///
/// # Errors
/// The output is closed.
pub fn show(environment: &Environment, asked: &Show, out: &mut dyn Write) -> anyhow::Result<u8> {
    let faults = Config::load(|name| environment.get(name)).err();
    let faults = faults.map(|Faults(faults)| faults).unwrap_or_default();
    let part = asked
        .part
        .as_deref()
        .unwrap_or_default()
        .to_ascii_uppercase();
    let all = catalogue::settings();
    let chosen = all.iter().filter(|setting| setting.name.contains(&part));
    let chosen = chosen.map(|setting| environment.shown(setting, &faults));
    let is_wanted = |shown: &Shown<'_>| {
        !asked.set || matches!(shown.source, Source::Environment | Source::EnvFile)
    };
    let chosen: Vec<_> = chosen.filter(is_wanted).collect();
    if asked.json {
        for shown in &chosen {
            writeln!(out, "{}", serde_json::to_string(shown)?)?;
        }
        return Ok(0);
    }
    if chosen.is_empty() {
        note("no setting matches");
        return Ok(0);
    }
    let mut table = Table::new([
        Column::Left("setting"),
        Column::Left("from"),
        Column::Left("value"),
    ]);
    for shown in &chosen {
        table.row(shown.cells());
    }
    table.print(out)?;
    for shown in chosen.iter().filter(|shown| shown.problem.is_some()) {
        note(format!(
            "{}: {}",
            shown.name,
            shown.problem.as_deref().unwrap_or_default()
        ));
    }
    Ok(0)
}

impl Shown<'_> {
    fn cells(&self) -> [Cell; 3] {
        let from = match (self.source, &self.file) {
            (Source::Environment | Source::EnvFile, Some(file)) => file.clone(),
            (Source::Environment | Source::EnvFile, None) => "environment".to_owned(),
            (Source::Default, _) => "default".to_owned(),
            (Source::Unset, _) => "-".to_owned(),
        };
        let value = self.value.as_deref().unwrap_or("-");
        let is_set = matches!(self.source, Source::Environment | Source::EnvFile);
        let style = match (&self.problem, is_set) {
            (Some(_), _) => BAD,
            (None, true) => GOOD,
            (None, false) => FAINT,
        };
        [
            self.name.into(),
            Cell::from(from).styled(style),
            Cell::from(value).styled(style),
        ]
    }
}

/// Prints `faults`, which are those of the role that is asked for, and names that are probably misspelt. Returns the exit
/// code.
///
/// # Errors
/// The output is closed.
pub fn check(
    environment: &Environment,
    asked: &Check,
    faults: &[Fault],
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let unknown = environment.unknown();
    let code = match (faults, &unknown[..]) {
        ([], []) => 0,
        ([], _) => 1,
        _ => super::USAGE,
    };
    if asked.json {
        let problems = faults
            .iter()
            .map(|fault| json!({"name": fault.variable, "problem": fault.problem}));
        let names = unknown
            .iter()
            .map(|(name, nearest)| json!({"name": name, "nearest": nearest}));
        let report = json!({
            "ok": code == 0,
            "problems": problems.collect::<Vec<_>>(),
            "unknown": names.collect::<Vec<_>>(),
        });
        writeln!(out, "{report}")?;
        return Ok(code);
    }
    for Fault { variable, problem } in faults {
        writeln!(out, "{BAD}fault{BAD:#}    {variable}: {problem}")?;
    }
    for (name, nearest) in &unknown {
        writeln!(
            out,
            "{UNSURE}unknown{UNSURE:#}  {name}: genflow has no such setting; did you mean {nearest}?"
        )?;
    }
    if code == 0 {
        writeln!(
            out,
            "{GOOD}ok{GOOD:#}       no fault; genflow doctor tries the connections"
        )?;
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::cli::table::without_colors;

    fn environment() -> Environment {
        let pairs = [
            ("KAFKA_BROKERS", "kafka:9092"),
            ("KAFKA_BROKER", "kafka:9092"),
            ("LOG_LEVEL", "verbose"),
            ("SMTP_URL", "smtp://me:needle@mail.test"),
            ("VIDEO_API_KEY_FILE", "/nonexistent/key"),
            ("BFL_API_KEY", "needle"),
            ("HTTP_ADDR", " "),
        ];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Environment {
            variables: pairs.into(),
            of_env_file: BTreeSet::from(["LOG_LEVEL".to_owned()]),
        }
    }

    fn lines(asked: &Show) -> String {
        without_colors(|out| assert_eq!(show(&environment(), asked, out).unwrap(), 0))
    }

    fn asked(part: &str, set: bool) -> Show {
        Show {
            part: Some(part.to_owned()),
            set,
            json: false,
        }
    }

    #[test]
    fn a_setting_is_shown_with_where_it_comes_from_and_without_its_secret() {
        let all = lines(&asked("", false));
        let row = |name: &str| {
            let line = all
                .lines()
                .find(|line| line.starts_with(&format!("{name} ")));
            line.unwrap()
                .split_whitespace()
                .skip(1)
                .collect::<Vec<_>>()
                .join(" ")
        };

        assert!(all.starts_with("setting "), "{all}");
        assert_eq!(row("KAFKA_BROKERS"), "environment kafka:9092");
        assert_eq!(row("LOG_LEVEL"), ".env verbose");
        assert_eq!(row("HTTP_ADDR"), "default 127.0.0.1:9464");
        assert_eq!(row("SMTP_URL"), "environment ****");
        assert_eq!(row("VIDEO_API_KEY"), "/nonexistent/key ****");
        assert_eq!(row("S3_BUCKET"), "- -");
        assert_eq!(row("NOTIFY_KEYS"), "default ****");
        assert!(!all.contains("needle"), "{all}");
        assert_eq!(
            lines(&asked("log_l", true)),
            "setting    from  value\nLOG_LEVEL  .env  verbose\n"
        );
    }

    #[test]
    fn a_check_reports_faults_and_names_that_are_misspelt() {
        let asked = |json| Check {
            role: CheckedRole::All,
            json,
        };
        let environment = environment();
        let Faults(faults) = Config::load(|name| environment.get(name)).unwrap_err();
        let checked = |faults: &[Fault], json| {
            let mut code = 0;
            let text = without_colors(|out| {
                code = check(&environment, &asked(json), faults, out).unwrap();
            });
            (code, text)
        };

        let (code, text) = checked(&faults, false);
        assert_eq!(code, 64);
        assert!(
            text.contains("fault    LOG_LEVEL: is \"verbose\""),
            "{text}"
        );
        let line =
            "unknown  KAFKA_BROKER: genflow has no such setting; did you mean KAFKA_BROKERS?\n";
        assert!(text.contains(line), "{text}");
        let (code, json) = checked(&[], true);
        assert_eq!(code, 1);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["unknown"][0]["nearest"], "KAFKA_BROKERS");
        let mut out = Vec::new();
        let code = check(&Environment::default(), &asked(false), &[], &mut out).unwrap();
        assert_eq!(code, 0);
    }
}
