//! What intake does with a record when a system that it needs fails.

use crate::contract::avro;
use crate::domain::ErrorCode;
use crate::engines::kafka::consumer::{BoxError, Cause, Failure, Rejection};
use crate::engines::registry;
use crate::engines::temporal::client::{self, Blame};

/// A value that cannot be decoded, or is not valid, is dead-lettered.
pub(super) fn of_avro(error: avro::Error) -> Failure {
    let reason = match &error {
        avro::Error::Unframed(_) | avro::Error::LeftOver | avro::Error::Datum(_) => {
            ErrorCode::Undecodable
        }
        avro::Error::Invalid { .. } => ErrorCode::Invalid,
    };
    reject(reason, error.into())
}

/// A schema that the registry lacks, or that is not supported, dead-letters the record; an unavailable registry holds
/// it.
pub(super) fn of_registry(error: registry::Error) -> Failure {
    match error {
        registry::Error::Unknown(_) => reject(ErrorCode::UnknownSchema, error.into()),
        registry::Error::Unparsable(..) => reject(ErrorCode::Undecodable, error.into()),
        registry::Error::Unavailable(_) | registry::Error::Refused { .. } => {
            Failure::Retry(Cause::RegistryUnavailable, error.into())
        }
    }
}

/// Only what Temporal refuses because of the record itself dead-letters it.
pub(super) fn of_temporal(error: client::Error) -> Failure {
    let cause = match error.blame() {
        Blame::Record => return reject(ErrorCode::StartRefused, error.into()),
        Blame::Connection => Cause::TemporalUnavailable,
        Blame::Load => Cause::TemporalExhausted,
        Blame::System => Cause::TemporalRefused,
    };
    Failure::Retry(cause, error.into())
}

pub(super) fn reject(reason: ErrorCode, error: anyhow::Error) -> Failure {
    Failure::Reject(Rejection::new(reason, error))
}

pub(super) fn internal(error: impl Into<BoxError>) -> Failure {
    Failure::Retry(Cause::Internal, error.into())
}
