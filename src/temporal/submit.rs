//! `submit.v1`: at most one submit is ever sent for a run (contract, promise 3).
//!
//! The server keeps the record of the last attempt, [`Attempt`]. Attempt n may send only if n = 1, or if that record
//! carries n − 1 and says that nothing was accepted. Right before the send the record becomes "maybe", by a heartbeat
//! that the server answers: if it says that this is no longer the current attempt, nothing is sent. The answer is good
//! only while it is fresh, so it is held once more against the clock when the connection stands and the body is due:
//! a process that was paused in between may have lost its run, and then it asks again.
//!
//! An attempt that finds another record looks the job up by our id. One that may have been sent and is not found ends
//! the run as ambiguous. If the record says that no attempt got to its send (an attempt in between was lost on its way
//! to a worker), this one takes the record over, and the attempt after it may send.
//!
//! The SDK's own heartbeats are queued and throttled, and one that says less could overtake the fence. So before the
//! fence only raw calls are made, and after it the SDK is told nothing but "maybe" until the answer is known.

use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use serde::Serialize;
use temporalio_client::tonic::{Code, IntoRequest as _};
use temporalio_common::error::ApplicationFailure;
use temporalio_common::protos::temporal::api::common::v1::{Payload, Payloads};
use temporalio_common::protos::temporal::api::workflowservice::v1::RecordActivityTaskHeartbeatRequest;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use super::activities::{every, failure};
use super::steps::{Attempt, Handed, Job, Sent, Submit, Submitted};
use crate::clock::{now, span};
use crate::domain::ErrorCode;
use crate::failpoint;
use crate::provider::{NotCurrent, Provider, Submission};
use crate::telemetry::events::RunBegan;
use crate::work::{Aborted, Work, call};

/// How often a job is looked for before it counts as not there: a list may lag behind what was accepted.
const LOOKS: u32 = 5;
/// Pause before a submit whose outputs have no place in memory yet is tried again; nothing was sent.
const FOR_MEMORY: Duration = Duration::from_secs(5);
/// Pause between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

pub(super) async fn run(
    work: &Work,
    ctx: &ActivityContext,
    input: Submit,
) -> Result<Submitted, ActivityError> {
    let number = ctx.info().attempt;
    let previous: Option<Attempt> = ctx.heartbeat_details().deserialize()?;
    let mine = take_over(number, previous);
    if may_send(number, previous) {
        send(work, ctx, &input, mine).await
    } else {
        reconcile(work, ctx, &input, mine).await
    }
}

/// What is known when an attempt begins. No attempt sends before the server has its "maybe": without one, none has sent.
fn take_over(number: u32, previous: Option<Attempt>) -> Attempt {
    Attempt {
        number,
        state: previous.map_or(Sent::NotAccepted, |record| record.state),
        sends: previous.map_or(0, |record| record.sends),
        first_at: previous.and_then(|record| record.first_at),
    }
}

fn may_send(number: u32, previous: Option<Attempt>) -> bool {
    let cleared =
        |record: Attempt| record.number == number - 1 && record.state == Sent::NotAccepted;
    // An operator's reset of the activity counts anew and leaves the record.
    match previous {
        None => number == 1,
        Some(record) => cleared(record),
    }
}

async fn send(
    work: &Work,
    ctx: &ActivityContext,
    input: &Submit,
    mine: Attempt,
) -> Result<Submitted, ActivityError> {
    let cleared = Attempt {
        state: Sent::NotAccepted,
        ..mine
    };
    store(ctx, cleared).await?;
    if let Some(adopted) = before(work, ctx, input).await? {
        return Ok(adopted);
    }
    let provider = work.providers.of(&input.spec);
    let Some(_held) = provider.hold(&input.spec) else {
        return Err(failure(Aborted::Waits(FOR_MEMORY)));
    };
    failpoint::hit("submit.fencing").await;
    let first_at = mine.first_at.unwrap_or_else(now);
    let fence = Attempt {
        state: Sent::Maybe,
        sends: mine.sends + 1,
        first_at: Some(first_at),
        ..mine
    };
    let asked = Instant::now();
    store(ctx, fence).await?;

    let submitting = async {
        let began = Instant::now();
        let go = fresh(ctx.clone(), fence, asked);
        let submission = provider
            .submit(&input.handed.workflow, &input.spec, go)
            .await;
        tally(provider, &submission, began.elapsed());
        submission
    };
    let submission = telling(ctx, fence, submitting).await?;
    failpoint::hit("submit.sent").await;
    if mine.sends == 0 {
        let kind = input.spec.kind();
        let waited = span(input.started_at, first_at);
        RunBegan { kind, waited }.emit();
    }
    match submission {
        Submission::Accepted(job) => Ok(Submitted::Accepted {
            job,
            attempts: fence.sends,
            sent_at: fence.first_at,
        }),
        Submission::Made(made) => {
            let keeping = work.keep(&input.handed, &input.spec, made, input.started_at);
            let kept = telling(ctx, fence, keeping).await?;
            failpoint::hit("submit.stored").await;
            Ok(match kept {
                Ok(result) => Submitted::Stored {
                    result,
                    attempts: fence.sends,
                    sent_at: fence.first_at,
                },
                Err(error) => Submitted::Refused(error),
            })
        }
        Submission::Refused(error) => Ok(Submitted::Refused(error)),
        Submission::NotAccepted { error, .. } if fence.sends >= input.attempts => {
            Ok(Submitted::Refused(error))
        }
        Submission::NotAccepted { error, after } => {
            // Goes to the server with the failure itself: the next attempt finds it.
            let cleared = Attempt {
                state: Sent::NotAccepted,
                ..fence
            };
            ctx.record_heartbeat(cleared).await?;
            let failure = ApplicationFailure::builder(anyhow!("{}", error.message))
                .type_name("genflow.NotAccepted".to_owned());
            Err(ActivityError::application(
                failure.maybe_next_retry_delay(after).build(),
            ))
        }
        Submission::Withheld(why) => Err(failure(Aborted::Again(why.into()))),
        Submission::Unknown(why) => {
            tracing::warn!(workflow = %input.handed.workflow, why, "submit is ambiguous");
            let looked = telling(ctx, fence, look(work, input)).await??;
            found(work, ctx, looked, fence, input.attempts).await
        }
    }
}

/// Returns Ok when the body may be written: the server's answer to the fence is fresh, or is given again.
async fn fresh(ctx: ActivityContext, fence: Attempt, mut asked: Instant) -> Result<(), NotCurrent> {
    failpoint::hit("submit.sending").await;
    while asked.elapsed() >= every(&ctx) {
        asked = Instant::now();
        store(&ctx, fence).await.map_err(|_| NotCurrent)?;
    }
    Ok(())
}

/// What comes before the fence: the events, and a look whether the result is there already.
async fn before(
    work: &Work,
    ctx: &ActivityContext,
    input: &Submit,
) -> Result<Option<Submitted>, ActivityError> {
    // Shorter than the heartbeat time-out: until the fence nobody tells the server that this attempt lives.
    let most = every(ctx) * 2;
    let before = async {
        work.publish(&input.handed).await.map_err(failure)?;
        adopt(work, input).await
    };
    let too_long = |_| failure(Aborted::Again(anyhow!("Kafka or the store took too long")));
    tokio::time::timeout(most, before).await.map_err(too_long)?
}

/// Takes the result that an earlier attempt has stored, or an earlier run of the same id and content.
async fn adopt(work: &Work, input: &Submit) -> Result<Option<Submitted>, ActivityError> {
    let Handed {
        workflow,
        fingerprint,
        ..
    } = &input.handed;
    let manifest = work
        .store
        .manifest(workflow, fingerprint.as_deref())
        .await
        .context("the store was not read");
    Ok(manifest
        .map_err(|error| failure(error.into()))?
        .map(|manifest| Submitted::Adopted(manifest.result)))
}

/// An earlier attempt may have sent: looks for its result and its job, and never sends.
async fn reconcile(
    work: &Work,
    ctx: &ActivityContext,
    input: &Submit,
    record: Attempt,
) -> Result<Submitted, ActivityError> {
    let looking = async {
        work.publish(&input.handed).await.map_err(failure)?;
        match adopt(work, input).await? {
            Some(adopted) => Ok(Err(adopted)),
            None => look(work, input).await.map(Ok),
        }
    };
    // It sends nothing, so it need not go on to the end when its worker stops or its run is cancelled.
    let looked = tokio::select! {
        looked = telling(ctx, record, looking) => looked??,
        () = ctx.cancelled() => return Err(ActivityError::cancelled()),
    };
    match looked {
        Ok(job) => found(work, ctx, job, record, input.attempts).await,
        Err(adopted) => Ok(adopted),
    }
}

async fn look(work: &Work, input: &Submit) -> Result<Option<Job>, ActivityError> {
    let provider = work.providers.of(&input.spec);
    if !provider.can_find() {
        return Ok(None);
    }
    for _ in 0..LOOKS {
        let found = call(
            provider,
            "find",
            provider.find(&input.handed.workflow, input.started_at),
        )
        .await;
        if let Some(job) = found.map_err(|error| failure(Aborted::Again(error.into())))? {
            return Ok(Some(job));
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Ok(None)
}

/// Says what came of a submit whose end is not known: its job, another attempt, or the end.
async fn found(
    work: &Work,
    ctx: &ActivityContext,
    job: Option<Job>,
    record: Attempt,
    most: u32,
) -> Result<Submitted, ActivityError> {
    if let Some(job) = job {
        return Ok(Submitted::Accepted {
            job,
            attempts: record.sends,
            sent_at: record.first_at,
        });
    }
    let again = match record.state {
        Sent::NotAccepted => "no attempt got to its send: the next one may",
        Sent::Maybe if work.settings.submit_ambiguous_resubmit && record.sends < most => {
            "the job was not found: it is sent again, as configured"
        }
        Sent::Maybe => {
            let why = "it is not known whether the provider took the job";
            return Ok(Submitted::refused(ErrorCode::SubmitAmbiguous, why, true));
        }
    };
    // Goes to the server with the failure itself: the next attempt finds it.
    let cleared = Attempt {
        state: Sent::NotAccepted,
        ..record
    };
    ctx.record_heartbeat(cleared).await?;
    Err(failure(Aborted::Again(anyhow!(again))))
}

/// Works, and tells the server all the while that this attempt lives and may have sent.
async fn telling<T>(
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

/// Stores the record at the server and waits for its answer.
///
/// An attempt that is no longer the current one, or whose run shall end, goes no further.
pub(super) async fn store(
    ctx: &ActivityContext,
    record: impl Serialize,
) -> Result<(), ActivityError> {
    let data = serde_json::to_vec(&record)?;
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
        Ok(answer) if answer.get_ref().cancel_requested => Err(ActivityError::cancelled()),
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::NotFound => Err(ActivityError::cancelled()),
        Err(status) => Err(failure(Aborted::Again(
            anyhow!(status).context("the record was not stored"),
        ))),
    }
}

fn tally(provider: &Provider, submission: &Submission, elapsed: Duration) {
    let outcome = match submission {
        Submission::Accepted(_) | Submission::Made(_) => "ok",
        Submission::Refused(_) => "refused",
        Submission::NotAccepted { .. } => "not_accepted",
        Submission::Unknown(_) => "unknown",
        Submission::Withheld(_) => "withheld",
    };
    crate::telemetry::events::ProviderCalled {
        provider: provider.name(),
        step: "submit",
        outcome,
        elapsed,
    }
    .emit();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u32, state: Sent) -> Option<Attempt> {
        Some(Attempt {
            number,
            state,
            sends: 1,
            first_at: Some(7),
        })
    }

    #[test]
    fn only_a_first_attempt_or_one_whose_predecessor_was_not_accepted_may_send() {
        assert!(may_send(1, None));
        assert!(may_send(2, record(1, Sent::NotAccepted)));
        assert!(!may_send(2, None));
        assert!(!may_send(2, record(1, Sent::Maybe)));
        assert!(!may_send(3, record(1, Sent::NotAccepted)));
        assert!(
            !may_send(1, record(3, Sent::Maybe)),
            "the activity was reset by hand"
        );
    }

    #[test]
    fn what_may_have_been_sent_stays_so_whoever_takes_it_over() {
        assert_eq!(take_over(3, record(1, Sent::Maybe)).state, Sent::Maybe);
        let cleared = take_over(3, record(1, Sent::NotAccepted));
        assert_eq!((cleared.number, cleared.state), (3, Sent::NotAccepted));
        assert!(may_send(4, Some(cleared)));
        assert_eq!((cleared.sends, cleared.first_at), (1, Some(7)));
        assert_eq!(take_over(2, None).state, Sent::NotAccepted);
    }
}
