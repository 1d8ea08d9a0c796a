//! What a person can do about a request that did not complete, by its error code.

use crate::domain::ErrorCode;

/// Returns a sentence or two for the sender of the request.
pub(super) fn advice(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::InvalidRequest | ErrorCode::Invalid => {
            "Correct what the message names and send it as a new request."
        }
        ErrorCode::ContentPolicy => {
            "The provider's rules do not allow this prompt. Change it and send a new request."
        }
        ErrorCode::ProviderAuth => {
            "The provider does not accept the service's credentials. Its operator must correct them; then the request can be retried."
        }
        ErrorCode::ProviderQuota => {
            "The service's account at its provider has no quota or credit left. Retry the request later, or ask its operator."
        }
        ErrorCode::ProviderRefused => {
            "The provider does not accept this request. Compare its parameters with what the model accepts."
        }
        ErrorCode::ProviderFailed => "The job failed at the provider. The request can be retried.",
        ErrorCode::SubmitAmbiguous => {
            "It is not known whether the provider accepted the job, so it was not sent again. A retry may cost a second time."
        }
        ErrorCode::BudgetExceeded => {
            "The request would exceed a budget, so it was not sent and cost nothing. Send it again after the time in the message, or ask the service's operator."
        }
        ErrorCode::NotStartedInTime => {
            "The deadline passed before the request was sent to the provider; nothing was spent. Retry it, perhaps with a longer timeout."
        }
        ErrorCode::DeadlineExceeded => {
            "It took longer than its timeout allows. Retry it with a longer timeout."
        }
        ErrorCode::ResultUnavailable | ErrorCode::ResultInvalid => {
            "The provider's result cannot be fetched or opened. The request can be retried."
        }
        ErrorCode::StoreFailed => {
            "The result was generated but could not be stored. The service's operator must check the store before a retry."
        }
        ErrorCode::BatchStopped => {
            "One item failed, and this batch stops at a failure. Send the items that were not started as a new batch."
        }
        ErrorCode::BatchFailed => "No item completed. Look at the items' own errors.",
        ErrorCode::Terminated | ErrorCode::TimedOut => {
            "Its workflow was terminated or timed out. Ask the service's operator why, or retry it."
        }
        ErrorCode::Undecodable | ErrorCode::UnknownSchema => {
            "The record cannot be read. Compare its schema with the registered one."
        }
        ErrorCode::Unauthorized => "Send it with a valid API key of this user.",
        ErrorCode::TooOld => "The request was too old to run. Send it again under a new id.",
        ErrorCode::RateLimited => {
            "This user starts too many requests. Send it again after the time that the message names."
        }
        ErrorCode::CancelledBeforeStart => {
            "A cancel came before the request did. Send it again under a new id if it is wanted."
        }
        ErrorCode::RequestIdConflict => {
            "This id belongs to another request, which is not affected. Send this one under a new id."
        }
        ErrorCode::StartRefused => "The service could not start it. Ask its operator.",
        ErrorCode::Unknown => "The message says what happened. Ask the service's operator.",
    }
}
