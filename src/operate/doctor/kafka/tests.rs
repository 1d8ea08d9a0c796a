//! How topics and groups are compared with the contract.

use super::super::Verdict;
use super::*;

const REQUESTS: TopicKind = TopicKind::Requests {
    window: Duration::from_secs(2),
};

fn topic(differences: &[(&str, &str, &str)]) -> Topic {
    let differences = differences.iter().map(|(setting, is, want)| Difference {
        setting: (*setting).to_owned(),
        is: (*is).to_owned(),
        want: (*want).to_owned(),
    });
    Topic::Exists {
        partitions: 6,
        leaderless: 0,
        under_replicated: 0,
        differences: differences.collect(),
    }
}

#[test]
fn a_difference_that_breaks_a_promise_fails_and_a_lesser_one_warns() {
    use Verdict::{Fail, Ok, Warn};
    for (setting, is, want, requests, other) in [
        ("cleanup.policy", "compact", "delete", Fail, Fail),
        (
            "message.timestamp.type",
            "CreateTime",
            "LogAppendTime",
            Fail,
            Warn,
        ),
        ("retention.ms", "-1", "1000", Fail, Ok),
        ("retention.ms", "2001", "1000", Fail, Ok),
        ("retention.ms", "2000", "1000", Ok, Ok),
        ("retention.ms", "999", "1000", Warn, Warn),
        ("max.message.bytes", "2048", "1024", Ok, Ok),
        ("max.message.bytes", "512", "1024", Warn, Warn),
        ("min.insync.replicas", "1", "2", Warn, Warn),
        ("replication.factor", "1", "3", Warn, Warn),
        ("partitions", "1", "6", Warn, Warn),
    ] {
        let seen = topic(&[(setting, is, want)]);

        for (kind, verdict) in [(REQUESTS, requests), (TopicKind::Other, other)] {
            let found = judge("topic x".to_owned(), kind, &seen);

            assert_eq!(found.verdict, verdict, "{setting} {is}: {found:?}");
        }
    }
}

#[test]
fn the_worst_difference_decides_and_all_are_reported() {
    let seen = topic(&[
        ("partitions", "3", "6"),
        ("cleanup.policy", "compact", "delete"),
    ]);

    let found = judge("topic x".to_owned(), TopicKind::Commands, &seen);

    assert_eq!(found.verdict, Verdict::Fail);
    for part in [
        "partitions is 3, expected 6",
        "cleanup.policy is compact, expected delete",
    ] {
        assert!(found.found.contains(part), "{found:?}");
    }
    let advice = found.advice.unwrap();
    assert!(
        advice.contains("--grow") && advice.contains("--alter for cleanup.policy"),
        "{advice}"
    );
    let advice = judge("topic x".to_owned(), TopicKind::Other, &seen).advice;
    assert!(
        !advice.unwrap().contains("--grow"),
        "records of one key would lose their order"
    );
}

#[test]
fn a_partition_without_a_leader_fails_and_one_with_late_replicas_warns() {
    for (leaderless, under_replicated, verdict) in [
        (0, 0, Verdict::Ok),
        (0, 1, Verdict::Warn),
        (1, 1, Verdict::Fail),
    ] {
        let seen = Topic::Exists {
            partitions: 6,
            leaderless,
            under_replicated,
            differences: Vec::new(),
        };

        assert_eq!(
            judge("topic x".to_owned(), TopicKind::Other, &seen).verdict,
            verdict
        );
    }
    let missing = judge("topic x".to_owned(), TopicKind::Other, &Topic::Missing);
    assert_eq!(missing.verdict, Verdict::Fail);
}

#[test]
fn a_group_without_members_warns() {
    for (members, verdict, found) in [
        (0, Verdict::Warn, "lag 3 on gen.requests, no members"),
        (2, Verdict::Ok, "lag 3 on gen.requests, 2 members"),
    ] {
        let finding = judge_group(
            "group g".to_owned(),
            "intake",
            "lag 3 on gen.requests",
            members,
        );

        assert_eq!((finding.verdict, finding.found.as_str()), (verdict, found));
    }
}

#[test]
fn a_lag_has_the_age_of_its_oldest_record_if_that_is_known() {
    let now = 1_700_000_000_000;
    for (records, oldest, text) in [
        (
            3,
            Some(now - 150_000),
            "lag 3 on gen.requests, the oldest 2 min old",
        ),
        (3, None, "lag 3 on gen.requests"),
        (0, None, "lag 0 on gen.requests"),
    ] {
        let backlog = Backlog { records, oldest };

        assert_eq!(lag("gen.requests", backlog, now), text);
    }
}
