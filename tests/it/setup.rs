//! `genflow setup`: namespaces of one's own, for runs and for deliveries.

use genflow::domain::Targets;
use genflow::notifier::Outcome;

use crate::doctor::doctor;
use crate::notify::receipts;
use crate::support::Space;
use crate::support::receiver::Receiver;
use crate::support::requests::image;

async fn setup(space: &Space, settings: &[(&str, &str)]) -> String {
    let mut process = space.start_with(&["setup"], settings);
    let status = process.ended().await;
    assert!(status.success(), "{}", process.output());
    process.output()
}

fn holds(output: &str, lines: &[String]) {
    for line in lines {
        assert!(output.lines().any(|told| told == line), "{line}: {output}");
    }
}

#[tokio::test]
async fn setup_makes_the_namespaces_of_runs_and_deliveries_for_roles_that_wait_for_them() {
    let space = Space::new().await;
    let (runs, told) = (
        format!("{}-runs", space.name()),
        format!("{}-told", space.name()),
    );
    let of_deliveries = ("NOTIFY_NAMESPACE", told.as_str());
    let both = [("TEMPORAL_NAMESPACE", runs.as_str()), of_deliveries];
    let _all = space.start_with(&["all"], &both);
    let missing = doctor(&space, &[of_deliveries]).await;
    assert_eq!(missing.failing(), [format!("namespace {told}")]);

    let first = setup(&space, &both).await;
    let again = setup(&space, &[both[0], both[1], ("NOTIFY_MAX_AGE", "10d")]).await;

    holds(
        &first,
        &[
            format!("namespace {runs}: created, retention is 30d"),
            "search attribute GenUser: created".to_owned(),
            format!("namespace {told}: created, retention is 7d"),
        ],
    );
    holds(
        &again,
        &[
            format!("namespace {runs}: retention is 30d"),
            "search attribute GenUser: exists".to_owned(),
            format!("namespace {told}: retention raised from 7d to 10d"),
        ],
    );
    let there = doctor(&space, &[both[0], both[1], ("NOTIFY_MAX_AGE", "11d")]).await;
    assert_eq!(there.failing(), Vec::<&str>::new());
    assert_eq!(there.verdict("deliveries"), "warn");

    // A run in the one, and a delivery in the other, whose first try fails.
    let receiver = Receiver::start(&[500]).await;
    let mut request = image("apart");
    request.targets = Targets::parse(Some(&receiver.url), None, None).unwrap();
    space.send(&request).await;
    let receipt = receipts(&space, 1).await.remove(0);
    assert_eq!((receipt.outcome, receipt.tries), (Outcome::Delivered, 2));
}
