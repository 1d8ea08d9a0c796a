//! `cancelled.v1`: holds the id of a request that was cancelled before it came, so that it never starts.

#![deny(clippy::disallowed_methods)]

use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::{WorkflowContext, WorkflowResult};

/// The type by which a claim is known.
pub const NAME: &str = "cancelled.v1";

/// A claimed id.
#[workflow]
#[derive(Default)]
pub struct Claimed;

#[workflow_methods]
impl Claimed {
    /// Ends at once: that it stands under its id is all there is to it.
    #[run(name = "cancelled.v1")]
    pub async fn run(_: &mut WorkflowContext<Self>, reason: String) -> WorkflowResult<String> {
        Ok(reason)
    }
}
