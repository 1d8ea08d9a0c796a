//! Decodes the value of a dead letter, as far as it is readable.

use super::DeadLetter;
use crate::contract::avro;
use crate::domain::{Event, Request};
use crate::engines::config::{SchemaRegistry, Topics};
use crate::engines::registry;
use crate::engines::registry::Registry;

/// Decodes the values of dead letters.
#[derive(Debug)]
pub struct Opener {
    registry: Registry,
    topics: Topics,
}

/// A decoded value.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Id of the request that the value is, or is about; `None` if it cannot be read.
    pub request_id: Option<String>,
    /// User of that request; `None` if unknown.
    pub user: Option<String>,
    pub contents: Contents,
}

/// What a dead letter's value is.
#[derive(Clone, Debug)]
pub enum Contents {
    /// A valid request.
    Request(Box<Request>),
    Event(Box<Event>),
    /// Readable, but not a valid request: a field is out of bounds, or it is a command.
    Other,
    /// Not readable, and why.
    Unreadable(String),
}

impl Opener {
    /// Creates an opener; makes no call.
    #[must_use]
    pub fn new(registry: &SchemaRegistry, topics: &Topics) -> Self {
        Self {
            registry: Registry::new(registry),
            topics: topics.clone(),
        }
    }

    /// Decodes the value of a dead letter.
    ///
    /// # Errors
    /// Only if the registry does not answer or refuses the call; an unreadable value is not an error.
    pub async fn open(&self, letter: &DeadLetter) -> Result<Opened, registry::Error> {
        let (writer, datum) = match self.schema(letter).await? {
            Ok(found) => found,
            Err(problem) => return Ok(Opened::unreadable(problem)),
        };
        if letter.is_event(&self.topics) {
            return Ok(match avro::read_event(&writer, datum) {
                Ok(event) => Opened {
                    request_id: Some(event.request_id.clone()),
                    user: Some(event.user_id.clone()),
                    contents: Contents::Event(Box::new(event)),
                },
                Err(error) => Opened::unreadable(error.to_string()),
            });
        }
        if letter.0.header("dlq.original.topic") == Some(self.topics.commands.as_str()) {
            return Ok(match avro::read_command(&writer, datum) {
                Ok(command) => Opened {
                    request_id: Some(command.request.to_string()),
                    user: None,
                    contents: Contents::Other,
                },
                Err(error) => Opened::unreadable(error.to_string()),
            });
        }
        Ok(match avro::read_request(&writer, datum) {
            Ok(request) => Opened {
                request_id: Some(request.id.to_string()),
                user: Some(request.user.as_str().to_owned()),
                contents: Contents::Request(Box::new(request)),
            },
            Err(avro::Error::Invalid { named, .. }) => Opened {
                request_id: named.as_ref().map(|named| named.request.to_string()),
                user: named.map(|named| named.user),
                contents: Contents::Other,
            },
            Err(
                error @ (avro::Error::Unframed(_) | avro::Error::LeftOver | avro::Error::Datum(_)),
            ) => Opened::unreadable(error.to_string()),
        })
    }

    /// Returns the value as JSON, notification targets included, or why it cannot be read.
    ///
    /// # Errors
    /// Only if the registry does not answer or refuses the call.
    pub async fn json(
        &self,
        letter: &DeadLetter,
    ) -> Result<Result<serde_json::Value, String>, registry::Error> {
        Ok(match self.schema(letter).await? {
            Ok((writer, datum)) => avro::to_json(&writer, datum).map_err(|error| error.to_string()),
            Err(problem) => Err(problem),
        })
    }

    /// Returns the Confluent-framed bytes of a request, with the schema id of `topic`.
    ///
    /// # Errors
    /// The registry gives no schema id, or the request does not fit the schema.
    pub(super) async fn encode(&self, topic: &str, request: &Request) -> anyhow::Result<Vec<u8>> {
        let datum = avro::write_request(request)?;
        let subject = registry::subject(topic);
        let id = self.registry.id_of(&subject, &avro::REQUEST).await?;
        Ok(avro::frame(id, &datum))
    }

    /// Returns the schema that the value's frame names, and the datum.
    async fn schema<'l>(
        &self,
        letter: &'l DeadLetter,
    ) -> Result<Result<Writer<'l>, String>, registry::Error> {
        let Some(value) = letter.0.value.as_deref() else {
            return Ok(Err("the record has no value".to_owned()));
        };
        let (id, datum) = match avro::unframe(value) {
            Ok(parts) => parts,
            Err(error) => return Ok(Err(error.to_string())),
        };
        match self.registry.schema(id).await {
            Ok(schema) => Ok(Ok((schema, datum))),
            Err(error @ (registry::Error::Unknown(_) | registry::Error::Unparsable(..))) => {
                Ok(Err(error.to_string()))
            }
            Err(error @ (registry::Error::Call(_) | registry::Error::Refused { .. })) => Err(error),
        }
    }
}

/// The writer's schema, and the datum.
type Writer<'l> = (std::sync::Arc<apache_avro::Schema>, &'l [u8]);

impl Opened {
    fn unreadable(problem: String) -> Self {
        Self {
            request_id: None,
            user: None,
            contents: Contents::Unreadable(problem),
        }
    }
}
