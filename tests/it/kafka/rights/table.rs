//! Reads the table of ACLs in `docs/operating/kafka.md`.

use std::path::Path;

use super::principal;
use crate::support::Space;
use crate::support::secured::acl::{Acl, Operation, Resource};

/// A line of the table.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// The role or command, as the table has it.
    pub(super) who: String,
    /// The resource by its default name.
    pub(super) resource: String,
    pub(super) acls: Vec<Acl>,
}

/// The variables of the topics, with their default names.
pub(super) const TOPICS: [(&str, &str); 7] = [
    ("TOPIC_REQUESTS", "gen.requests"),
    ("TOPIC_COMMANDS", "gen.commands"),
    ("TOPIC_EVENTS", "gen.events"),
    ("TOPIC_RESULTS", "gen.results"),
    ("TOPIC_REQUESTS_DLQ", "gen.requests.dlq"),
    ("TOPIC_NOTIFICATIONS", "gen.notifications"),
    ("TOPIC_NOTIFICATIONS_DLQ", "gen.notifications.dlq"),
];

/// Reads the table, for the topics and groups of `space`.
pub(super) fn table(space: &Space) -> Vec<Line> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating/kafka.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once("## What Kafka has to allow").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let lines: Vec<_> = rows.map(|row| line(space, row)).collect();
    assert!(lines.len() > 25, "the table of the page has another form");
    lines
}

fn line(space: &Space, row: &str) -> Line {
    let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
    let [who, operation, resource] = cells[..] else {
        panic!("{row}");
    };
    let who = who
        .trim_matches('`')
        .split("`,")
        .next()
        .unwrap()
        .trim_matches('`')
        .to_owned();
    let operation = match operation {
        "Read" => Operation::Read,
        "Write" => Operation::Write,
        "Create" => Operation::Create,
        "Alter" => Operation::Alter,
        "Describe" => Operation::Describe,
        "DescribeConfigs" => Operation::DescribeConfigs,
        other => panic!("{other} in {row}"),
    };
    let (kind, name) = resource.split_once(" `").unwrap_or((resource, ""));
    let name = name.trim_end_matches('`');
    let ours = |name: &str| {
        let (variable, _) = TOPICS.iter().find(|(_, known)| *known == name).unwrap();
        space.variables[*variable].clone()
    };
    let resources = match kind {
        "topic" => vec![Resource::Topic(ours(name))],
        "group" => vec![Resource::Group(
            name.replace("genflow-", &format!("{}-", space.name())),
        )],
        "every topic" => TOPICS.map(|(_, name)| Resource::Topic(ours(name))).to_vec(),
        other => panic!("{other} in {row}"),
    };
    let acls = resources.into_iter().map(|resource| Acl {
        principal: principal(&who).to_owned(),
        operation,
        resource,
    });
    Line {
        acls: acls.collect(),
        resource: if name.is_empty() { kind } else { name }.to_owned(),
        who,
    }
}
