//! `genflow doctor`: its output for healthy engines, and for faulty ones.

use std::collections::BTreeMap;

use genflow::engines::kafka::admin::Asked;
use genflow::operate::setup;
use serde_json::Value;

use crate::support::s3::{Fault, S3};
use crate::support::{Space, eventually, nowhere};

/// Doctor's answer: exit code and each check by its name.
pub(crate) struct Report {
    code: i32,
    pub(crate) checks: BTreeMap<String, (String, String)>,
}

impl Report {
    pub(crate) fn verdict(&self, check: &str) -> &str {
        let found = self.checks.get(check);
        &found
            .unwrap_or_else(|| panic!("no {check} in {:?}", self.checks))
            .0
    }

    pub(crate) fn found(&self, check: &str) -> &str {
        &self.checks[check].1
    }

    pub(crate) fn failing(&self) -> Vec<&str> {
        let failing = self
            .checks
            .iter()
            .filter(|(_, (verdict, _))| verdict == "FAIL");
        failing.map(|(check, _)| check.as_str()).collect()
    }
}

pub(crate) async fn doctor(space: &Space, settings: &[(&str, &str)]) -> Report {
    let mut process = space.start_with(&["doctor", "--json"], settings);
    let code = process.ended().await.code().unwrap();
    let output = process.output();
    let report: Value = serde_json::from_str(output.trim()).unwrap();
    assert_eq!(report["ok"], code == 0, "{output}");
    // Shown if the test fails.
    eprintln!("{output}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let checks = report["checks"].as_array().unwrap().iter();
    let checks = checks.map(|check| {
        (
            text(&check["check"]),
            (text(&check["verdict"]), text(&check["found"])),
        )
    });
    Report {
        code,
        checks: checks.collect(),
    }
}

#[tokio::test]
async fn a_fresh_setup_with_all_roles_running_is_well() {
    let space = Space::new().await;
    let queue = &space.config.temporal.task_queue;
    let polled = [
        format!("task queue {queue}, workflows"),
        format!("task queue {queue}, activities"),
        format!("task queue {queue}-fetch, activities"),
        format!("task queue {queue}-notify, workflows"),
        format!("task queue {queue}-notify, activities"),
    ];
    let groups = ["intake", "commands", "notifier"].map(|role| format!("group {queue}-{role}"));

    let before = doctor(&space, &[]).await;

    assert_eq!((before.code, before.failing()), (0, vec![]));
    for check in polled.iter().chain(&groups) {
        assert_eq!(before.verdict(check), "warn", "{check}");
    }
    for check in [
        "Kafka",
        "schema registry",
        "Temporal",
        "dedup window",
        "deliveries",
    ] {
        assert_eq!(before.verdict(check), "ok", "{check}");
    }
    for topic in ["requests", "commands", "events", "results", "requests.dlq"] {
        assert_eq!(before.verdict(&format!("topic {queue}.{topic}")), "ok");
    }
    let schema = format!("schema {queue}.requests-value");
    assert_eq!(before.verdict(&schema), "ok", "{}", before.found(&schema));
    assert_eq!(before.verdict("search attribute GenUser"), "ok");
    assert_eq!(
        before.verdict("fairness"),
        "unknown",
        "{}",
        before.found("fairness")
    );
    assert_eq!(before.verdict("NOTIFY_KEYS"), "warn");
    assert_eq!(before.verdict("endpoints"), "ok");
    assert!(
        before
            .found("operators")
            .ends_with("operators get no failure reports")
    );
    let mails = [("OPS_EMAIL", "a@b.test"), ("SMTP_URL", "smtp://b.test")];
    let reported = doctor(&space, &mails).await;
    assert_eq!(
        reported.found("operators"),
        "get failure reports by OPS_EMAIL"
    );

    let _all = space.start(&["all"]);

    eventually("doctor finds the roles", async || {
        let reported = doctor(&space, &[]).await;
        assert_eq!(reported.failing(), Vec::<&str>::new());
        let mut wanted = polled.iter().chain(&groups);
        wanted
            .all(|check| reported.verdict(check) == "ok")
            .then_some(())
    })
    .await;
}

/// The engines run with fairness enabled, as in `genflow dev`.
#[tokio::test]
async fn fairness_is_found_out_by_a_trial_that_leaves_nothing_running() {
    let space = Space::new().await;

    let mut process = space.start(&["doctor", "--try-fairness"]);

    assert_eq!(process.ended().await.code(), Some(0));
    let output = process.output();
    assert!(output.contains("fairness: is on"), "{output}");
    let temporal = space.temporal().await;
    let running = "WorkflowType = 'genflow.doctor.v1' AND ExecutionStatus = 'Running'";
    eventually("the trial is over", async || {
        (temporal.count(running).await.unwrap() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn it_prints_a_line_a_check_for_people() {
    let space = Space::new().await;

    let mut process = space.start(&["doctor"]);

    let code = process.ended().await.code();
    let output = process.output();
    assert_eq!(code, Some(0), "{output}");
    assert!(output.lines().count() > 20, "{output}");
    for line in output.lines() {
        let verdict = line.split_whitespace().next().unwrap();
        assert!(["ok", "warn", "unknown"].contains(&verdict), "{line}");
    }
    assert!(
        output.contains("fairness: no API of the server reports"),
        "{output}"
    );
}

#[tokio::test]
async fn a_topic_that_is_missing_fails_and_is_not_made_by_looking() {
    let space = Space::new().await;
    let name = format!("{}.elsewhere", space.config.kafka.group);

    for _ in 0..2 {
        let reported = doctor(&space, &[("TOPIC_REQUESTS", &name)]).await;

        assert_eq!(reported.code, 1);
        let failing = [format!("schema {name}-value"), format!("topic {name}")];
        assert_eq!(reported.failing(), failing);
        // A missing topic has no lag to report.
        let group = format!("group {}-intake", space.config.kafka.group);
        assert!(
            !reported.checks.contains_key(&group),
            "{:?}",
            reported.checks
        );
    }
}

#[tokio::test]
async fn a_window_that_intake_cuts_to_the_retention_warns() {
    let space = Space::new().await;

    let cut = doctor(&space, &[("DEDUP_WINDOW", "31d")]).await;

    assert_eq!((cut.code, cut.verdict("dedup window")), (0, "warn"));
    assert!(cut.found("dedup window").starts_with("is 27d"));
}

#[tokio::test]
async fn requests_that_are_kept_longer_than_the_window_fail() {
    let space = Space::new().await;

    let reported = doctor(&space, &[("DEDUP_WINDOW", "1d")]).await;

    let topic = format!("topic {}", space.config.kafka.topics.requests);
    assert_eq!(
        (reported.code, reported.failing()),
        (1, vec![topic.as_str()])
    );
    assert!(
        reported
            .found(&topic)
            .contains("retention.ms is 604800000, expected 86400000"),
        "{}",
        reported.found(&topic)
    );
}

#[tokio::test]
async fn doctor_reports_an_engine_that_is_away_once_and_checks_the_others() {
    let space = Space::new().await;
    let nowhere = nowhere();
    let (host, url) = (nowhere.to_string(), format!("http://{nowhere}"));

    for (check, prefix, variable, value) in [
        ("schema registry", "schema ", "SCHEMA_REGISTRY_URL", &url),
        ("Kafka", "topic ", "KAFKA_BROKERS", &host),
        ("Temporal", "task queue ", "TEMPORAL_HOST", &host),
        ("video API", "VIDEO_API_BASE", "VIDEO_API_BASE_URL", &url),
    ] {
        let reported = doctor(&space, &[(variable, value)]).await;

        assert_eq!(
            (reported.code, reported.failing()),
            (1, vec![check]),
            "{variable}"
        );
        let mut asked = reported.checks.keys().filter(|other| *other != check);
        assert!(
            !asked.any(|other| other.starts_with(prefix)),
            "{:?}",
            reported.checks
        );
        let engines = ["schema registry", "Kafka", "Temporal"];
        for other in engines.into_iter().filter(|other| *other != check) {
            assert_eq!(reported.verdict(other), "ok", "{other} without {check}");
        }
    }
}

#[tokio::test]
async fn a_namespace_that_is_missing_fails() {
    let space = Space::new().await;

    let reported = doctor(&space, &[("TEMPORAL_NAMESPACE", "nobodys")]).await;

    assert_eq!(
        (reported.code, reported.failing()),
        (1, vec!["namespace nobodys"])
    );
}

#[tokio::test]
async fn doctor_reports_lag() {
    let space = Space::new().await;
    let request = crate::support::requests::image("waits");
    space.send(&request).await;

    let reported = doctor(&space, &[]).await;

    let group = format!("group {}-intake", space.config.kafka.group);
    assert!(
        reported.found(&group).starts_with("lag 1 on "),
        "{}",
        reported.found(&group)
    );
}

#[tokio::test]
async fn a_topic_that_others_made_is_held_against_the_contract() {
    let space = Space::new().await;
    // A topic for results in the place of requests: compacted, with timestamps of producers, with another schema.
    let odd = format!("{}.odd", space.config.kafka.group);
    let mut config = space.config.clone();
    config.kafka.topics.results = odd.clone();
    setup::run(&config, Asked::ONE_COPY, &mut std::io::sink())
        .await
        .unwrap();

    let reported = doctor(&space, &[("TOPIC_REQUESTS", &odd)]).await;

    let (schema, topic) = (format!("schema {odd}-value"), format!("topic {odd}"));
    assert_eq!(
        (reported.code, reported.failing()),
        (1, vec![schema.as_str(), &topic])
    );
    let found = reported.found(&topic);
    for part in [
        "cleanup.policy is compact, expected delete",
        "message.timestamp.type is CreateTime, expected LogAppendTime",
    ] {
        assert!(found.contains(part), "{found}");
    }
    assert!(reported.found(&schema).contains("lacks this version's"));
}

#[tokio::test]
async fn a_bucket_is_tried_out_and_left_as_it_was() {
    let space = Space::new().await;
    let s3 = S3::start(space.results()).await;
    let settings = S3::settings(&s3.address);
    let mut settings: Vec<_> = settings
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    settings.push(("RESULT_URL_TTL", "1d"));

    let well = doctor(&space, &settings).await;

    assert_eq!((well.code, well.failing()), (0, vec![]));
    assert_eq!(well.verdict("S3_BUCKET"), "ok");
    assert_eq!(well.verdict("RESULT_URL_TTL"), "ok");
    assert!(!well.checks.contains_key("RESULTS_DIR"));
    assert_eq!(s3.keys(), Vec::<String>::new());

    for (operation, step) in [
        ("HeadObject", "look for"),
        ("PutObject", "write"),
        ("GetObject", "read"),
        ("CreateMultipartUpload", "parts"),
        ("AbortMultipartUpload", "parts"),
        ("DeleteObject", "delete"),
    ] {
        s3.fault(operation, Some(Fault::Deny));
        let reported = doctor(&space, &settings).await;
        assert!(reported.failing().contains(&"S3_BUCKET"), "{operation}");
        let found = reported.found("S3_BUCKET");
        assert!(found.contains(step), "{operation}: {found}");
        s3.fault(operation, None);
    }

    settings.push(("AWS_SECRET_ACCESS_KEY", "another"));
    let forged = doctor(&space, &settings).await;
    assert_eq!((forged.code, forged.verdict("S3_BUCKET")), (1, "FAIL"));
    assert!(!forged.found("S3_BUCKET").contains("another"));
}

#[tokio::test]
async fn a_bucket_that_cannot_be_reached_fails() {
    let space = Space::new().await;
    let settings = S3::settings("127.0.0.1:1");
    let settings: Vec<_> = settings
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();

    let reported = doctor(&space, &settings).await;

    assert_eq!((reported.code, reported.failing()), (1, vec!["S3_BUCKET"]));
}

#[tokio::test]
async fn doctor_says_whether_it_can_read_the_schemas_of_the_models_that_are_used() {
    let space = Space::new().await;
    let away = format!("http://{}", nowhere());

    let published = doctor(&space, &[("IMAGE_MODEL", "black-forest-labs/flux-schnell")]).await;
    let unread = doctor(
        &space,
        &[
            ("IMAGE_API_BASE_URL", &away),
            ("IMAGE_MODEL", "black-forest-labs/flux-schnell"),
            ("VIDEO_API_BASE_URL", &away),
            ("VIDEO_MODEL", "acme/unheard-of"),
            ("IMAGE_FALLBACK", "openai"),
        ],
    )
    .await;

    let flux = "model black-forest-labs/flux-schnell";
    assert_eq!(published.verdict(flux), "ok");
    assert_eq!(published.found(flux), "the provider publishes its inputs");
    assert_eq!(unread.verdict(flux), "warn");
    let own = "its input schema cannot be read; genflow uses its own copy";
    assert_eq!(unread.found(flux), own);
    let unknown = "model acme/unheard-of";
    assert_eq!(unread.verdict(unknown), "warn");
    let only = "its input schema cannot be read: requests may only have a prompt and params";
    assert_eq!(unread.found(unknown), only);
    // OpenAI publishes none: genflow's table is the source.
    assert_eq!(unread.verdict("model gpt-image-2"), "ok");
    assert_eq!(
        unread.found("model gpt-image-2"),
        "genflow knows its inputs"
    );
}
