//! `genflow doctor`: checks everything that genflow depends on, and reports findings with advice. It changes nothing
//! but its own probes.
//!
//! Each check is independent. An engine that does not answer is one finding, not twenty. The rules are those of
//! `setup`: for topics in [`crate::engines::kafka::admin`], for subjects and the dedup window in
//! [`crate::operate::setup`].

mod callbacks;
mod endpoints;
mod kafka;
mod local;
mod provider;
mod registry;
mod store;
mod temporal;

use std::fmt;

use crate::domain::error_chain::causes;
use crate::domain::shown;
use crate::engines::config::Config;
use serde::Serialize;

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Verdict {
    /// As it should be.
    #[serde(rename = "ok")]
    Ok,
    /// It could not be checked.
    #[serde(rename = "unknown")]
    Unknown,
    /// It works, but not as it should.
    #[serde(rename = "warn")]
    Warn,
    /// It does not work, or breaks a promise of the contract.
    #[serde(rename = "FAIL")]
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        })
    }
}

/// The result of one check, as it is printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked, such as `topic gen.requests`.
    pub check: String,
    pub verdict: Verdict,
    pub found: String,
    pub advice: Option<String>,
}

impl Finding {
    fn new(verdict: Verdict, check: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            verdict,
            found: found.into(),
            advice: None,
        }
    }

    fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, check, found)
    }

    fn unknown(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Verdict::Unknown, check, found)
    }

    fn warn(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Verdict::Warn, check, found)
    }

    fn fail(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Verdict::Fail, check, found)
    }

    fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// The findings of all checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// True if no check fails.
    pub ok: bool,
    /// The findings, in a fixed order of checks.
    pub checks: Vec<Finding>,
}

/// Runs all checks. To test fairness, it starts a few workflows on a task queue of their own and terminates them.
pub async fn examine(config: &Config, try_fairness: bool) -> Report {
    let engines = async {
        // Temporal comes first: its retention bounds the dedup window, which bounds the retention of requests.
        let (temporal, window) = temporal::examine(config, try_fairness).await;
        let mut kafka = kafka::examine(&config.kafka, window).await;
        if kafka
            .iter()
            .all(|finding| finding.check != "Kafka" || finding.verdict == Verdict::Ok)
        {
            kafka.extend(endpoints::examine(config).await);
        }
        (kafka, temporal)
    };
    let ((kafka, temporal), registry, provider, callbacks, store) = tokio::join!(
        Box::pin(engines),
        Box::pin(registry::examine(config)),
        Box::pin(provider::examine(config)),
        Box::pin(callbacks::examine(config)),
        Box::pin(store::examine(config)),
    );
    let local = local::examine(config);
    let checks = [kafka, registry, temporal, provider, callbacks, store, local].concat();
    Report {
        ok: checks.iter().all(|check| check.verdict != Verdict::Fail),
        checks,
    }
}

/// Returns "1 record", "2 records".
fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
