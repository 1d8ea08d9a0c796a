//! `genflow cancel` and `genflow retry`: sends commands about requests that are named, or that match a filter.

use std::io::Write;

use serde_json::json;

use super::period::Period;
use super::terminal::{bar, confirm, note};
use super::{ApiKey, Error, error_code, kind, watch};
use crate::domain::{Action, Command, ErrorCode, Kind, RequestId};
use crate::engines::clock::now;
use crate::engines::config::Config;
use crate::engines::kafka::snapshot::{Extent, Snapshot};
use crate::engines::registry::Registry;
use crate::operate::requests::bulk::{self, Order, Plan, Selection, grown};
use crate::operate::requests::{Filter, Requests, State};

/// The options that choose requests.
const FILTERS: [&str; 8] = [
    "user", "kind", "state", "batch", "model", "code", "since", "until",
];

/// `genflow cancel` and `genflow retry`.
#[derive(Debug, clap::Args)]
pub struct Ask {
    /// Request ids; without any, the filters choose
    #[arg(
        value_name = "ID",
        required_unless_present_any = FILTERS,
        conflicts_with_all = FILTERS
    )]
    pub ids: Vec<String>,
    /// Send nothing; print how many commands would be sent, why others are left out, and the estimated cost of a retry
    #[arg(long)]
    pub dry_run: bool,
    /// Send without asking; send nothing if more than N requests match
    #[arg(long, value_name = "N", conflicts_with_all = ["ids", "dry_run"])]
    pub expect: Option<usize>,
    /// Reason; kept with the run in Temporal
    #[arg(long)]
    pub reason: Option<String>,
    /// Who issues the command; recorded in it
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub key: ApiKey,
    // The last ones, because their heading applies to what follows.
    #[command(flatten)]
    pub which: Which,
}

/// The filters; a request must match all that are given.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// Requests of this user
    #[arg(long, help_heading = "Filters")]
    pub user: Option<String>,
    /// Requests of this kind
    #[arg(long, value_parser = kind(), help_heading = "Filters")]
    pub kind: Option<Kind>,
    /// Requests in these states; several separated by commas
    #[arg(long, value_enum, value_delimiter = ',', help_heading = "Filters")]
    pub state: Vec<State>,
    /// Items of this batch
    #[arg(long, value_name = "ID", help_heading = "Filters")]
    pub batch: Option<String>,
    /// Requests that this model made
    #[arg(long, help_heading = "Filters")]
    pub model: Option<String>,
    /// Requests that failed with this error code
    #[arg(long, value_name = "CODE", value_parser = error_code(), help_heading = "Filters")]
    pub code: Option<ErrorCode>,
    #[command(flatten, next_help_heading = "Filters")]
    pub period: Period,
}

/// How an action is called.
struct Words {
    verb: &'static str,
    issued_by: &'static str,
}

pub(super) async fn ask(
    config: &Config,
    action: Action,
    asked: &Ask,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<u8> {
    for id in &asked.ids {
        RequestId::try_from(id.clone())
            .map_err(|error| Error::Usage(format!("request id {error}")))?;
    }
    let words = match action {
        Action::Cancel => Words {
            verb: "cancel",
            issued_by: "genflow cancel",
        },
        Action::Retry => Words {
            verb: "retry",
            issued_by: "genflow retry",
        },
    };
    let ids = match asked.ids.is_empty() || asked.dry_run {
        // A person who names requests has chosen them already, so their events are not read.
        false => bulk::distinct(&asked.ids).map(str::to_owned).collect(),
        true => {
            let plan = plan(config, action, asked).await?;
            match confirmed(&plan, action, &words, asked, out)? {
                Ok(()) => plan.ids,
                Err(code) => return Ok(code),
            }
        }
    };
    let order = Order {
        action,
        reason: asked.reason.as_deref(),
        issued_by: asked.by.as_deref().unwrap_or(words.issued_by),
    };
    let bar = bar(format!("{} requests", words.verb), Some(ids.len() as u64));
    let (is_many, as_json) = (ids.len() > 1, asked.json);
    let mut report = |command: &Command| {
        bar.inc(1);
        // A closed pipe must not stop the commands half-way.
        bar.suspend(|| writeln!(out, "{}", line(command, is_many, as_json)).ok());
    };
    bulk::send(config, asked.key.get()?, &order, &ids, &mut report).await?;
    Ok(0)
}

/// Returns the line for a command that was sent: its id, and among others that of its request.
fn line(command: &Command, is_many: bool, as_json: bool) -> String {
    let (id, request) = (command.id.as_str(), command.request.as_str());
    match (as_json, is_many) {
        (true, _) => {
            let action = action_name(command.action);
            json!({"command_id": id, "request_id": request, "action": action}).to_string()
        }
        (false, true) => format!("{id}  {request}"),
        (false, false) => id.to_owned(),
    }
}

fn action_name(action: Action) -> &'static str {
    match action {
        Action::Cancel => "CANCEL",
        Action::Retry => "RETRY",
    }
}

/// Reads all events of the period, and chooses the requests.
async fn plan(config: &Config, action: Action, asked: &Ask) -> anyhow::Result<Plan> {
    let filter = asked.which.filter()?;
    let topic = &config.kafka.topics.events;
    // As far back as the console reads, also if `since` is later: the first event that is read says when a request began.
    // Requests that are named may have begun at any time.
    let usual = i64::try_from(config.console.period.as_millis()).unwrap_or(i64::MAX);
    let usual = now().saturating_sub(usual);
    let extent = match asked.ids.is_empty() {
        true => Extent::Since(filter.since.unwrap_or(usual).min(usual).max(0)),
        false => Extent::All,
    };
    let mut records = Snapshot::open(&config.kafka, topic, extent).await?;
    let registry = Registry::new(&config.schema_registry);
    let mut requests = Requests::new(config.console.requests);
    let bar = bar("events read", None);
    while let Some(record) = records.next().await? {
        bar.inc(1);
        let at = (record.position.partition, record.position.offset);
        if let Some(event) = watch::read(&registry, &record, &mut std::io::stderr()).await? {
            requests.event(&event, at);
        }
    }
    bar.finish_and_clear();
    let may_be_forgotten = match asked.ids.is_empty() {
        true => requests.has_forgotten_since(filter.since),
        false => requests.forgotten > 0 && asked.ids.iter().any(|id| requests.get(id).is_none()),
    };
    if may_be_forgotten {
        let most = config.console.requests;
        let problem = format!(
            "more than {most} requests began in this period; raise CONSOLE_REQUESTS, or choose a later --since"
        );
        return Err(Error::Usage(problem).into());
    }
    let selection = match asked.ids.is_empty() {
        true => Selection::Matching(&filter),
        false => Selection::Ids(&asked.ids),
    };
    Ok(Plan::of(&requests, action, &selection).map_err(Error::Usage)?)
}

/// Shows a plan, and returns whether to carry it out; else the exit code.
fn confirmed(
    plan: &Plan,
    action: Action,
    words: &Words,
    asked: &Ask,
    out: &mut dyn Write,
) -> anyhow::Result<Result<(), u8>> {
    if asked.dry_run {
        show(plan, action, words, asked.json, out)?;
        return Ok(Err(0));
    }
    if plan.ids.is_empty() {
        show(plan, action, words, false, &mut std::io::stderr())?;
        return Ok(Err(0));
    }
    if let Some(seen) = asked.expect {
        return Ok(match grown(plan.ids.len(), seen) {
            Some(why) => {
                writeln!(std::io::stderr(), "{why}")?;
                Err(1)
            }
            None => Ok(()),
        });
    }
    show(plan, action, words, false, &mut std::io::stderr())?;
    match confirm(&format!("{} {}?", words.verb, requests(plan.ids.len()))) {
        Some(true) => Ok(Ok(())),
        Some(false) => {
            note("nothing was sent");
            Ok(Err(1))
        }
        None => Err(Error::Usage(format!(
            "there is no terminal to confirm on; add --expect {}, or --dry-run to list the requests",
            plan.ids.len()
        ))
        .into()),
    }
}

fn show(
    plan: &Plan,
    action: Action,
    words: &Words,
    as_json: bool,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    if as_json {
        let plan = json!({
            "action": action_name(action),
            "would": plan.ids.len(),
            "left": plan.left,
            "ids": plan.ids,
            "usual_cost_usd": plan.usual_cost,
        });
        return writeln!(out, "{plan}");
    }
    let cost = match (action, plan.usual_cost) {
        (Action::Cancel, _) => String::new(),
        _ if plan.ids.is_empty() => String::new(),
        (Action::Retry, Some(usd)) => {
            format!(", for about {usd:.4} US dollars (what such requests usually cost)")
        }
        (Action::Retry, None) => ", at an unknown cost".to_owned(),
    };
    writeln!(
        out,
        "would {} {}{cost}",
        words.verb,
        requests(plan.ids.len())
    )?;
    for (why, count) in &plan.left {
        writeln!(out, "{count:>8}  left out: {why}")?;
    }
    Ok(())
}

fn requests(count: usize) -> String {
    match count {
        1 => "1 request".to_owned(),
        many => format!("{many} requests"),
    }
}

impl Which {
    fn filter(&self) -> Result<Filter, Error> {
        let (since, until) = self.period.bounds()?;
        Ok(Filter {
            states: self.state.clone(),
            kind: self.kind,
            user: self.user.clone(),
            model: self.model.clone(),
            code: self.code,
            batch: self.batch.clone(),
            text: None,
            since,
            until,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const RETRY: Words = Words {
        verb: "retry",
        issued_by: "",
    };

    fn shown(usual_cost: Option<f64>, as_json: bool) -> String {
        let plan = Plan {
            ids: vec!["a".to_owned(), "b".to_owned()],
            left: BTreeMap::from([("is running", 3)]),
            usual_cost,
        };
        let mut out = Vec::new();
        show(&plan, Action::Retry, &RETRY, as_json, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_plan_says_how_many_why_others_not_and_how_much_it_costs() {
        assert_eq!(
            shown(Some(0.08), false),
            "would retry 2 requests, for about 0.0800 US dollars (what such requests usually cost)\n       3  left out: is running\n"
        );
        assert!(shown(None, false).contains("at an unknown cost"));
        let json: serde_json::Value = serde_json::from_str(&shown(Some(0.08), true)).unwrap();
        assert_eq!(
            (&json["would"], &json["usual_cost_usd"]),
            (&json!(2), &json!(0.08))
        );
    }

    #[test]
    fn ids_or_filters_say_which_requests_and_never_both() {
        use super::super::command::command;

        let parsed = |words: &[&str]| {
            let line = [&["genflow", "cancel"], words].concat();
            command().try_get_matches_from(line).is_ok()
        };

        assert!(parsed(&["a", "b"]));
        assert!(parsed(&["--user", "ann", "--since", "2h", "--expect", "3"]));
        assert!(!parsed(&[]));
        assert!(!parsed(&["a", "--user", "ann"]));
        assert!(!parsed(&["a", "--expect", "3"]));
        let root = command();
        let cancel = root.find_subcommand("cancel").unwrap().get_arguments();
        let filters = cancel.filter(|arg| arg.get_help_heading() == Some("Filters"));
        let ids: Vec<_> = filters.map(|arg| arg.get_id().as_str()).collect();
        assert_eq!(ids, FILTERS);
    }
}
