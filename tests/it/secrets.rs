//! A secret appears only where it was given: targets of all channels, the operator's logins and keys, keys of tenants.
//!
//! Each secret is a needle. The tests use targets that accept, refuse or are unreachable, requests with every outcome
//! and a batch, and the most detailed logs. Then they search every byte that the system has written.

pub(crate) mod needles;
mod public;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use futures::StreamExt as _;
use genflow::contract::avro;
use genflow::contract::receipt::{Channel, NotificationOutcome};
use genflow::domain::{EventType, Request, Targets};
use genflow::engines::kafka::{Headers, Record};
use serde_json::json;
use temporalio_client::{Client, UntypedWorkflow, WorkflowExecutionInfo, WorkflowHandle};

use self::needles::Needles;
use crate::batch::{batch, spec};
use crate::notify::receipts;
use crate::retry::retry_with;
use crate::support::collector::Collector;
use crate::support::engines::engines;
use crate::support::mail::mail;
use crate::support::receiver::{Answer, Receiver};
use crate::support::requests::{image, script};
use crate::support::{Space, Watched, eventually, nowhere};

/// The needles, and the headers of this test's tenant.
struct Story {
    space: Space,
    needles: Needles,
    headers: Headers,
    /// The needles that were found, and where.
    found: RefCell<BTreeSet<String>>,
}

impl Story {
    async fn begin(operators: &Receiver, slack: &Receiver, collector: &Collector) -> Self {
        let mut needles = Needles::default();
        let (key, image_key) = (needles.make("apikey"), needles.make("imagekey"));
        let ops = at(&operators.url, &needles.make("opsslack"));
        let default_slack = at(&slack.url, &needles.make("defaultslack"));
        let seals = format!("k1:{}", needles.make_key("sealkey"));
        let master = format!("whsec_{}", needles.make_key("master"));
        let signing = format!("whsk_{}", needles.make_key("signingkey"));
        let engines = tokio::task::spawn_blocking(engines).await.unwrap();
        let registry = needles.make("registry");
        let login = format!("smtp://ann:{}@", needles.make("password"));
        let smtp = engines.smtp.replace("smtp://", &login);
        let mailbox = format!("{}@example.org", needles.make("opsmail"));
        let otlp = format!("authorization=Bearer%20{}", needles.make("otlp"));
        let space = Space::with(&[
            ("OPS_EMAIL", &mailbox),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url),
            ("OTEL_EXPORTER_OTLP_HEADERS", &otlp),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
            ("SCHEMA_REGISTRY_USER", "ann"),
            ("SCHEMA_REGISTRY_PASSWORD", &registry),
            // Of all crates, not only of genflow.
            ("LOG_LEVEL", "trace,genflow=trace"),
            ("REQUIRE_API_KEY", "true"),
            ("API_KEYS", &key),
            ("IMAGE_API_KEY", &image_key),
            ("SLACK_ALLOWED_HOSTS", "127.0.0.1"),
            ("OPS_SLACK_WEBHOOK_URL", &ops),
            ("SLACK_WEBHOOK_URL", &default_slack),
            ("NOTIFY_KEYS", &seals),
            ("WEBHOOK_SIGNING_SECRET", &master),
            ("WEBHOOK_SIGNING_KEY", &signing),
            ("SMTP_URL", &smtp),
            ("EMAIL_FROM", "genflow@mail.test"),
            // Few attempts, so no circuit opens.
            ("NOTIFY_SCHEDULE", "100ms"),
        ])
        .await;
        let headers = vec![("x-api-key".to_owned(), Some(key.into_bytes()))];
        Self {
            space,
            needles,
            headers,
            found: RefCell::default(),
        }
    }

    async fn send(&self, request: &Request) {
        self.space.send_with(request, self.headers.clone()).await;
    }

    /// Sends a request whose webhook is not a URL, as another kind of producer may.
    async fn send_malformed(&mut self) -> Request {
        let mut request = image("malformed");
        let url = format!("http://127.0.0.1/hook/{}", self.needles.make("malformed"));
        request.targets = Targets::parse(Some(&url), None, None).unwrap();
        let topic = &self.space.config.kafka.topics.requests;
        let mut datum = avro::write_request(&request).unwrap();
        let at = datum.windows(4).position(|part| part == b"http").unwrap();
        datum[at..at + 4].copy_from_slice(b"nope");
        let value = self.space.framed(topic, &avro::REQUEST, &datum).await;
        let (key, headers) = (request.id.as_str(), self.headers.clone());
        self.space.produce(topic, key, Some(&value), headers).await;
        request
    }

    /// Records the needles in `hay`.
    fn search(&self, place: &str, hay: &[u8]) {
        for needle in self.needles.found(hay) {
            let found = format!("{needle} is in {place}");
            self.found.borrow_mut().insert(found);
        }
    }

    fn search_record(&self, record: &Record, with_value: bool) {
        let place = record.position.to_string();
        self.search(&place, record.key.as_deref().unwrap_or_default());
        if with_value {
            self.search(&place, record.value.as_deref().unwrap_or_default());
        }
        // The header in which a producer sends its key.
        let own = |name: &str| name == "x-api-key" && record.position.topic.ends_with(".commands");
        for (name, value) in record.headers.iter().filter(|(name, _)| !own(name)) {
            self.search(&place, name.as_bytes());
            self.search(&place, value.as_deref().unwrap_or_default());
        }
    }

    /// Searches all topics; in requests and their dead letters, only the parts that the tenant did not write.
    async fn search_topics(&self) {
        let topics = &self.space.config.kafka.topics;
        for topic in [
            &topics.commands,
            &topics.events,
            &topics.results,
            &topics.notifications,
            &topics.notifications_dlq,
        ] {
            let records = self.space.read(topic).await.all().await;
            assert!(!records.is_empty(), "{topic} is empty");
            for record in &records {
                self.search_record(record, true);
            }
        }
        for record in self.space.read(&topics.dlq).await.all().await {
            self.search_record(&record, false);
        }
    }

    /// Searches the histories of all workflows of this space, and their descriptions.
    async fn search_histories(&self, wanted: &BTreeSet<String>) {
        let client = self.space.client().await;
        let query = format!("TaskQueue STARTS_WITH '{}'", self.space.name());
        let runs = eventually("all workflows are listed", async || {
            let listing = client.list_workflows(query.clone(), Default::default());
            let listed: Vec<_> = listing.map(Result::unwrap).collect().await;
            let listed: Vec<_> = listed
                .iter()
                .map(|run| (run.id().to_owned(), run.run_id().to_owned()))
                .collect();
            let missing = wanted
                .iter()
                .find(|wanted| !listed.iter().any(|(id, _)| id.starts_with(*wanted)));
            missing.is_none().then_some(listed)
        })
        .await;
        for (id, run) in runs {
            let info = WorkflowExecutionInfo::builder()
                .namespace("default".to_owned())
                .workflow_id(id.clone())
                .maybe_run_id(Some(run))
                .build();
            let handle = WorkflowHandle::<Client, UntypedWorkflow>::new(client.clone(), info);
            let described = handle.describe(Default::default()).await.unwrap();
            self.search(&id, id.as_bytes());
            self.search(&id, &serde_json::to_vec(described.raw()).unwrap());
            let history = handle.fetch_history(Default::default()).to_json().await;
            self.search(&format!("the history of {id}"), &history.unwrap());
        }
    }

    /// Searches all files of this space: logs, outputs of commands, results.
    fn search_files(&self, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.search_files(&path);
            } else {
                // By lines, so a failure shows the line.
                for line in std::fs::read(&path).unwrap().split(|byte| *byte == b'\n') {
                    let text = String::from_utf8_lossy(line);
                    self.search(&format!("{}: {text:.500}", path.display()), line);
                }
            }
        }
    }
}

/// Returns the receiver's URL with this secret in it.
fn at(url: &str, secret: &str) -> String {
    url.replace("secret-token", secret)
}

/// Returns the URL of a webhook that no server serves.
fn unserved(secret: &str) -> String {
    format!("http://{}/hook/{secret}", nowhere())
}

#[tokio::test]
async fn no_secret_appears_anywhere_but_where_it_was_given() {
    let operators = Receiver::start(&[]).await;
    let good = Receiver::start(&[]).await;
    let slack = Receiver::answering(&[Answer::Status(200)]).await;
    let bad = Receiver::answering(&[Answer::Status(500)]).await;
    let collector = Collector::start().await;
    let mut story = Story::begin(&operators, &slack, &collector).await;
    let all = Watched::start(&story.space, "all", &[]);
    let needles = &mut story.needles;

    let mut delivered = image("told");
    let webhook = at(&good.url, &needles.make("webhook"));
    let webhook = format!("{webhook}?key={}", needles.make("query"));
    let address = format!("{}@example.org", needles.make("mailbox"));
    let hook = at(&slack.url, &needles.make("slack"));
    delivered.targets = Targets::parse(Some(&webhook), Some(&address), Some(&hook)).unwrap();
    let mut conflict = delivered.clone();
    conflict.metadata.clear();
    let hook = at(&slack.url, &needles.make("conflictslack"));
    conflict.targets = Targets::parse(Some(&webhook), None, Some(&hook)).unwrap();

    let mut refused = image("refused");
    let webhook = at(&bad.url, &needles.make("refusedhook"));
    // The server's answer contains the address.
    let refusing = format!("reply-451+{}@example.org", needles.make("refusedmail"));
    let hook = at(&bad.url, &needles.make("refusedslack"));
    refused.targets = Targets::parse(Some(&webhook), Some(&refusing), Some(&hook)).unwrap();

    let mut unreachable = script(image("unreachable"), &json!({"fail": "no"}));
    let webhook = unserved(&needles.make("nohook"));
    // An invalid address, which only the notifier notices.
    let invalid = format!("a..{}@example.org", needles.make("nomail"));
    let hook = unserved(&needles.make("noslack"));
    unreachable.targets = Targets::parse(Some(&webhook), Some(&invalid), Some(&hook)).unwrap();

    let mut group = batch("group", &[json!({}), json!({}), json!({"fail": "no"})]);
    let webhook = at(&good.url, &needles.make("batchhook"));
    group.targets = Targets::parse(Some(&webhook), None, None).unwrap();
    for (at_item, name) in [(0, "itemgood"), (1, "itembad")] {
        let receiver = [&good, &bad][at_item];
        let url = at(&receiver.url, &needles.make(name));
        spec(&mut group).items[at_item].webhook_url = Some(url.parse().unwrap());
    }

    for request in [&delivered, &refused, &unreachable, &group] {
        story.send(request).await;
    }
    story.space.story(delivered.id.as_str()).await;
    story.send(&conflict).await;
    let malformed = story.send_malformed().await;
    let ended = story.space.story(unreachable.id.as_str()).await;
    let headers = story.headers.clone();
    retry_with(&story.space, &unreachable.id, "again", headers).await;

    check_ends(&story, &delivered, &unreachable).await;
    mail(&story.space.engines.maildir, &address).await;
    operators.wait(1).await;
    let mailbox = &story.space.variables["OPS_EMAIL"];
    mail(&story.space.engines.maildir, mailbox).await;
    let run = |request: &Request| request.id.to_string();
    let mut wanted = BTreeSet::from([&delivered, &refused, &unreachable, &group].map(run));
    wanted.insert(format!("{}~1", unreachable.id));
    wanted.extend(["digest/SLACK/", "digest/EMAIL/"].map(str::to_owned));
    wanted.insert(format!(
        "deliver/{}/WEBHOOK/",
        ended.last().unwrap().event_id
    ));
    story.search_topics().await;
    story.search_histories(&wanted).await;
    for page in ["metrics", "readyz", "livez"] {
        story.search(page, all.page(page).await.as_bytes());
    }
    let shown = command_line(&story, &unreachable).await;
    assert!(shown.contains(malformed.id.as_str()), "{shown}");
    let log = all.process.output();
    assert!(log.contains(" TRACE ") && log.contains("DEBUG genflow::"));
    story.search_files(story.space.folder());
    let names: BTreeSet<_> = collector.spans().into_iter().map(|it| it.name).collect();
    for name in ["POST", "deliver WEBHOOK", "deliver EMAIL", "deliver SLACK"] {
        assert!(names.contains(name), "{names:?}");
    }
    for (_, export) in collector.exports() {
        story.search("an export of spans", &export);
    }
    let found = story.found.take();
    assert!(found.is_empty(), "{found:#?}");
    // The search works: it finds all needles of requests on their topic.
    check_planted(&story).await;
}

/// Waits until all notifications have ended: for each channel, some delivered and some given up.
async fn check_ends(story: &Story, delivered: &Request, unreachable: &Request) {
    // Of the delivered request and its duplicate, of the refused and the unreachable one (twice), of the batch, and of
    // the malformed request.
    let receipts = receipts(&story.space, 3 + 2 + 3 + 3 + 3 + 4 + 1).await;
    for channel in [Channel::Webhook, Channel::Email, Channel::Slack] {
        for (request, outcome) in [
            (delivered, NotificationOutcome::Delivered),
            (unreachable, NotificationOutcome::GivenUp),
        ] {
            let ended = receipts.iter().any(|receipt| {
                receipt.request_id == request.id.as_str()
                    && (receipt.channel, receipt.outcome) == (channel, outcome)
            });
            assert!(ended, "{channel:?} {outcome:?}: {receipts:#?}");
        }
    }
    let events = story.space.all_events(delivered.id.as_str()).await;
    let types: Vec<_> = events.iter().map(|event| event.event_type).collect();
    assert!(types.contains(&EventType::Rejected) && types.contains(&EventType::Completed));
}

/// Runs the commands, whose outputs are files of the space. Returns the list of dead letters.
async fn command_line(story: &Story, request: &Request) -> String {
    let space = &story.space;
    let topics = &space.config.kafka.topics;
    let position = async |topic: &str| {
        let record = space.read(topic).await.all().await.remove(0);
        format!("{}:{}", record.position.partition, record.position.offset)
    };
    let (letter, given_up) = (
        position(&topics.dlq).await,
        position(&topics.notifications_dlq).await,
    );
    let mut listed = String::new();
    for arguments in [
        &["status", request.id.as_str()][..],
        &["list"],
        &["doctor", "--json"],
        &["dlq", "show", &letter],
        &["dlq", "show", &given_up, "--notifications"],
        &["dlq", "list", "--notifications"],
        &["dlq", "list"],
    ] {
        let mut command = space.start(arguments);
        command.ended().await;
        listed = command.output();
    }
    listed
}

/// Fails if a needle of a request is not on the requests' topic, because then the search would prove nothing.
async fn check_planted(story: &Story) {
    let topic = &story.space.config.kafka.topics.requests;
    let mut planted = BTreeSet::new();
    for record in story.space.read(topic).await.all().await {
        let headers = record.headers.iter().flat_map(|(_, value)| value);
        for bytes in headers.chain(&record.value) {
            planted.extend(story.needles.found(bytes));
        }
    }
    planted.extend(["imagekey", "opsmail", "opsslack", "password", "registry"]);
    planted.extend(["defaultslack", "sealkey", "master", "signingkey", "otlp"]);
    assert_eq!(planted, story.needles.names());
}
