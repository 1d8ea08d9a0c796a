//! Sends dead letters again to where they came from, one after the other, each acknowledged and noted before the next.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Contents, Error, Filter, Letter, Opener, Position, Progress, renewed};
use crate::config::{Config, Topics};
use crate::domain::{ErrorCode, RecordPosition};
use crate::intake::{ACCEPT_OLD, FIRST_SEEN};
use crate::kafka::Headers;
use crate::kafka::producer::{self, Message, Producer};
use crate::kafka::snapshot::{Extent, Snapshot};
use crate::telemetry::events::DeadLetterRedriven;

/// What to send again, and how.
#[derive(Clone, Debug)]
pub struct Order {
    /// Which dead letters.
    pub selection: Selection,
    /// Which of them may go, and as what.
    pub rules: Rules,
    /// Only count.
    pub dry_run: bool,
    /// At most so many a second.
    pub rate: u32,
    /// Who asks; stands in the log.
    pub by: String,
}

/// Which dead letters are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All that a filter takes.
    Matching(Filter),
    /// Those that stand there.
    At(BTreeSet<Position>),
}

/// Which dead letters may go, and as what.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// One that was parked so often, or more often, stays.
    pub max_attempts: u32,
    /// Send requests under a fresh id.
    pub new_id: bool,
    /// Send what is too old, and have intake take it.
    pub accept_old: bool,
    /// Send also what was sent before.
    pub again: bool,
    /// Sent as the header `x-api-key`.
    pub api_key: Option<String>,
}

/// Why a dead letter that is meant was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// It was sent by an earlier run.
    Redriven,
    /// Its value was left out when it was parked.
    Truncated,
    /// It was parked too often.
    Attempts,
    /// It was too old, and is not to be taken all the same.
    TooOld,
    /// It does not say that it comes from one of our topics.
    Foreign,
    /// It is no valid request, so it can have no new id.
    NoRequest,
    /// With its headers it is too large for its topic.
    TooLarge,
}

/// A dead letter that was sent again.
#[derive(Debug)]
pub struct Redriven<'a> {
    /// The dead letter.
    pub letter: &'a Letter,
    /// Where it stands now.
    pub to: &'a RecordPosition,
    /// Under which fresh id, if it was given one.
    pub new_id: Option<&'a str>,
    /// When, in milliseconds since the epoch.
    pub at: i64,
}

/// What came of a redrive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many went, or would go, by reason.
    pub sent: BTreeMap<String, u64>,
    /// How many that were meant did not.
    pub skipped: BTreeMap<Skip, u64>,
    /// Positions that were asked for and hold no dead letter.
    pub missing: Vec<Position>,
    /// How many of those sent the memory has no room for.
    pub left_out: i64,
    /// A stop came before the end.
    pub interrupted: bool,
}

/// Sends dead letters again; `tell` is told of each once it is noted. A stop lets the one under way come to its end.
///
/// # Errors
/// An engine does not answer, or `tell` fails. What was sent until then is noted: another run goes on behind it.
pub async fn redrive(
    config: &Config,
    order: &Order,
    stop: &CancellationToken,
    tell: &mut (dyn FnMut(&Redriven<'_>) -> std::io::Result<()> + Send),
) -> Result<Summary, Error> {
    let kafka = &config.kafka;
    let extent = order.selection.extent();
    let mut snapshot = Snapshot::open(kafka, &kafka.topics.dlq, extent).await?;
    let mut run = Run {
        topics: &kafka.topics,
        order,
        opener: Opener::new(&config.schema_registry_url, &kafka.topics)?,
        progress: Progress::open(kafka, snapshot.bounds()).await?,
        producer: Producer::new(kafka, "redrive")?,
        pace: pace(order.rate),
        summary: Summary::default(),
    };
    let mut missing = match &order.selection {
        Selection::At(positions) => positions.clone(),
        Selection::Matching(_) => BTreeSet::new(),
    };
    loop {
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => { run.summary.interrupted = true; break }
            next = snapshot.next() => next?,
        };
        let Some(record) = next else {
            run.summary.missing = missing.into_iter().collect();
            break;
        };
        let letter = Letter { record };
        missing.remove(&letter.position());
        if !run.one(&letter, stop, tell).await? {
            run.summary.interrupted = true;
            break;
        }
    }
    run.summary.left_out = run.progress.left_out();
    Ok(run.summary)
}

/// One redrive under way.
struct Run<'a> {
    topics: &'a Topics,
    order: &'a Order,
    opener: Opener,
    progress: Progress,
    producer: Producer,
    pace: Interval,
    summary: Summary,
}

impl Run<'_> {
    /// Sends one dead letter if it is meant and may go; `false` when a stop came before.
    async fn one(
        &mut self,
        letter: &Letter,
        stop: &CancellationToken,
        tell: &mut (dyn FnMut(&Redriven<'_>) -> std::io::Result<()> + Send),
    ) -> Result<bool, Error> {
        if !self.is_meant(letter).await? {
            return Ok(true);
        }
        let rules = &self.order.rules;
        let sent_before = self.progress.has(letter.position());
        let topic = match rules.judge(letter, sent_before, self.topics) {
            Ok(topic) => topic,
            Err(skip) => return Ok(self.skip(skip)),
        };
        let renewed = match rules.new_id {
            true => match self.renew(letter, topic).await? {
                Some(renewed) => Some(renewed),
                None => return Ok(self.skip(Skip::NoRequest)),
            },
            false => None,
        };
        if self.order.dry_run {
            self.count(letter);
            return Ok(true);
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(false),
            _ = self.pace.tick() => {}
        }
        // From here to the end nothing gives way to a stop: what is sent is noted.
        let (key, value) = match &renewed {
            Some((id, value)) => (Some(id.as_bytes()), Some(value.as_slice())),
            None => (letter.record.key.as_deref(), letter.record.value.as_deref()),
        };
        let message = Message {
            topic,
            key,
            value,
            headers: rules.headers(letter),
        };
        let to = match self.producer.place(message).await {
            Ok(to) => to,
            Err(producer::Error::TooLarge { .. }) => return Ok(self.skip(Skip::TooLarge)),
            Err(error @ (producer::Error::Refused { .. } | producer::Error::Client(_))) => {
                return Err(error.into());
            }
        };
        let redriven = Redriven {
            letter,
            to: &to,
            new_id: renewed.as_ref().map(|(id, _)| id.as_str()),
            at: now(),
        };
        DeadLetterRedriven {
            position: &letter.record.position,
            to: &to,
            reason: letter.reason(),
            attempts: letter.attempts(),
            by: &self.order.by,
        }
        .emit();
        self.progress.note(letter.position()).await?;
        self.count(letter);
        tell(&redriven)?;
        Ok(true)
    }

    async fn is_meant(&self, letter: &Letter) -> Result<bool, Error> {
        let Selection::Matching(filter) = &self.order.selection else {
            return Ok(true);
        };
        if !filter.takes(letter) || filter.user.is_none() {
            return Ok(filter.takes(letter));
        }
        let opened = self.opener.open(letter).await?;
        Ok(filter.takes_user(opened.user.as_deref()))
    }

    /// Returns a request's new id and its value under that; `None` if it is no valid request.
    async fn renew(
        &self,
        letter: &Letter,
        topic: &str,
    ) -> Result<Option<(String, Vec<u8>)>, Error> {
        let Contents::Request(mut request) = self.opener.open(letter).await?.contents else {
            return Ok(None);
        };
        let Ok(id) = renewed(&request.id, letter.position()) else {
            return Ok(None);
        };
        request.id = id;
        let value = self.opener.encode(topic, &request).await?;
        Ok(Some((request.id.to_string(), value)))
    }

    fn count(&mut self, letter: &Letter) {
        let reason = letter.reason().to_owned();
        *self.summary.sent.entry(reason).or_default() += 1;
    }

    fn skip(&mut self, why: Skip) -> bool {
        *self.summary.skipped.entry(why).or_default() += 1;
        true
    }
}

impl Selection {
    fn extent(&self) -> Extent {
        match self {
            Self::At(positions) => {
                let pairs = positions.iter().map(|at| (at.partition, at.offset));
                Extent::At(pairs.collect())
            }
            Self::Matching(filter) => filter.since.map_or(Extent::All, Extent::Since),
        }
    }
}

impl Rules {
    /// Returns the topic a dead letter goes to, or why it stays.
    fn judge<'t>(
        &self,
        letter: &Letter,
        sent_before: bool,
        topics: &'t Topics,
    ) -> Result<&'t str, Skip> {
        let origin = letter.record.header("dlq.original.topic");
        let ours = [topics.requests.as_str(), topics.commands.as_str()];
        // Whoever can write to the dead-letter topic must not steer an operator's hand to any other.
        let topic = ours.into_iter().find(|topic| origin == Some(topic));
        let too_old = letter.reason() == ErrorCode::TooOld.as_str();
        match topic {
            _ if sent_before && !self.again => Err(Skip::Redriven),
            None => Err(Skip::Foreign),
            Some(_) if letter.is_truncated() => Err(Skip::Truncated),
            Some(_) if letter.attempts() >= self.max_attempts => Err(Skip::Attempts),
            Some(_) if too_old && !self.accept_old => Err(Skip::TooOld),
            Some(topic) => Ok(topic),
        }
    }

    /// The headers of the record as it goes out: its own, how often it was parked, and since when it is on its way.
    fn headers(&self, letter: &Letter) -> Headers {
        let text = |name: &str, text: String| (name.to_owned(), Some(text.into_bytes()));
        let own = letter.record.headers.iter().filter(|(name, _)| {
            !name.starts_with("dlq.") && ![ACCEPT_OLD, FIRST_SEEN, "x-api-key"].contains(&&**name)
        });
        let mut headers: Headers = own.cloned().collect();
        headers.push(text("dlq.attempts", letter.attempts().to_string()));
        let first_seen = letter
            .record
            .header(FIRST_SEEN)
            .and_then(|millis| millis.parse().ok())
            .or(letter.original_timestamp());
        if let Some(millis) = first_seen {
            headers.push(text(FIRST_SEEN, i64::to_string(&millis)));
        }
        if self.accept_old {
            headers.push(text(ACCEPT_OLD, "true".to_owned()));
        }
        if let Some(key) = &self.api_key {
            headers.push(text("x-api-key", key.clone()));
        }
        headers
    }
}

impl Skip {
    /// Says why it was not sent, and what to do about it.
    pub fn explained(self) -> &'static str {
        match self {
            Self::Redriven => "sent before; --again sends them once more",
            Self::Truncated => {
                "parked without their value (dlq.truncated): the producer has to send them anew"
            }
            Self::Attempts => "parked too often: look for the cause, then raise --max-attempts",
            Self::TooOld => "too old: if they never ran, --accept-old has them taken",
            Self::Foreign => "from a topic that is neither TOPIC_REQUESTS nor TOPIC_COMMANDS",
            Self::NoRequest => "no valid request, so --new-id cannot be given one",
            Self::TooLarge => "too large for their topic with the headers that are added",
        }
    }
}

fn pace(rate: u32) -> Interval {
    let mut pace = interval(Duration::from_secs(1) / rate.max(1));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::super::letter::tests::letter;
    use super::*;

    fn rules() -> Rules {
        Rules {
            max_attempts: 3,
            ..Rules::default()
        }
    }

    fn judge(rules: &Rules, headers: &[(&str, &str)], sent_before: bool) -> Result<String, Skip> {
        let topics = Config::load(|_| None).unwrap().kafka.topics;
        let judged = rules.judge(&letter(headers), sent_before, &topics);
        judged.map(str::to_owned)
    }

    #[test]
    fn what_must_not_go_stays_and_says_why() {
        let too_old = ("dlq.reason", "too_old");
        let accept = Rules {
            accept_old: true,
            ..rules()
        };
        let again = Rules {
            again: true,
            ..rules()
        };

        assert_eq!(judge(&rules(), &[], false).unwrap(), "gen.requests");
        let commands = [("dlq.original.topic", "gen.commands")];
        assert_eq!(judge(&rules(), &commands, false).unwrap(), "gen.commands");
        for (headers, skip) in [
            (&[("dlq.attempts", "3")][..], Skip::Attempts),
            (&[("dlq.truncated", "true")], Skip::Truncated),
            (&[("dlq.original.topic", "gen.events")], Skip::Foreign),
            (&[too_old], Skip::TooOld),
        ] {
            assert_eq!(judge(&rules(), headers, false), Err(skip));
        }
        assert!(judge(&accept, &[too_old], false).is_ok());
        assert_eq!(judge(&rules(), &[], true), Err(Skip::Redriven));
        assert!(judge(&again, &[], true).is_ok());
    }

    #[test]
    fn a_record_goes_with_its_own_headers_its_attempts_and_its_first_time() {
        let came = [
            ("traceparent", "00-1"),
            ("x-api-key", "stolen"),
            (ACCEPT_OLD, "true"),
            ("dlq.attempts", "2"),
        ];
        let with_key = Rules {
            api_key: Some("key".to_owned()),
            ..rules()
        };

        let headers = with_key.headers(&letter(&came));

        let shown: Vec<_> = headers
            .iter()
            .map(|(name, value)| {
                let value = value.as_deref().unwrap_or_default();
                (name.as_str(), std::str::from_utf8(value).unwrap())
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("traceparent", "00-1"),
                ("dlq.attempts", "2"),
                (FIRST_SEEN, "1700000000000"),
                ("x-api-key", "key"),
            ]
        );
    }

    #[test]
    fn the_first_time_is_kept_over_many_redrives() {
        let accept = Rules {
            accept_old: true,
            ..rules()
        };

        let headers = accept.headers(&letter(&[(FIRST_SEEN, "5")]));

        let value = |name: &str| {
            let found = headers.iter().find(|(header, _)| header == name);
            found.and_then(|(_, value)| value.clone())
        };
        assert_eq!(value(FIRST_SEEN), Some(b"5".to_vec()));
        assert_eq!(value(ACCEPT_OLD), Some(b"true".to_vec()));
    }
}
