//! Runs a request again: the walk to the free slot that a retry may fill, and what it takes over from the first run.
//!
//! Decides by what the server holds and by nothing else, so a command may come as often as it likes.

use std::convert::Infallible;

use temporalio_client::errors::WorkflowStartError;
use temporalio_client::{Priority, WorkflowExecutionDescription};
use temporalio_common::MemoValues;

use super::client::{Error, STARTS, Temporal, answered};
use super::history;
use crate::contract::run::Start;
use crate::contract::run::SubmitQueues;
use crate::contract::run::{DefaultProviders, Steps};
use crate::domain::{CommandId, Journal, RequestId, WorkflowId};
use crate::engines::temporal::request_runs::{Standing, comes_and_goes};
use crate::workflows::claimed;
use crate::workflows::generation;
use crate::workflows::generation::Generation;

/// The memo field of a retry that holds the id of the command it was started by.
pub const COMMAND_ID: &str = "command_id";
/// The memo field of a retry that says why it was asked for.
pub const REASON: &str = "reason";

/// A request to run a request again.
#[derive(Clone, Copy, Debug)]
pub struct Retry<'a> {
    /// The request.
    pub request: &'a RequestId,
    /// The command; it starts one run, however often it comes.
    pub command: &'a CommandId,
    /// Why.
    pub reason: Option<&'a str>,
    /// W3C trace context of the command; the first run's if it has none.
    pub traceparent: Option<&'a str>,
    /// Bounds and pauses of the steps, as they are set now.
    pub steps: Steps,
    /// Task queue of `fetch`, as it is set now.
    pub fetch_queue: &'a str,
    /// The providers of specs that name none, as they are set now.
    pub providers: DefaultProviders,
    /// Task queues of `submit`, as they are set now.
    pub submit_queues: &'a SubmitQueues,
}

/// What a retry came to.
#[derive(Debug)]
pub enum Retried<E = Infallible> {
    /// A new run, durable.
    Started,
    /// This command has started its run before, whatever became of it.
    Repeated,
    /// A run of the request is not over: there is nothing to retry yet.
    Running,
    /// A run of the request has its result: there is nothing to retry.
    Completed,
    /// There is nothing that can be run again.
    Refused(Unretryable),
    /// It was not admitted.
    NotAdmitted(E),
}

/// Why a request cannot be run again.
#[derive(Debug, thiserror::Error)]
pub enum Unretryable {
    /// It never came, or Temporal's retention has ended since.
    #[error("nobody knows request_id {0}, or it was forgotten")]
    Unknown(RequestId),
    /// A CANCEL came first, so it has never run and never will.
    #[error("request_id {0} was cancelled before it came")]
    Claimed(RequestId),
    /// The id belongs to a batch, or to a workflow of somebody else.
    #[error("request_id {0} is of a {1}, want a single generation: retry the items of a batch")]
    Other(RequestId, String),
    /// A workflow that is not genflow's has one of the ids of its retries.
    #[error("{0} is the id of a workflow {1}, which is none of genflow's")]
    Foreign(WorkflowId, String),
    /// The input of its first run is not what this version reads.
    #[error("the content of request_id {0} cannot be read back")]
    Unreadable(RequestId, #[source] Option<serde_json::Error>),
}

/// What a retry takes over from the first run.
struct First {
    start: Start,
    priority: Priority,
}

impl Temporal {
    /// Runs a failed or cancelled request again, once a command.
    ///
    /// A command that comes again must find its own run even where that has failed meanwhile; so it looks at every
    /// slot up to the first free one before it decides. Only a run that would start is held against `admit`.
    ///
    /// # Errors
    /// When the server did not decide.
    pub async fn retry<E, F: Future<Output = Result<(), E>>>(
        &self,
        retry: &Retry<'_>,
        admit: impl Fn(Start) -> F,
    ) -> Result<Retried<E>, Error> {
        let request = retry.request;
        let first = request.run(0);
        let Some(described) = self.describe(&first).await? else {
            return Ok(Retried::Refused(Unretryable::Unknown(request.clone())));
        };
        if let Some(refused) = unretryable(request, described.workflow_type()) {
            return Ok(Retried::Refused(refused));
        }
        let mut unfinished = self.nothing_to_retry(&first, &described).await?;
        let mut free = 1;
        for _ in 0..STARTS {
            let mut slot = request.run(free);
            while let Some(described) = self.describe(&slot).await? {
                let workflow_type = described.workflow_type();
                if workflow_type != generation::NAME {
                    let foreign = Unretryable::Foreign(slot, workflow_type.to_owned());
                    return Ok(Retried::Refused(foreign));
                }
                if command_of(&described).as_deref() == Some(retry.command.as_str()) {
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
            // Somebody was faster: look at that slot, and those behind it, by the same rules.
        }
        Err(comes_and_goes())
    }

    async fn nothing_to_retry(
        &self,
        workflow: &WorkflowId,
        described: &WorkflowExecutionDescription,
    ) -> Result<Option<Standing>, Error> {
        let standing = self.standing(workflow, described).await?;
        Ok(Some(standing).filter(|standing| *standing != Standing::Failed))
    }

    /// Starts the run of a free slot; `false` if it is free no more.
    async fn start_retry(
        &self,
        retry: &Retry<'_>,
        number: u32,
        first: First,
    ) -> Result<bool, Error> {
        let mut start = first.start;
        start.retry = number;
        start.journal = Journal::default();
        start.steps = retry.steps;
        retry.fetch_queue.clone_into(&mut start.fetch_queue);
        start.provider = retry.providers.of(&start.spec);
        start.submit_queue = retry.submit_queues.of(start.provider);
        if let Some(traceparent) = retry.traceparent {
            start.traceparent = Some(traceparent.to_owned());
        }
        let mut memo = MemoValues::new();
        memo.insert(COMMAND_ID, retry.command.as_str().to_owned());
        if let Some(reason) = retry.reason {
            memo.insert(REASON, reason.to_owned());
        }
        let mut options = self.options(&start, first.priority);
        options.memo = Some(memo);
        match self
            .client()
            .start_workflow(Generation::run, start, options)
            .await
        {
            Ok(_) => Ok(true),
            Err(WorkflowStartError::AlreadyStarted { .. }) => Ok(false),
            Err(error) => Err(answered(error)),
        }
    }

    /// Reads what a retry takes over from the beginning of the first run's history.
    async fn first(
        &self,
        request: &RequestId,
        described: &WorkflowExecutionDescription,
    ) -> Result<Result<First, Unretryable>, Error> {
        let workflow = request.run(0);
        let run_id = described.run_id();
        let started = history::started(&self.client(), workflow.as_str(), run_id).await?;
        let Some(started) = started else {
            return Ok(Err(Unretryable::Unknown(request.clone())));
        };
        Ok(match history::input::<Start>(started.input) {
            Ok(start) => Ok(First {
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

/// Says why a workflow of that type cannot be run again, if so.
fn unretryable(request: &RequestId, workflow_type: &str) -> Option<Unretryable> {
    match workflow_type {
        generation::NAME => None,
        claimed::NAME => Some(Unretryable::Claimed(request.clone())),
        other => Some(Unretryable::Other(request.clone(), other.to_owned())),
    }
}

fn command_of(described: &WorkflowExecutionDescription) -> Option<String> {
    described.memo().get(COMMAND_ID).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_generation_is_retried() {
        let id = RequestId::try_from("order-7".to_owned()).unwrap();
        let told = |kind| unretryable(&id, kind).map(|refused| refused.to_string());

        assert_eq!(told("generation.v1"), None);
        assert!(told("cancelled.v1").unwrap().contains("cancelled before"));
        assert!(told("batch.v1").unwrap().contains("batch.v1"));
    }
}
