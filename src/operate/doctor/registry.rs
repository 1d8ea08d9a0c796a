//! The schema registry: does it answer, does it have our schemas, does it keep them compatible?

use super::{Finding, causes};
use crate::contract::avro::Ours;
use crate::engines::config::Config;
use crate::engines::registry::{InspectError, Registry, Subject};
use crate::operate::setup::{COMPATIBILITY, subjects};

pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let at = config.schema_registry_url.shown();
    let away = |why: String| {
        vec![
            Finding::fail(
                "schema registry",
                format!("{why}, at {at}; its subjects were not checked"),
            )
            .advise("start it, or set SCHEMA_REGISTRY_URL"),
        ]
    };
    let registry = match Registry::new(&config.schema_registry_url) {
        Ok(registry) => registry,
        Err(error) => return away(causes(&error)),
    };
    let mut findings = Vec::new();
    for (subject, ours) in subjects(&config.kafka.topics) {
        let name = format!("schema {subject}");
        match registry.inspect(&subject, ours).await {
            Ok(seen) => findings.push(judge(name, ours, &seen)),
            Err(error @ InspectError::Unavailable(_)) => return away(causes(&error)),
            // If the URL is not that of a registry, every subject would fail in the same way.
            Err(error @ InspectError::Answered(_)) if findings.is_empty() => {
                return away(causes(&error));
            }
            Err(error @ InspectError::Answered(_)) => {
                findings.push(Finding::fail(name, causes(&error)));
            }
        }
    }
    let found = format!("answers at {at}");
    findings.insert(0, Finding::ok("schema registry", found));
    findings
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
    fn a_schema_is_to_be_there_and_held_compatible() {
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
