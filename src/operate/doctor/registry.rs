//! The schema registry: does it answer, does it have our schemas, does it keep them compatible?

use super::{Finding, causes};
use crate::contract::avro::Ours;
use crate::domain::shown;
use crate::engines::config::Config;
use crate::engines::registry::{CallError, Registry, Subject};
use crate::operate::setup::{COMPATIBILITY, subjects};

const CHECK: &str = "schema registry";

pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let at = shown(&config.schema_registry.url);
    let registry = Registry::new(&config.schema_registry);
    let mut findings = Vec::new();
    for (subject, ours) in subjects(&config.kafka.topics) {
        let name = format!("schema {subject}");
        match registry.inspect(&subject, ours).await {
            Ok(seen) => findings.push(judge(name, ours, &seen)),
            // If the URL is not that of a registry, every subject would fail in the same way.
            Err(error) if findings.is_empty() => return vec![away(&error, &at)],
            Err(error @ CallError::Unavailable(_)) => return vec![away(&error, &at)],
            Err(error) => findings.push(Finding::fail(name, causes(&error))),
        }
    }
    let found = format!("answers at {at}");
    findings.insert(0, Finding::ok(CHECK, found));
    findings
}

fn away(error: &CallError, at: &str) -> Finding {
    let found = format!("{}; at {at}; its subjects were not checked", causes(error));
    let finding = Finding::fail(CHECK, found);
    match error {
        // Its text says what to do.
        CallError::Denied(_) => finding,
        CallError::Unavailable(_) => finding.advise("start it, or set SCHEMA_REGISTRY_URL"),
        CallError::Answered { .. } => {
            finding.advise("set SCHEMA_REGISTRY_URL to the base URL of its Confluent API")
        }
    }
}

fn judge(name: String, ours: &Ours, seen: &Subject) -> Finding {
    match seen {
        Subject::Missing => Finding::fail(name, "is missing").advise("genflow setup"),
        Subject::Other => Finding::fail(name, format!("lacks this version's {}", ours.name))
            .advise("genflow setup registers it"),
        Subject::Known {
            id,
            version,
            compatibility,
        } => {
            let found = format!("{}, id {id}, version {version}", ours.name);
            match compatibility.as_deref() {
                Some(COMPATIBILITY) => Finding::ok(name, format!("{found}, {COMPATIBILITY}")),
                Some(other) => Finding::warn(
                    name,
                    format!("{found}; compatibility is {other}, expected {COMPATIBILITY}"),
                )
                .advise("genflow setup"),
                None => Finding::unknown(
                    name,
                    format!(
                        "{found}; the registry does not report its compatibility, expected {COMPATIBILITY}"
                    ),
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use crate::contract::avro;

    #[test]
    fn a_schema_must_exist_and_be_kept_compatible() {
        let known = |level: Option<&str>| Subject::Known {
            id: 7,
            version: 1,
            compatibility: level.map(str::to_owned),
        };
        for (seen, verdict) in [
            (Subject::Missing, Verdict::Fail),
            (Subject::Other, Verdict::Fail),
            (known(Some("BACKWARD")), Verdict::Warn),
            (known(None), Verdict::Unknown),
            (known(Some("FULL_TRANSITIVE")), Verdict::Ok),
        ] {
            let found = judge("schema x".to_owned(), &avro::REQUEST, &seen);

            assert_eq!(found.verdict, verdict, "{found:?}");
        }
    }
}
