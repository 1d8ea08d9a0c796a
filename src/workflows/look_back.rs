//! `look-back.v1`: has one worker sweep all closed runs that the server still retains (contract, section 3, rule 8).

#![deny(clippy::disallowed_methods)]

use std::time::Duration;

use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::{WorkflowContext, WorkflowResult};

use crate::contract::activities::RequestActivities;
use crate::workflows::support::{detached, done};

/// Start-to-close time-out: a month may have a million failed runs, and each of them is read.
const TRY: Duration = Duration::from_secs(12 * 3600);

#[workflow]
#[derive(Default)]
pub struct LookBack;

#[workflow_methods]
impl LookBack {
    #[run(name = "look-back.v1")]
    pub async fn run(ctx: &mut WorkflowContext<Self>, (): ()) -> WorkflowResult<()> {
        done(ctx, || RequestActivities::look_back, (), || detached(TRY)).await;
        Ok(())
    }
}
