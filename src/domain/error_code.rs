//! Why a request did not complete or a record was refused, as one code.
//!
//! Writers use only the codes of this list. Readers must accept others, of a later version.

use serde::{Deserialize, Serialize};

/// The closed list of error codes (contract, section 5), those of refused records included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum ErrorCode {
    InvalidRequest,
    ContentPolicy,
    ProviderAuth,
    ProviderQuota,
    ProviderRefused,
    ProviderFailed,
    SubmitAmbiguous,
    BudgetExceeded,
    NotStartedInTime,
    DeadlineExceeded,
    ResultUnavailable,
    ResultInvalid,
    StoreFailed,
    BatchStopped,
    BatchFailed,
    Terminated,
    TimedOut,
    Undecodable,
    UnknownSchema,
    Invalid,
    Unauthorized,
    TooOld,
    RateLimited,
    CancelledBeforeStart,
    RequestIdConflict,
    StartRefused,
    /// A code of a later version: it is read, never decided. It must stay last, for the check of `ALL` below.
    Unknown,
}

impl ErrorCode {
    pub(crate) const ALL: [(Self, &'static str); 27] = [
        (Self::InvalidRequest, "invalid_request"),
        (Self::ContentPolicy, "content_policy"),
        (Self::ProviderAuth, "provider_auth"),
        (Self::ProviderQuota, "provider_quota"),
        (Self::ProviderRefused, "provider_refused"),
        (Self::ProviderFailed, "provider_failed"),
        (Self::SubmitAmbiguous, "submit_ambiguous"),
        (Self::BudgetExceeded, "budget_exceeded"),
        (Self::NotStartedInTime, "not_started_in_time"),
        (Self::DeadlineExceeded, "deadline_exceeded"),
        (Self::ResultUnavailable, "result_unavailable"),
        (Self::ResultInvalid, "result_invalid"),
        (Self::StoreFailed, "store_failed"),
        (Self::BatchStopped, "batch_stopped"),
        (Self::BatchFailed, "batch_failed"),
        (Self::Terminated, "terminated"),
        (Self::TimedOut, "timed_out"),
        (Self::Undecodable, "undecodable"),
        (Self::UnknownSchema, "unknown_schema"),
        (Self::Invalid, "invalid"),
        (Self::Unauthorized, "unauthorized"),
        (Self::TooOld, "too_old"),
        (Self::RateLimited, "rate_limited"),
        (Self::CancelledBeforeStart, "cancelled_before_start"),
        (Self::RequestIdConflict, "request_id_conflict"),
        (Self::StartRefused, "start_refused"),
        (Self::Unknown, "unknown"),
    ];

    /// Why a consumer dead-letters a record: the codes of `dlq.reason`. A given-up notification has the code of a
    /// delivery error there.
    pub const REASONS: [Self; 9] = [
        Self::Undecodable,
        Self::UnknownSchema,
        Self::Invalid,
        Self::Unauthorized,
        Self::TooOld,
        Self::RateLimited,
        Self::CancelledBeforeStart,
        Self::RequestIdConflict,
        Self::StartRefused,
    ];

    /// Returns the code as events and `dlq.reason` spell it.
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(code, _)| *code == self)
            .map_or("", |(_, name)| name)
    }
}

// Does not compile if `ALL` lacks a code.
const _: () = assert!(ErrorCode::ALL.len() == ErrorCode::Unknown as usize + 1);

impl From<ErrorCode> for String {
    fn from(code: ErrorCode) -> Self {
        code.as_str().to_owned()
    }
}

impl From<String> for ErrorCode {
    fn from(raw: String) -> Self {
        let found = Self::ALL.iter().find(|(_, name)| *name == raw);
        found.map_or(Self::Unknown, |(code, _)| *code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_code_has_a_name_of_its_own_and_reads_back() {
        for (code, name) in ErrorCode::ALL {
            assert_eq!(code.as_str(), name);
            assert_eq!(ErrorCode::from(name.to_owned()), code);
        }
    }

    #[test]
    fn the_docs_explain_every_code() {
        let page = include_str!("../../docs/events.md");
        for (code, name) in ErrorCode::ALL {
            let row = page.lines().find(|line| {
                let codes = line.split('|').nth(1).unwrap_or_default();
                line.starts_with('|') && codes.contains(&format!("`{name}`"))
            });
            assert!(row.is_some() || code == ErrorCode::Unknown, "{name}");
        }
    }

    #[test]
    fn a_code_of_a_later_version_is_read_as_unknown() {
        let read: ErrorCode = serde_json::from_str(r#""out_of_paint""#).unwrap();

        assert_eq!(read, ErrorCode::Unknown);
    }
}
