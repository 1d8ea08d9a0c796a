//! Endpoints that are gone: those that answered a notification with 410 Gone.
//!
//! genflow keeps no list of them. This check reads them from the dead letters of notifications.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use tokio::time::timeout;

use super::{Finding, causes, count};
use crate::contract::receipt::Channel;
use crate::domain::time::{rfc3339, since_epoch};
use crate::engines::config::Config;
use crate::engines::kafka::snapshot::{Extent, Snapshot};
use crate::engines::kafka::tail;
use crate::operate::dead_letters::{Contents, DeadLetter, Opener};
use crate::roles::notifier;

const CHECK: &str = "endpoints";
/// The retention that `setup` gives the topic.
const LOOK_BACK: Duration = Duration::from_secs(30 * 24 * 3600);
const PATIENCE: Duration = Duration::from_secs(30);
/// Endpoints that get a finding of their own; the others are only counted.
const MOST: usize = 20;

struct Gone {
    times: u64,
    last: DeadLetter,
}

pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let found = match timeout(PATIENCE, read(config)).await {
        Ok(Ok(found)) => found,
        // The checks of topics report a missing topic.
        Ok(Err(tail::Error::NoTopic(_))) => return Vec::new(),
        Ok(Err(error)) => return vec![Finding::unknown(CHECK, causes(&error))],
        Err(_) => {
            let long =
                format!("the dead letters of notifications could not be read within {PATIENCE:?}");
            return vec![Finding::unknown(CHECK, long)];
        }
    };
    if found.is_empty() {
        return vec![Finding::ok(
            CHECK,
            "none answered 410 Gone in the last 30 days",
        )];
    }
    let mut findings = Vec::new();
    let rest = found.len().saturating_sub(MOST);
    for ((channel, hash), gone) in found.into_iter().take(MOST) {
        let check = format!("endpoint {} {hash}", channel.as_str());
        let whose = whose(config, channel, &hash, &gone.last).await;
        let times = count(gone.times, "notification");
        let at = rfc3339(gone.last.0.timestamp.unwrap_or_default());
        let found = format!("{whose} answered 410 Gone to {times}, last at {at}");
        let advice = "ask the user for another target, or to remove this one";
        findings.push(Finding::warn(check, found).advise(advice));
    }
    if rest > 0 {
        let found = format!("{rest} more answered 410 Gone");
        let advice = "genflow dlq list --notifications";
        findings.push(Finding::warn(CHECK, found).advise(advice));
    }
    findings
}

async fn read(config: &Config) -> Result<BTreeMap<(Channel, String), Gone>, tail::Error> {
    let since = since_epoch(SystemTime::now() - LOOK_BACK);
    let topic = &config.kafka.topics.notifications_dlq;
    let mut snapshot = Snapshot::open(&config.kafka, topic, Extent::Since(since)).await?;
    let mut found: BTreeMap<_, Gone> = BTreeMap::new();
    while let Some(record) = snapshot.next().await? {
        let letter = DeadLetter(record);
        if letter.reason() != notifier::GONE {
            continue;
        }
        let Some((channel, hash)) = letter.notification() else {
            continue;
        };
        let key = (channel, hash.to_owned());
        let gone = found.entry(key).or_insert_with(|| Gone {
            times: 0,
            last: letter.clone(),
        });
        gone.times += 1;
        if letter.0.timestamp >= gone.last.0.timestamp {
            gone.last = letter;
        }
    }
    Ok(found)
}

/// Describes the target and its user, as far as they can be read.
async fn whose(config: &Config, channel: Channel, hash: &str, letter: &DeadLetter) -> String {
    let unknown = || "a target".to_owned();
    let opener = Opener::new(&config.schema_registry, &config.kafka.topics);
    match opener.open(letter).await.map(|opened| opened.contents) {
        Ok(Contents::Event(event)) => {
            let shown = notifier::shown(&event, channel, hash, &config.notify_keys);
            format!("{} of {}", shown.unwrap_or_else(unknown), event.user_id)
        }
        Ok(Contents::Request(_) | Contents::Other | Contents::Unreadable(_)) | Err(_) => unknown(),
    }
}
