//! What intake does with a record when a system that it needs fails.

use crate::contract::avro;
use crate::domain::ErrorCode;
use crate::engines::kafka::consumer::{BoxError, Cause, Failed, Failure, Rejection};
use crate::engines::publisher;
use crate::engines::registry;
use crate::engines::registry::EncodeError;
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
        registry::Error::Call(_) | registry::Error::Refused { .. } => {
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

/// Returns which system an event could not be published for.
pub(super) fn of_publisher(error: publisher::Error) -> Failed {
    let cause = match &error {
        publisher::Error::Encode(EncodeError::Registry(_)) => Cause::RegistryUnavailable,
        publisher::Error::Encode(EncodeError::Value(_)) => Cause::Internal,
        publisher::Error::Send(_) => Cause::KafkaUnavailable,
    };
    (cause, error.into())
}

pub(super) fn reject(reason: ErrorCode, error: anyhow::Error) -> Failure {
    Failure::Reject(Rejection::new(reason, error))
}

pub(super) fn internal(error: impl Into<BoxError>) -> Failure {
    Failure::Retry(Cause::Internal, error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_lacks_its_schema_is_not_blamed_on_kafka() {
        let registry = EncodeError::from(registry::Error::Unknown(7));

        let (cause, _) = of_publisher(registry.into());

        assert_eq!(cause, Cause::RegistryUnavailable);
    }
}
