//! What a person can do about a request that did not complete, by its error code.

use crate::domain::ErrorCode;

/// Returns a sentence or two for whoever sent the request.
pub(super) fn advice(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::InvalidRequest | ErrorCode::Invalid => {
            "Correct what the message names and send it as a new request."
        }
        ErrorCode::ContentPolicy => {
            "The provider's rules do not allow this prompt. Change it and send a new request."
        }
        ErrorCode::ProviderAuth => {
            "The service is not let in by its provider. Its operator has to look; then the request can be retried."
        }
        ErrorCode::ProviderQuota => {
            "The service's account at its provider is used up. Retry the request later, or ask its operator."
        }
        ErrorCode::ProviderRefused => {
            "The provider does not take this request. Compare its parameters with what the model takes."
        }
        ErrorCode::ProviderFailed => "The provider could not make it. The request can be retried.",
        ErrorCode::SubmitAmbiguous => {
            "It is not known whether the provider took the order, so it was not sent twice. Retrying it may cost a second time."
        }
        ErrorCode::NotStartedInTime => {
            "The deadline passed before it was its turn; nothing was spent. Retry it, perhaps with a longer timeout."
        }
        ErrorCode::DeadlineExceeded => {
            "It took longer than its timeout allows. Retry it with a longer timeout."
        }
        ErrorCode::ResultUnavailable | ErrorCode::ResultInvalid => {
            "The provider made something that cannot be fetched or opened. The request can be retried."
        }
        ErrorCode::StoreFailed => {
            "The result was made and could not be stored. The service's operator has to look before it is retried."
        }
        ErrorCode::BatchStopped => {
            "One item failed and the batch is to stop then. Send what was not started as a new batch."
        }
        ErrorCode::BatchFailed => "No item completed. Look at the items' own errors.",
        ErrorCode::Terminated | ErrorCode::TimedOut => {
            "It was ended from outside. Ask the service's operator why, or retry it."
        }
        ErrorCode::Undecodable | ErrorCode::UnknownSchema => {
            "The record cannot be read. Compare its schema with the one that is registered."
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
            "This id belongs to another request, which goes on undisturbed. Send this one under a new id."
        }
        ErrorCode::StartRefused => "The service could not start it. Ask its operator.",
        ErrorCode::Unknown => "The message says what happened. Ask the service's operator.",
    }
}
