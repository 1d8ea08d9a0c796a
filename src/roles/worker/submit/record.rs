//! The record of an attempt at the server: who may send, how it is stored, how it is handed on.
//!
//! The SDK's own heartbeats are queued and throttled, and one that says less could overtake the fence. So before the
//! fence only raw calls are made, and after it the SDK's heartbeats say nothing but "maybe" until the answer is known.

use anyhow::anyhow;
use serde::Serialize;
use temporalio_client::tonic::{Code, IntoRequest as _};
use temporalio_common::protos::temporal::api::common::v1::{Payload, Payloads};
use temporalio_common::protos::temporal::api::workflowservice::v1::RecordActivityTaskHeartbeatRequest;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use crate::contract::run::{Attempt, Job, Sent, Submitted};
use crate::domain::ProviderName;
use crate::engines::clock::now;
use crate::engines::temporal::activity::Aborted;
use crate::engines::temporal::activity::{every, failure};

/// Why a record was not stored, or is not known to be.
pub(crate) enum Unstored {
    /// Its run shall end; the attempt is the current one.
    CancelRequested,
    /// The attempt is no longer the current one.
    NotCurrent,
    /// The server did not answer, and may have stored it.
    Unanswered(anyhow::Error),
}

impl Unstored {
    /// Returns how an attempt ends that goes no further; `record` is what holds of it.
    pub(super) fn into_error(self, record: Attempt) -> ActivityError {
        match self {
            Self::CancelRequested | Self::NotCurrent => cancelled(record),
            Self::Unanswered(error) => failure(Aborted::Again(error)),
        }
    }
}

impl Attempt {
    /// Returns the end of a submit by which the provider has the job.
    pub(super) fn accepted(self, job: Job) -> Submitted {
        Submitted::Accepted {
            job,
            attempts: self.sends,
            sent_at: self.first_at,
        }
    }
}

/// Returns what is known when an attempt begins; `is_first` unless another was scheduled before it.
///
/// No attempt sends before the server has its "maybe". So without a record none has sent, unless this is attempt 1 again:
/// then an operator has reset the activity and dropped the record, and an earlier attempt may still wait for its answer.
pub(super) fn take_over(
    number: u32,
    is_first: bool,
    provider: ProviderName,
    previous: Option<Attempt>,
) -> Attempt {
    let dropped = number == 1 && !is_first;
    let fresh = Attempt {
        number,
        state: if dropped {
            Sent::Maybe
        } else {
            Sent::NotAccepted
        },
        provider,
        sends: 0,
        first_at: None,
        waiting_since: dropped.then(now),
    };
    previous.map_or(fresh, |record| Attempt { number, ..record })
}

/// Says whether an attempt may send; `is_first` unless another was scheduled before it.
pub(super) fn may_send(number: u32, is_first: bool, previous: Option<Attempt>) -> bool {
    match previous {
        None => number == 1 && is_first,
        Some(record) => record.number == number - 1 && record.state == Sent::NotAccepted,
    }
}

/// Ends an attempt that was told to stop; its record goes to the workflow, if it is the current attempt.
pub(super) fn cancelled(record: Attempt) -> ActivityError {
    ActivityError::Cancelled {
        details: Some(record.into()),
    }
}

/// Ends an attempt such that the next one may send.
pub(super) async fn clear<T>(
    ctx: &ActivityContext,
    cleared: Attempt,
    why: anyhow::Error,
) -> Result<T, ActivityError> {
    // Goes to the server with the failure itself: the next attempt finds it.
    ctx.record_heartbeat(cleared).await?;
    Err(failure(Aborted::Again(why)))
}

/// Works, and reports meanwhile that this attempt lives and may have sent.
pub(super) async fn alive<T>(
    ctx: &ActivityContext,
    record: Attempt,
    work: impl Future<Output = T>,
) -> Result<T, ActivityError> {
    let mut work = std::pin::pin!(work);
    loop {
        ctx.record_heartbeat(record).await?;
        tokio::select! {
            done = &mut work => return Ok(done),
            () = tokio::time::sleep(every(ctx)) => {}
        }
    }
}

/// Stores what an attempt has to say at the server, as the details of its heartbeat, and waits for the answer.
pub(crate) async fn store(ctx: &ActivityContext, record: impl Serialize) -> Result<(), Unstored> {
    let data = serde_json::to_vec(&record).map_err(|error| Unstored::Unanswered(error.into()))?;
    let metadata = [("encoding".to_owned(), b"json/plain".to_vec())].into();
    let details = Payloads {
        payloads: vec![Payload {
            metadata,
            data,
            ..Payload::default()
        }],
    };
    let request = RecordActivityTaskHeartbeatRequest {
        namespace: ctx.info().namespace.clone(),
        task_token: ctx.info().task_token.clone(),
        details: Some(details),
        ..RecordActivityTaskHeartbeatRequest::default()
    };
    let answer = ctx
        .client()
        .connection()
        .workflow_service()
        .record_activity_task_heartbeat(request.into_request())
        .await;
    match answer {
        Ok(answer) if answer.get_ref().cancel_requested => Err(Unstored::CancelRequested),
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::NotFound => Err(Unstored::NotCurrent),
        Err(status) => Err(Unstored::Unanswered(
            anyhow!(status).context("the record was not stored"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u32, state: Sent) -> Option<Attempt> {
        Some(Attempt {
            number,
            state,
            provider: ProviderName::Fal,
            sends: 1,
            first_at: Some(7),
            waiting_since: Some(8),
        })
    }

    #[test]
    fn only_a_first_attempt_or_one_whose_predecessor_was_not_accepted_may_send() {
        assert!(may_send(1, true, None));
        assert!(may_send(2, true, record(1, Sent::NotAccepted)));
        assert!(!may_send(2, true, None));
        assert!(!may_send(2, true, record(1, Sent::Maybe)));
        assert!(!may_send(3, true, record(1, Sent::NotAccepted)));
    }

    #[test]
    fn an_attempt_after_a_reset_by_hand_does_not_send() {
        assert!(!may_send(1, false, None), "the record was dropped");
        assert!(!may_send(1, false, record(3, Sent::Maybe)), "it was kept");
        assert!(!may_send(1, false, record(3, Sent::NotAccepted)));
        let dropped = take_over(1, false, ProviderName::Fal, None);
        assert_eq!(dropped.state, Sent::Maybe, "it may have been sent");
        assert!(dropped.waiting_since.is_some());
    }

    #[test]
    fn the_record_of_a_submit_that_may_have_been_sent_is_taken_over_as_it_is() {
        let taken = take_over(3, true, ProviderName::Replicate, record(1, Sent::Maybe));

        assert_eq!((taken.number, taken.state), (3, Sent::Maybe));
        // The provider that was asked, and not the one that would be asked now.
        assert_eq!(taken.provider, ProviderName::Fal);
        assert_eq!(taken.waiting_since, Some(8));
    }

    #[test]
    fn a_cleared_record_lets_the_next_attempt_send() {
        let cleared = take_over(3, true, ProviderName::Fal, record(1, Sent::Maybe)).cleared();

        assert!(may_send(4, true, Some(cleared)));
        assert_eq!((cleared.sends, cleared.first_at), (1, Some(7)));
        assert_eq!(cleared.waiting_since, None);
        let none = take_over(2, true, ProviderName::Fal, None);
        assert_eq!((none.state, none.waiting_since), (Sent::NotAccepted, None));
    }
}
