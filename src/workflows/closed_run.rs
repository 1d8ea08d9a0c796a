//! `end.v1`: gives a run that was closed from outside its outcome (contract, section 3, rule 9).

#![deny(clippy::disallowed_methods)]

use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::{WorkflowContext, WorkflowResult};

use crate::contract::activities::RequestActivities;
use crate::contract::run::{BatchRemains, Closed, Finish, Handed, Leftover, Remains};
use crate::domain::{
    BatchSummary, ErrorCode, Event, EventError, EventType, Identity, Journal, Outcome,
};
use crate::workflows::support::{FINISH_TRY, READ_TRY, detached, done};

/// The workflow type.
pub const NAME: &str = "end.v1";

/// The end of one closed run.
#[workflow]
#[derive(Default)]
pub struct End;

#[workflow_methods]
impl End {
    /// Reads what the run had decided, decides what is missing, and publishes everything.
    #[run(name = "end.v1")]
    pub async fn run(ctx: &mut WorkflowContext<Self>, closed: Closed) -> WorkflowResult<EventType> {
        let reading = || detached(READ_TRY);
        let finish = if closed.batch {
            let remains = done(
                ctx,
                || RequestActivities::batch_remains,
                closed.clone(),
                reading,
            )
            .await;
            decide_batch(&closed, remains)
        } else {
            let remains = done(ctx, || RequestActivities::remains, closed.clone(), reading).await;
            decide(&closed, remains)
        };
        let outcome = finish.handed.events.last().map(|event| event.event_type);
        // Detached: a cancel of this workflow cannot stop the end of the run.
        let options = || detached(FINISH_TRY);
        done(ctx, || RequestActivities::finish, finish, options).await;
        Ok(outcome.unwrap_or(EventType::Failed))
    }
}

/// Adds the events that the run did not decide: its STARTED and its outcome. An outcome that it had decided is kept.
fn decide(closed: &Closed, remains: Remains) -> Finish {
    let events = complete(
        closed,
        Decided {
            identity: remains
                .start
                .identity(&closed.run_id, &remains.first_run_id),
            started_at: remains.started_at,
            events: remains.events,
            next: remains.start.journal.next,
            items: None,
        },
    );
    Finish {
        handed: Handed {
            workflow: closed.workflow.clone(),
            fingerprint: Some(remains.start.fingerprint),
            events,
            traceparent: remains.start.traceparent,
        },
        leftover: remains.leftover,
        started_at: remains.started_at,
        sent_at: None,
    }
}

/// Like [`decide`], for a batch, whose outcome reports how its items ended.
fn decide_batch(closed: &Closed, remains: BatchRemains) -> Finish {
    let events = complete(
        closed,
        Decided {
            identity: remains
                .start
                .identity(&closed.run_id, &remains.first_run_id),
            started_at: remains.started_at,
            events: remains.events,
            next: remains.start.journal.next,
            items: Some(remains.start.tally.summary()),
        },
    );
    Finish {
        handed: Handed {
            workflow: closed.workflow.clone(),
            fingerprint: None,
            events,
            traceparent: remains.start.traceparent,
        },
        leftover: Leftover::None,
        started_at: remains.started_at,
        sent_at: None,
    }
}

/// What a closed run had decided.
struct Decided {
    identity: Identity,
    started_at: i64,
    events: Vec<Event>,
    /// The next sequence according to its input.
    next: i32,
    /// How the items of a batch ended.
    items: Option<BatchSummary>,
}

fn complete(closed: &Closed, decided: Decided) -> Vec<Event> {
    let Decided {
        identity,
        started_at,
        events,
        next,
        items,
    } = decided;
    let last = events.last();
    let over = last.is_some_and(|event| event.event_type.is_terminal());
    let mut journal = Journal {
        next: last.map_or(0, |event| event.sequence + 1).max(next),
        unconfirmed: events,
        outcome: None,
    };
    if !over {
        journal.open(&identity, started_at);
        let (code, why) = if closed.timed_out {
            (
                ErrorCode::TimedOut,
                "Temporal's own time-out came before the outcome",
            )
        } else {
            (ErrorCode::Terminated, "the workflow was ended from outside")
        };
        let failed = Outcome::Failed(EventError::new(code, why, true));
        match items {
            None => journal.close(&identity, closed.at, failed),
            Some(items) => journal.close_batch(&identity, closed.at, failed, items),
        }
    }
    journal.unconfirmed
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::contract::run::Start;
    use crate::contract::run::SubmitQueues;
    use crate::domain::{Progress, ProviderName, Single, VideoSpec, WorkflowId};
    use crate::engines::config::Config;

    fn closed(timed_out: bool) -> Closed {
        Closed {
            workflow: Start::clone(&start()).request.run(0),
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
            provider: ProviderName::Replicate,
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
        let remains = Remains {
            start: start(),
            first_run_id: "first".to_owned(),
            started_at: 10,
            events,
            leftover: Leftover::None,
        };
        decide(&closed(timed_out), remains).handed.events
    }

    fn decided(run: impl FnOnce(&mut Journal)) -> Vec<Event> {
        let mut journal = Journal::default();
        journal.open(&start().identity("run", "first"), 10);
        run(&mut journal);
        journal.unconfirmed
    }

    #[test]
    fn a_run_that_decided_nothing_gets_a_beginning_and_an_end() {
        let events = ended(Vec::new(), false);

        let told: Vec<_> = events
            .iter()
            .map(|event| (event.sequence, event.event_type, event.occurred_at))
            .collect();
        assert_eq!(
            told,
            [(0, EventType::Started, 10), (1, EventType::Failed, 90)]
        );
        assert_eq!(events, [decided(|_| {}), vec![events[1].clone()]].concat());
        let code = |events: &[Event]| events.last().unwrap().error.clone().unwrap().code;
        assert_eq!(code(&events), ErrorCode::Terminated);
        assert_eq!(code(&ended(Vec::new(), true)), ErrorCode::TimedOut);
    }

    #[test]
    fn the_end_comes_behind_what_was_decided() {
        let progress = Progress {
            percent: 10,
            stage: "s".to_owned(),
            message: None,
        };
        let before =
            decided(|journal| journal.progress(&start().identity("run", "first"), 20, &progress));

        let events = ended(before.clone(), false);

        assert_eq!(events[..2], before);
        assert_eq!(events[2].sequence, 2);
        assert_eq!(events[2].event_type, EventType::Failed);
    }

    #[test]
    fn the_end_of_a_batch_tells_how_its_items_ended_and_goes_on_from_its_runs_number() {
        let intake = Config::of(&[]).unwrap().intake;
        let json = serde_json::json!({"request": "b", "user": "u", "timeout_ms": 1, "image_timeout_ms": 1,
            "video_timeout_ms": 1, "progress_every_ms": 1, "segment": 5, "steps": intake.steps,
            "fetch_queue": "f", "providers": {"video": "fal", "image": "fal"}, "submit_queues": SubmitQueues::default(), "tally": {"total": 9, "completed": 2, "failed": 1},
            "journal": {"next": 4, "unconfirmed": [], "outcome": null}});
        let remains = BatchRemains {
            start: serde_json::from_value(json).unwrap(),
            first_run_id: "first".to_owned(),
            started_at: 10,
            events: Vec::new(),
        };

        let finish = decide_batch(&closed(false), remains);

        let [end] = &finish.handed.events[..] else {
            panic!("one event, got {:?}", finish.handed.events)
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
    fn an_outcome_that_was_decided_stands() {
        let before = decided(|journal| {
            journal.close(&start().identity("run", "first"), 20, Outcome::Cancelled)
        });

        assert_eq!(ended(before.clone(), false), before);
    }
}
