//! Everything that talks to Kafka; no other module uses rdkafka.

pub mod admin;
mod connection;
pub mod consumer;
pub mod producer;
pub mod snapshot;
pub mod tail;

use std::time::Duration;

use rdkafka::client::Client;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _, Timestamp};
use rdkafka::{ClientConfig, ClientContext};
use uuid::Uuid;

use self::connection::secure;
pub use self::connection::{ClientError, Refusal};
use crate::contract::headers::API_KEY;
use crate::domain::RecordPosition;
use crate::engines::config;

/// One record as Kafka delivered it.
#[derive(Clone, Debug)]
pub struct Record {
    pub position: RecordPosition,
    pub key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers in their order on the record; a name may occur more than once.
    pub headers: Headers,
    /// Milliseconds since the epoch; `None` if the record has no timestamp.
    pub timestamp: Option<i64>,
    /// Whether the broker set the timestamp (LogAppendTime); otherwise the producer did.
    pub stamped_by_broker: bool,
}

/// Headers of a record in order: name and value.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

impl Record {
    /// Returns the value of the last header with this name, if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.last_value(|header| header == name)?).ok()
    }

    /// Returns the API key that the record presents: the value of the last header with that name, ignoring case.
    pub fn api_key(&self) -> Option<&[u8]> {
        self.last_value(|header| header.eq_ignore_ascii_case(API_KEY))
    }

    /// Returns the record's W3C trace context if it is well-formed. Every event about the record carries it.
    pub fn traceparent(&self) -> Option<&str> {
        let value = self.last_value(|header| header.eq_ignore_ascii_case("traceparent"))?;
        let text = std::str::from_utf8(value).ok()?;
        is_traceparent(text).then_some(text)
    }

    fn last_value(&self, is_wanted: impl Fn(&str) -> bool) -> Option<&[u8]> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.rfind(|(name, _)| is_wanted(name))?;
        value.as_deref()
    }

    /// Returns the bytes of the key, the value and the headers, without the size of the struct itself.
    fn bytes(&self) -> usize {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len));
        let parts = [&self.key, &self.value].map(|part| part.as_ref().map_or(0, Vec::len));
        headers.chain(parts).sum()
    }
}

impl From<&BorrowedMessage<'_>> for Record {
    /// Copies a record out of librdkafka's memory.
    fn from(message: &BorrowedMessage<'_>) -> Self {
        let mut headers = Headers::new();
        for header in message.headers().into_iter().flat_map(|all| all.iter()) {
            headers.push((header.key.to_owned(), header.value.map(<[u8]>::to_vec)));
        }
        Self {
            position: RecordPosition {
                topic: message.topic().to_owned(),
                partition: message.partition(),
                offset: message.offset(),
            },
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers,
            timestamp: message.timestamp().to_millis(),
            stamped_by_broker: matches!(message.timestamp(), Timestamp::LogAppendTime(_)),
        }
    }
}

#[cfg(test)]
impl Record {
    /// Returns a record without key, value and timestamp, at `offset` in partition 0 of topic `t`.
    pub(crate) fn of(offset: i64, headers: &[(&str, &str)]) -> Self {
        let headers = headers
            .iter()
            .map(|(name, text)| ((*name).to_owned(), Some(text.as_bytes().to_vec())));
        Self {
            position: RecordPosition {
                topic: "t".to_owned(),
                partition: 0,
                offset,
            },
            key: None,
            value: None,
            headers: headers.collect(),
            timestamp: None,
            stamped_by_broker: true,
        }
    }
}

/// Returns a new W3C trace context, for a record that has none.
pub(crate) fn new_trace() -> String {
    let span = Uuid::new_v4().as_u64_pair().0;
    format!("00-{}-{span:016x}-01", Uuid::new_v4().simple())
}

/// In bytes. Version 00 has 55 characters; later versions of the recommendation may have more.
const LONGEST_TRACEPARENT: usize = 256;

/// Returns whether a text is a valid `traceparent` (W3C Trace Context, section 3.2). The recommendation asks the
/// receiver of a malformed one to start a new trace.
fn is_traceparent(text: &str) -> bool {
    let hex = |part: &str, digits: usize| {
        let lower = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        part.len() == digits && part.bytes().all(lower)
    };
    let names = |part: &str, digits| hex(part, digits) && part.bytes().any(|byte| byte != b'0');
    let mut parts = text.splitn(5, '-');
    let [version, trace, parent, flags] = [(); 4].map(|()| parts.next().unwrap_or_default());
    let more = parts.next();
    hex(version, 2)
        && version != "ff"
        && names(trace, 32)
        && names(parent, 16)
        && hex(flags, 2)
        && (more.is_none() || version != "00")
        && text.len() <= LONGEST_TRACEPARENT
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Returns the settings that all our clients share.
fn client(kafka: &config::Kafka, name: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", &kafka.brokers)
        .set("client.id", format!("genflow-{name}"))
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.keepalive.enable", "true")
        // The lines about failed connections are of this level: `connection` reads them.
        .set_log_level(RDKafkaLogLevel::Info);
    secure(&mut client, &kafka.security);
    for (option, value) in &kafka.options {
        client.set(option, value.expose());
    }
    client
}

/// Returns the settings of clients that read a topic without joining a group, and commit no offsets.
fn reader(kafka: &config::Kafka, name: &str) -> ClientConfig {
    let mut client = client(kafka, name);
    // These clients join no group, but librdkafka requires a group id.
    client
        .set("group.id", format!("genflow-{name}"))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "100")
        .set("queued.max.messages.kbytes", "16384")
        .set("allow.auto.create.topics", "false")
        .set("auto.offset.reset", "earliest");
    client
}

/// How long a call that looks up metadata or offsets may block.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the partitions of a topic; none if it does not exist. Blocks on the broker.
///
/// # Errors
/// No broker answers, or the brokers report an error for the topic, such as a missing permission.
fn partitions<C: ClientContext>(client: &Client<C>, topic: &str) -> KafkaResult<Vec<i32>> {
    let metadata = client.fetch_metadata(Some(topic), LOOKUP_TIMEOUT)?;
    let Some(found) = metadata.topics().iter().find(|t| t.name() == topic) else {
        return Ok(Vec::new());
    };
    match found.error().map(RDKafkaErrorCode::from) {
        None => Ok(found.partitions().iter().map(|one| one.id()).collect()),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition) => Ok(Vec::new()),
        Some(code) => Err(KafkaError::MetadataFetch(code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_key_is_found_in_any_case_and_the_last_one_counts() {
        let record = Record::of(0, &[("X-Api-Key", "wrong"), ("X-API-KEY", "key")]);

        assert_eq!(record.api_key(), Some(&b"key"[..]));
        assert_eq!(Record::of(0, &[("key", "x")]).api_key(), None);
    }

    #[test]
    fn a_records_size_is_that_of_its_key_value_and_headers() {
        let record = Record {
            key: Some(vec![0; 3]),
            value: Some(vec![0; 100]),
            headers: vec![
                ("name".to_owned(), Some(vec![0; 20])),
                ("n".to_owned(), None),
            ],
            ..Record::of(0, &[])
        };

        assert_eq!(record.bytes(), 128);
    }

    #[test]
    fn a_new_trace_context_is_well_formed() {
        let trace = new_trace();

        assert!(is_traceparent(&trace), "{trace}");
        assert_ne!(trace, new_trace());
    }

    #[test]
    fn a_malformed_trace_context_is_ignored() {
        let of = |name: &str, value: &str| {
            let record = Record::of(0, &[(name, value)]);
            record.traceparent().map(str::to_owned)
        };
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(of("TraceParent", good).as_deref(), Some(good));
        let later = good.replace("00-0a", "cc-0a") + "-what-comes";
        assert_eq!(of("traceparent", &later), Some(later.clone()));
        let malformed = [
            String::new(),
            "garbage".to_owned(),
            "00-abc-01".to_owned(),
            good.to_uppercase(),
            good.replace("00-0a", "ff-0a"),
            good.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            good.replace("b7ad6b7169203331", &"0".repeat(16)),
            format!("{good}-more"),
            format!("{later}{}", "-".repeat(200)),
            format!("{later}\n"),
            format!("{later}é"),
        ];
        for malformed in malformed {
            assert_eq!(of("traceparent", &malformed), None, "{malformed}");
        }
    }
}
