//! The consumer under load and in trouble: members that join, leave and die, engines that are down, a wrong deploy.

mod limits;

use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use genflow::domain::{EventType, Request};
use genflow::engines::kafka::Headers;
use rustix::process::Signal;
use temporalio_client::tonic::IntoRequest as _;
use temporalio_common::protos::temporal::api::workflowservice::v1::RegisterNamespaceRequest;

use crate::support::broker::Broker;
use crate::support::described::Described as _;
use crate::support::engines::engines;
use crate::support::gate::Gate;
use crate::support::ledger::types;
use crate::support::requests::image;
use crate::support::{SOON, Space, Watched, eventually, eventually_within};

#[tokio::test]
async fn while_temporal_is_away_records_wait_and_nothing_is_dead_lettered() {
    let space = Space::new().await;
    let gate = Gate::before(&space.engines.temporal).await;
    let address = gate.address.to_string();
    let away = [("TEMPORAL_HOST", address.as_str())];
    let intake = Watched::start(&space, "intake", &away);
    let worker = Watched::start(&space, "worker", &away);
    let first = image("before");
    space.send(&first).await;
    space.story(first.id.as_str()).await;

    gate.shut();
    let requests: Vec<_> = (0..40).map(|_| image("away")).collect();
    for request in &requests {
        space.send(request).await;
    }
    intake.says("readyz", "holds records").await;
    let paused = format!(
        "genflow_consumer_paused{{topic=\"{}\",cause=\"temporal_unavailable\"}}",
        space.config.kafka.topics.requests
    );
    intake.says("metrics", &format!("{paused} 1")).await;
    worker
        .says("readyz", "\"role\":\"worker\",\"ready\":false")
        .await;
    assert_eq!(space.dead_letters().await.len(), 0);
    gate.open();

    for request in &requests {
        let events = space.story(request.id.as_str()).await;
        assert_eq!(types(&events).last(), Some(&EventType::Completed));
    }
    worker
        .says("readyz", "\"role\":\"worker\",\"ready\":true")
        .await;
    intake
        .says("readyz", "\"role\":\"intake\",\"ready\":true")
        .await;
    intake.says("metrics", &format!("{paused} 0")).await;
    assert_eq!(space.dead_letters().await.len(), 0);
    let topic = &space.config.kafka.topics.requests;
    space.caught_up("intake", topic).await;
}

#[tokio::test]
async fn what_temporal_would_refuse_to_anyone_is_held_and_not_dead_lettered() {
    let space = Space::new().await;
    // A namespace without genflow's search attributes.
    let name = format!("{}-bare", space.name());
    let request = RegisterNamespaceRequest {
        namespace: name.clone(),
        workflow_execution_retention_period: Duration::from_secs(86_400).try_into().ok(),
        ..Default::default()
    };
    let client = space.client().await;
    let mut service = client.connection().workflow_service();
    service
        .register_namespace(request.into_request())
        .await
        .unwrap();
    let mut intake = Watched::start(&space, "intake", &[("TEMPORAL_NAMESPACE", &name)]);
    let request = image("held");
    space.send(&request).await;

    intake.says("readyz", "holds records").await;
    assert!(intake.process.terminate().await.success());
    assert_eq!(space.dead_letters().await.len(), 0);

    let _right = space.start(&["all"]);
    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
}

#[tokio::test]
async fn while_the_retention_is_not_known_intake_is_not_ready_and_refuses_nothing() {
    let space = Space::new().await;
    let wrong = [("TEMPORAL_NAMESPACE", "nowhere"), ("DEDUP_WINDOW", "1h")];
    let mut intake = Watched::start(&space, "intake", &wrong);
    let mut request = image("waits");
    request.requested_at = Some(1_700_000_000_000);
    space.send(&request).await;

    intake.says("readyz", "NotFound").await;

    assert!(intake.process.terminate().await.success());
    assert_eq!(space.dead_letters().await.len(), 0);
}

#[tokio::test]
async fn partitions_that_went_while_they_were_paused_are_read_when_they_come_back() {
    let space = Space::new().await;
    let gate = Gate::before(&space.engines.temporal).await;
    let address = gate.address.to_string();
    let first = Watched::start(&space, "intake", &[("TEMPORAL_HOST", &address)]);
    let topic = &space.config.kafka.topics.requests;
    first
        .says("readyz", "\"role\":\"intake\",\"ready\":true")
        .await;
    gate.shut();
    let send = async |count: usize| {
        for _ in 0..count {
            space.send(&image("moved")).await;
        }
    };
    send(40).await;
    let paused =
        format!("genflow_consumer_paused{{topic=\"{topic}\",cause=\"temporal_unavailable\"}} 1");
    first.says("metrics", &paused).await;

    // Half of the paused partitions move to another member, and come back when it has left.
    let mut second = space.start(&["intake"]);
    first
        .says(
            "metrics",
            &format!("genflow_rebalances_total{{topic=\"{topic}\"}} 2"),
        )
        .await;
    gate.open();
    space.caught_up("intake", topic).await;
    assert!(second.terminate().await.success());
    first
        .says(
            "metrics",
            &format!("genflow_rebalances_total{{topic=\"{topic}\"}} 3"),
        )
        .await;
    send(40).await;

    space.caught_up("intake", topic).await;
}

#[tokio::test]
async fn what_cannot_be_dead_lettered_now_waits_and_is_not_lost() {
    let space = Space::new().await;
    let nowhere = [("TOPIC_REQUESTS_DLQ", "no-such-topic")];
    let mut intake = Watched::start(&space, "intake", &nowhere);
    let topic = &space.config.kafka.topics.requests;
    space
        .produce(topic, "key", Some(b"not avro"), Headers::new())
        .await;
    intake.says("readyz", "holds records").await;
    assert!(intake.process.terminate().await.success());
    assert_eq!(space.lag("intake", topic).await, 1);

    let _right = space.start(&["intake"]);
    space.caught_up("intake", topic).await;
    assert_eq!(space.dead_letters().await.len(), 1);
}

#[tokio::test]
async fn a_row_of_refusals_for_one_reason_blows_the_fuse_and_a_good_record_mends_it() {
    let space = Space::new().await;
    // More bad records than slots: those that the fuse holds take no slot from the record that resets it.
    let settings = [("DLQ_FUSE", "5"), ("INTAKE_CONCURRENCY", "2")];
    let intake = Watched::start(&space, "intake", &settings);
    let topic = &space.config.kafka.topics.requests;
    let bad = 20;
    for number in 0..bad {
        let key = format!("bad-{number}");
        space
            .produce(topic, &key, Some(b"not avro"), Headers::new())
            .await;
    }

    intake.says("readyz", "DLQ_FUSE").await;
    eventually("one more record is dead-lettered", async || {
        (space.dead_letters().await.len() > 5).then_some(())
    })
    .await;
    assert!(
        space.dead_letters().await.len() < bad,
        "the others are held"
    );
    assert!(space.lag("intake", topic).await > 0);

    eventually(
        "after good records, the rest is dead-lettered",
        async || {
            space.send(&image("good")).await;
            (space.dead_letters().await.len() == bad).then_some(())
        },
    )
    .await;
    intake
        .says("readyz", "\"role\":\"intake\",\"ready\":true")
        .await;
    space.caught_up("intake", topic).await;
}

/// Each time that a part of the requests is done, one of three members leaves or is killed, and another joins.
///
/// With `GENFLOW_FLOW_RECORDS=20000` the test runs longer: a member leaves every few seconds.
#[tokio::test]
async fn intakes_that_come_go_and_die_start_every_request_once() {
    let count = std::env::var("GENFLOW_FLOW_RECORDS").map_or(600, |text| text.parse().unwrap());
    let steps = (count / 500).max(6);
    let space = Space::new().await;
    let topic = &space.config.kafka.topics.requests;
    let requests: Vec<Request> = (0..count).map(|_| image("flow")).collect();
    stream::iter(&requests)
        .for_each_concurrent(64, |request| space.send(request))
        .await;
    let limit = SOON + Duration::from_millis(50) * u32::try_from(count).unwrap();
    let start = || space.start(&["intake"]);
    let mut members = vec![start(), start(), start()];

    for step in 1..steps {
        let left = u64::try_from(count - count * step / steps).unwrap();
        let what = format!("at most {left} records are left");
        eventually_within(limit, &what, async || {
            (space.lag("intake", topic).await <= left).then_some(())
        })
        .await;
        let mut leaves = members.remove(0);
        if step % 3 != 0 {
            leaves.signal(Signal::KILL);
            leaves.ended().await;
        } else {
            assert!(leaves.terminate().await.success(), "{}", leaves.output());
        }
        members.push(start());
    }
    eventually_within(limit, "no record is left", async || {
        (space.lag("intake", topic).await == 0).then_some(())
    })
    .await;

    let temporal = space.temporal().await;
    let queue = &space.config.temporal.task_queue;
    let ours = format!("WorkflowType = 'generation.v1' AND TaskQueue = '{queue}'");
    for request in &requests {
        temporal.run_id(&request.id.run(0)).await.unwrap();
    }
    // Visibility lags a moment.
    eventually("each request has one workflow", async || {
        let there = temporal.count(&ours).await.unwrap();
        (there == u64::try_from(count).unwrap()).then_some(())
    })
    .await;
    assert_eq!(space.dead_letters().await.len(), 0);
}

#[tokio::test]
async fn a_broker_that_dies_and_comes_back_midway_loses_and_repeats_nothing() {
    let mut broker = Broker::beside(engines()).await;
    let space = Space::with(&[("KAFKA_BROKERS", &broker.address)]).await;
    let intake = Watched::start(&space, "intake", &[]);
    let _worker = space.start(&["worker"]);
    let requests: Vec<_> = (0..60).map(|_| image("broker")).collect();
    for request in &requests {
        space.send(request).await;
    }
    intake
        .says("metrics", "genflow_requests_total{outcome=\"started\"")
        .await;

    broker.dies().await;
    broker.comes_back(&space.config.kafka).await;

    for request in &requests {
        let events = space.story(request.id.as_str()).await;
        assert_eq!(types(&events).last(), Some(&EventType::Completed));
        assert_eq!(space.bill(request.id.as_str()).await.accepted, 1);
    }
    let topic = &space.config.kafka.topics.requests;
    space.caught_up("intake", topic).await;
    assert_eq!(space.dead_letters().await.len(), 0);
}

#[tokio::test]
async fn a_static_member_that_dies_takes_up_its_partitions_again() {
    // The group waits longer for a lost member than this test runs.
    let session = ("KAFKA_SESSION_TIMEOUT", "5m");
    let space = Space::with(&[("KAFKA_GROUP_INSTANCE_ID", "pod-1"), session]).await;
    let _worker = space.start(&["worker"]);
    for _ in 0..2 {
        let mut intake = space.start(&["intake"]);
        let request = image("static");
        space.send(&request).await;
        space.story(request.id.as_str()).await;
        intake.signal(Signal::KILL);
        intake.ended().await;
    }
}

#[tokio::test]
async fn while_the_registry_is_away_records_wait_and_nothing_is_dead_lettered() {
    let space = Space::new().await;
    let registry = url::Url::parse(&space.engines.registry).unwrap();
    let address = format!("127.0.0.1:{}", registry.port().unwrap());
    let gate = Gate::before(&address).await;
    let through = space
        .engines
        .registry
        .replace(&address, &gate.address.to_string());
    gate.shut();
    let intake = Watched::start(&space, "intake", &[("SCHEMA_REGISTRY_URL", &through)]);
    let _worker = space.start(&["worker"]);
    let request = image("unread");
    space.send(&request).await;

    intake.says("readyz", "holds records").await;
    assert_eq!(space.dead_letters().await.len(), 0);
    gate.open();

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    intake
        .says("readyz", "\"role\":\"intake\",\"ready\":true")
        .await;
}
