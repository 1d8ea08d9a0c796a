//! `genflow dev` as a new user runs it, and that nothing is left when it is killed.

use rustix::process::Signal;

use crate::support::requests::image;
use crate::support::trial::Trial;
use crate::support::{Space, eventually};

#[tokio::test]
async fn a_test_completes_the_samples_and_leaves_nothing_running() {
    let trial = Trial::new();
    // The same as `dev --once`.
    let mut dev = trial.start(&["test", "--ports", "free"]);

    let status = dev.ended().await;

    assert!(status.success(), "{}", dev.output());
    assert!(
        dev.output().contains("the sample requests completed"),
        "{}",
        dev.output()
    );
    assert!(
        dev.output().contains("3 items: 3 completed"),
        "{}",
        dev.output()
    );
    assert!(
        dev.output()
            .contains("mail arrived: Image completed: image-"),
        "{}",
        dev.output()
    );
    trial.nothing_is_left().await;
}

#[tokio::test]
async fn on_existing_engines_the_requests_of_others_are_left_alone() {
    // A deployment whose roles do not run, and a request that waits for them.
    let space = Space::new().await;
    let request = image("waits");
    space.send(&request).await;
    let mut trial = Trial::new();
    let places = [
        "KAFKA_BROKERS",
        "KAFKA_GROUP",
        "SCHEMA_REGISTRY_URL",
        "TEMPORAL_HOST",
        "TEMPORAL_TASK_QUEUE",
    ];
    for (name, value) in &space.variables {
        if name.starts_with("TOPIC_") || places.contains(&&**name) {
            trial.set(name, value);
        }
    }
    trial.set("USER", "ann");
    let mut dev = trial.start(&["test", "--ports", "free", "--use-existing"]);

    let status = dev.ended().await;

    let output = dev.output();
    assert!(status.success(), "{output}");
    assert!(output.contains("the sample requests completed"), "{output}");
    let topics = &space.config.kafka.topics;
    assert_eq!(space.lag("intake", &topics.requests).await, 1);
    assert!(space.read(&topics.events).await.all().await.is_empty());
    let own = space.read(&format!("dev-ann.{}", topics.events)).await;
    assert!(!{ own }.all().await.is_empty());
}

#[tokio::test]
async fn dev_killed_at_any_moment_leaves_no_process() {
    for moment in ["genflow dev:", "is ready at", "ready after"] {
        let trial = Trial::new();
        let mut dev = trial.start(&["dev", "--ports", "free"]);
        eventually(moment, async || dev.output().contains(moment).then_some(())).await;
        assert!(!trial.processes().is_empty());

        dev.signal(Signal::KILL);

        dev.ended().await;
        trial.nothing_is_left().await;
    }
}

#[tokio::test]
async fn dev_interrupted_during_the_start_leaves_no_process() {
    let trial = Trial::new();
    let mut dev = trial.start(&["dev", "--ports", "free"]);
    eventually("the first engine", async || {
        dev.output().contains("is ready at").then_some(())
    })
    .await;

    dev.signal(Signal::INT);

    let status = dev.ended().await;
    assert!(status.success(), "{status}: {}", dev.output());
    trial.nothing_is_left().await;
}

#[tokio::test]
async fn a_missing_prerequisite_is_named() {
    let mut trial = Trial::new();
    trial
        .variables
        .insert("PATH".to_owned(), "/nonexistent".to_owned());
    trial.variables.remove("JAVA_HOME");
    trial.variables.insert(
        "XDG_CACHE_HOME".to_owned(),
        trial.folder.join("cache").display().to_string(),
    );
    let mut dev = trial.start(&["dev", "--once", "--ports", "free"]);

    let status = dev.ended().await;

    assert_eq!(status.code(), Some(69), "{}", dev.output());
    assert!(dev.output().contains("python3"), "{}", dev.output());
    assert!(
        dev.output().contains("mvn") || dev.output().contains("Maven"),
        "{}",
        dev.output()
    );
}
