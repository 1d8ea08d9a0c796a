//! Reads single variables with their defaults. It collects faults, so that all are reported at once.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use reqwest::header::HeaderValue;
use url::Url;

use crate::domain::{ProviderName, Secret};

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
}

impl<'l> Vars<'l> {
    pub(super) fn new(lookup: &'l dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            lookup,
            faults: Vec::new(),
            names: Vec::new(),
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

    pub(super) fn names(self) -> Vec<&'static str> {
        self.names
    }

    pub(super) fn fault(&mut self, variable: &'static str, problem: &str) {
        self.faults.push(Fault {
            variable,
            problem: problem.to_owned(),
        });
    }

    /// An empty variable counts as not set, because that is how `.env` files leave one out.
    pub(super) fn optional(&mut self, name: &'static str) -> Option<String> {
        self.names.push(name);
        (self.lookup)(name)
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    }

    pub(super) fn string(&mut self, name: &'static str, default: &str) -> String {
        self.optional(name).unwrap_or_else(|| default.to_owned())
    }

    /// Reads a key that is sent in an HTTP header. Its faults do not show it.
    pub(super) fn key(&mut self, name: &'static str) -> Option<Secret> {
        let key = self.optional(name)?;
        if HeaderValue::from_str(&key).is_err() {
            self.fault(
                name,
                "contains a line break or another control character, expected the key alone",
            );
        }
        Some(Secret::new(key))
    }

    /// Reads a URL that may contain a user name and a password. Its faults do not show it.
    pub(super) fn secret_url(&mut self, name: &'static str, default: &str) -> Secret<Url> {
        let url = Url::parse(&self.string(name, default)).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        Secret::new(url.unwrap_or_else(|| {
            self.fault(name, "is not an http or https URL");
            no_url()
        }))
    }

    /// Reads the name of a topic, group, queue or namespace.
    pub(super) fn name(&mut self, name: &'static str, default: &str) -> String {
        let value = self.string(name, default);
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if value.len() > 200 || !value.chars().all(good) {
            self.fault(
                name,
                &format!("is {value:?}, expected letters, digits, '.', '_' or '-', at most 200"),
            );
        }
        value
    }

    pub(super) fn parsed<T: FromStr>(
        &mut self,
        name: &'static str,
        default: &str,
        wanted: &str,
    ) -> T
    where
        T::Err: fmt::Debug,
    {
        let text = self.string(name, default);
        text.parse().unwrap_or_else(|_| {
            let text = without_login(&text);
            self.fault(name, &format!("is {text:?}, expected {wanted}"));
            trusted(default.parse())
        })
    }

    pub(super) fn number(
        &mut self,
        name: &'static str,
        default: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> u64 {
        let text = self.optional(name);
        match text.as_deref().map(str::parse::<u64>) {
            None => default,
            Some(Ok(number)) if range.contains(&number) => number,
            Some(_) => {
                let (low, high, text) = (range.start(), range.end(), text.unwrap_or_default());
                self.fault(
                    name,
                    &format!("is {text:?}, expected a number from {low} to {high}"),
                );
                default
            }
        }
    }

    /// Reads a rate per second; `None`: no limit.
    pub(super) fn rate(&mut self, name: &'static str) -> Option<f64> {
        let text = self.optional(name)?;
        match text.parse::<f64>() {
            Ok(rate) if (0.001..=100_000.0).contains(&rate) => Some(rate),
            Ok(_) | Err(_) => {
                self.fault(
                    name,
                    &format!("is {text:?}, expected a number per second, from 0.001 to 100000"),
                );
                None
            }
        }
    }

    pub(super) fn flag(&mut self, name: &'static str, default: bool) -> bool {
        match self
            .optional(name)
            .map(|text| text.to_ascii_lowercase())
            .as_deref()
        {
            None => default,
            Some("true" | "1" | "yes" | "on") => true,
            Some("false" | "0" | "no" | "off") => false,
            Some(other) => {
                self.fault(name, &format!("is {other:?}, expected true or false"));
                default
            }
        }
    }

    pub(super) fn one_of(&mut self, name: &'static str, words: &[&'static str]) -> String {
        let value = self.string(name, words.first().copied().unwrap_or_default());
        if !words.contains(&value.as_str()) {
            self.fault(
                name,
                &format!("is {value:?}, expected one of: {}", words.join(", ")),
            );
        }
        value
    }

    pub(super) fn duration(&mut self, name: &'static str, default: &str) -> Duration {
        let text = self.string(name, default);
        duration(&text).unwrap_or_else(|| {
            self.fault(
                name,
                &format!("is {text:?}, expected a time above 0 such as 500ms, 30s, 5m, 2h or 7d"),
            );
            duration(default).unwrap_or_default()
        })
    }

    /// Like [`Self::duration`], but at most `longest`.
    pub(super) fn duration_up_to(
        &mut self,
        name: &'static str,
        default: &str,
        longest: &str,
    ) -> Duration {
        let given = self.duration(name, default);
        if given > duration(longest).unwrap_or_default() {
            self.fault(name, &format!("is too long, expected at most {longest}"));
        }
        given
    }

    pub(super) fn optional_duration(&mut self, name: &'static str) -> Option<Duration> {
        let text = self.optional(name)?;
        let parsed = duration(&text);
        if parsed.is_none() {
            self.fault(
                name,
                &format!("is {text:?}, expected a time above 0 such as 500ms, 30s, 5m, 2h or 7d"),
            );
        }
        parsed
    }

    pub(super) fn millis(&mut self, name: &'static str, default: &str) -> u64 {
        crate::domain::time::millis(self.duration(name, default))
    }

    pub(super) fn path(&mut self, name: &'static str, default: &Path) -> PathBuf {
        self.optional(name)
            .map_or_else(|| default.to_owned(), PathBuf::from)
    }

    pub(super) fn url(&mut self, name: &'static str, default: &str) -> Url {
        let url: Url = self.parsed(name, default, "an http or https URL");
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            self.fault(name, "is not an http or https URL");
        }
        url
    }

    pub(super) fn provider(&mut self, name: &'static str) -> ProviderName {
        let text = self.string(name, ProviderName::Replicate.as_str());
        ProviderName::parse(name, &text).unwrap_or_else(|error| {
            self.fault(name, &error.problem);
            ProviderName::Replicate
        })
    }
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

/// Returns a placeholder for a faulty URL, whose fault is noted already; the placeholder adds no fault.
pub(super) fn no_url() -> Url {
    trusted(Url::parse("http://localhost"))
}

#[expect(
    clippy::expect_used,
    reason = "defaults are part of the program; a test loads them all"
)]
fn trusted<T, E: fmt::Debug>(parsed: Result<T, E>) -> T {
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
