//! `end.v1`: publishes the outcome of a run that was closed from outside, and decides it if the run had not (contract,
//! section 3, rule 9).

#![deny(clippy::disallowed_methods)]

use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::{WorkflowContext, WorkflowResult};

use crate::contract::activities::RequestActivities;
use crate::contract::run::{
    BatchStart, ClosedRun, Finish, PendingEvents, RunHistory, RunInput, Start,
};
use crate::domain::{BatchSummary, ErrorCode, EventType, Journal};
use crate::workflows::support::{FINISH_TRY, READ_TRY, detached, done, failed};

pub const NAME: &str = "end.v1";

/// The end of one closed run.
#[workflow]
#[derive(Default)]
pub struct End;

#[workflow_methods]
impl End {
    /// Reads what the run had decided, decides what is missing, and publishes everything.
    #[run(name = "end.v1")]
    pub async fn run(
        ctx: &mut WorkflowContext<Self>,
        closed: ClosedRun,
    ) -> WorkflowResult<EventType> {
        let reading = || detached(READ_TRY);
        let finish = if closed.batch {
            let read = || RequestActivities::read_batch;
            end_batch(&closed, done(ctx, read, closed.clone(), reading).await)
        } else {
            let read = || RequestActivities::read_run;
            end_run(&closed, done(ctx, read, closed.clone(), reading).await)
        };
        let outcome = finish.pending.events.last().map(|event| event.event_type);
        // Detached: a cancel of this workflow cannot stop the end of the run.
        let options = || detached(FINISH_TRY);
        done(ctx, || RequestActivities::finish, finish, options).await;
        Ok(outcome.unwrap_or(EventType::Failed))
    }
}

fn end_run(closed: &ClosedRun, history: RunHistory<Start>) -> Finish {
    let input = history.start.input(&closed.run_id, &history.first_run_id);
    end(closed, input, None, history)
}

/// Like [`end_run`], for a batch, whose outcome reports how its items ended.
fn end_batch(closed: &ClosedRun, history: RunHistory<BatchStart>) -> Finish {
    let input = history.start.input(&closed.run_id, &history.first_run_id);
    let items = history.start.counts.summary();
    end(closed, input, Some(items), history)
}

/// Adds the events that the run did not decide: its STARTED and its outcome. An outcome that it had decided is kept.
fn end<S>(
    closed: &ClosedRun,
    input: RunInput,
    items: Option<BatchSummary>,
    history: RunHistory<S>,
) -> Finish {
    let last = history.events.last();
    let is_over = last.is_some_and(|event| event.event_type.is_terminal());
    let next = last.map_or(0, |event| event.sequence + 1);
    let mut journal = Journal {
        next: next.max(input.journal.next),
        unconfirmed: history.events,
        outcome: None,
        tried: history.tried,
    };
    if !is_over {
        journal.open(&input.identity, history.started_at);
        let (code, why) = if closed.timed_out {
            let why = "Temporal's own time-out came before the outcome";
            (ErrorCode::TimedOut, why)
        } else {
            (ErrorCode::Terminated, "the workflow was ended from outside")
        };
        let outcome = failed(code, why, true);
        journal.close(&input.identity, closed.at, outcome, items);
    }
    Finish {
        pending: PendingEvents {
            workflow: closed.workflow.clone(),
            fingerprint: input.fingerprint,
            events: journal.unconfirmed,
            traceparent: input.traceparent,
        },
        leftover: history.leftover,
        started_at: history.started_at,
        sent_at: None,
        budget: history.budget,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::contract::run::{BudgetUse, ProviderJobLeft, SubmitQueues};
    use crate::domain::{
        Event, Identity, Outcome, Progress, ProviderName, Single, VideoSpec, WorkflowId,
    };
    use crate::engines::config::Config;

    fn closed(timed_out: bool) -> ClosedRun {
        ClosedRun {
            workflow: start().request.run(0),
            run_id: "run".to_owned(),
            at: 90,
            timed_out,
            batch: false,
        }
    }

    fn start() -> Start {
        Start {
            request: "r".to_owned().try_into().unwrap(),
            retry: 0,
            batch: None,
            user: "u".to_owned().try_into().unwrap(),
            spec: Single::Video(VideoSpec::default()),
            provider: ProviderName::REPLICATE,
            fallback: Vec::new(),
            fingerprint: "f1:".to_owned(),
            metadata: BTreeMap::new(),
            notify: None,
            timeout_ms: 1000,
            steps: Config::of(&[]).unwrap().intake.steps,
            fetch_queue: "f".to_owned(),
            submit_queue: None,
            traceparent: None,
            journal: Journal::default(),
        }
    }

    fn ended(events: Vec<Event>, timed_out: bool) -> Vec<Event> {
        let history = RunHistory {
            start: start(),
            first_run_id: "first".to_owned(),
            started_at: 10,
            events,
            leftover: ProviderJobLeft::None,
            tried: Vec::new(),
            budget: BudgetUse::default(),
        };
        end_run(&closed(timed_out), history).pending.events
    }

    fn identity() -> Identity {
        start().input("run", "first").identity
    }

    fn decided(run: impl FnOnce(&mut Journal)) -> Vec<Event> {
        let mut journal = Journal::default();
        journal.open(&identity(), 10);
        run(&mut journal);
        journal.unconfirmed
    }

    #[test]
    fn a_run_that_decided_nothing_gets_a_beginning_and_an_end() {
        let events = ended(Vec::new(), false);

        let decided_events: Vec<_> = events
            .iter()
            .map(|event| (event.sequence, event.event_type, event.occurred_at))
            .collect();
        assert_eq!(
            decided_events,
            [(0, EventType::Started, 10), (1, EventType::Failed, 90)]
        );
        assert_eq!(events, [decided(|_| {}), vec![events[1].clone()]].concat());
        let code = |events: &[Event]| events.last().unwrap().error.clone().unwrap().code;
        assert_eq!(code(&events), ErrorCode::Terminated);
        assert_eq!(code(&ended(Vec::new(), true)), ErrorCode::TimedOut);
    }

    #[test]
    fn the_end_comes_after_what_was_decided() {
        let progress = Progress {
            percent: 10,
            stage: "s".to_owned(),
            message: None,
        };
        let before = decided(|journal| journal.progress(&identity(), 20, &progress));

        let events = ended(before.clone(), false);

        assert_eq!(events[..2], before);
        assert_eq!(events[2].sequence, 2);
        assert_eq!(events[2].event_type, EventType::Failed);
    }

    #[test]
    fn the_end_of_a_batch_says_how_its_items_ended_and_goes_on_from_its_runs_number() {
        let intake = Config::of(&[]).unwrap().intake;
        let json = serde_json::json!({"request": "b", "user": "u", "timeout_ms": 1, "image_timeout_ms": 1,
            "video_timeout_ms": 1, "progress_every_ms": 1, "segment": 5, "steps": intake.steps,
            "fetch_queue": "f", "providers": {"video": "fal", "image": "fal"}, "submit_queues": SubmitQueues::default(), "tally": {"total": 9, "completed": 2, "failed": 1},
            "journal": {"next": 4, "unconfirmed": [], "outcome": null}});
        let history = RunHistory {
            start: serde_json::from_value(json).unwrap(),
            first_run_id: "first".to_owned(),
            started_at: 10,
            events: Vec::new(),
            leftover: ProviderJobLeft::None,
            tried: Vec::new(),
            budget: BudgetUse::default(),
        };

        let finish = end_batch(&closed(false), history);

        let [end] = &finish.pending.events[..] else {
            panic!("expected one event, got {:?}", finish.pending.events)
        };
        let items = end.batch.unwrap();
        assert_eq!((end.sequence, end.event_type), (4, EventType::Failed));
        let workflow = WorkflowId::parse("b").unwrap();
        assert_eq!(end.event_id, Event::id(&workflow, "first", 4));
        assert_eq!(
            (items.completed, items.failed, items.not_started),
            (2, 1, 6)
        );
    }

    #[test]
    fn an_outcome_that_was_decided_is_kept() {
        let before = decided(|journal| journal.close(&identity(), 20, Outcome::Cancelled, None));

        assert_eq!(ended(before.clone(), false), before);
    }
}
