//! A log line as one flat JSON object: `timestamp`, `level`, `target`, `message`, then the fields of the event and the
//! ids of the spans around it.

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::domain::error_chain::causes;

/// Writes an event as one JSON object. The fields of spans must be formatted by [`JsonFields`].
pub(super) struct JsonLine;

/// The keys of each line; a field of such a name gets `field.` before it.
const OWN: [&str; 4] = ["timestamp", "level", "target", "message"];

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl<S> FormatEvent<S, JsonFields> for JsonLine
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        // The inner span first: its ids are the more exact ones.
        for span in ctx.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            let formatted = extensions.get::<FormattedFields<JsonFields>>();
            let read = formatted.map(|text| serde_json::from_str::<Map<_, _>>(&text.fields));
            for (name, value) in read.and_then(Result::ok).unwrap_or_default() {
                fields.add(&name, value);
            }
        }
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let metadata = event.metadata();
        write!(
            writer,
            r#"{{"timestamp":"{time}","level":"{}","target":{},"message":{}"#,
            metadata.level(),
            Value::from(metadata.target()),
            Value::from(fields.message),
        )?;
        for (name, value) in fields.others {
            write!(writer, ",{}:{value}", Value::from(name))?;
        }
        writeln!(writer, "}}")
    }
}

impl Fields {
    fn add(&mut self, name: &str, value: Value) {
        let name = match OWN.contains(&name) {
            true => format!("field.{name}"),
            false => name.to_owned(),
        };
        self.others.entry(name).or_insert(value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            // `r#type = …` is the field `type`.
            name => self.add(name.trim_start_matches("r#"), format!("{value:?}").into()),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => self.add(name.trim_start_matches("r#"), value.into()),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field.name(), causes(value).into());
    }
}
