//! `cancelled.v1`: claims the id of a request that was cancelled before it arrived, so that the request never starts.

#![deny(clippy::disallowed_methods)]

use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::{WorkflowContext, WorkflowResult};

pub const NAME: &str = "cancelled.v1";

#[workflow]
#[derive(Default)]
pub struct Claimed;

#[workflow_methods]
impl Claimed {
    /// Completes at once: its only purpose is to occupy its id.
    #[run(name = "cancelled.v1")]
    pub async fn run(_: &mut WorkflowContext<Self>, reason: String) -> WorkflowResult<String> {
        Ok(reason)
    }
}
