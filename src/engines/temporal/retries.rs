//! Runs a request again: walks to the free workflow id that a retry may take, and takes over the first run's content.
//!
//! Only the server's state decides, so a command may arrive any number of times.

use std::convert::Infallible;

use temporalio_client::Priority;
use temporalio_common::MemoValues;

use super::client::{Error, STARTS, Temporal, comes_and_goes};
use super::described::Described;
use super::history;
use super::request_runs::Standing;
use crate::contract::run::{DefaultProviders, Fallbacks, Start, Steps, SubmitQueues};
use crate::domain::{CommandId, Journal, RequestId, WorkflowId};
use crate::workflows::generation::Generation;
use crate::workflows::{claimed, generation};

/// The memo field of a retry that holds the id of the command that started it.
pub const COMMAND_ID: &str = "command_id";
/// The memo field of a retry that holds the command's reason.
pub const REASON: &str = "reason";

/// A command to run a request again.
#[derive(Clone, Copy, Debug)]
pub struct Retry<'a> {
    pub request: &'a RequestId,
    /// Id of the command, which starts at most one run, however many times it arrives.
    pub command: &'a CommandId,
    pub reason: Option<&'a str>,
    /// W3C trace context of the command; without one, the first run's is used.
    pub traceparent: Option<&'a str>,
    /// Retry limits and pauses of the steps, as configured now.
    pub steps: Steps,
    pub fetch_queue: &'a str,
    pub providers: DefaultProviders,
    pub submit_queues: &'a SubmitQueues,
    pub fallbacks: &'a Fallbacks,
}

#[derive(Debug)]
pub enum Retried<E = Infallible> {
    /// A new run started and is durable.
    Started,
    /// This command has already started its run, whatever has become of it.
    Repeated,
    /// A run of the request has not ended: there is nothing to retry yet.
    Running,
    /// A run of the request has completed: there is nothing to retry.
    Completed,
    Refused(Unretryable),
    /// The caller did not admit the run.
    NotAdmitted(E),
}

/// Why a request cannot be run again.
#[derive(Debug, thiserror::Error)]
pub enum Unretryable {
    #[error("request_id {0} not found: it never arrived, or Temporal's retention has ended")]
    Unknown(RequestId),
    /// A CANCEL came first, so it has never run and never will.
    #[error("request_id {0} was cancelled before it arrived")]
    Claimed(RequestId),
    /// The id belongs to a batch, or to a workflow that is not genflow's.
    #[error("request_id {0} is a {1}, expected generation.v1; to retry a batch, retry its items")]
    Other(RequestId, String),
    /// A workflow that is not genflow's has the id of one of its retries.
    #[error("{0} is the id of a workflow {1}, which is not genflow's")]
    Foreign(WorkflowId, String),
    #[error("this version cannot read the content of request_id {0}")]
    Unreadable(RequestId, #[source] Option<serde_json::Error>),
}

/// What a retry takes over from the first run.
struct FirstRun {
    start: Start,
    priority: Priority,
}

impl Temporal {
    /// Runs a failed or cancelled request again, once per command.
    ///
    /// A command that arrives again must find its own run, even one that has failed since. So every id up to the first
    /// free one is checked before anything is decided. `admit` is only asked about a run that would start.
    pub async fn retry<E, F: Future<Output = Result<(), E>>>(
        &self,
        retry: &Retry<'_>,
        admit: impl Fn(Start) -> F,
    ) -> Result<Retried<E>, Error> {
        let request = retry.request;
        let first = request.run(0);
        let Some(described) = self.describe(first.as_str()).await? else {
            return Ok(Retried::Refused(Unretryable::Unknown(request.clone())));
        };
        if let Some(refused) = unretryable(request, described.workflow_type()) {
            return Ok(Retried::Refused(refused));
        }
        let mut unfinished = self.nothing_to_retry(&first, &described).await?;
        let mut free = 1;
        for _ in 0..STARTS {
            let mut slot = request.run(free);
            while let Some(described) = self.describe(slot.as_str()).await? {
                let workflow_type = described.workflow_type();
                if workflow_type != generation::NAME {
                    let foreign = Unretryable::Foreign(slot, workflow_type.to_owned());
                    return Ok(Retried::Refused(foreign));
                }
                let command = described.memo(COMMAND_ID).await?;
                if command.as_deref() == Some(retry.command.as_str()) {
                    return Ok(Retried::Repeated);
                }
                let here = self.nothing_to_retry(&slot, &described).await?;
                unfinished = unfinished.or(here);
                free += 1;
                slot = request.run(free);
            }
            match unfinished {
                Some(Standing::Running) => return Ok(Retried::Running),
                Some(Standing::Completed) => return Ok(Retried::Completed),
                Some(Standing::Failed) | None => {}
            }
            let first = match self.first(request, &described).await? {
                Ok(first) => first,
                Err(refused) => return Ok(Retried::Refused(refused)),
            };
            if let Err(refused) = admit(first.start.clone()).await {
                return Ok(Retried::NotAdmitted(refused));
            }
            if self.start_retry(retry, free, first).await? {
                return Ok(Retried::Started);
            }
            // Another command has taken the id: check its run, and those after it, by the same rules.
        }
        Err(comes_and_goes())
    }

    async fn nothing_to_retry(
        &self,
        workflow: &WorkflowId,
        described: &Described,
    ) -> Result<Option<Standing>, Error> {
        let standing = self.standing(workflow, described).await?;
        Ok(Some(standing).filter(|standing| *standing != Standing::Failed))
    }

    /// Starts a run under a free id; returns `false` if the id is no longer free.
    async fn start_retry(
        &self,
        retry: &Retry<'_>,
        number: u32,
        first: FirstRun,
    ) -> Result<bool, Error> {
        let mut start = first.start;
        start.retry = number;
        start.journal = Journal::default();
        start.steps = retry.steps;
        retry.fetch_queue.clone_into(&mut start.fetch_queue);
        start.provider = retry.providers.of(&start.spec);
        start.submit_queue = retry.submit_queues.of(start.provider);
        start.fallback = retry
            .fallbacks
            .of(&start.spec, start.provider, retry.submit_queues);
        if let Some(traceparent) = retry.traceparent {
            start.traceparent = Some(traceparent.to_owned());
        }
        let mut memo = MemoValues::new();
        memo.insert(COMMAND_ID, retry.command.as_str().to_owned());
        if let Some(reason) = retry.reason {
            memo.insert(REASON, reason.to_owned());
        }
        let mut options = self.run_options(&start, first.priority);
        options.memo = Some(memo);
        self.start_new(Generation::run, start, options).await
    }

    /// Reads what a retry takes over, from the first run's start event.
    async fn first(
        &self,
        request: &RequestId,
        described: &Described,
    ) -> Result<Result<FirstRun, Unretryable>, Error> {
        let workflow = request.run(0);
        let run_id = described.run_id();
        let started = history::started(&self.client(), workflow.as_str(), run_id).await?;
        let Some(started) = started else {
            return Ok(Err(Unretryable::Unknown(request.clone())));
        };
        Ok(match history::input::<Start>(started.input) {
            Ok(start) => Ok(FirstRun {
                start,
                priority: started.priority.map(Priority::from).unwrap_or_default(),
            }),
            Err(error) => Err(Unretryable::Unreadable(
                request.clone(),
                error.downcast().ok(),
            )),
        })
    }
}

/// Returns why a workflow of that type cannot be run again; `None` if it can.
fn unretryable(request: &RequestId, workflow_type: &str) -> Option<Unretryable> {
    match workflow_type {
        generation::NAME => None,
        claimed::NAME => Some(Unretryable::Claimed(request.clone())),
        other => Some(Unretryable::Other(request.clone(), other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_generation_is_retried() {
        let id = RequestId::try_from("order-7".to_owned()).unwrap();
        let refusal = |kind| unretryable(&id, kind).map(|refused| refused.to_string());

        assert_eq!(refusal("generation.v1"), None);
        assert!(
            refusal("cancelled.v1")
                .unwrap()
                .contains("cancelled before")
        );
        assert!(refusal("batch.v1").unwrap().contains("batch.v1"));
    }
}
