//! Temporal: the server, the namespaces and their retention, search attributes, pollers of the task queues, fairness.

use std::time::Duration;

use super::{Finding, causes, count, shown};
use crate::engines::clock::now;
use crate::engines::config::{Config, PayloadCodec};
use crate::engines::temporal::admin::{Error, Registered, Server, Tasks};
use crate::engines::temporal::client;
use crate::engines::temporal::client::Temporal;
use crate::engines::temporal::queues::{fetch_queue, submit_queue};
use crate::operate::setup;
use crate::operate::setup::span;
use crate::roles::intake::dedup_window::dedup_window;

const FAIRNESS: &str = "fairness";

/// Returns the findings and the dedup window. If the retention is unknown, the window is the configured one.
pub(super) async fn examine(config: &Config, may_try: bool) -> (Vec<Finding>, Option<Duration>) {
    let configured = config.intake.dedup_window;
    let server = match Server::reach(&config.temporal).await {
        Ok(server) => server,
        Err(error) => {
            let found = format!(
                "{}; namespace, search attributes and task queues were not checked",
                causes(&error)
            );
            let advice = "start the server, or set TEMPORAL_HOST and what docs/operating/connecting.md lists for a hosted one";
            return (
                vec![Finding::fail("Temporal", found).advise(advice)],
                configured,
            );
        }
    };
    let mut findings = vec![reached(config, &server).await];
    let retention = server.retention().await;
    findings.push(namespace(
        &config.temporal.namespace,
        "TEMPORAL_NAMESPACE",
        "its contents were not checked",
        &retention,
    ));
    let Ok(retention) = retention else {
        return (findings, configured);
    };
    findings.push(judge_window(configured, retention));
    findings.extend(search_attributes(&server).await);
    findings.push(payloads(config).await);
    findings.extend(workers(config, &server).await);
    findings.push(fairness(config, &server, may_try).await);
    (findings, dedup_window(configured, retention))
}

async fn reached(config: &Config, server: &Server) -> Finding {
    let url = shown(&config.temporal.url);
    match server.version().await {
        Ok(version) => Finding::ok("Temporal", format!("answers at {url}, version {version}")),
        Err(error) => Finding::warn(
            "Temporal",
            format!(
                "answers at {url}, but does not report its version: {}",
                causes(&error)
            ),
        ),
    }
}

/// Judges a namespace by its retention; `otherwise` is the consequence if the namespace is missing or cannot be read.
fn namespace(
    name: &str,
    variable: &str,
    otherwise: &str,
    retention: &Result<Duration, Error>,
) -> Finding {
    let check = format!("namespace {name}");
    match retention {
        Ok(retention) => Finding::ok(check, format!("exists, retention is {}", span(*retention))),
        Err(Error::NoNamespace(_)) => Finding::fail(check, format!("is missing; {otherwise}"))
            .advise(format!("genflow setup, or set {variable}")),
        Err(error) => {
            let found = format!("{}; {otherwise}", causes(error));
            Finding::fail(check, found).advise("check that TEMPORAL_API_KEY has access to it")
        }
    }
}

fn judge_window(configured: Option<Duration>, retention: Duration) -> Finding {
    const NAME: &str = "dedup window";
    let Some(window) = dedup_window(configured, retention) else {
        let found = "the namespace has no retention: intake starts no requests";
        return Finding::fail(NAME, found).advise("set the retention of the namespace");
    };
    let (is, kept) = (span(window), span(retention));
    match configured.filter(|asked| *asked > window) {
        None => Finding::ok(
            NAME,
            format!("is {is}, within nine tenths of the retention of {kept}"),
        ),
        Some(asked) => Finding::warn(
            NAME,
            format!(
                "is {is}, nine tenths of the retention of {kept}, although DEDUP_WINDOW is {}",
                span(asked)
            ),
        )
        .advise("shorten DEDUP_WINDOW, or raise the retention of the namespace"),
    }
}

fn judge_deliveries(retention: Duration, wanted: Duration) -> Finding {
    const NAME: &str = "deliveries";
    let (kept, wanted_text) = (span(retention), span(wanted));
    if retention >= wanted {
        return Finding::ok(
            NAME,
            format!("are retained for {kept}, expected at least {wanted_text}"),
        );
    }
    let found = format!(
        "are retained for {kept}, expected at least {wanted_text}: if an event is repeated later, its user is notified \
         again"
    );
    Finding::warn(NAME, found).advise("genflow setup, or raise the retention of their namespace")
}

async fn search_attributes(server: &Server) -> Vec<Finding> {
    match server.search_attributes().await {
        Ok(seen) => seen.into_iter().map(judge_attribute).collect(),
        Err(error) => vec![
            Finding::unknown("search attributes", causes(&error))
                .advise("check in the hosted server's UI that GenUser, GenKind and GenBatch exist, each a Keyword"),
        ],
    }
}

fn judge_attribute((name, seen): (&'static str, Registered)) -> Finding {
    let check = format!("search attribute {name}");
    match seen {
        Registered::Keyword => Finding::ok(check, "exists, Keyword"),
        Registered::Missing => Finding::fail(check, "is missing: no run can be started")
            .advise("genflow setup, or add it as a Keyword by hand"),
        Registered::Other(kind) => Finding::fail(check, format!("is {kind}, expected Keyword"))
            .advise("remove it and run genflow setup, or use another namespace"),
    }
}

async fn workers(config: &Config, server: &Server) -> Vec<Finding> {
    let main = config.temporal.task_queue.clone();
    let named = config.worker.named.iter();
    let limited = named
        .filter(|(_, own)| own.rate.is_some())
        .map(|(name, _)| submit_queue(&main, name));
    let activities: Vec<_> = [main.clone(), fetch_queue(&main)]
        .into_iter()
        .chain(limited)
        .collect();
    let unserved = "its tasks do not run";
    let advice = "start genflow worker";
    let mut findings = vec![pollers(server, &main, Tasks::Workflow, unserved, advice).await];
    for queue in &activities {
        findings.push(pollers(server, queue, Tasks::Activity, unserved, advice).await);
    }
    findings.extend(deliveries(config).await);
    findings
}

/// Checks that a task queue has pollers; `unserved` is the consequence if it has none.
async fn pollers(
    server: &Server,
    queue: &str,
    tasks: Tasks,
    unserved: &str,
    advice: &str,
) -> Finding {
    let noun = match tasks {
        Tasks::Workflow => "workflows",
        Tasks::Activity => "activities",
    };
    let check = format!("task queue {queue}, {noun}");
    match server.pollers(queue, tasks).await {
        Ok(0) => Finding::warn(check, format!("has no pollers: {unserved}")).advise(advice),
        Ok(pollers) => Finding::ok(check, count(pollers as u64, "poller")),
        Err(error) => Finding::unknown(check, causes(&error)),
    }
}

/// Checks the namespace and the task queue of notification deliveries.
async fn deliveries(config: &Config) -> Vec<Finding> {
    let place = config.temporal.for_deliveries();
    let queue = &place.task_queue;
    let server = match Server::reach(&place).await {
        Ok(server) => server,
        Err(error) => {
            return vec![Finding::unknown(
                format!("task queue {queue}"),
                causes(&error),
            )];
        }
    };
    let unserved = "notifications whose first attempt fails have to wait";
    let mut findings = Vec::new();
    let retention = server.retention().await;
    if place.namespace != config.temporal.namespace {
        let (name, variable) = (&place.namespace, "NOTIFY_NAMESPACE");
        findings.push(namespace(name, variable, unserved, &retention));
    }
    let Ok(retention) = retention else {
        return findings;
    };
    let wanted = setup::delivery_retention(config.notifier.max_age);
    findings.push(judge_deliveries(retention, wanted));
    for tasks in [Tasks::Workflow, Tasks::Activity] {
        let advice = "start genflow notifier";
        findings.push(pollers(&server, queue, tasks, unserved, advice).await);
    }
    findings
}

/// Says how payloads are stored, and reads the inputs of the newest open runs.
async fn payloads(config: &Config) -> Finding {
    const NAME: &str = "payloads";
    let how = stored(&config.temporal.payloads);
    let unknown = |error: &client::Error| {
        Finding::unknown(
            NAME,
            format!("{how}; open runs were not read: {}", causes(error)),
        )
    };
    let temporal = match Temporal::connect(&config.temporal).await {
        Ok(temporal) => temporal,
        Err(error) => return unknown(&error),
    };
    match temporal.unreadable(now()).await {
        Ok(None) => Finding::ok(NAME, how),
        Ok(Some((run, error))) => {
            let found = format!(
                "{how}; the input of {run} cannot be read: {}",
                causes(&error)
            );
            Finding::fail(NAME, found).advise("give all processes the same PAYLOAD_KEYS")
        }
        Err(error) => unknown(&error),
    }
}

fn stored(codec: &PayloadCodec) -> String {
    let ids: Vec<_> = codec.keys.iter().map(|key| key.id.as_str()).collect();
    let encrypted = match (ids.split_first(), codec.encrypts) {
        (None, _) => "are not encrypted".to_owned(),
        (Some((first, [])), true) => format!("are encrypted with the key {first}"),
        (Some((first, others)), true) => {
            let others = others.join(", ");
            format!("are encrypted with the key {first}; {others} only decrypts")
        }
        (Some(_), false) => format!("are not encrypted; {} only decrypts", ids.join(", ")),
    };
    match codec.compresses {
        true => format!("{encrypted}; large ones are compressed"),
        false => encrypted,
    }
}

/// No call of the public API reports whether fairness is on: GetSystemInfo, DescribeNamespace and DescribeTaskQueue
/// (including stats and config) answer the same with it and without (server 1.32). So only a trial shows it.
async fn fairness(config: &Config, server: &Server, may_try: bool) -> Finding {
    let queue = &config.temporal.task_queue;
    let switch = "matching.enableFairness in the server's dynamic config";
    let partitions = server.partitions(queue).await.unwrap_or(1);
    if partitions > 1 {
        let found = format!(
            "task queue {queue} has {partitions} partitions, but fairness holds only within one"
        );
        let advice = "set matching.numTaskqueueReadPartitions and …WritePartitions to 1";
        return Finding::warn(FAIRNESS, found).advise(format!("{advice}; check {switch}"));
    }
    if !may_try {
        let silent = "no API of the server reports whether it is on";
        let advice = format!("run genflow doctor --try-fairness, or check {switch}");
        return Finding::unknown(FAIRNESS, silent).advise(advice);
    }
    match server.is_fair().await {
        Ok(Some(true)) => Finding::ok(FAIRNESS, "is on, and the task queue has 1 partition"),
        Ok(Some(false)) => Finding::warn(FAIRNESS, "is off: one user's flood delays all others")
            .advise(format!("set {switch}")),
        Ok(None) => {
            let found = "a new task queue has several partitions, so a trial is not possible";
            Finding::unknown(FAIRNESS, found).advise(format!("check {switch}"))
        }
        Err(error) => Finding::unknown(FAIRNESS, causes(&error)).advise(format!("check {switch}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_window_that_is_cut_warns_and_one_that_is_not_known_fails() {
        for (window, retention, verdict) in [
            (None, DAY * 30, Verdict::Ok),
            (Some(DAY * 27), DAY * 30, Verdict::Ok),
            (Some(DAY * 28), DAY * 30, Verdict::Warn),
            (Some(DAY), Duration::ZERO, Verdict::Fail),
        ] {
            let found = judge_window(window, retention);

            assert_eq!(found.verdict, verdict, "{found:?}");
        }
    }

    #[test]
    fn deliveries_that_are_forgotten_too_soon_warn() {
        let verdict = |retention| judge_deliveries(retention, DAY * 7).verdict;

        assert_eq!(verdict(DAY * 7), Verdict::Ok);
        assert_eq!(verdict(DAY * 6), Verdict::Warn);
    }

    #[test]
    fn the_state_of_encryption_is_named_by_key_ids() {
        let key = |id: &str| format!("{id}:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=");
        let said = |keys: &str| {
            let config = Config::of(&[("PAYLOAD_KEYS", keys)]).unwrap();
            stored(&config.temporal.payloads)
        };

        assert_eq!(said(""), "are not encrypted");
        assert_eq!(said(&key("a")), "are encrypted with the key a");
        let both = format!("{},{}", key("b"), key("a"));
        assert_eq!(said(&both), "are encrypted with the key b; a only decrypts");
        let off = format!("none,{both}");
        assert_eq!(said(&off), "are not encrypted; b, a only decrypts");
    }

    #[test]
    fn a_search_attribute_must_be_a_keyword() {
        let judge = |seen| judge_attribute(("GenUser", seen)).verdict;

        assert_eq!(judge(Registered::Keyword), Verdict::Ok);
        assert_eq!(judge(Registered::Missing), Verdict::Fail);
        assert_eq!(judge(Registered::Other("Text".to_owned())), Verdict::Fail);
    }
}
