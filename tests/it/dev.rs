//! `genflow dev` as a newcomer meets it, and what is left of it when it is killed.

use rustix::process::Signal;

use crate::support::eventually;
use crate::support::trial::Trial;

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
        dev.output().contains("COMPLETED 3 of 3 items"),
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
