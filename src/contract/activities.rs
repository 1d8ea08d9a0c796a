//! The activities that workflows call: their names, inputs and outputs. Roles implement them.
//!
//! Histories contain the names: an activity whose meaning changes gets another name.

#![expect(
    clippy::needless_pass_by_value,
    reason = "the macro takes the types from these functions, which are never called"
)]

use temporalio_macros::activity_definitions;
use temporalio_sdk::activities::ActivityError;

use super::delivery::{Conclude, Deliver, Delivered};
use super::run::{
    BatchStart, ClosedItem, ClosedRun, Fetch, Fetched, Finish, PendingEvents, RunHistory, Start,
    Submit, Submitted,
};
use crate::contract::digest::SendDigest;
use crate::domain::ItemOutcome;

pub const SUBMIT: &str = "submit.v1";
pub const FETCH: &str = "fetch.v1";
pub const PUBLISH: &str = "publish.v1";
pub const ITEM_ENDING: &str = "item-ending.v1";
/// Once it is scheduled, the outcome is decided.
pub const FINISH: &str = "finish.v1";
/// The failure type of an activity that ended because the deadline of its run has passed.
pub const EXPIRED: &str = "genflow.Expired";

/// The activities of the workflows of requests, in the role `worker`.
pub struct RequestActivities;

#[activity_definitions]
impl RequestActivities {
    /// Publishes STARTED and submits the job, at most once.
    #[activity(name = SUBMIT)]
    pub fn submit(input: Submit) -> Result<Submitted, ActivityError> {
        unimplemented!()
    }

    /// Waits for the job; returns a milestone, the stored outputs, or why there are none.
    #[activity(name = FETCH)]
    pub fn fetch(input: Fetch) -> Result<Fetched, ActivityError> {
        unimplemented!()
    }

    /// Publishes events of a batch and does nothing else.
    #[activity(name = PUBLISH)]
    pub fn publish(input: PendingEvents) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// Cancels the job if it may still run, writes the manifest, and publishes the outcome.
    #[activity(name = FINISH)]
    pub fn finish(input: Finish) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// Reads what a run that was closed from outside has decided.
    #[activity(name = "remains.v1")]
    pub fn read_run(input: ClosedRun) -> Result<RunHistory<Start>, ActivityError> {
        unimplemented!()
    }

    /// Reads what a batch that was closed from outside has decided, once all its items are over.
    #[activity(name = "batch-remains.v1")]
    pub fn read_batch(input: ClosedRun) -> Result<RunHistory<BatchStart>, ActivityError> {
        unimplemented!()
    }

    /// Reads how an item of a batch ended, if the item was closed from outside.
    #[activity(name = ITEM_ENDING)]
    pub fn read_item(input: ClosedItem) -> Result<ItemOutcome, ActivityError> {
        unimplemented!()
    }

    /// Starts `end.v1` for the runs that were closed from outside, as far back as the server retains them.
    #[activity(name = "look-back.v1")]
    pub fn look_back() -> Result<(), ActivityError> {
        unimplemented!()
    }
}

/// The activities of deliveries and digests, in the role `notifier`.
pub struct NotificationActivities;

#[activity_definitions]
impl NotificationActivities {
    /// Makes one attempt of a delivery.
    #[activity(name = "deliver.v1")]
    pub fn deliver(input: Deliver) -> Result<Delivered, ActivityError> {
        unimplemented!()
    }

    /// Publishes the receipt of a notification, and dead-letters one that was given up.
    #[activity(name = "conclude.v1")]
    pub fn conclude(input: Conclude) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// Sends one message to the operators; ends when the target accepts it, or never will.
    #[activity(name = "send-digest.v1")]
    pub fn send_digest(input: SendDigest) -> Result<(), ActivityError> {
        unimplemented!()
    }
}

/// The definitions that the role `worker` implements.
pub mod request {
    pub use super::request_activities::*;
}

/// The definitions that the role `notifier` implements.
pub mod notification {
    pub use super::notification_activities::*;
}
