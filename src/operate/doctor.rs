//! `genflow doctor`: looks at all that genflow needs, changes nothing, and says what is so and what to do.
//!
//! Each check is independent. What an engine that is away cannot tell is one line, not twenty. The rules are those of
//! `setup`: topics by [`crate::engines::kafka::admin`], subjects and the dedup window by [`crate::operate::setup`].

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

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Verdict {
    /// As it should be.
    #[serde(rename = "ok")]
    Ok,
    /// It could not be found out.
    #[serde(rename = "unknown")]
    Unknown,
    /// It works, and not as it should.
    #[serde(rename = "warn")]
    Warn,
    /// It does not work, or a promise does not hold.
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

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What is so.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
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

/// What all checks found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether nothing fails.
    pub ok: bool,
    /// Each check, in a fixed order.
    pub checks: Vec<Finding>,
}

/// Makes all checks. To try fairness starts a few workflows on a queue of their own, and ends them.
pub async fn examine(config: &Config, try_fairness: bool) -> Report {
    let engines = async {
        // Temporal first: its retention bounds the dedup window, and that the retention of requests.
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
    let ((kafka, temporal), registry, provider, store) = tokio::join!(
        Box::pin(engines),
        Box::pin(registry::examine(config)),
        Box::pin(provider::examine(config)),
        Box::pin(store::examine(config)),
    );
    let local = local::examine(config);
    let checks = [kafka, registry, temporal, provider, store, local].concat();
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
