//! Reads single variables with their defaults. It collects faults, so that all are reported at once.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use reqwest::header::HeaderValue;
use url::Url;

use super::secret_file;
use crate::domain::{Credential, parse_http_url};

/// A fault of one variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Name of the variable.
    pub variable: &'static str,
    /// What is wrong and what is expected; follows the name and a colon.
    pub problem: String,
}

/// All faults of the environment; displays one per line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Fault { variable, problem }) in self.0.iter().enumerate() {
            let line = if at == 0 { "" } else { "\n" };
            write!(f, "{line}{variable}: {problem}")?;
        }
        Ok(())
    }
}

/// Reads variables and collects their faults.
pub(super) struct Vars<'l> {
    lookup: &'l dyn Fn(&str) -> Option<String>,
    faults: Vec<Fault>,
    names: Vec<&'static str>,
    secrets: SecretNames,
}

/// The variables of secrets, which can also be in files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SecretNames {
    /// Their files are read again while genflow runs.
    pub(super) renewed: Vec<&'static str>,
    /// Their files are read at the start only.
    pub(super) fixed: Vec<&'static str>,
}

const NO_KEY: &str = "contains a line break or another control character, expected the key alone";

impl<'l> Vars<'l> {
    pub(super) fn new(lookup: &'l dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            lookup,
            faults: Vec::new(),
            names: Vec::new(),
            secrets: SecretNames::default(),
        }
    }

    /// Returns `value`, or all faults, including those that `further` finds.
    pub(super) fn finish<T>(
        mut self,
        value: T,
        further: impl FnOnce(&T) -> Vec<Fault>,
    ) -> Result<T, Faults> {
        self.faults.extend(further(&value));
        if self.faults.is_empty() {
            Ok(value)
        } else {
            Err(Faults(self.faults))
        }
    }

    pub(super) fn names(self) -> (Vec<&'static str>, SecretNames) {
        (self.names, self.secrets)
    }

    pub(super) fn fault(&mut self, variable: &'static str, problem: &str) {
        self.faults.push(Fault {
            variable,
            problem: problem.to_owned(),
        });
    }

    pub(super) fn has_fault(&self, variable: &str) -> bool {
        self.faults.iter().any(|fault| fault.variable == variable)
    }

    /// Returns whether a variable is set, or the file that `{name}_FILE` names for a secret.
    pub(super) fn is_set(&self, name: &str) -> bool {
        let file = format!("{name}_FILE");
        self.set_by_platform(name).is_some() || self.set_by_platform(&file).is_some()
    }

    /// An empty variable counts as not set, because that is how `.env` files leave one out.
    pub(super) fn optional(&mut self, name: &'static str) -> Option<String> {
        self.names.push(name);
        self.set_by_platform(name)
    }

    /// Reads a variable whose value is a secret: from the variable, or, at the start only, from the file that
    /// `{name}_FILE` names.
    pub(super) fn secret(&mut self, name: &'static str) -> Option<String> {
        self.names.push(name);
        self.secrets.fixed.push(name);
        let (value, _) = self.value_or_file(name, name)?;
        Some(value)
    }

    /// Reads `{name}`, else the file that `{name}_FILE` names; returns the path of that file too. A fault belongs to
    /// `variable`.
    fn value_or_file(
        &mut self,
        variable: &'static str,
        name: &str,
    ) -> Option<(String, Option<PathBuf>)> {
        let value = self.set_by_platform(name);
        let file_name = format!("{name}_FILE");
        let Some(path) = self.set_by_platform(&file_name) else {
            return value.map(|value| (value, None));
        };
        if value.is_some() {
            let problem = format!("{file_name} is set as well as {name}, expected only one");
            self.fault(variable, &problem);
            return None;
        }
        let path = PathBuf::from(path);
        match secret_file::read(&path) {
            Ok(value) => Some((value, Some(path))),
            Err(problem) => {
                self.fault(variable, &format!("{file_name} names {problem}"));
                None
            }
        }
    }

    /// Like [`Self::optional`], for a variable that is not a setting, so `.env.example` does not list it.
    pub(super) fn set_by_platform(&self, name: &str) -> Option<String> {
        (self.lookup)(name)
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    }

    /// Returns the names that begin with `prefix`: the lookup knows them as `{prefix}*`, separated by commas.
    pub(super) fn names_with(&self, prefix: &str) -> Vec<String> {
        let names = (self.lookup)(&format!("{prefix}*")).unwrap_or_default();
        let names = names.split(',').filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    }

    pub(super) fn string(&mut self, name: &'static str, default: &str) -> String {
        self.optional(name).unwrap_or_else(|| default.to_owned())
    }

    /// Reads a variable with `parse`. If it cannot be parsed, the fault says what is expected.
    pub(super) fn read<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.optional(name)?;
        let value = parse(&text);
        if value.is_none() {
            let text = without_login(&text);
            self.fault(name, &format!("is {text:?}, expected {expected}"));
        }
        value
    }

    /// Reads a key that is sent in an HTTP header, from the variable or its file. A key in a file may change while
    /// genflow runs. Its faults do not show it.
    pub(super) fn key(&mut self, name: &'static str) -> Option<Credential> {
        self.names.push(name);
        self.secrets.renewed.push(name);
        self.key_of(name, name)
    }

    /// Like [`Self::key`], for a variable that the file of the variable `file` names.
    pub(super) fn key_of(&mut self, file: &'static str, name: &str) -> Option<Credential> {
        let (key, path) = self.value_or_file(file, name)?;
        if !is_key(&key) {
            let which = if file == name { "" } else { name };
            self.fault(file, format!("{which} {NO_KEY}").trim_start());
        }
        Some(match path {
            Some(path) => secret_file::followed(&format!("{name}_FILE"), path, key, is_key),
            None => Credential::new(key),
        })
    }

    pub(super) fn url(&mut self, name: &'static str, default: &str) -> Url {
        let url = self.read(name, "an http or https URL", parse_http_url);
        url.unwrap_or_else(|| trusted(Url::parse(default)))
    }

    /// Reads the name of a topic, group, queue or namespace.
    pub(super) fn name(&mut self, name: &'static str, default: &str) -> String {
        let given = self.optional_name(name);
        given.unwrap_or_else(|| default.to_owned())
    }

    pub(super) fn optional_name(&mut self, name: &'static str) -> Option<String> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let expected = "at most 200 letters, digits, '.', '_' or '-'";
        self.read(name, expected, |text| {
            (text.len() <= 200 && text.chars().all(good)).then(|| text.to_owned())
        })
    }

    pub(super) fn parsed<T: FromStr>(
        &mut self,
        name: &'static str,
        default: &str,
        expected: &str,
    ) -> T
    where
        T::Err: fmt::Debug,
    {
        let given = self.read(name, expected, |text| text.parse().ok());
        given.unwrap_or_else(|| trusted(default.parse()))
    }

    pub(super) fn number(
        &mut self,
        name: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> u64 {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        let in_range = |number: &u64| range.contains(number);
        let given = self.read(name, &expected, |text| text.parse().ok().filter(in_range));
        given.unwrap_or(default)
    }

    /// Reads a rate per second; `None`: no limit.
    pub(super) fn rate(&mut self, name: &'static str) -> Option<f64> {
        self.read(name, RATES, |text| text.parse().ok().filter(is_rate))
    }

    pub(super) fn flag(&mut self, name: &'static str, default: bool) -> bool {
        self.optional_flag(name).unwrap_or(default)
    }

    pub(super) fn optional_flag(&mut self, name: &'static str) -> Option<bool> {
        self.read(name, "true or false", |text| {
            match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Some(true),
                "false" | "0" | "no" | "off" => Some(false),
                _ => None,
            }
        })
    }

    pub(super) fn duration(&mut self, name: &'static str, default: &str) -> Duration {
        let given = self.optional_duration(name);
        given.unwrap_or_else(|| duration(default).unwrap_or_default())
    }

    pub(super) fn optional_duration(&mut self, name: &'static str) -> Option<Duration> {
        let expected = "a time above 0 such as 500ms, 30s, 5m, 2h or 7d";
        self.read(name, expected, duration)
    }

    /// Reads a time within bounds, which are included.
    pub(super) fn duration_within(
        &mut self,
        name: &'static str,
        default: &str,
        bounds: RangeInclusive<&str>,
    ) -> Duration {
        let (shortest, longest) = (*bounds.start(), *bounds.end());
        let given = self.duration(name, default);
        if Some(given) < duration(shortest) || Some(given) > duration(longest) {
            let problem = format!("is {given:?}, expected a time from {shortest} to {longest}");
            self.fault(name, &problem);
        }
        given
    }

    pub(super) fn path(&mut self, name: &'static str, default: &Path) -> PathBuf {
        self.optional(name)
            .map_or_else(|| default.to_owned(), PathBuf::from)
    }
}

/// Returns whether an HTTP header can contain a key.
pub(super) fn is_key(text: &str) -> bool {
    HeaderValue::from_str(text).is_ok()
}

/// The rates that [`is_rate`] accepts.
pub(super) const RATES: &str = "a number per second, from 0.001 to 100000";

/// Returns whether a number is a rate per second.
pub(super) fn is_rate(rate: &f64) -> bool {
    (0.001..=100_000.0).contains(rate)
}

/// Returns whether a URL contains a user name or a password.
pub(super) fn has_login(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// Hides the login of a value that may be a URL: everything before the last `@`.
pub(super) fn without_login(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => text.to_owned(),
    }
}

#[expect(
    clippy::expect_used,
    reason = "defaults are part of the program; a test loads them all"
)]
pub(super) fn trusted<T, E: fmt::Debug>(parsed: Result<T, E>) -> T {
    parsed.expect("a built-in default is valid")
}

/// Parses a number and a unit: `500ms`, `30s`, `5m`, `2h`, `7d`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(at)?;
    let number: u64 = number.parse().ok().filter(|number| *number > 0)?;
    let seconds = |each: u64| number.checked_mul(each).map(Duration::from_secs);
    match unit.trim() {
        "ms" => Some(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3600),
        "d" => seconds(86_400),
        _ => None,
    }
}
