//! The table of ACLs in `docs/operating/kafka.md`: with exactly its lines the whole path works, and without any one of them the role
//! or command says what is denied, and a role goes on when it is allowed again.

mod table;

use std::collections::BTreeMap;

use genflow::domain::{EventType, Request, Targets};
use genflow::engines::kafka::Headers;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use self::table::{Line, TOPICS, table};
use super::{Set, open_space, scram, text};
use crate::support::ledger::types;
use crate::support::process::Process;
use crate::support::receiver::Receiver;
use crate::support::requests::image;
use crate::support::secured::acl::{Acl, Operation, Resource, allow, forbid};
use crate::support::secured::{Secured, secured};
use crate::support::{Space, eventually};

/// Returns the user of the test for a role or command.
fn principal(who: &str) -> &str {
    match who.split(' ').next().unwrap() {
        "submit" | "cancel" => "sender",
        "watch" => "watcher",
        "dlq" => "letters",
        own => own,
    }
}

/// The rights on the broker: all lines of the table, but for the one that is away.
struct Rights<'s> {
    secured: &'s Secured,
    lines: Vec<Line>,
}

impl<'s> Rights<'s> {
    async fn grant(secured: &'s Secured, space: &Space) -> Self {
        let lines = table(space);
        for acl in lines.iter().flat_map(|line| &line.acls) {
            allow(&secured.open, acl).await;
        }
        Self { secured, lines }
    }

    fn of(&self, principals: &[&str]) -> Vec<Line> {
        let lines = self.lines.iter();
        let of = lines.filter(|line| principals.contains(&principal(&line.who)));
        of.cloned().collect()
    }

    async fn remove(&self, line: &Line) {
        for acl in &line.acls {
            forbid(&self.secured.open, acl).await;
        }
    }

    async fn restore(&self, line: &Line) {
        for acl in &line.acls {
            allow(&self.secured.open, acl).await;
        }
    }
}

/// The roles, each as its own principal.
struct Roles<'s> {
    space: &'s Space,
    processes: BTreeMap<&'static str, Process>,
    well: Receiver,
    /// Answers so that notifications are given up at once.
    gone: Receiver,
}

impl<'s> Roles<'s> {
    async fn start(secured: &Secured, space: &'s Space) -> Self {
        let start = |role: &'static str| {
            (
                role,
                space.start_with(&[role], &text(&scram(secured, role))),
            )
        };
        Self {
            space,
            processes: ["intake", "worker", "notifier"].map(start).into(),
            well: Receiver::start(&[]).await,
            gone: Receiver::start(&[410; 20]).await,
        }
    }

    fn request(name: &str, receiver: &Receiver) -> Request {
        let mut request = image(name);
        request.targets = Targets::parse(Some(&receiver.url), None, None).unwrap();
        request
    }

    /// Gives the role something to do that needs the line.
    async fn provoke(&self, line: &Line) -> Option<Request> {
        let (space, who) = (self.space, line.who.as_str());
        let request = match (who, line.resource.as_str()) {
            ("intake", "gen.events" | "gen.requests.dlq") => {
                let mut old = image("old");
                old.requested_at = Some(1_700_000_000_000);
                space.send(&old).await;
                return None;
            }
            ("intake", "gen.commands" | "genflow-commands") => {
                space.cancel("unknown").await;
                return None;
            }
            ("notifier", "gen.notifications.dlq") => Self::request("gone", &self.gone),
            _ => Self::request("needs", &self.well),
        };
        space.send(&request).await;
        Some(request)
    }

    /// Waits until the role has said what is denied.
    async fn complains(&self, line: &Line, before: usize) {
        let topic = match &line.acls[0].resource {
            Resource::Topic(topic) => topic.clone(),
            Resource::Group(_) => "Group".to_owned(),
        };
        let process = &self.processes[line.who.as_str()];
        eventually(&format!("{line:?} is missed"), async || {
            let output = process.output();
            let mut new = output[before..].lines();
            new.any(|said| said.contains("uthorization") && said.contains(&topic))
                .then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn the_roles_run_with_the_rights_of_the_table_and_say_so_without_any_one_of_them() {
    let secured = secured().await;
    let space = open_space(secured).await;
    let rights = Rights::grant(secured, &space).await;
    let roles = Roles::start(secured, &space).await;
    let first = Roles::request("first", &roles.well);
    space.send(&first).await;
    let events = space.story(first.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    roles.well.wait(1).await;

    for line in rights.of(&["intake", "worker", "notifier"]) {
        let before = roles.processes[line.who.as_str()].output().len();
        rights.remove(&line).await;
        let request = roles.provoke(&line).await;
        roles.complains(&line, before).await;
        rights.restore(&line).await;

        if let Some(request) = request {
            let events = space.story(request.id.as_str()).await;
            assert_eq!(
                types(&events).last(),
                Some(&EventType::Completed),
                "{line:?}"
            );
        }
        let topics = &space.config.kafka.topics;
        space.caught_up("intake", &topics.requests).await;
        space.caught_up("commands", &topics.commands).await;
        space.caught_up("notifier", &topics.events).await;
    }
    let letters = space
        .read(&space.config.kafka.topics.notifications_dlq)
        .await
        .all()
        .await;
    assert_eq!(letters.len(), 1, "of the receiver that is gone");
}

#[tokio::test]
async fn the_commands_run_with_the_rights_of_the_table_and_say_so_without_any_one_of_them() {
    let secured = secured().await;
    let space = open_space(secured).await;
    let rights = Rights::grant(secured, &space).await;
    let small = small_topics(secured, &space).await;
    let _roles = Roles::start(secured, &space).await;
    let request = image("done");
    space.send(&request).await;
    space.story(request.id.as_str()).await;
    let topics = &space.config.kafka.topics;
    let letter = |origin: &str| -> Headers {
        let headers = [
            ("dlq.reason", "undecodable"),
            ("dlq.original.topic", origin),
            ("dlq.original.partition", "0"),
            ("dlq.original.offset", "0"),
        ];
        headers
            .map(|(name, value)| (name.to_owned(), Some(value.as_bytes().to_vec())))
            .to_vec()
    };
    space
        .produce(
            &topics.dlq,
            "of-requests",
            Some(b"x"),
            letter(&topics.requests),
        )
        .await;
    space
        .produce(
            &topics.dlq,
            "of-commands",
            Some(b"x"),
            letter(&topics.commands),
        )
        .await;
    space
        .produce(
            &topics.notifications_dlq,
            "of-events",
            Some(b"x"),
            letter(&topics.events),
        )
        .await;

    for line in rights.of(&["sender", "watcher", "costs", "letters", "setup", "doctor"]) {
        let mut settings: Vec<Set> = scram(secured, principal(&line.who));
        let line = match line.who.as_str() {
            // Topics that have too few partitions.
            "setup --grow" => {
                let small = of_line(&line, &small);
                settings.push(small.clone());
                for_topic(line, small)
            }
            _ => line,
        };
        let arguments = arguments(&line, request.id.as_str());
        rights.remove(&line).await;
        let (code, printed) = space.run_with(&arguments, &text(&settings)).await;
        // Of several, which one it stumbles over first is open.
        let names: Vec<_> = line.acls.iter().map(|acl| acl.resource.name()).collect();
        assert!(code != 0 || line.who == "doctor", "{line:?}: {printed}");
        let mut said = printed.lines();
        assert!(
            // Without the right on a group, librdkafka only times out; the advice says why.
            said.any(|said| (said.contains("uthorization")
                || said.contains("may describe the group"))
                && names.iter().any(|name| said.contains(name))),
            "{line:?}: {printed}"
        );
        rights.restore(&line).await;

        let (code, printed) = space.run_with(&arguments, &text(&settings)).await;
        assert_eq!(code, 0, "{line:?}: {printed}");
        let complains = ["uthorization", "may describe the group"]
            .iter()
            .any(|text| printed.contains(text));
        assert!(!complains, "{line:?}: {printed}");
    }
}

/// Records of `gen.requests` have API keys, so doctor does without this right: it is not in the table.
#[tokio::test]
async fn doctor_has_the_age_of_a_lag_only_if_it_may_read_the_topic() {
    let secured = secured().await;
    let space = open_space(secured).await;
    let _rights = Rights::grant(secured, &space).await;
    let topic = &space.config.kafka.topics.requests;
    space.send(&image("waits")).await;
    let settings = scram(secured, "doctor");
    let doctor = async || {
        let (code, printed) = space.run_with(&["doctor"], &text(&settings)).await;
        let mut lines = printed.lines();
        let line = lines.find(|line| line.contains(&format!("lag 1 on {topic}")));
        let line = line.unwrap_or_else(|| panic!("{code}: {printed}"));
        assert!(!printed.contains("uthorization"), "{printed}");
        line.to_owned()
    };

    let without = doctor().await;
    assert!(
        without.contains(&format!("lag 1 on {topic}, no members")),
        "{without}"
    );
    let read = Acl {
        principal: "doctor".to_owned(),
        operation: Operation::Read,
        resource: Resource::Topic(topic.clone()),
    };
    allow(&secured.open, &read).await;
    eventually("doctor has the age", async || {
        doctor().await.contains(", the oldest ").then_some(())
    })
    .await;
}

/// Returns the command that needs a line.
fn arguments<'a>(line: &'a Line, request: &'a str) -> Vec<&'a str> {
    match (line.who.as_str(), line.resource.as_str()) {
        ("submit", _) => vec!["submit", "image", "--prompt", "a fox"],
        ("cancel", _) => vec!["cancel", request],
        ("watch", _) => vec!["watch", request],
        ("costs", _) => vec!["costs"],
        ("dlq", _) => vec!["dlq", "list"],
        ("dlq --notifications", _) => vec!["dlq", "list", "--notifications"],
        ("dlq redrive", "gen.requests") => vec!["dlq", "redrive", "--key", "of-requests"],
        ("dlq redrive", "gen.commands") => vec!["dlq", "redrive", "--key", "of-commands"],
        ("dlq redrive --notifications", _) => vec!["dlq", "redrive", "--notifications"],
        ("setup", _) => vec!["setup", "--replication", "1"],
        ("setup --grow", _) => vec!["setup", "--replication", "1", "--grow"],
        ("doctor", _) => vec!["doctor"],
        (other, resource) => panic!("no command for {other} {resource}"),
    }
}

/// Creates input topics with one partition, and returns their settings; setup may do with them what it may with the others.
async fn small_topics(secured: &Secured, space: &Space) -> Vec<Set> {
    let names = [
        ("TOPIC_REQUESTS", "requests"),
        ("TOPIC_COMMANDS", "commands"),
    ];
    let names = names.map(|(variable, name)| (variable, format!("{}.small.{name}", space.name())));
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &secured.open)
        .create()
        .unwrap();
    let topics = names
        .each_ref()
        .map(|(_, name)| NewTopic::new(name, 1, TopicReplication::Fixed(1)));
    let made = admin
        .create_topics(&topics, &AdminOptions::new())
        .await
        .unwrap();
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    for (_, name) in &names {
        for operation in [
            Operation::Create,
            Operation::Describe,
            Operation::DescribeConfigs,
            Operation::Alter,
        ] {
            let resource = Resource::Topic(name.clone());
            let principal = "setup".to_owned();
            allow(
                &secured.open,
                &Acl {
                    principal,
                    operation,
                    resource,
                },
            )
            .await;
        }
    }
    names.to_vec()
}

/// Returns the setting of the small topic that takes the place of the line's topic.
fn of_line<'a>(line: &Line, small: &'a [Set]) -> &'a Set {
    let (variable, _) = TOPICS
        .iter()
        .find(|(_, name)| *name == line.resource)
        .unwrap();
    small.iter().find(|(name, _)| name == variable).unwrap()
}

/// Returns the line for another topic.
fn for_topic(mut line: Line, (_, topic): &Set) -> Line {
    line.acls[0].resource = Resource::Topic(topic.clone());
    line
}
