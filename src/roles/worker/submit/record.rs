//! The record of an attempt at the server: which attempt may send, and how the next one takes the record over.
//!
//! A heartbeat of the SDK that is outdated could arrive after the fence and overwrite it.
//! Before the fence, only raw calls are therefore made; after it, the SDK's heartbeats say "maybe" until the provider's
//! answer is known.

use temporalio_sdk::activities::{ActivityContext, ActivityError};
use tokio::time::Instant;

use crate::contract::run::{AttemptRecord, Job, Sent, SentInput, Submitted};
use crate::domain::{EventError, Generated, ProviderName};
use crate::engines::clock::now;
use crate::engines::failpoint;
use crate::engines::provider::NotCurrent;
use crate::engines::temporal::activity::{Aborted, every, failure};
use crate::roles::worker::heartbeat::{Unstored, store};

impl Unstored {
    /// Returns the error that ends the attempt; `record` is what its workflow must know.
    pub(super) fn into_error(self, record: AttemptRecord) -> ActivityError {
        match self {
            Self::CancelRequested | Self::NotCurrent => cancelled(record),
            Self::Unanswered(error) => failure(Aborted::Again(error)),
        }
    }
}

impl AttemptRecord {
    /// Returns the result of a submit whose job the provider accepted.
    pub(super) fn accepted(self, job: Job, input: SentInput) -> Submitted {
        Submitted::Accepted {
            job,
            attempts: self.sends,
            sent_at: self.first_at,
            input,
            reserved: self.reserved,
        }
    }

    /// Returns the result of a submit that has stored the outputs.
    pub(super) fn stored(self, result: Generated) -> Submitted {
        Submitted::Stored {
            result,
            attempts: self.sends,
            sent_at: self.first_at,
            reserved: self.reserved,
        }
    }

    /// Returns the result of a submit that failed for good.
    pub(super) fn refused(self, error: EventError) -> Submitted {
        Submitted::Refused {
            error,
            reserved: self.reserved,
        }
    }

    /// Returns the record that lets the next attempt send although nothing of this one was found.
    pub(super) fn given_up(self) -> Self {
        Self {
            doubtful: self.doubtful || self.state == Sent::Maybe,
            ..self.cleared()
        }
    }

    /// Returns the record after a send that was counted but not made; the next attempt may send.
    pub(super) fn withheld(self) -> Self {
        let sends = self.sends - 1;
        Self {
            sends,
            first_at: self.first_at.filter(|_| sends > 0),
            ..self.cleared()
        }
    }
}

/// Returns the record that an attempt begins with; `is_first` is false if an earlier attempt was scheduled.
///
/// No attempt sends before the server has its "maybe". So if there is no record, no attempt has sent, except when the
/// number 1 comes a second time: then an operator has reset the activity and dropped the record, and an earlier attempt
/// may still be waiting for its answer. If that attempt dies before it stores this record, attempt 2 cannot know of the
/// reset. So a reset that drops the record is not guaranteed to be safe.
pub(super) fn take_over(
    number: u32,
    is_first: bool,
    provider: ProviderName,
    previous: Option<AttemptRecord>,
) -> AttemptRecord {
    let dropped = number == 1 && !is_first;
    let fresh = AttemptRecord {
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
        doubtful: false,
        reserved: false,
    };
    previous.map_or(fresh, |record| AttemptRecord { number, ..record })
}

/// Returns whether an attempt may send; `is_first` is false if an earlier attempt was scheduled.
pub(super) fn may_send(number: u32, is_first: bool, previous: Option<AttemptRecord>) -> bool {
    match previous {
        None => number == 1 && is_first,
        Some(record) => record.number == number - 1 && record.state == Sent::NotAccepted,
    }
}

/// Ends a cancelled attempt; the workflow receives its record if it is the current attempt.
pub(super) fn cancelled(record: AttemptRecord) -> ActivityError {
    ActivityError::Cancelled {
        details: Some(record.into()),
    }
}

/// Fails an attempt; the next one finds its record, and so may send if that is a cleared one.
pub(super) async fn clear<T>(
    ctx: &ActivityContext,
    cleared: AttemptRecord,
    why: anyhow::Error,
) -> Result<T, ActivityError> {
    // Reaches the server together with the failure, so the next attempt finds it.
    ctx.record_heartbeat(cleared).await?;
    Err(failure(Aborted::Again(why)))
}

/// Returns Ok when the body may be written: the server's answer to the fence is still valid, or was renewed.
pub(super) async fn fresh(
    ctx: ActivityContext,
    fence: AttemptRecord,
    mut asked: Instant,
    deadline: Instant,
) -> Result<(), NotCurrent> {
    failpoint::hit("submit.sending").await;
    while asked.elapsed() >= every(&ctx) {
        asked = Instant::now();
        store(&ctx, fence).await.map_err(|_| NotCurrent)?;
    }
    if ctx.is_cancelled() || Instant::now() >= deadline {
        return Err(NotCurrent);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u32, state: Sent) -> Option<AttemptRecord> {
        Some(AttemptRecord {
            number,
            state,
            provider: ProviderName::FAL,
            sends: 1,
            first_at: Some(7),
            waiting_since: Some(8),
            doubtful: false,
            reserved: false,
        })
    }

    #[test]
    fn only_a_first_attempt_or_one_whose_predecessor_was_not_accepted_may_send() {
        assert!(may_send(1, true, None));
        assert!(may_send(2, false, record(1, Sent::NotAccepted)));
        assert!(!may_send(2, false, None));
        assert!(!may_send(2, false, record(1, Sent::Maybe)));
        assert!(!may_send(3, false, record(1, Sent::NotAccepted)));
    }

    #[test]
    fn an_attempt_after_a_reset_by_hand_does_not_send() {
        assert!(!may_send(1, false, None), "the record was dropped");
        assert!(!may_send(1, false, record(3, Sent::Maybe)), "it was kept");
        assert!(!may_send(1, false, record(3, Sent::NotAccepted)));
        let dropped = take_over(1, false, ProviderName::FAL, None);
        assert_eq!(dropped.state, Sent::Maybe, "it may have been sent");
        assert!(dropped.waiting_since.is_some());
    }

    #[test]
    fn the_record_of_a_submit_that_may_have_been_sent_is_taken_over_as_it_is() {
        let taken = take_over(3, true, ProviderName::REPLICATE, record(1, Sent::Maybe));

        assert_eq!((taken.number, taken.state), (3, Sent::Maybe));
        // The provider that the job was sent to, not the one that is configured now.
        assert_eq!(taken.provider, ProviderName::FAL);
        assert_eq!(taken.waiting_since, Some(8));
    }

    #[test]
    fn a_cleared_record_lets_the_next_attempt_send() {
        let cleared = take_over(3, true, ProviderName::FAL, record(1, Sent::Maybe)).cleared();

        assert!(may_send(4, true, Some(cleared)));
        assert_eq!((cleared.sends, cleared.first_at), (1, Some(7)));
        assert_eq!(cleared.waiting_since, None);
        let withheld = |sends| AttemptRecord { sends, ..cleared }.withheld();
        assert_eq!((withheld(1).sends, withheld(1).first_at), (0, None));
        assert_eq!((withheld(2).sends, withheld(2).first_at), (1, Some(7)));
        let none = take_over(2, true, ProviderName::FAL, None);
        assert_eq!((none.state, none.waiting_since), (Sent::NotAccepted, None));
    }
}
