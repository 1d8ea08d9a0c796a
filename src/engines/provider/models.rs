//! The input schemas of models, as their providers publish them: read once, kept in memory and on disk, and read again
//! after a day.
//!
//! If the provider's schema cannot be read, the last one in memory or on disk serves, then genflow's own copy
//! (`domain::model::bundle`). Without any of them, only a prompt and `params` can be sent.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use tokio::fs;
use tokio::time::{Instant, timeout};

use super::misnamed::{misnamed, short};
use super::published::Published;
use super::{Error, Provider, fal, replicate};
use crate::domain::model::{Bound, Origin, Profile, Schema, bind, bundle};
use crate::domain::{ErrorCode, EventError, Problem, ProviderName, Single, hex};
use crate::engines::config::{Protocol, Spending};

/// The longest time for reading a schema: a submit waits for it.
const READ_TIME: Duration = Duration::from_secs(3);
/// How long a schema is used before it is read again.
const FRESH: Duration = Duration::from_secs(24 * 3600);
/// How long a copy serves before the provider is asked again.
const RETRY: Duration = Duration::from_secs(300);
/// The same, if there is no copy either.
const SOON: Duration = Duration::from_secs(1);
/// Limit on the models in memory, and on disk: tenants choose their names.
const MOST: usize = 1000;

/// What is known about models' inputs.
#[derive(Debug)]
pub(super) struct Models {
    /// Where schemas are kept; `None`: nowhere.
    folder: Option<PathBuf>,
    pub(super) spending: Spending,
    known: Mutex<HashMap<Key, Arc<Slot>>>,
}

/// A model of the provider at this base URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    provider: ProviderName,
    base_url: String,
    model: String,
}

/// What is known about one model. One caller reads its schema; the others wait for it.
type Slot = tokio::sync::Mutex<Option<Known>>;

#[derive(Debug)]
struct Known {
    profile: Arc<Profile>,
    until: Instant,
}

impl Models {
    /// Keeps what it reads in `folder`, if there is one.
    pub(super) fn new(folder: Option<PathBuf>, spending: Spending) -> Self {
        Self {
            folder,
            spending,
            known: Mutex::default(),
        }
    }

    fn slot(&self, key: &Key) -> Arc<Slot> {
        let mut known = self.known.lock();
        if known.len() >= MOST && !known.contains_key(key) {
            // Any one: which model is needed next is not known.
            if let Some(other) = known.keys().next().cloned() {
                known.remove(&other);
            }
        }
        known.entry(key.clone()).or_default().clone()
    }

    /// Keeps a schema on disk. It is only a copy: a failure is logged, and nothing else.
    async fn keep(&self, key: &Key, published: &Published) {
        let Some(file) = self.file(key) else { return };
        if let Err(error) = write(&file, published).await {
            tracing::warn!(%error, "cannot keep a model's input schema on disk");
        }
    }

    async fn kept(&self, key: &Key) -> Option<Published> {
        let text = fs::read(self.file(key)?).await.ok()?;
        serde_json::from_slice(&text).ok()
    }

    fn file(&self, key: &Key) -> Option<PathBuf> {
        let Key {
            provider,
            base_url,
            model,
        } = key;
        let name = format!("{} {base_url} {model}", provider.as_str());
        let name = hex(digest(&SHA256, name.as_bytes()).as_ref());
        Some(self.folder.as_ref()?.join(format!("{name}.json")))
    }
}

/// Writes a schema to its file, unless that is a new one and there are many already.
async fn write(file: &Path, published: &Published) -> io::Result<()> {
    let text = serde_json::to_vec(published)?;
    let folder = file.parent().unwrap_or(file);
    fs::create_dir_all(folder).await?;
    if !fs::try_exists(file).await? && is_full(folder).await? {
        return Ok(());
    }
    // Another worker may write the same file.
    let unfinished = file.with_extension(uuid::Uuid::new_v4().simple().to_string());
    let writing = async {
        fs::write(&unfinished, text).await?;
        fs::rename(&unfinished, file).await
    };
    let written = writing.await;
    if written.is_err() {
        // Best effort: the disk may be full.
        fs::remove_file(&unfinished).await.ok();
    }
    written
}

async fn is_full(folder: &Path) -> io::Result<bool> {
    let mut files = fs::read_dir(folder).await?;
    for _ in 0..MOST {
        if files.next_entry().await?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What a provider says about a model's schema.
enum Answer {
    Published(Published),
    /// It publishes none.
    Absent,
    /// It did not answer, for a reason that may pass.
    Failed,
}

impl Provider {
    /// Binds a request to the input of its model, whose schema is read within this time.
    ///
    /// # Errors
    /// What the model cannot make, in one error with all problems. It is retryable if the schema could not be read.
    pub async fn bind(&self, single: &Single, within: Duration) -> Result<Bound, EventError> {
        self.may_submit()?;
        let model = self.model(single);
        let profile = self.profile(model, within).await;
        let spending = &self.clients.models.spending;
        let bound = spending.bind(&self.config.protocol, &profile, single);
        bound.map_err(|problems| match profile.origin {
            Origin::Unreadable => unreadable(model, problems),
            Origin::Provider | Origin::Bundled | Origin::Unknown => refused(model, problems),
        })
    }

    /// Returns what is known about the input of a model.
    pub async fn profile(&self, model: &str, within: Duration) -> Arc<Profile> {
        if let Protocol::Described(_) = self.config.protocol {
            return self.config.protocol.known_profile(self.config.name, model);
        }
        let models = &self.clients.models;
        let key = self.key(model);
        let slot = models.slot(&key);
        let mut known = slot.lock().await;
        if let Some(known) = known.as_ref().filter(|known| known.until > Instant::now()) {
            return known.profile.clone();
        }
        let (profile, fresh) = match self.read(model, within.min(READ_TIME)).await {
            Answer::Published(published) => {
                let schema = parsed(&published);
                match &schema {
                    Some(_) => models.keep(&key, &published).await,
                    None => {
                        tracing::warn!(model, "the model's input schema has no inputs, or too many")
                    }
                }
                (self.known_as(model, schema), FRESH)
            }
            Answer::Absent => (self.known_as(model, None), RETRY),
            Answer::Failed => self.without_answer(&key, known.as_ref()).await,
        };
        if let Some(before) = known.as_ref() {
            report_change(&before.profile, &profile);
        }
        let until = Instant::now() + fresh;
        *known = Some(Known {
            profile: profile.clone(),
            until,
        });
        profile
    }

    /// Reads a model's schema again at the next request: the provider refused an input that suits the known one.
    pub fn forget_schema(&self, single: &Single) {
        let slot = self.clients.models.slot(&self.key(self.model(single)));
        if let Ok(mut known) = slot.try_lock()
            && let Some(known) = known.as_mut()
        {
            known.until = Instant::now();
        }
    }

    fn key(&self, model: &str) -> Key {
        Key {
            provider: self.config.name,
            base_url: self.config.base_url.to_string(),
            model: model.to_owned(),
        }
    }

    fn known_as(&self, model: &str, schema: Option<Schema>) -> Arc<Profile> {
        Arc::new(bundle::profile(self.config.name, model, schema))
    }

    /// Returns what is known of a model while its provider does not answer, and for how long to use that.
    async fn without_answer(&self, key: &Key, before: Option<&Known>) -> (Arc<Profile>, Duration) {
        if let Some(before) = before.filter(|it| it.profile.origin == Origin::Provider) {
            return (before.profile.clone(), RETRY);
        }
        let kept = self.clients.models.kept(key).await;
        let schema = kept.as_ref().and_then(parsed);
        let mut profile = bundle::profile(self.config.name, &key.model, schema);
        match profile.origin {
            Origin::Unknown => {
                profile.origin = Origin::Unreadable;
                (Arc::new(profile), SOON)
            }
            Origin::Provider | Origin::Bundled | Origin::Unreadable => (Arc::new(profile), RETRY),
        }
    }

    async fn read(&self, model: &str, within: Duration) -> Answer {
        let reading = async {
            match self.config.protocol {
                Protocol::Replicate => replicate::schema(self, model).await,
                Protocol::Fal => fal::schema(self, model).await,
                Protocol::OpenAi | Protocol::Described(_) | Protocol::Unknown => Ok(None),
            }
        };
        // fal's schemas need no key.
        let key = match self.config.protocol {
            Protocol::Fal => Ok(()),
            Protocol::Replicate | Protocol::OpenAi | Protocol::Described(_) | Protocol::Unknown => {
                self.has_key()
            }
        };
        let (answer, why) = match timeout(within, self.counted("schema", key, reading)).await {
            Ok(Ok(Some(published))) => return Answer::Published(published),
            Ok(Ok(None) | Err(Error::NoKey { .. } | Error::NotConfigured(_))) => {
                return Answer::Absent;
            }
            Ok(Err(error)) => match error {
                Error::Status(401 | 403 | 404 | 405 | 410, _)
                | Error::NoKey { .. }
                | Error::NotConfigured(_) => (Answer::Absent, error.to_string()),
                Error::Status(..) | Error::Unreadable(_) | Error::Unreachable(_) => {
                    (Answer::Failed, error.to_string())
                }
            },
            Err(_) => (Answer::Failed, format!("no answer within {within:?}")),
        };
        tracing::warn!(
            provider = self.config.name.as_str(),
            model,
            why,
            "cannot read the model's input schema"
        );
        answer
    }
}

impl Protocol {
    /// Returns what is known about a model without asking its provider.
    pub(crate) fn known_profile(&self, provider: ProviderName, model: &str) -> Arc<Profile> {
        let described = match self {
            Self::Described(api) => api.models.get(model),
            Self::Replicate | Self::OpenAi | Self::Fal | Self::Unknown => None,
        };
        match described {
            Some(described) => described.profile.clone(),
            None => Arc::new(bundle::profile(provider, model, None)),
        }
    }
}

fn parsed(published: &Published) -> Option<Schema> {
    Schema::parse(&published.document, &published.input)
}

impl Spending {
    /// Binds a request by what is known about its model, if the model's name is one and the request costs no more than
    /// it may. The result has a quote.
    ///
    /// # Errors
    /// All problems of the request.
    pub fn bind(
        &self,
        protocol: &Protocol,
        profile: &Profile,
        single: &Single,
    ) -> Result<Bound, Vec<Problem>> {
        if let Some(problem) = misnamed(protocol, &profile.model, single.media()) {
            return Err(vec![problem]);
        }
        let mut bound = bind(profile, single)?;
        bound.quote = self.prices.quote(profile, &bound.input);
        match self.problem(bound.quote.estimate_usd) {
            Some(problem) => Err(vec![problem]),
            None => Ok(bound),
        }
    }

    /// Returns why an input may not be sent, if it costs too much or its price is not known.
    fn problem(&self, estimate_usd: Option<f64>) -> Option<Problem> {
        let most = self.max_cost_usd;
        let (asked, hint) = match estimate_usd {
            Some(cost) if most.is_none_or(|most| cost <= most) => return None,
            Some(cost) => (
                Some(format!("{cost:.4} US dollars")),
                "above the operator's limit MAX_COST_USD; ask for fewer images or a shorter video",
            ),
            None if most.is_none() && self.budgets.is_unlimited() => return None,
            None => (
                None,
                "the price of the model is not known: the operator can add it to PRICES_FILE, or unset MAX_COST_USD and \
                 all budgets (BUDGET_…)",
            ),
        };
        let allowed = match most {
            Some(most) => format!("at most {most} US dollars"),
            None => "a known price, since there is a budget".to_owned(),
        };
        Some(Problem {
            field: "cost".to_owned(),
            asked,
            allowed: Some(allowed),
            hint: Some(hint.to_owned()),
        })
    }
}

/// Returns the error of a request that may suit its model, whose schema could not be read.
fn unreadable(model: &str, problems: Vec<Problem>) -> EventError {
    let shown = short(model);
    let message = format!(
        "the input schema of {shown} cannot be read now, and without it genflow sends only prompt and params: {}; try again later",
        texts(&problems)
    );
    EventError {
        problems,
        ..EventError::new(ErrorCode::ProviderFailed, &message, true)
    }
}

/// Returns the error of a request that its model cannot make.
fn refused(model: &str, problems: Vec<Problem>) -> EventError {
    let message = format!(
        "genflow does not send this request to {}: {}",
        short(model),
        texts(&problems)
    );
    EventError {
        problems,
        ..EventError::new(ErrorCode::InvalidRequest, &message, false)
    }
}

fn texts(problems: &[Problem]) -> String {
    let texts: Vec<_> = problems.iter().map(Problem::to_string).collect();
    texts.join("; ")
}

fn report_change(before: &Profile, after: &Profile) {
    if before.origin == Origin::Provider
        && after.origin == Origin::Provider
        && !after.has_schema_of(before)
    {
        tracing::info!(
            model = after.model,
            changes = after.changes_since(before),
            "the model's input has changed"
        );
    }
}
