//! Which settings dev refuses, and how it separates its names from those of other deployments.

use super::*;
use crate::operate::cli::local::{EnginePorts, Real};

const HERE: Here = Here {
    ports: EnginePorts::Free,
    use_existing: false,
    samples: false,
    real: None,
    yes: false,
    keep: None,
    reset: false,
};

/// Returns dev's settings if these variables are set.
fn loaded(here: &Here, set: &[(&str, &str)]) -> Config {
    let value = |name: &str| {
        let found = set.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    load(here, &BTreeMap::new(), Path::new("/tmp"), &value).unwrap()
}

fn at_fault(once: bool, here: &Here, set: &[(&str, &str)]) -> Vec<&'static str> {
    match check(once, here, &loaded(here, set)) {
        Ok(()) => Vec::new(),
        Err(faults) => faults.0.iter().map(|fault| fault.variable).collect(),
    }
}

#[test]
fn engines_elsewhere_are_used_only_if_that_is_asked_for() {
    let engines = [
        ("KAFKA_BROKERS", "kafka.test:9092"),
        ("SCHEMA_REGISTRY_URL", "http://registry.test"),
        ("TEMPORAL_HOST", "temporal.test:7233"),
    ];
    let asked = Here {
        use_existing: true,
        ..HERE
    };

    for engine in engines {
        assert_eq!(at_fault(true, &HERE, &[engine]), [engine.0]);
        assert_eq!(at_fault(true, &asked, &[engine]), [""; 0]);
    }
    let here = ("KAFKA_BROKERS", "127.0.0.1:9092");
    assert_eq!(at_fault(true, &HERE, &[here]), [""; 0]);
}

#[test]
fn nothing_is_paid_for_unless_that_is_asked_for() {
    let real = [("MOCK_EXTERNAL_APIS", "false"), ("IMAGE_API_KEY", "r8_key")];
    let samples = Here {
        samples: true,
        ..HERE
    };

    assert_eq!(at_fault(true, &HERE, &real), ["MOCK_EXTERNAL_APIS"]);
    assert_eq!(at_fault(true, &samples, &real), [""; 0]);
    // Without `once`, dev starts, and sends no samples.
    assert_eq!(at_fault(false, &HERE, &real), [""; 0]);
    assert!(!sends_samples(&HERE, &loaded(&HERE, &real)));
    assert!(sends_samples(&HERE, &loaded(&HERE, &[])));
}

#[test]
fn a_real_result_turns_the_simulator_off_and_sends_no_samples() {
    let real = Here {
        real: Some(Real::Image),
        ..HERE
    };
    let simulated = [("MOCK_EXTERNAL_APIS", "true")];

    let config = loaded(&real, &simulated);

    assert!(!config.mock_external_apis && !sends_samples(&real, &config));
    assert_eq!(at_fault(true, &real, &simulated), [""; 0]);
}

#[test]
fn on_existing_engines_dev_has_its_own_names_and_sends_operators_nothing() {
    let set = [
        ("USER", "Ann.B"),
        ("TOPIC_EVENTS", "prod.events"),
        ("OPS_EMAIL", "ops@example.org"),
        (
            "OPS_SLACK_WEBHOOK_URL",
            "https://hooks.slack.com/services/x",
        ),
    ];
    let apart = loaded(
        &Here {
            use_existing: true,
            ..HERE
        },
        &set,
    );
    let usual = loaded(&HERE, &set);

    assert_eq!(apart.kafka.topics.events, "dev-AnnB.prod.events");
    assert_eq!(apart.kafka.topics.requests, "dev-AnnB.gen.requests");
    assert_eq!(apart.kafka.group, "dev-AnnB.genflow");
    assert_eq!(apart.temporal.task_queue, "dev-AnnB.genflow");
    assert!(apart.notifier.ops_slack.is_none() && apart.notifier.ops_email.is_none());
    assert_eq!(usual.kafka.topics.events, "prod.events");
    assert!(usual.notifier.ops_slack.is_some() && usual.notifier.ops_email.is_some());
}
