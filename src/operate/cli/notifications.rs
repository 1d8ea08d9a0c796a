//! `genflow notifications`: lists how notifications ended, sends them again, and tests a webhook.
//! [`crate::operate::notifications`] does the work; this module prints the results.

use std::io::Write;

use anyhow::bail;
use serde_json::json;
use url::Url;

use super::Error;
use super::period::Period;
use super::table::{Cell, Column, Table, style_of};
use super::terminal::note;
use crate::contract::receipt::{Channel, NotificationOutcome, Receipt};
use crate::domain::time::rfc3339;
use crate::domain::{RequestId, UserId, parse_http_url};
use crate::engines::clock::now;
use crate::engines::config::Config;
use crate::engines::kafka::snapshot::Extent;
use crate::engines::registry::Registry;
use crate::operate::notifications::{self, Chosen, Notified};
use crate::operate::text::plain;

/// `genflow notifications`.
#[derive(Debug, clap::Subcommand)]
pub enum Notifications {
    /// List ended notifications with their outcomes, one per line, newest last
    List(NotificationList),
    /// Resend notifications of a request: the same event and webhook-id, to the same targets
    Resend(Resend),
    /// Send a signed test webhook, and print the answer; exit code 1 if the target does not accept it
    Test(TestArgs),
}

/// `genflow notifications list`.
#[derive(Debug, clap::Args)]
pub struct NotificationList {
    /// Only notifications of this request [default: all requests, last day]
    pub id: Option<String>,
    /// Only those that were not delivered
    #[arg(long)]
    pub undelivered: bool,
    #[command(flatten)]
    pub period: Period,
    /// Print each receipt as a line of JSON
    #[arg(long)]
    pub json: bool,
}

/// `genflow notifications resend`.
#[derive(Debug, clap::Args)]
pub struct Resend {
    /// Request id
    pub id: String,
    /// Event id, or event type such as completed [default: the newest event with notifications]
    #[arg(long, value_name = "EVENT")]
    pub event: Option<String>,
    /// Only this channel: webhook, email or slack [default: all that the event had]
    #[arg(long, value_parser = channel)]
    pub channel: Option<Channel>,
    /// Send nothing; print which notifications would be sent
    #[arg(long)]
    pub dry_run: bool,
    /// Name of the operator; recorded with the delivery in Temporal
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `genflow notifications test`.
#[derive(Debug, clap::Args)]
pub struct TestArgs {
    /// URL of the webhook
    #[arg(value_parser = http_url)]
    pub url: Url,
    /// User whose secret signs it, as genflow webhook-secret prints it
    #[arg(long, default_value = "test")]
    pub user: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Who asks, if the person gives no name.
const COMMAND: &str = "genflow notifications";
/// The period of a list of all requests without `--since`: a day, in milliseconds.
const USUAL: i64 = 24 * 3600 * 1000;

/// Runs one of the commands; returns its exit code.
pub(super) async fn run(
    config: &Config,
    command: &Notifications,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    match command {
        Notifications::List(asked) => list(config, asked, out).await,
        Notifications::Resend(asked) => resend(config, asked, out).await,
        Notifications::Test(asked) => test(config, asked, out).await,
    }
}

async fn list(
    config: &Config,
    asked: &NotificationList,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let (since, until) = asked.period.bounds()?;
    let usual = asked.id.is_none().then(|| now().saturating_sub(USUAL));
    let since = since.or(usual).unwrap_or(0);
    let until = until.unwrap_or(i64::MAX);
    let registry = Registry::new(&config.schema_registry);
    let is_wanted = |receipt: &Receipt| {
        let is_delivered = receipt.outcome == NotificationOutcome::Delivered;
        (since..until).contains(&receipt.ended_at) && !(asked.undelivered && is_delivered)
    };
    let (extent, request) = (Extent::Since(since), asked.id.as_deref());
    let reading = notifications::receipts(config, &registry, extent, request, is_wanted);
    let receipts = reading.await?;
    if asked.json {
        for receipt in &receipts {
            writeln!(out, "{}", json!(receipt))?;
        }
    } else if receipts.is_empty() {
        note("no ended notification matches");
    } else {
        table(&receipts).print(out)?;
    }
    out.flush()?;
    Ok(0)
}

async fn resend(config: &Config, asked: &Resend, out: &mut dyn Write) -> anyhow::Result<u8> {
    let id = RequestId::try_from(asked.id.clone());
    let id = id.map_err(|error| Error::Usage(format!("request id {error}")))?;
    let chosen = Chosen {
        event: asked.event.clone(),
        channel: asked.channel,
        target_hash: None,
    };
    let registry = Registry::new(&config.schema_registry);
    let all = [Extent::All, Extent::All];
    let notified = Notified::read(config, &registry, id.as_str(), all).await?;
    let by = asked.by.as_deref().unwrap_or(COMMAND);
    let resent = notifications::resend(config, &notified, &chosen, by, asked.dry_run).await?;
    if resent.sent.is_empty() && resent.left.is_empty() {
        bail!(
            "no ended notification of {id} matches; genflow notifications list {id} lists those that can be resent"
        );
    }
    if asked.json {
        let printed = json!({ "dry_run": asked.dry_run, "sent": resent.sent, "left": resent.left });
        writeln!(out, "{printed}")?;
        return Ok(u8::from(resent.sent.is_empty()));
    }
    let word = match asked.dry_run {
        true => "would be sent",
        false => "is sent again",
    };
    for receipt in &resent.sent {
        let (channel, target) = (receipt.channel.as_str(), plain(&receipt.target));
        let event = &receipt.event_id;
        writeln!(out, "{word}: {channel} to {target}, event {event}")?;
    }
    for (why, count) in &resent.left {
        writeln!(out, "{count} left out: {why}")?;
    }
    out.flush()?;
    Ok(u8::from(resent.sent.is_empty()))
}

async fn test(config: &Config, asked: &TestArgs, out: &mut dyn Write) -> anyhow::Result<u8> {
    let user = UserId::try_from(asked.user.clone());
    user.map_err(|error| Error::Usage(format!("--user {error}")))?;
    let answer = notifications::test(config, &asked.url, &asked.user, COMMAND).await?;
    if asked.json {
        writeln!(out, "{}", json!(answer))?;
        return Ok(u8::from(!answer.delivered));
    }
    let word = match answer.delivered {
        true => "delivered",
        false => "not delivered",
    };
    let status = answer.status.map(|status| format!(", status {status}"));
    let error = answer.error.map(|error| format!(": {error}"));
    writeln!(
        out,
        "{word} after {} ms{}, webhook-id {}{}",
        answer.took_ms,
        status.unwrap_or_default(),
        answer.webhook_id,
        error.unwrap_or_default()
    )?;
    Ok(u8::from(!answer.delivered))
}

/// Returns the notifications as a table; the last column says why one was not delivered.
fn table(receipts: &[Receipt]) -> Table {
    let columns = [
        Column::Left("ended"),
        Column::Left("outcome"),
        Column::Right("status"),
        Column::Right("attempts"),
        Column::Left("channel"),
        Column::Left("target"),
        Column::Left("request"),
        Column::Left("event"),
        Column::Left("error"),
    ];
    let mut table = Table::new(columns);
    for receipt in receipts {
        let text = |value: Option<String>| Cell::from(value.unwrap_or_default());
        let outcome = receipt.outcome.as_str();
        table.row([
            Cell::from(rfc3339(receipt.ended_at)),
            Cell::from(outcome).styled(style_of(outcome)),
            text(receipt.status.map(|status| status.to_string())),
            Cell::from(receipt.tries.to_string()),
            Cell::from(receipt.channel.as_str()),
            Cell::from(&receipt.target),
            Cell::from(&receipt.request_id),
            Cell::from(&receipt.event_id),
            text(receipt.error.as_ref().map(ToString::to_string)),
        ]);
    }
    table
}

fn channel(text: &str) -> Result<Channel, &'static str> {
    Channel::parse(&text.to_ascii_uppercase()).ok_or("expected webhook, email or slack")
}

fn http_url(text: &str) -> Result<Url, &'static str> {
    parse_http_url(text).ok_or("expected an http or https URL")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::receipt::DeliveryError;
    use crate::operate::cli::table::without_colors;

    #[test]
    fn a_notification_is_a_line_below_a_header() {
        let delivered = Receipt {
            receipt_id: "r".to_owned(),
            event_id: "e-1".to_owned(),
            request_id: "order-7".to_owned(),
            channel: Channel::Webhook,
            target: "https://shop.example/…".to_owned(),
            target_hash: "9f86d081884c7d65".to_owned(),
            outcome: NotificationOutcome::Delivered,
            status: Some(204),
            tries: 1,
            first_try_at: 0,
            ended_at: 0,
            error: None,
        };
        let given_up = Receipt {
            channel: Channel::Email,
            target: "a…@shop.example".to_owned(),
            outcome: NotificationOutcome::GivenUp,
            status: None,
            tries: 12,
            error: Some(DeliveryError::new("unreachable", "no answer")),
            ..delivered.clone()
        };

        let printed = without_colors(|out| table(&[delivered, given_up]).print(out).unwrap());

        assert_eq!(
            printed,
            "ended                     outcome    status  attempts  channel  target                  request  event  error\n\
             1970-01-01T00:00:00.000Z  DELIVERED     204         1  WEBHOOK  https://shop.example/…  order-7  e-1\n\
             1970-01-01T00:00:00.000Z  GIVEN_UP                 12  EMAIL    a…@shop.example         order-7  e-1    unreachable: no answer\n"
        );
    }
}
