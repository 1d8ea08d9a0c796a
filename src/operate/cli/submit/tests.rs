//! Flags and files become the expected requests.

use std::time::Duration;

use clap::Parser as _;

use super::*;
use crate::domain::{OnUnsupported, Priority, Role, Single, Spec};
use crate::operate::cli::{Cli, CliCommand, Operator};

fn submitted(arguments: &[&str]) -> Result<SubmitArgs, String> {
    let line = ["genflow", "submit"].iter().chain(arguments);
    match Cli::try_parse_from(line).map(|cli| cli.command) {
        Ok(CliCommand::Operator(Operator::Submit(submit))) => Ok(*submit),
        Ok(_) => panic!("not a submit"),
        Err(error) => Err(super::super::one_line(&error)),
    }
}

fn request(arguments: &[&str]) -> Result<Request, String> {
    let submit = submitted(arguments)?;
    let parsed = parse(&[from_flags(&submit)], &submit, 1_700_000_000_123);
    parsed
        .map(|mut requests| requests.remove(0))
        .map_err(|error| error.to_string())
}

/// Each flag of an image, with a value.
const FLAGS_OF_AN_IMAGE: [(&str, &str); 25] = [
    ("--prompt", "a cat"),
    ("--width", "512"),
    ("--height", "256"),
    ("--num-images", "3"),
    ("--style", "ink"),
    ("--model", "a/b"),
    ("--provider", "replicate"),
    ("--param", "seed=7"),
    ("--param", "sampler=euler"),
    ("--input", "https://example.com/a.png?a=b"),
    ("--input", "mask=https://example.com/m.png"),
    ("--negative-prompt", "dogs"),
    ("--aspect-ratio", "2:1"),
    ("--seed", "-1"),
    ("--output-format", "png"),
    ("--on-unsupported", "drop"),
    ("--id", "r-1"),
    ("--user", "alice"),
    ("--priority", "low"),
    ("--timeout", "2m"),
    ("--webhook-url", "https://example.com/h"),
    ("--notify-email", "a@b.c"),
    ("--notify-slack", "https://hooks.example.com/x"),
    ("--notify-on", "completed,failed"),
    ("--metadata", "a=b=c"),
];

#[test]
fn every_flag_of_an_image_reaches_the_request() {
    let flags = FLAGS_OF_AN_IMAGE
        .iter()
        .flat_map(|(flag, value)| [*flag, *value]);
    let arguments: Vec<_> = std::iter::once("image").chain(flags).collect();
    let request = request(&arguments).unwrap();

    let Spec::Single(Single::Image(image)) = request.spec else {
        panic!("not an image");
    };
    assert_eq!(
        (image.width, image.height, image.num_images),
        (Some(512), Some(256), Some(3))
    );
    assert_eq!(image.common.params["sampler"], "\"euler\"");
    let common = &image.common;
    let inputs: Vec<_> = common.inputs.iter().map(|input| input.role).collect();
    assert_eq!(inputs, [Role::Unspecified, Role::Mask]);
    assert_eq!(
        common.inputs[0].url.as_str(),
        "https://example.com/a.png?a=b"
    );
    assert_eq!(common.negative_prompt.as_deref(), Some("dogs"));
    assert_eq!(common.aspect_ratio.as_deref(), Some("2:1"));
    assert_eq!(
        (common.seed, image.output_format.as_deref()),
        (Some(-1), Some("png"))
    );
    assert_eq!(common.on_unsupported, OnUnsupported::Drop);
    assert_eq!(
        (request.id.as_str(), request.user.as_str()),
        ("r-1", "alice")
    );
    assert_eq!(request.priority, Priority::Low);
    assert_eq!(request.timeout, Some(Duration::from_secs(120)));
    assert_eq!(request.notify_on.len(), 2);
    assert_eq!(request.metadata["a"], "b=c");
    assert!(request.targets.slack.is_some());
}

#[test]
fn a_video_needs_no_more_than_a_prompt() {
    let request = request(&["video", "--prompt", "x", "--duration", "3"]).unwrap();

    assert!(
        matches!(&request.spec, Spec::Single(Single::Video(video)) if video.duration == Some(3))
    );
    assert!(
        request.id.as_str().starts_with("video-018bcfe5-687b-7"),
        "{}",
        request.id
    );
    assert_eq!(request.user.as_str(), "cli");
}

#[test]
fn flags_that_do_not_go_together_are_refused() {
    for (arguments, reported) in [
        (&["video"][..], "--prompt is missing"),
        (&["batch"], "--file is missing"),
        (
            &["video", "--prompt", "x", "--fps", "-1"],
            "--fps is -1, expected 1 to 120",
        ),
        (
            &["image", "--prompt", "x", "--num-images", "99"],
            "--num-images is 99, expected 1 to 16",
        ),
        (&["image", "--prompt", "x", "--id", "a b"], "--id "),
        (
            &[],
            "the following required arguments were not provided: <KIND>",
        ),
        (
            &["image", "--param", "x"],
            "invalid value 'x' for '--param <NAME=JSON>': expected NAME=VALUE",
        ),
    ] {
        let error = request(arguments).unwrap_err();

        assert!(error.contains(reported), "{error}");
    }
    let error = request(&["video", "--prompt", "x", "--width", "64"]).unwrap_err();
    assert!(
        error.starts_with("--width is unknown here, expected one of: "),
        "{error}"
    );
}

#[test]
fn a_file_cannot_be_combined_with_a_prompt() {
    let submit = submitted(&["image", "--file", "-", "--user", "u", "--watch"]).unwrap();
    assert!(alone(&submit).is_ok());
    let submit = submitted(&["--file", "-", "--prompt", "x"]).unwrap();
    let error = alone(&submit).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--prompt cannot be used with --file; put it into the file"
    );
}

#[test]
fn a_file_holds_an_object_an_array_or_lines() {
    for (text, count) in [
        (r#"{"prompt": "x"}"#, 1),
        (r#"[{"prompt": "x"}, {"prompt": "y"}]"#, 2),
        (
            "{\"prompt\": \"x\"}\n{\"prompt\": \"y\"}\n\n{\"prompt\": \"z\"}\n",
            3,
        ),
    ] {
        assert_eq!(values(text).unwrap().len(), count);
    }
    assert_eq!(
        values(" \n").unwrap_err().to_string(),
        "the input contains no request"
    );
    let error = values("{\"prompt\": \"x\"}\n{prompt}").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the input is not JSON: key must be a string at line 2 column 2"
    );
    assert!(matches!(error, Error::Usage(_)));
}

#[test]
fn a_file_must_match_the_kind_on_the_command_line() {
    let submit = submitted(&["video", "--file", "-"]).unwrap();
    let forms = [
        json!({"prompt": "x"}),
        json!({"type": "image", "prompt": "x"}),
    ];

    let error = parse(&forms, &submit, 0).unwrap_err();

    assert_eq!(
        error.to_string(),
        "request 2: type is IMAGE, but the command says VIDEO"
    );
    assert!(matches!(error, Error::Usage(_)));
    assert_eq!(parse(&forms[..1], &submit, 0).unwrap().len(), 1);
}

#[test]
fn a_faulty_request_of_several_is_named_by_its_number() {
    let submit = submitted(&["image", "--file", "-"]).unwrap();
    let forms = [json!({"prompt": "x"}), json!({"prompt": ""})];

    let error = parse(&forms, &submit, 0).unwrap_err();

    assert_eq!(
        error.to_string(),
        "request 2: spec.prompt is 0 characters long, expected 1 to 10000"
    );
}

#[test]
fn a_timeout_that_is_not_in_whole_seconds_is_refused() {
    let of = |time| submitted(&["image", "--prompt", "x", "--timeout", time]);

    for fraction in ["500ms", "1500ms"] {
        let error = of(fraction).unwrap_err();
        assert!(error.contains("expected whole seconds"), "{error}");
    }
    assert_eq!(of("2000ms").unwrap().timeout, Some(2));
}

#[test]
fn a_user_can_be_notified_of_every_type_of_event() {
    let all = crate::domain::EventType::ALL.map(|it| it.as_str().to_ascii_lowercase());

    assert_eq!(EVENTS, all.each_ref().map(String::as_str));
}
