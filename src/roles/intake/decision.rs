//! Decides what happens to a request's record, by the workflow that has its id and the reason to refuse it; pure.

use anyhow::anyhow;

use super::failures::reject;
use crate::domain::{ErrorCode, RequestId};
use crate::engines::kafka::consumer::Failure;
use crate::engines::temporal::client::Started;

/// What intake does with a record that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Its request is to be started, or just was.
    Start,
    /// Its request runs or ran already.
    Repeat,
}

/// Decides by the `holder` of the request id (`None` or [`Started::New`] if no earlier workflow holds it), and by the
/// `refusal` that applies unless the record is a duplicate.
pub(super) fn decide(
    holder: Option<Started>,
    refusal: Option<Failure>,
    id: &RequestId,
) -> Result<Decision, Failure> {
    match (holder, refusal) {
        (Some(Started::Duplicate), _) => Ok(Decision::Repeat),
        (_, Some(refusal)) => Err(refusal),
        (None | Some(Started::New), None) => Ok(Decision::Start),
        (Some(Started::Conflict), None) => Err(reject(
            ErrorCode::RequestIdConflict,
            anyhow!("request_id {id} is taken by a request with different content"),
        )),
        (Some(Started::Claimed), None) => Err(reject(
            ErrorCode::CancelledBeforeStart,
            anyhow!("request_id {id} was cancelled before the request arrived"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duplicate_is_never_refused_and_a_refusal_comes_before_a_conflict() {
        use {Decision::*, ErrorCode as Code, Started::*};
        for (holder, refusal, expected) in [
            (None, None, Ok(Start)),
            (Some(New), None, Ok(Start)),
            (Some(Duplicate), None, Ok(Repeat)),
            (Some(Conflict), None, Err(Code::RequestIdConflict)),
            (Some(Claimed), None, Err(Code::CancelledBeforeStart)),
            (None, Some(Code::TooOld), Err(Code::TooOld)),
            (Some(Duplicate), Some(Code::TooOld), Ok(Repeat)),
            (Some(Conflict), Some(Code::TooOld), Err(Code::TooOld)),
            (Some(Claimed), Some(Code::Invalid), Err(Code::Invalid)),
        ] {
            let failure = refusal.map(|code| reject(code, anyhow!("refused")));

            let decided = decide(
                holder,
                failure,
                &RequestId::try_from("a".to_owned()).unwrap(),
            );

            let decided = decided.map_err(|failure| match failure {
                Failure::Reject(rejection) => rejection.reason,
                Failure::Retry(..) => panic!("a decision is final"),
            });
            assert_eq!(decided, expected, "{holder:?} {refusal:?}");
        }
    }
}
