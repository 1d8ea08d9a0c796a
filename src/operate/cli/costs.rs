//! `genflow costs`: adds up what completed runs cost, from the results topic, which it reads without a consumer group.

mod bill;

use std::io::Write;

use clap::builder::styling::Style;
use serde_json::json;

use self::bill::{Bill, Sum};
use super::period::Period;
use super::table::{Cell, Column, Table};
use super::terminal::bar;
use super::{Error, watch};
use crate::domain::time::rfc3339;
use crate::domain::{Event, EventType, Generated, UserId};
use crate::engines::clock::now;
use crate::engines::config::Config;
use crate::engines::kafka::snapshot::{Extent, Snapshot};
use crate::engines::registry::Registry;

/// `genflow costs`.
#[derive(Debug, clap::Args)]
pub struct Costs {
    /// Field to group the costs by
    #[arg(long, value_enum, default_value_t = By::Model)]
    pub by: By,
    /// Only runs of this user
    #[arg(long)]
    pub user: Option<String>,
    #[command(flatten)]
    pub period: Period,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What costs are added up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    User,
    /// Provider and model
    Model,
    /// Day of the outcome, in UTC
    Day,
    Kind,
    Provider,
}

/// The period without `--since`: 30 days, in milliseconds.
const USUAL: i64 = 30 * 24 * 3600 * 1000;
/// How far the clock of a worker, which dates records, may lag that of Temporal, which dates outcomes: an hour.
const CLOCK_SKEW_MS: i64 = 3600 * 1000;

pub(super) async fn costs(
    config: &Config,
    asked: &Costs,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let user = asked.user.clone().map(UserId::try_from).transpose();
    let user = user.map_err(|error| Error::Usage(format!("--user {error}")))?;
    let (since, until) = asked.period.bounds()?;
    let until = until.unwrap_or_else(now);
    let since = since.unwrap_or(until.saturating_sub(USUAL));
    let topic = &config.kafka.topics.results;
    let extent = Extent::Since(since.saturating_sub(CLOCK_SKEW_MS).max(0));
    let mut records = Snapshot::open(&config.kafka, topic, extent).await?;
    let registry = Registry::new(&config.schema_registry);
    let mut bill = Bill::default();
    let bar = bar("results read", None);
    while let Some(record) = records.next().await? {
        bar.inc(1);
        // On standard error, so that standard output has only the sums.
        let event = watch::read(&registry, &record, &mut std::io::stderr()).await?;
        let Some(event) = event else { continue };
        if (since..until).contains(&event.occurred_at)
            && user
                .as_ref()
                .is_none_or(|user| user.as_str() == event.user_id)
            && let Some(result) = completed(&event)
        {
            let name = asked.by.name(&event, result);
            bill.add(record.position.partition, &event, name, result);
        }
    }
    bar.finish_and_clear();
    let report = Report {
        by: asked.by,
        topic,
        since,
        until,
        bill,
    };
    match asked.json {
        true => report.json(out)?,
        false => report.table(out)?,
    }
    out.flush()?;
    Ok(0)
}

/// Returns the result of a run that completed. A batch has none: its items are runs of their own.
fn completed(event: &Event) -> Option<&Generated> {
    match event.event_type {
        EventType::Completed => event.result.as_ref(),
        EventType::Unknown
        | EventType::Started
        | EventType::Progress
        | EventType::Failed
        | EventType::Cancelled
        | EventType::Rejected => None,
    }
}

impl By {
    /// Returns the name under which a run is added up.
    fn name(self, event: &Event, result: &Generated) -> String {
        match self {
            Self::User => event.user_id.clone(),
            Self::Model => {
                let model = result.model.as_deref().unwrap_or("?");
                format!("{}:{model}", result.provider)
            }
            Self::Day => rfc3339(event.occurred_at).chars().take(10).collect(),
            Self::Kind => event.kind.as_str().to_owned(),
            Self::Provider => result.provider.clone(),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Model => "model",
            Self::Day => "day",
            Self::Kind => "kind",
            Self::Provider => "provider",
        }
    }
}

/// What is printed.
struct Report<'t> {
    by: By,
    topic: &'t str,
    /// In milliseconds since the epoch, as `until`.
    since: i64,
    until: i64,
    bill: Bill,
}

impl Report<'_> {
    /// Returns the sums, those of days in their order, others by cost.
    fn sums(&self) -> Vec<(&str, Sum)> {
        let mut sums: Vec<_> = self.bill.sums().collect();
        if self.by != By::Day {
            sums.sort_by(|(_, one), (_, other)| other.usd.total_cmp(&one.usd));
        }
        sums
    }

    fn json(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let sum = |sum: Sum| {
            json!({
                "runs": sum.runs,
                "cost_usd": sum.usd(),
                "estimated_usd": sum.estimated_usd(),
                "unpriced": sum.unpriced,
            })
        };
        let groups = self.sums().into_iter().map(|(name, group)| {
            let mut group = sum(group);
            group[self.by.as_str()] = json!(name);
            group
        });
        let report = json!({
            "since": rfc3339(self.since),
            "until": rfc3339(self.until),
            "oldest": self.bill.oldest().map(rfc3339),
            "exact": self.bill.is_exact(),
            "groups": groups.collect::<Vec<_>>(),
            "total": sum(self.bill.total()),
        });
        writeln!(out, "{report}")?;
        Ok(())
    }

    fn table(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let numbers = ["runs", "USD", "estimated", "no price"].map(Column::Right);
        let mut columns = vec![Column::Left(self.by.as_str())];
        columns.extend(numbers);
        let mut table = Table::new(columns);
        for (name, sum) in self.sums() {
            table.row(row(name, sum));
        }
        table.row(row("total", self.bill.total()).map(|cell| cell.styled(Style::new().bold())));
        table.print(out)?;
        let (since, until) = (rfc3339(self.since), rfc3339(self.until));
        let oldest = match self.bill.oldest() {
            Some(oldest) => format!(
                "the oldest outcome that {} still holds is from {}",
                self.topic,
                rfc3339(oldest)
            ),
            None => format!("{} holds none", self.topic),
        };
        writeln!(out, "completed runs from {since} to {until}; {oldest}")?;
        if !self.bill.is_exact() {
            writeln!(out, "{}", bill::NOT_EXACT)?;
        }
        Ok(())
    }
}

fn row(name: &str, sum: Sum) -> [Cell; 5] {
    [
        Cell::from(name),
        Cell::from(sum.runs.to_string()),
        Cell::from(format!("{:.4}", sum.usd)),
        Cell::from(format!("{:.4}", sum.estimated_usd)),
        Cell::from(sum.unpriced.to_string()),
    ]
}

#[cfg(test)]
mod tests;
