//! Names that a version had stay (`docs/versioning.md`).

use super::*;

/// The names of one kind that version 0.1 had.
fn released(kind: &str) -> Vec<&'static str> {
    let names = include_str!("../../../../tests/fixtures/names-0.1.txt");
    let names: Vec<_> = names
        .lines()
        .filter_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))
        .collect();
    assert!(!names.is_empty(), "{kind}");
    names
}

#[test]
fn no_variable_of_a_version_is_gone() {
    let read = Config::variables();
    for name in released("variable") {
        assert!(read.contains(&name), "{name}");
    }
}

#[test]
fn topics_have_the_names_that_a_version_had() {
    let topics = Config::of(&[]).unwrap().kafka.topics;
    let now = [
        topics.requests,
        topics.commands,
        topics.events,
        topics.results,
        topics.dlq,
        topics.notifications,
        topics.notifications_dlq,
    ];
    for name in released("topic") {
        assert!(now.iter().any(|topic| topic == name), "{name}");
    }
}
