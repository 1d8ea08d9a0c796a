//! What the handlers of requests and of commands share.

use std::sync::Arc;

use anyhow::anyhow;
use apache_avro::Schema;

use super::failures::{of_avro, of_registry, reject};
use super::rate_limit::{NotAdmitted, RateLimits};
use crate::contract::avro;
use crate::domain::{ErrorCode, UserId};
use crate::engines::config::Config;
use crate::engines::kafka::Record;
use crate::engines::kafka::consumer::{Cause, Failure, Slots};
use crate::engines::registry::Registry;
use crate::engines::temporal::client::Temporal;

/// The engines, the settings and the limits.
pub struct Shared {
    pub config: Arc<Config>,
    pub temporal: Temporal,
    pub registry: Arc<Registry>,
    /// The same for both handlers; `None` if rate limiting is off.
    pub limits: Option<Arc<RateLimits>>,
}

impl Shared {
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
            Err(NotAdmitted::After(_)) => {
                let limited = anyhow!("{limits}").context("the user is above its rate limit");
                Err(reject(ErrorCode::RateLimited, limited))
            }
            Err(stopped @ NotAdmitted::Stopped) => {
                Err(Failure::Retry(Cause::Interrupted, stopped.into()))
            }
        }
    }
}
