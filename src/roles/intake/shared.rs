//! What the handlers of requests and of commands share.

use std::sync::Arc;

use anyhow::anyhow;
use apache_avro::Schema;

use super::allowed::Allowed;
use super::failures::{of_avro, of_registry, reject};
use super::rate_limit::{RateLimits, Refused};
use crate::contract::avro;
use crate::contract::run::{DefaultProviders, SubmitQueues};
use crate::domain::{ErrorCode, UserId};
use crate::engines::config;
use crate::engines::config::Config;
use crate::engines::kafka::Record;
use crate::engines::kafka::consumer::{Cause, Failure, Slots};
use crate::engines::registry::Registry;
use crate::engines::temporal::client::Temporal;
use crate::engines::temporal::queues::{fetch_queue, submit_queues};

/// The engines, the settings of new runs, and the limits.
pub struct Shared {
    pub(super) temporal: Temporal,
    registry: Arc<Registry>,
    pub(super) settings: config::Intake,
    pub(super) fetch_queue: String,
    pub(super) providers: DefaultProviders,
    pub(super) submit_queues: SubmitQueues,
    pub(super) allowed: Allowed,
    /// `None` if rate limiting is off.
    pub(super) limits: Option<Arc<RateLimits>>,
}

impl Shared {
    /// Creates what one handler needs; `limits` are those of both handlers.
    pub fn new(
        config: &Config,
        temporal: Temporal,
        registry: Arc<Registry>,
        limits: Option<Arc<RateLimits>>,
    ) -> Self {
        Self {
            temporal,
            registry,
            settings: config.intake.clone(),
            fetch_queue: fetch_queue(&config.temporal.task_queue),
            providers: config.worker.default_providers(),
            submit_queues: submit_queues(config),
            allowed: Allowed::new(config),
            limits,
        }
    }

    /// Returns the writer's schema and the datum of a record's value.
    pub(super) async fn open<'r>(
        &self,
        record: &'r Record,
    ) -> Result<(Arc<Schema>, &'r [u8]), Failure> {
        let Some(value) = record.value.as_deref() else {
            let error = anyhow!("the record has no value");
            return Err(reject(ErrorCode::Undecodable, error));
        };
        let (id, datum) = avro::unframe(value).map_err(of_avro)?;
        let schema = self.registry.schema(id).await;
        Ok((schema.map_err(of_registry)?, datum))
    }

    /// Waits until the user's rate limit admits `count` generations. The record releases its slot meanwhile, so others
    /// can run.
    pub(super) async fn admit(
        &self,
        user: &UserId,
        count: u32,
        slots: &Slots,
    ) -> Result<(), Failure> {
        let Some(limits) = &self.limits else {
            return Ok(());
        };
        match slots.without(limits.admit(user.as_str(), count)).await {
            Ok(()) => Ok(()),
            Err(Refused::After(_)) => {
                let limited = anyhow!("{limits}").context("the user is above its rate limit");
                Err(reject(ErrorCode::RateLimited, limited))
            }
            Err(stopped @ Refused::Stopped) => {
                Err(Failure::Retry(Cause::Interrupted, stopped.into()))
            }
        }
    }
}
