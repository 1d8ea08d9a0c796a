//! Digests: failures for the operators, gathered by one workflow per target.
//!
//! These types are stored in workflow histories: add fields only with a default, and never remove or retype one.
//! Histories contain no target: it is named by its channel and hash, and the activity finds it in the settings.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use temporalio_client::WorkflowStartOptions;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use super::activities::alive_until_stop;
use super::client::{Error, Temporal, answered};
use super::workflows::digest;
use crate::notifier::{Channel, Deliverer, Failed, Gathered, Seen};

/// The input of `digest.v1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// The target.
    pub to: Addressee,
    /// Time between two messages, in milliseconds.
    pub every_ms: u64,
    /// Failures that an earlier run of the workflow gathered.
    #[serde(default)]
    pub gathered: Gathered,
    /// Events that the earlier run counted.
    #[serde(default)]
    pub seen: Seen,
    /// Rest of the pause of the earlier run, in milliseconds.
    #[serde(default)]
    pub pause_ms: u64,
    /// Number of failed attempts in a row.
    #[serde(default)]
    pub tries: u32,
    /// How many times in a row a message reached a notifier whose settings do not name the target.
    #[serde(default)]
    pub unknown: u32,
}

/// Names one of the operators' targets in the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addressee {
    /// Channel of the target.
    pub channel: Channel,
    /// First 16 hex digits of the target's SHA-256.
    pub target_hash: String,
}

/// The input of `tell.v1`: one message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tell {
    /// The target.
    pub to: Addressee,
    /// The failures to report.
    pub gathered: Gathered,
    /// How many times in a row the message reached a notifier whose settings do not name the target.
    #[serde(default)]
    pub unknown: u32,
}

/// The result of one attempt to send a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// The message was accepted, or never will be.
    Ended,
    /// A later attempt may succeed.
    Later {
        /// The pause that the target asks for, in milliseconds.
        #[serde(default)]
        pause_ms: Option<u64>,
        /// The settings of this notifier do not name the target; those of another may.
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
    /// Signals failures to the workflow of their target, and starts it if none is running.
    ///
    /// # Errors
    /// If the server did not accept the signal.
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
    /// Sends the messages.
    pub deliverer: Arc<Deliverer>,
}

#[activities]
impl DigestActivities {
    /// Makes one attempt to send a message.
    #[activity(name = "tell.v1")]
    pub async fn tell(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: Tell,
    ) -> Result<Told, ActivityError> {
        // Boxed, because it is large: it holds a whole mail.
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
