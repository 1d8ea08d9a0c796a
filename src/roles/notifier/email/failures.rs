//! What the templates of the operators' mail see. Pure.

use serde::Serialize;

use super::view::{SHORT, line, moment};
use crate::contract::digest::{Failed, Gathered};

/// Failures, for templates. `docs/notifications.md` describes these fields for authors of templates.
#[derive(Debug, Serialize)]
pub(super) struct Failures {
    /// Such as `3 requests failed`.
    title: String,
    total: u64,
    codes: Vec<Code>,
    /// The failures that came first.
    failures: Vec<Failure>,
    /// Number of failures that are not listed.
    more: u64,
}

#[derive(Debug, Serialize)]
struct Code {
    code: String,
    count: u64,
}

#[derive(Debug, Serialize)]
struct Failure {
    request: String,
    user: String,
    event: String,
    code: String,
    message: String,
    at: String,
}

impl Failures {
    /// Returns the view of a digest; untrusted text becomes one line.
    pub(super) fn of(gathered: &Gathered) -> Self {
        let codes = gathered.codes.iter().map(|(code, count)| Code {
            code: line(code, SHORT),
            count: *count,
        });
        let reported = gathered.first.len() as u64;
        Self {
            title: line(&gathered.title(), SHORT),
            total: gathered.total,
            codes: codes.collect(),
            failures: gathered.first.iter().map(Failure::of).collect(),
            more: gathered.total.saturating_sub(reported),
        }
    }
}

impl Failure {
    fn of(failed: &Failed) -> Self {
        let short = |text: &str| line(text, SHORT);
        Self {
            request: short(&failed.request_id),
            user: short(&failed.user_id),
            event: short(&failed.event_id),
            code: short(&failed.code),
            message: short(&failed.message),
            at: moment(failed.occurred_at),
        }
    }
}
