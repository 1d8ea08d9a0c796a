//! Digests: failures on their way to the operators, in the hands of one workflow a target.
//!
//! What stands here stands in histories: fields are added with a default, never removed or retyped. No target does: it
//! is named by its channel and hash, and the activity takes it from the settings.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use temporalio_client::WorkflowStartOptions;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use crate::engines::temporal::client::{Error, Temporal, answered};
use crate::roles::notifier::{Channel, Deliverer, Failed, Gathered, Seen};
use crate::roles::worker::activities::alive_until_stop;
use crate::workflows::digest;

/// The input of `digest.v1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Who is told.
    pub to: Addressee,
    /// Time between two messages, in milliseconds.
    pub every_ms: u64,
    /// What an earlier run of the workflow had gathered.
    #[serde(default)]
    pub gathered: Gathered,
    /// What it had counted.
    #[serde(default)]
    pub seen: Seen,
    /// What was left of its pause, in milliseconds.
    #[serde(default)]
    pub pause_ms: u64,
    /// How often in a row it was told in vain.
    #[serde(default)]
    pub tries: u32,
    /// How often in a row it came to a notifier that does not know the addressee.
    #[serde(default)]
    pub unknown: u32,
}

/// Names a target of the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addressee {
    /// By which way.
    pub channel: Channel,
    /// First 16 hex digits of the target's SHA-256.
    pub target_hash: String,
}

/// The input of `tell.v1`: one message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tell {
    /// Who is told.
    pub to: Addressee,
    /// Of what.
    pub gathered: Gathered,
    /// How often in a row it came to a notifier that does not know the addressee.
    #[serde(default)]
    pub unknown: u32,
}

/// What came of one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// It was taken, or never will be.
    Ended,
    /// It may be taken later.
    Later {
        /// The pause that the target asks for, in milliseconds.
        #[serde(default)]
        pause_ms: Option<u64>,
        /// This notifier does not know the addressee; another may.
        #[serde(default)]
        unknown: bool,
    },
}

impl Addressee {
    /// Returns the id of the workflow.
    pub fn workflow(&self) -> String {
        format!("digest/{}/{}", self.channel.as_str(), self.target_hash)
    }
}

impl Temporal {
    /// Returns when failures are in the hands of the workflow of their target, which is started where none runs.
    ///
    /// # Errors
    /// When the server did not take them.
    pub async fn gather(
        &self,
        to: Addressee,
        every_ms: u64,
        failed: Vec<Failed>,
    ) -> Result<(), Error> {
        let options = WorkflowStartOptions::new(self.task_queue(), to.workflow()).build();
        let input = Digest {
            to,
            every_ms,
            gathered: Gathered::default(),
            seen: Seen::default(),
            pause_ms: 0,
            tries: 0,
            unknown: 0,
        };
        self.client()
            .signal_with_start_workflow(
                digest::Digest::run,
                input,
                digest::Digest::failed,
                failed,
                options,
            )
            .await
            .map(drop)
            .map_err(answered)
    }
}

/// The activities of `digest.v1`.
pub struct DigestActivities {
    /// Who delivers.
    pub deliverer: Arc<Deliverer>,
}

#[activities]
impl DigestActivities {
    /// Sends one message.
    #[activity(name = "tell.v1")]
    pub async fn tell(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: Tell,
    ) -> Result<Told, ActivityError> {
        // Boxed: it holds a mail on its way.
        let telling = Box::pin(async { Ok(self.deliverer.tell(input).await) });
        alive_until_stop(&ctx, telling).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_input_reads_without_what_came_later() {
        let input: Digest = serde_json::from_value(json!({
            "to": {"channel": "SLACK", "target_hash": "19f1352238b91533"},
            "every_ms": 60_000,
            "of_a_later_version": 7,
        }))
        .unwrap();

        assert_eq!(input.to.workflow(), "digest/SLACK/19f1352238b91533");
        assert_eq!((input.pause_ms, input.gathered.total), (0, 0));
        let told: Told = serde_json::from_value(json!({"later": {"pause_ms": 7}})).unwrap();
        let later = Told::Later {
            pause_ms: Some(7),
            unknown: false,
        };
        assert_eq!(told, later);
    }
}
