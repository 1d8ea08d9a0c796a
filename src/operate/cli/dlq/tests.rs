//! The arguments of `genflow dlq`, and the lines that it prints.

use clap::Parser as _;

use super::super::{Cli, CliCommand, one_line};
use super::*;
use crate::engines::kafka::Record;
use crate::operate::cli::table::without_colors;

fn parse(arguments: &[&str]) -> Result<Dlq, String> {
    let line = ["genflow", "dlq"].iter().chain(arguments);
    match Cli::try_parse_from(line) {
        Ok(Cli {
            command: CliCommand::Dlq(dlq),
            ..
        }) => Ok(dlq),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(one_line(&error)),
    }
}

fn letter(headers: &[(&str, &str)]) -> DeadLetter {
    DeadLetter(Record {
        key: Some(b"order-7".to_vec()),
        timestamp: Some(1_700_000_000_123),
        ..Record::of(15, headers)
    })
}

#[test]
fn filters_are_parsed() {
    let arguments = [
        "list",
        "--reason",
        "too_old,invalid",
        "--since",
        "2023-11-14T20:13:20Z",
        "--until",
        "2023-11-14T22:13:20Z",
    ];
    let Dlq::List(list) = parse(&arguments).unwrap() else {
        panic!("not a list");
    };

    let filter = list.filters.filter().unwrap();

    assert_eq!(filter.reasons, ["too_old", "invalid"]);
    assert_eq!(filter.since, Some(1_699_992_800_000));
    assert_eq!(filter.until, Some(1_700_000_000_000));
}

#[test]
fn a_bad_argument_is_reported_with_what_is_expected() {
    for (arguments, reported) in [
        (
            &["list", "--reason", "old"][..],
            "invalid value 'old' for '--reason <REASON>' [possible values: undecodable, ",
        ),
        (
            &["list", "--since", "now"],
            "invalid value 'now' for '--since <TIME>': expected a time like 2026-01-31T12:00:00Z, ",
        ),
        (
            &["show", "15"],
            "invalid value '15' for '<PARTITION:OFFSET>': expected PARTITION:OFFSET as dlq list shows it",
        ),
        (
            &["redrive", "--rate", "0"],
            "invalid value '0' for '--rate <N>': 0 is not in 1..=10000",
        ),
        (
            &["redrive", "0:1", "--reason", "invalid"],
            "the argument '[PARTITION:OFFSET]...' cannot be used with",
        ),
    ] {
        let error = parse(arguments).unwrap_err();

        assert!(error.starts_with(reported), "{error}");
    }
}

#[test]
fn a_dead_letter_is_one_row_and_harmless_to_a_terminal() {
    let long = format!("see https://a.example/token\u{1b}[2J\n{}", "x".repeat(200));
    let letter = letter(&[
        ("dlq.reason", "invalid"),
        ("dlq.error", &long),
        ("dlq.original.topic", "gen.requests"),
        ("dlq.original.partition", "3"),
        ("dlq.original.offset", "991"),
        ("dlq.attempts", "2"),
    ]);

    let mut table = Table::new([""; 8].map(Column::Left));
    table.row(cells(&letter, None, Some("ann"), 1_700_000_100_123));
    let shown = without_colors(|out| table.print(out).unwrap());

    let line = shown.lines().nth(1).unwrap();
    assert!(
        line.starts_with("0:15  1 min ago  invalid  order-7  ann  2  gen.requests/3/991  see https://a.example/… [2J xxx"),
        "{line}"
    );
    assert!(line.ends_with("xx…") && line.chars().count() < 240);
}

#[test]
fn json_has_the_same_facts() {
    let letter = letter(&[("dlq.reason", "undecodable"), ("dlq.truncated", "true")]);

    let json: serde_json::Value = serde_json::from_str(&json_line(&letter, None, None)).unwrap();

    assert_eq!(
        (&json["partition"], &json["offset"]),
        (&0.into(), &15.into())
    );
    assert_eq!(json["request_id"], "order-7");
    assert_eq!(json["truncated"], true);
    assert!(json["original"].is_null());
}
