//! Rolling restarts: every process of every role is replaced under load, two of each role, one after the other. Nothing
//! is lost, and nothing happens twice.

mod changes;
mod fleet;
mod load;

use self::fleet::{End, Fleet, Membership};
use self::load::Load;
use crate::support::Space;

const ROLES: [&str; 3] = ["notifier", "worker", "intake"];

/// Settings under which a member that is lost by mistake stays in its group for the rest of the story, and a provider on
/// a busy machine has time to answer.
const PATIENT: [(&str, &str); 3] = [
    ("KAFKA_SESSION_TIMEOUT", "3m"),
    ("SHUTDOWN_GRACE", "45s"),
    ("SUBMIT_TIMEOUT", "60s"),
];

/// Replaces all processes while requests arrive; returns how often outcomes and webhooks were repeated.
async fn replaced(space: &Space, membership: Membership, end: End) -> load::Repeats {
    let load = Load::begin(space).await;
    let mut fleet = Fleet::start(space, membership).await;
    let rolling = async {
        load.goes_on().await;
        for role in ROLES {
            fleet.replace(role, end).await;
            load.goes_on().await;
        }
        load.end();
    };
    tokio::join!(load.send(), rolling);
    load.ended(end).await
}

#[tokio::test]
#[ignore = "keeps two cores busy for minutes; .ci/run runs it alone"]
async fn a_rolling_restart_loses_nothing_and_repeats_nothing() {
    let space = Space::with(&PATIENT).await;

    let repeats = replaced(&space, Membership::Dynamic, End::Stopped).await;

    assert_eq!(repeats, load::Repeats::default());
}

#[tokio::test]
#[ignore = "keeps two cores busy for minutes; .ci/run runs it alone"]
async fn a_rolling_restart_of_static_members_moves_no_partition_and_loses_nothing() {
    let space = Space::with(&PATIENT).await;

    let repeats = replaced(&space, Membership::Static, End::Stopped).await;

    assert_eq!(repeats, load::Repeats::default());
}

/// A killed process leaves notifications that it may have sent, and events that it may have published, to the next one.
#[tokio::test]
#[ignore = "keeps two cores busy for minutes; .ci/run runs it alone"]
async fn processes_that_are_killed_one_after_the_other_lose_nothing_and_pay_nothing_twice() {
    for membership in [Membership::Dynamic, Membership::Static] {
        let space = Space::new().await;

        let repeats = replaced(&space, membership, End::Killed).await;

        eprintln!("{membership:?}: {repeats:?}");
    }
}
