//! The workflows: deterministic code only, and the only place that decides the events of runs.

pub mod batch;
pub mod budget;
pub mod claimed;
pub mod closed_run;
pub mod delivery;
pub mod digest;
pub mod generation;
pub mod look_back;
mod run_core;
pub(crate) mod support;

use temporalio_common::WorkflowDefinition;
use temporalio_sdk::workflow_replayer::WorkflowReplayerOptions;
use temporalio_sdk::workflows::WorkflowImplementation;
use temporalio_sdk::{WorkerOptions, WorkflowRegistrationError};

/// A place to register workflows: a worker or a replayer.
pub(crate) trait Register {
    fn take<W>(&mut self) -> Result<(), WorkflowRegistrationError>
    where
        W: WorkflowImplementation,
        <W::Run as WorkflowDefinition>::Input: Send;
}

/// Registers the workflows of the role `worker`.
pub(crate) fn of_requests(with: &mut impl Register) -> Result<(), WorkflowRegistrationError> {
    with.take::<generation::Generation>()?;
    with.take::<batch::Batch>()?;
    with.take::<claimed::Claimed>()?;
    with.take::<closed_run::End>()?;
    with.take::<look_back::LookBack>()?;
    with.take::<budget::Budget>()
}

/// Registers the workflows of the role `notifier`.
pub(crate) fn of_notifications(with: &mut impl Register) -> Result<(), WorkflowRegistrationError> {
    with.take::<delivery::Delivery>()?;
    with.take::<digest::Digest>()
}

impl Register for WorkerOptions {
    fn take<W>(&mut self) -> Result<(), WorkflowRegistrationError>
    where
        W: WorkflowImplementation,
        <W::Run as WorkflowDefinition>::Input: Send,
    {
        self.register_workflow::<W>().map(|_| ())
    }
}

impl Register for WorkflowReplayerOptions {
    fn take<W>(&mut self) -> Result<(), WorkflowRegistrationError>
    where
        W: WorkflowImplementation,
        <W::Run as WorkflowDefinition>::Input: Send,
    {
        self.register_workflow::<W>().map(|_| ())
    }
}
