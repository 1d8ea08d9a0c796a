//! Callbacks: a provider is asked at a submit to call when the job has ended.
//!
//! A callback only causes a poll; its content is not trusted. genflow requests callbacks only if it can verify them,
//! because a job with callbacks is polled rarely. The URL has a token made with the account's API key: fal signs the
//! callbacks of all its users with the same keys, so a signature alone would let each user wake every run. The URL ends
//! with the workflow id, by which a look-up also finds the job.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use reqwest::header::HeaderMap;
use ring::digest::{SHA256, digest};
use ring::hmac;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::Deserialize;
use tokio::time::{Instant, timeout};

use super::{Error, Provider, Providers};
use crate::domain::error_chain::causes;
use crate::domain::standard_webhooks::{bytes_of, is_signed};
use crate::domain::{Media, ProviderName, Secret, WorkflowId, hex, unhex};
use crate::engines::config::{self, Protocol};

/// How far the time of a callback may be from ours.
const TOLERANCE: Duration = Duration::from_secs(300);
/// How long keys are used before they are read again.
const FRESH: Duration = Duration::from_secs(24 * 3600);
/// Shortest time between two tries to read keys.
const BETWEEN: Duration = Duration::from_secs(60);
/// Time limit for reading keys: a submit waits for it.
const READ_TIME: Duration = Duration::from_secs(3);
/// Limit on the bytes of an answer with keys.
const MAX_KEYS: usize = 256 * 1024;
/// Limit on the keys that a callback is compared with.
const MOST_KEYS: usize = 20;
/// Limit on the length of an id in a header.
const MAX_ID: usize = 256;

/// What verifies callbacks.
#[derive(Debug)]
pub(super) struct Callbacks {
    config: Option<config::Callbacks>,
    /// The accounts for videos and for images may differ.
    replicate: [Slot; 2],
    fal: Slot,
}

/// The keys of one signer. One caller reads them; the others wait for it.
type Slot = tokio::sync::Mutex<Keys>;

#[derive(Default)]
struct Keys {
    keys: Vec<Vec<u8>>,
    read_at: Option<Instant>,
    tried_at: Option<Instant>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(***)")
    }
}

/// Why a callback is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A header is missing or cannot be read.
    #[error("the headers of the callback are malformed")]
    Malformed,
    #[error("the callback's time is too far from ours")]
    Stale,
    /// The token or the signature is wrong.
    #[error("the callback is not from the provider")]
    Forged,
}

/// The headers of a callback, as its sender has signed them.
#[derive(Debug, PartialEq, Eq)]
pub struct SignedHead {
    /// The same for all repeats of a callback.
    pub id: String,
    /// As it was sent: seconds since the epoch.
    timestamp: u64,
    /// Who signed, if the provider says it.
    user: String,
    signature: String,
}

impl Callbacks {
    pub(super) fn new(config: Option<config::Callbacks>) -> Self {
        Self {
            config,
            replicate: Default::default(),
            fal: Slot::default(),
        }
    }

    /// Returns the keys that verify callbacks of a provider; `None` if it sends none.
    fn slot(&self, protocol: &Protocol, kind: Media) -> Option<&Slot> {
        let [of_videos, of_images] = &self.replicate;
        match (protocol, kind) {
            (Protocol::Replicate, Media::Video) => Some(of_videos),
            (Protocol::Replicate, Media::Image) => Some(of_images),
            (Protocol::Fal, _) => Some(&self.fal),
            (Protocol::OpenAi | Protocol::Described(_) | Protocol::Unknown, _) => None,
        }
    }
}

impl Providers {
    /// Returns the account whose key made a callback's token.
    ///
    /// # Errors
    /// [`Refused::Forged`].
    pub fn called_back(
        &self,
        name: ProviderName,
        workflow: &WorkflowId,
        token: &str,
    ) -> Result<Provider, Refused> {
        let tag = BASE64.decode(token).map_err(|_| Refused::Forged)?;
        let accounts = [Media::Video, Media::Image].map(|kind| self.of(kind, name));
        let fits = |account: &Provider| {
            let key = account.token_key();
            key.is_some_and(|key| {
                hmac::verify(&key, &signed_text(name, workflow.as_str()), &tag).is_ok()
            })
        };
        accounts.into_iter().find(fits).ok_or(Refused::Forged)
    }
}

impl Provider {
    /// Returns the URL that the provider should call when the job of `workflow` has ended; `None` if `CALLBACK_URL` is
    /// not set, the provider sends no callbacks, or they cannot be verified now.
    pub async fn callback(&self, workflow: &WorkflowId) -> Option<String> {
        let config = self.clients.callbacks.config.as_ref()?;
        let path = self.callback_path(workflow.as_str())?;
        let keys = self.callback_keys(false).await?;
        let base = config.url.as_str().trim_end_matches('/');
        (!keys.is_empty()).then(|| format!("{base}{path}"))
    }

    /// Returns the path of the callbacks of a workflow. An id has only characters that a path need not escape.
    pub(super) fn callback_path(&self, workflow: &str) -> Option<String> {
        let name = self.config.name;
        let token = hmac::sign(&self.token_key()?, &signed_text(name, workflow));
        let (name, token) = (name.as_str(), BASE64.encode(token));
        Some(format!("/callbacks/{name}/{token}/{workflow}"))
    }

    /// Without an API key there is no secret to make a token of.
    fn token_key(&self) -> Option<hmac::Key> {
        let key = self.config.api_key.as_ref()?.expose();
        Some(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()))
    }

    /// Reads the headers of a callback. `now` is in milliseconds since the epoch.
    ///
    /// # Errors
    /// They are incomplete, or too old.
    pub fn signed_head(&self, headers: &HeaderMap, now: i64) -> Result<SignedHead, Refused> {
        let text = |name: &str| headers.get(name)?.to_str().ok().map(str::to_owned);
        let [id, timestamp, signature] = match self.config.protocol {
            Protocol::Replicate => ["webhook-id", "webhook-timestamp", "webhook-signature"],
            Protocol::Fal => [
                "x-fal-webhook-request-id",
                "x-fal-webhook-timestamp",
                "x-fal-webhook-signature",
            ],
            Protocol::OpenAi | Protocol::Described(_) | Protocol::Unknown => {
                return Err(Refused::Malformed);
            }
        }
        .map(text);
        let user = match self.config.protocol {
            Protocol::Fal => text("x-fal-webhook-user-id").ok_or(Refused::Malformed)?,
            Protocol::Replicate | Protocol::OpenAi | Protocol::Described(_) | Protocol::Unknown => {
                String::new()
            }
        };
        let id = id.filter(|id| (1..=MAX_ID).contains(&id.len()));
        let timestamp = timestamp.and_then(|text| text.parse::<u64>().ok());
        let (Some(id), Some(timestamp), Some(signature)) = (id, timestamp, signature) else {
            return Err(Refused::Malformed);
        };
        let now = u64::try_from(now / 1000).unwrap_or_default();
        if now.abs_diff(timestamp) > TOLERANCE.as_secs() {
            return Err(Refused::Stale);
        }
        Ok(SignedHead {
            id,
            timestamp,
            user,
            signature,
        })
    }

    /// Verifies a callback. If none of the known keys fits, reads the keys again, at most once a minute.
    ///
    /// # Errors
    /// [`Refused::Forged`].
    pub async fn verify(&self, head: &SignedHead, body: &[u8]) -> Result<(), Refused> {
        for again in [false, true] {
            let keys = self.callback_keys(again).await.unwrap_or_default();
            if keys.iter().any(|key| self.fits(key, head, body)) {
                return Ok(());
            }
        }
        Err(Refused::Forged)
    }

    fn fits(&self, key: &[u8], head: &SignedHead, body: &[u8]) -> bool {
        let SignedHead {
            id,
            timestamp,
            user,
            signature,
        } = head;
        match self.config.protocol {
            Protocol::Replicate => is_signed(key, id, *timestamp, body, signature),
            Protocol::Fal => {
                let body = hex(digest(&SHA256, body).as_ref());
                let text = format!("{id}\n{user}\n{timestamp}\n{body}");
                let key = UnparsedPublicKey::new(&ED25519, key);
                unhex(signature).is_some_and(|tag| key.verify(text.as_bytes(), &tag).is_ok())
            }
            Protocol::OpenAi | Protocol::Described(_) | Protocol::Unknown => false,
        }
    }

    /// Returns the keys that verify callbacks, read again if they are old, or if `again` asks for it; `None` if the
    /// provider sends no callbacks.
    async fn callback_keys(&self, again: bool) -> Option<Vec<Vec<u8>>> {
        let callbacks = &self.clients.callbacks;
        let config = callbacks.config.as_ref()?;
        let slot = callbacks.slot(&self.config.protocol, self.kind)?;
        if matches!(self.config.protocol, Protocol::Replicate)
            && !config.replicate_secrets.is_empty()
        {
            let secrets = config.replicate_secrets.iter();
            return Some(secrets.filter_map(bytes_of).collect());
        }
        let mut known = slot.lock().await;
        let is_within = |at: Option<Instant>, span| at.is_some_and(|at| at.elapsed() < span);
        if (again || !is_within(known.read_at, FRESH)) && !is_within(known.tried_at, BETWEEN) {
            known.tried_at = Some(Instant::now());
            match timeout(READ_TIME, self.read_keys(config)).await {
                Ok(Ok(keys)) if !keys.is_empty() => {
                    known.keys = keys;
                    known.read_at = Some(Instant::now());
                }
                failed => self.report_no_keys(failed.ok().and_then(Result::err).as_ref()),
            }
        }
        if !is_within(known.read_at, FRESH) {
            known.keys.clear();
        }
        Some(known.keys.clone())
    }

    fn report_no_keys(&self, error: Option<&Error>) {
        let provider = self.config.name.as_str();
        let error = error.map_or_else(
            || "no key, or no answer in time".to_owned(),
            |it| causes(it),
        );
        tracing::warn!(
            provider,
            error,
            "cannot read the keys that verify callbacks; jobs are polled as if CALLBACK_URL were not set"
        );
    }

    async fn read_keys(&self, config: &config::Callbacks) -> Result<Vec<Vec<u8>>, Error> {
        if matches!(self.config.protocol, Protocol::Replicate) {
            #[derive(Deserialize)]
            struct Answer {
                key: String,
            }
            let request = self.get(self.at("v1/webhooks/default/secret"));
            let (Answer { key }, _held) = self.ask(request, MAX_KEYS).await?;
            return Ok(bytes_of(&Secret::new(key)).into_iter().collect());
        }
        #[derive(Deserialize)]
        struct Answer {
            keys: Vec<Key>,
        }
        #[derive(Deserialize)]
        struct Key {
            #[serde(default)]
            crv: Option<String>,
            #[serde(default)]
            x: String,
        }
        // Another host than the queue, and it needs no key.
        let request = self.clients.asking.get(config.fal_keys.clone());
        let (Answer { keys }, _held) = self.ask(request, MAX_KEYS).await?;
        let keys = keys
            .into_iter()
            .filter(|key| key.crv.as_deref().is_none_or(|it| it == "Ed25519"));
        let keys = keys.filter_map(|key| BASE64.decode(key.x.trim_end_matches('=')).ok());
        Ok(keys.filter(|key| key.len() == 32).take(MOST_KEYS).collect())
    }
}

/// What a token signs. The prefix keeps it apart from other uses of an API key.
fn signed_text(name: ProviderName, workflow: &str) -> Vec<u8> {
    format!("genflow callback {} {workflow}", name.as_str()).into_bytes()
}

#[cfg(test)]
mod tests;
