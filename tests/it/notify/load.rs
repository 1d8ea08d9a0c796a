//! A notifier that is killed again and again under load, with all three channels: every notification arrives, under one
//! id, and only notifications that were under way at a kill arrive again.
//!
//! How often a notification may arrive follows from the kills. Each notifier starts a notification at most once, and
//! only if its record was not committed when the previous notifier was killed. A successful attempt ends the
//! notification, unless a kill comes before that is recorded. So a notification arrives once, and once more for each
//! kill at which it was started but not committed, and for each attempt of its workflow that was lost with its
//! notifier.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, UNIX_EPOCH};

use genflow::contract::receipt::{Channel, NotificationOutcome, Receipt};
use genflow::domain::Event;
use genflow::engines::clock::now;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use rustix::process::Signal;
use serde_json::Value;
use temporalio_client::{Client, UntypedWorkflow};
use tokio::time::sleep;

use super::stage::Stage;
use super::{caught_up, publisher, receipts, workflow_id};
use crate::support::eventually;
use crate::support::mail::{Mail, all};
use crate::support::process::Process;
use crate::support::receiver::{Answer, Receiver};

const KILLS: usize = 6;
/// The least number of published events; publishing continues until the last kill.
const EVENTS: usize = 100;
const PACE: Duration = Duration::from_millis(100);
/// Partitions of the topic of events.
const PARTITIONS: i32 = 6;
const CHANNELS: [Channel; 3] = [Channel::Webhook, Channel::Email, Channel::Slack];

/// An event, and its targets: a mailbox, and a name at the two receivers.
struct Published {
    event: Event,
    name: String,
    mailbox: String,
}

/// The state between a kill and the start of the next notifier.
struct Kill {
    at: i64,
    committed: BTreeMap<i32, i64>,
    /// Number of webhooks that had arrived.
    webhooks: usize,
    /// Number of Slack messages that had arrived.
    slack: usize,
}

/// One arrival of a notification.
struct Arrival {
    kills_before: usize,
    /// The text that names its event: `webhook-id`, `Message-ID`, or the whole Slack message.
    says: String,
    /// Whether the answer counts as delivered.
    taken: bool,
}

/// The workflow of a notification.
struct Handed {
    started: i64,
    /// Attempts that were lost with their notifier.
    lost: usize,
}

/// Values by notification: by channel, and by target for arrivals, by event for all else.
type Notifications<T> = BTreeMap<(Channel, String), T>;

/// All facts known at the end.
struct Ledger {
    kills: Vec<Kill>,
    /// Partition and offset of each event.
    places: BTreeMap<String, (i32, i64)>,
    arrivals: Notifications<Vec<Arrival>>,
    receipts: Notifications<Vec<Receipt>>,
    workflows: Notifications<Option<Handed>>,
}

/// How often a notification was repeated, and how often it was allowed to be.
struct Again {
    did: usize,
    may: usize,
}

impl Published {
    fn target(&self, channel: Channel) -> (Channel, String) {
        let target = match channel {
            Channel::Email => &self.mailbox,
            Channel::Webhook | Channel::Slack | Channel::Unknown => &self.name,
        };
        (channel, target.clone())
    }
}

impl Kill {
    /// Whether the record at that partition and offset was not committed.
    fn left(&self, (partition, offset): (i32, i64)) -> bool {
        let committed = self.committed.get(&partition);
        committed.is_none_or(|committed| *committed <= offset)
    }
}

impl Stage {
    /// Starts a notifier whose mails contain its number.
    fn life(&self, number: usize) -> Process {
        let smtp = self.catcher.smtp();
        let from = format!("life-{number} <genflow@mail.test>");
        let settings = [("SMTP_URL", &*smtp), ("EMAIL_FROM", &*from)];
        self.space.start_with(&["notifier"], &settings)
    }

    /// Publishes events until `done`.
    async fn publish(&self, mut rng: StdRng, done: &Cell<bool>) -> Vec<Published> {
        let publisher = publisher(&self.space);
        let mut all = Vec::new();
        while !done.get() || all.len() < EVENTS {
            let name = format!("n{}", all.len());
            let prefix = if fails(&mut rng) {
                "reply-451-once+"
            } else {
                ""
            };
            let mailbox = format!("{prefix}{name}@example.org");
            let event = self.event(&name, &mailbox);
            let one = std::slice::from_ref(&event);
            publisher.publish(one, None).await.unwrap();
            all.push(Published {
                event,
                name,
                mailbox,
            });
            sleep(PACE).await;
        }
        all
    }

    /// Returns the offset that the notifiers have committed for each partition.
    fn committed(&self) -> BTreeMap<i32, i64> {
        let kafka = &self.space.config.kafka;
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &kafka.brokers)
            .set("group.id", format!("{}-notifier", kafka.group))
            .create()
            .unwrap();
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_range(&kafka.topics.events, 0, PARTITIONS - 1);
        let committed = consumer.committed_offsets(partitions, Duration::from_secs(15));
        let committed = committed.unwrap().to_topic_map();
        let offsets = committed
            .into_iter()
            .filter_map(|((_, partition), offset)| {
                let Offset::Offset(offset) = offset else {
                    return None;
                };
                Some((partition, offset))
            });
        offsets.collect()
    }

    /// Starts notifiers one after the other and kills each: every third one during its start, the others while they
    /// work.
    async fn kill(&self, mut rng: StdRng, done: &Cell<bool>) -> Vec<Kill> {
        let mut kills = Vec::new();
        for number in 0..KILLS {
            let before = self.committed();
            let mut life = self.life(number);
            if number % 3 != 1 {
                let goes_on = async || (self.committed() != before).then_some(());
                eventually("the notifier commits", goes_on).await;
            }
            sleep(Duration::from_millis(rng.random_range(0..1000))).await;
            life.signal(Signal::KILL);
            life.ended().await;
            kills.push(Kill {
                committed: self.committed(),
                webhooks: settled(&self.webhooks).await,
                slack: settled(&self.slack).await,
                at: now(),
            });
        }
        done.set(true);
        kills
    }

    /// Waits until all notifications have ended.
    async fn ended(&self, published: &[Published]) -> Notifications<Vec<Receipt>> {
        caught_up(&self.space).await;
        let count = published.len() * CHANNELS.len();
        eventually("each notification has a receipt", async || {
            let mut by_notification = Notifications::<Vec<_>>::new();
            for receipt in receipts(&self.space, count).await {
                let key = (receipt.channel, receipt.event_id.clone());
                by_notification.entry(key).or_default().push(receipt);
            }
            (by_notification.len() == count).then_some(by_notification)
        })
        .await
    }

    /// Returns partition and offset of each event.
    async fn places(&self) -> BTreeMap<String, (i32, i64)> {
        let records = self.space.events().await.all().await.into_iter();
        records
            .map(|record| {
                let id = record.header("ce_id").unwrap().to_owned();
                (id, (record.position.partition, record.position.offset))
            })
            .collect()
    }

    fn arrivals(&self, kills: &[Kill]) -> Notifications<Vec<Arrival>> {
        let mut all_arrivals = Notifications::<Vec<_>>::new();
        let mut note = |channel, to, arrival| {
            all_arrivals.entry((channel, to)).or_default().push(arrival);
        };
        let kills_before = |at, count: fn(&Kill) -> usize| {
            let before = kills.iter().filter(|kill| count(kill) <= at);
            before.count()
        };
        for (at, one) in self.webhooks.got().into_iter().enumerate() {
            let id = one.headers.get("webhook-id");
            let arrival = Arrival {
                kills_before: kills_before(at, |kill| kill.webhooks),
                says: id.map_or("", |id| id.to_str().unwrap()).to_owned(),
                taken: one.was_taken(),
            };
            note(Channel::Webhook, one.to, arrival);
        }
        for (at, one) in self.slack.got().into_iter().enumerate() {
            let arrival = Arrival {
                kills_before: kills_before(at, |kill| kill.slack),
                says: String::from_utf8_lossy(&one.body).into_owned(),
                taken: one.was_taken(),
            };
            note(Channel::Slack, one.to, arrival);
        }
        for mail in all(&self.catcher.maildir) {
            let arrival = Arrival {
                kills_before: life(&mail),
                says: mail.header("Message-ID"),
                taken: true,
            };
            note(Channel::Email, mail.header("Delivered-To"), arrival);
        }
        all_arrivals
    }
}

impl Ledger {
    /// Checks one notification.
    fn check(&self, published: &Published, channel: Channel) -> Again {
        let id = &published.event.event_id;
        let key = (channel, id.clone());
        let arrivals = self.arrivals.get(&published.target(channel)).unwrap();
        let same = |one: &Arrival| one.says.contains(id) && one.says == arrivals[0].says;
        assert!(arrivals.iter().all(same), "{key:?} has one id");
        let receipts = &self.receipts[&key];
        let ended_so = |one: &Receipt| {
            one.outcome == NotificationOutcome::Delivered
                && one.receipt_id == receipts[0].receipt_id
        };
        assert!(receipts.iter().all(ended_so), "{receipts:#?}");
        let taken = arrivals.iter().filter(|one| one.taken).count();
        let may = self.cuts(&key, arrivals);
        assert!(
            (1..=1 + may).contains(&taken),
            "{key:?} arrived {taken} times, and was under way at {may} kills"
        );
        let did = taken - 1;
        Again { did, may }
    }

    /// Counts the kills at which a notification was under way: started but not committed, or in an attempt of its
    /// workflow.
    fn cuts(&self, key: &(Channel, String), arrivals: &[Arrival]) -> usize {
        let (place, workflow) = (self.places[&key.1], self.workflows[key].as_ref());
        let kills = self.kills.iter().enumerate();
        let begun = kills.filter(|(number, kill)| {
            let came = arrivals.iter().any(|one| one.kills_before <= *number);
            came || workflow.is_some_and(|handed| handed.started <= kill.at)
        });
        let left = begun.filter(|(_, kill)| kill.left(place)).count();
        left + workflow.map_or(0, |handed| handed.lost)
    }
}

fn fails(rng: &mut StdRng) -> bool {
    rng.random_ratio(1, 15)
}

/// Returns answers, some of which are failures.
fn answers(rng: &mut StdRng) -> Vec<Answer> {
    let some = (0..400).map(|_| if fails(rng) { 500 } else { 204 });
    some.chain([204]).map(Answer::Status).collect()
}

/// Returns the number of requests at the receiver, after it has read everything that killed notifiers have sent.
async fn settled(receiver: &Receiver) -> usize {
    // The receiver reads the probe after those requests.
    let probe = reqwest::Client::new().post(receiver.at("probe"));
    probe.send().await.unwrap();
    receiver.got().len()
}

/// Returns which notifier sent the mail.
fn life(mail: &Mail) -> usize {
    let parsed = mail.parsed();
    let from = parsed.from().unwrap().first().unwrap();
    let number = from.name().unwrap().strip_prefix("life-");
    number.unwrap().parse().unwrap()
}

/// Waits until the workflow of a notification has closed, if there is one.
async fn handed(client: &Client, receipt: &Receipt) -> Option<Handed> {
    let handle = client.get_workflow_handle::<UntypedWorkflow>(workflow_id(receipt));
    handle.describe(Default::default()).await.ok()?;
    let described = eventually("the delivery has closed", async || {
        let described = handle.describe(Default::default()).await.unwrap();
        described.close_time().is_some().then_some(described)
    })
    .await;
    let history = handle.fetch_history(Default::default()).to_json().await;
    let history: Value = serde_json::from_slice(&history.unwrap()).unwrap();
    let started = described.start_time().unwrap().duration_since(UNIX_EPOCH);
    Some(Handed {
        started: i64::try_from(started.unwrap().as_millis()).unwrap(),
        lost: lost(&history),
    })
}

/// Counts the attempts that had to be repeated.
fn lost(history: &Value) -> usize {
    let events = history["events"].as_array().unwrap();
    let attributes = |event: &Value, what: &str| event["attributes"][what].clone();
    let scheduled = |event: &&Value| {
        let scheduled = attributes(event, "ActivityTaskScheduledEventAttributes");
        scheduled["activity_type"]["name"] == "deliver.v1"
    };
    let tries = events.iter().filter(scheduled);
    let tries: BTreeSet<_> = tries
        .map(|event| event["event_id"].as_i64().unwrap())
        .collect();
    let started = events
        .iter()
        .map(|event| attributes(event, "ActivityTaskStartedEventAttributes"));
    started
        .filter(|started| {
            let scheduled = started["scheduled_event_id"].as_i64();
            scheduled.is_some_and(|scheduled| tries.contains(&scheduled))
        })
        .map(|started| started["attempt"].as_u64().unwrap() as usize - 1)
        .sum()
}

#[tokio::test]
async fn a_notifier_killed_again_and_again_under_load_loses_nothing_and_repeats_what_was_under_way()
{
    let seed = rand::random();
    eprintln!("the seed is {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (webhooks, slack) = (answers(&mut rng), answers(&mut rng));
    let settings = [
        // A static member: the group does not wait for the killed one.
        ("KAFKA_GROUP_INSTANCE_ID", "pod-1"),
        // High, so most notifications get a slot for their first attempt.
        ("NOTIFY_CONCURRENCY", "1000"),
        // More attempts than any target fails in a row.
        (
            "NOTIFY_SCHEDULE",
            "100ms,100ms,200ms,200ms,200ms,200ms,200ms,200ms",
        ),
    ];
    let stage = Stage::new(&settings, [&webhooks, &slack]).await;
    let done = Cell::new(false);

    let (published, kills) = tokio::join!(
        stage.publish(StdRng::seed_from_u64(rng.random()), &done),
        stage.kill(StdRng::seed_from_u64(rng.random()), &done),
    );
    let _last = stage.life(KILLS);

    let receipts = stage.ended(&published).await;
    let client = stage.space.client().await;
    let mut workflows = BTreeMap::new();
    for (key, receipts) in &receipts {
        workflows.insert(key.clone(), handed(&client, &receipts[0]).await);
    }
    let ledger = Ledger {
        places: stage.places().await,
        arrivals: stage.arrivals(&kills),
        kills,
        receipts,
        workflows,
    };
    let checked = published
        .iter()
        .flat_map(|one| CHANNELS.map(|channel| ledger.check(one, channel)));
    let (mut again, mut may) = (0, 0);
    for one in checked {
        (again, may) = (again + one.did, may + one.may);
    }
    let count = published.len() * CHANNELS.len();
    eprintln!("{count} notifications arrived; {again} repeats, of {may} allowed");
    assert!(may > 0, "no notification was under way at a kill");
}
