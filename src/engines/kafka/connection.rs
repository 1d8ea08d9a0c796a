//! The context of every client: notices why the brokers refuse a connection, and serves tokens for OAUTHBEARER.
//!
//! librdkafka retries a refused connection without end, and the call that needs it only times out. The reason is in a log
//! line of the client, which reaches this context while the client is polled: [`served`] polls it during a call that
//! blocks.

mod admin_token;
mod refusal;
mod settings;
mod statistics;
mod token;

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::admin::AdminClient;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{ConsumerContext, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use tokio::runtime::{Handle, RuntimeFlavor};

pub use self::refusal::{ClientError, Refusal};
pub(super) use self::settings::secure;
use self::token::TokenServer;
use crate::engines::config;
use crate::engines::config::kafka::security::{KafkaLogin, KafkaSecurity};
use crate::engines::health::Health;
use crate::engines::telemetry::events;
use crate::engines::telemetry::events::KafkaTotals;

/// The line of `/readyz` for the connections to the brokers; it appears when they are refused for the first time.
const HEALTH: &str = "kafka";

/// How often a client of a role reports its statistics, from which the context sees that a refusal is over.
pub(super) const STATISTICS: Duration = Duration::from_secs(5);

/// The context of a client; clones share it.
#[derive(Clone)]
pub(super) struct Connection(Arc<Inner>);

struct Inner {
    client: String,
    security: KafkaSecurity,
    /// `None` for clients of commands.
    health: Option<Arc<Health>>,
    tokens: Option<TokenServer>,
    refused: Mutex<Refused>,
    /// What the client had done at its last report.
    totals: Mutex<KafkaTotals>,
}

#[derive(Default)]
struct Refused {
    current: Option<(Instant, Refusal)>,
    times: u32,
}

impl Connection {
    /// Returns the context of a client named `client`; `health` reports its refusals.
    pub(super) fn new(kafka: &config::Kafka, client: &str, health: Option<Arc<Health>>) -> Self {
        let tokens = match &kafka.security.login {
            Some(KafkaLogin::Token(oauth)) => Some(TokenServer(oauth.clone())),
            Some(KafkaLogin::Password { .. }) | None => None,
        };
        Self(Arc::new(Inner {
            client: client.to_owned(),
            security: kafka.security.clone(),
            health,
            tokens,
            refused: Mutex::default(),
            totals: Mutex::default(),
        }))
    }

    /// Returns why the brokers refuse the connection, if they do.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        let refused = self.0.refused.lock();
        refused.current.as_ref().map(|(_, refusal)| refusal.clone())
    }

    /// Notes that the brokers deny an operation on `what`, until the statistics show that this is over; ignores other
    /// errors.
    pub(super) fn note_denied(&self, what: &str, error: &KafkaError) {
        let denied = matches!(
            error.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed
                    | RDKafkaErrorCode::GroupAuthorizationFailed
                    | RDKafkaErrorCode::ClusterAuthorizationFailed
            )
        );
        if denied {
            self.note(&Refusal::denied(what, error));
        }
    }

    fn note(&self, refusal: &Refusal) {
        let Inner { client, health, .. } = &*self.0;
        let times = {
            let mut refused = self.0.refused.lock();
            refused.times += 1;
            refused.current = Some((Instant::now(), refusal.clone()));
            refused.times
        };
        events::brokers_refused(client, refusal, times);
        if let Some(health) = health {
            health.not_ready(HEALTH, &refusal.to_string());
        }
    }

    /// Reports the statistics. Ends a refusal when a broker has accepted the connection, and a consumer is settled in its
    /// group again.
    pub(super) fn note_statistics(&self, statistics: &Statistics) {
        let report = statistics::report(statistics, &mut self.0.totals.lock());
        events::kafka_client_reported(&self.0.client, report);
        let mut brokers = statistics.brokers.values();
        let is_up = brokers.any(|broker| broker.state == "UP");
        let group = statistics.cgrp.as_ref();
        let is_settled = group.is_none_or(|group| group.join_state == "steady");
        if is_up && is_settled {
            self.end_if(|since, refusal| since.elapsed() >= STATISTICS && !refusal.is_for_token);
        }
    }

    fn end_if(&self, is_over: impl FnOnce(&Instant, &Refusal) -> bool) {
        {
            let mut refused = self.0.refused.lock();
            let current = refused.current.as_ref();
            if !current.is_some_and(|(since, refusal)| is_over(since, refusal)) {
                return;
            }
            *refused = Refused::default();
        }
        if let Some(health) = &self.0.health {
            health.ready(HEALTH);
        }
    }

    /// Gives `admin` its token, if it needs one: an admin client has no callback for it, and does not live long enough
    /// to need another.
    ///
    /// # Errors
    /// The token server gives none.
    pub(super) async fn authorize(&self, admin: &AdminClient<Self>) -> Result<(), Refusal> {
        match &self.0.tokens {
            None => Ok(()),
            Some(tokens) => admin_token::set(admin.inner(), &tokens.fetch().await?),
        }
    }
}

impl ClientContext for Connection {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        tracing::debug!(client = self.0.client, ?level, facility, "{line}");
        // The reason of a failed connection; the error event, which may follow, has no more.
        if facility == "FAIL"
            && let Some(refusal) = Refusal::of(line, &self.0.security)
        {
            self.note(&refusal);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(client = self.0.client, %error, reason, "client error");
    }

    fn stats(&self, statistics: Statistics) {
        self.note_statistics(&statistics);
    }

    /// Called when the client starts, and again after four fifths of a token's life, or 10 s after an error.
    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let Some(tokens) = &self.0.tokens else {
            return Err(
                "OAUTHBEARER needs KAFKA_SASL_MECHANISM=OAUTHBEARER instead of KAFKA_OPTIONS"
                    .into(),
            );
        };
        let fetched = without_stalling(|| tokens.fetch_blocking());
        match &fetched {
            Ok(_) => self.end_if(|_, refusal| refusal.is_for_token),
            Err(refusal) => self.note(refusal),
        }
        Ok(fetched?)
    }
}

impl ConsumerContext for Connection {}

/// Awaits `call`, which blocks on the brokers elsewhere, and serves the callbacks of `consumer` meanwhile. The consumer
/// has no assignment, so it receives nothing but errors, which its context has noted.
pub(super) async fn served<C: ConsumerContext + 'static, T>(
    consumer: &StreamConsumer<C>,
    call: impl Future<Output = T>,
) -> T {
    let mut call = std::pin::pin!(call);
    loop {
        tokio::select! {
            answer = &mut call => return answer,
            received = consumer.recv() => if let Err(error) = received {
                tracing::debug!(%error, "during a call to the brokers");
            }
        }
    }
}

/// Makes a call that blocks on the brokers on a thread of its own, and serves the callbacks of `consumer` meanwhile.
pub(super) async fn ask<C: ConsumerContext + 'static, T: Send + 'static>(
    consumer: &Arc<StreamConsumer<C>>,
    call: impl FnOnce(&StreamConsumer<C>) -> KafkaResult<T> + Send + 'static,
) -> KafkaResult<T> {
    let asked = consumer.clone();
    let asking = tokio::task::spawn_blocking(move || call(&asked));
    match served(consumer, asking).await {
        Ok(answer) => answer,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime shuts down.
            Err(_) => Err(KafkaError::Canceled),
        },
    }
}

/// Waits in a callback, and gives the other tasks of this thread of the runtime to another one.
pub(super) fn without_stalling<T>(wait: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(wait),
        Ok(_) | Err(_) => wait(),
    }
}
