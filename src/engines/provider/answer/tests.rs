//! Tests how answers are classified, and the memory that long ones take.

use super::super::MAX_ANSWER;
use super::super::memory::{MEMORY, TIMES};
use super::*;

fn judged(status: u16, code: Option<ErrorCode>) -> (&'static str, Option<ErrorCode>) {
    let said = Said {
        detail: "no".to_owned(),
        code,
        problems: Vec::new(),
    };
    match not_taken(StatusCode::from_u16(status).unwrap(), None, &said) {
        Submission::Refused(error) => ("refused", Some(error.code)),
        Submission::Declined(error) => ("declined", Some(error.code)),
        Submission::NotAccepted { error, .. } => ("again", Some(error.code)),
        Submission::Unknown(_) => ("unknown", None),
        taken @ (Submission::Accepted(_) | Submission::Made(_) | Submission::Withheld(_)) => {
            panic!("{taken:?}")
        }
    }
}

#[test]
fn a_submit_is_unknown_unless_the_status_rules_a_job_out() {
    use ErrorCode::{InvalidRequest, ProviderAuth, ProviderFailed, ProviderQuota, ProviderRefused};
    for (status, outcome, code) in [
        (400, "refused", Some(InvalidRequest)),
        (401, "declined", Some(ProviderAuth)),
        (402, "declined", Some(ProviderQuota)),
        (403, "declined", Some(ProviderAuth)),
        (404, "declined", Some(ProviderRefused)),
        (405, "refused", Some(ProviderRefused)),
        (409, "refused", Some(ProviderRefused)),
        (410, "declined", Some(ProviderRefused)),
        (408, "again", Some(ProviderFailed)),
        (422, "refused", Some(InvalidRequest)),
        (429, "again", Some(ProviderQuota)),
        (500, "again", Some(ProviderFailed)),
        (501, "again", Some(ProviderFailed)),
        (502, "unknown", None),
        (503, "again", Some(ProviderFailed)),
        (504, "unknown", None),
        (302, "unknown", None),
    ] {
        assert_eq!(judged(status, None), (outcome, code), "{status}");
    }
}

#[test]
fn a_price_is_a_number_of_dollars_or_none() {
    let priced = |text: &'static str| {
        let value = reqwest::header::HeaderValue::from_static(text);
        price(&HeaderMap::from_iter([(
            reqwest::header::HeaderName::from_static("x-litellm-response-cost"),
            value,
        )]))
    };

    assert_eq!(priced("0.0425"), Some(Charge::Usd(0.0425)));
    assert_eq!(priced("1e-05"), Some(Charge::Usd(0.00001)));
    for none in ["None", "", "-1", "NaN", "inf"] {
        assert_eq!(priced(none), None, "{none}");
    }
    assert_eq!(price(&HeaderMap::new()), None);
}

#[test]
fn the_text_of_an_answer_can_refine_its_status() {
    let policy = Some(ErrorCode::ContentPolicy);
    let quota = Some(ErrorCode::ProviderQuota);

    assert_eq!(judged(400, policy), ("refused", policy));
    assert_eq!(judged(403, quota), ("declined", quota));
    assert_eq!(judged(429, quota), ("declined", quota));
    // OpenAI's answer for an account without money.
    assert_eq!(judged(400, quota), ("declined", quota));
    for status in [401, 402, 403, 404, 410] {
        assert_eq!(judged(status, policy), ("refused", policy), "{status}");
    }
    assert_eq!(judged(429, policy), ("again", quota));
}

#[test]
fn the_pause_that_openai_asks_for_is_in_milliseconds() {
    let after = |text: &str| {
        let text = text.parse().unwrap();
        poll_after(&HeaderMap::from_iter([(
            "openai-poll-after-ms".parse().unwrap(),
            text,
        )]))
    };

    assert_eq!(after("1500"), Some(Duration::from_millis(1500)));
    assert_eq!(after("99999999"), Some(Duration::from_secs(600)));
    assert_eq!(after("soon"), None);
    assert_eq!(poll_after(&HeaderMap::new()), None);
}

/// Returns the event's message for a refusal with this body.
fn message(status: u16, words: &str, code: Option<ErrorCode>) -> String {
    let detail = words.to_owned();
    let status = StatusCode::from_u16(status).unwrap();
    match not_taken(
        status,
        None,
        &Said {
            detail,
            code,
            problems: Vec::new(),
        },
    ) {
        Submission::Refused(error)
        | Submission::Declined(error)
        | Submission::NotAccepted { error, .. } => error.message,
        other @ (Submission::Accepted(_)
        | Submission::Made(_)
        | Submission::Unknown(_)
        | Submission::Withheld(_)) => panic!("{other:?}"),
    }
}

#[test]
fn a_providers_words_about_our_key_and_account_are_not_for_users() {
    let words = "Incorrect API key provided: sk-pr***abcd, account ann@example.com";
    let policy = Some(ErrorCode::ContentPolicy);
    for (status, code) in [
        (401, None),
        (402, None),
        (403, None),
        (401, policy),
        (403, policy),
    ] {
        let message = message(status, words, code);

        assert!(
            !message.contains("sk-pr") && !message.contains("ann@"),
            "{message}"
        );
        assert!(
            message.starts_with(&format!("status {status}: the ")),
            "{message}"
        );
    }
    assert_eq!(
        message(422, "width is odd", None),
        "status 422: width is odd"
    );
}

#[test]
fn the_problems_of_an_answer_are_for_users_only_if_they_are_about_the_input() {
    let problems = |status: u16| {
        let said = Said {
            detail: "no".to_owned(),
            code: None,
            problems: super::problems([("api_key", "sk-pr-1 is revoked")].into_iter()),
        };
        let (Submission::Refused(error) | Submission::Declined(error)) =
            not_taken(StatusCode::from_u16(status).unwrap(), None, &said)
        else {
            panic!("{status} refuses");
        };
        error.problems.len()
    };

    assert_eq!([400, 422].map(problems), [1, 1]);
    assert_eq!([401, 402, 403, 404].map(problems), [0; 4]);
}

/// Returns an answer with this body.
fn response(body: Vec<u8>) -> Response {
    axum::http::Response::new(body).into()
}

#[tokio::test]
async fn an_answer_has_a_bound_and_a_long_one_holds_memory_until_it_is_dropped() {
    let memory = MemoryBudget::new();
    let free = || memory.free();

    let short = read(response(vec![b' '; SHORT]), MAX_ANSWER, Some(&memory)).await;
    assert_eq!(free(), MEMORY);
    let long = read(response(vec![b' '; MAX_ANSWER]), MAX_ANSWER, Some(&memory)).await;
    assert_eq!(free(), MEMORY - MAX_ANSWER * TIMES);
    let longer = read(
        response(vec![b' '; MAX_ANSWER + 1]),
        MAX_ANSWER,
        Some(&memory),
    )
    .await;

    assert_eq!(short.unwrap().body.len(), SHORT);
    assert!(matches!(longer, Err(Broken::Long(MAX_ANSWER))));
    let held = long.unwrap().held;
    assert_eq!(free(), MEMORY - MAX_ANSWER * TIMES);
    drop(held);
    assert_eq!(free(), MEMORY);
}

#[tokio::test]
async fn a_long_answer_waits_for_memory_and_that_to_a_submit_does_not() {
    let memory = MemoryBudget::new();
    let held = memory.hold(MEMORY / TIMES).await;

    let body = || response(vec![b' '; SHORT + 1]);
    let mut waiting = std::pin::pin!(read(body(), MAX_ANSWER, Some(&memory)));
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    let submitted = read(body(), MAX_ANSWER, None).await;
    drop(held);

    assert_eq!(submitted.unwrap().body.len(), SHORT + 1);
    assert_eq!(waiting.await.unwrap().body.len(), SHORT + 1);
}

#[test]
fn an_answer_with_too_many_values_is_not_parsed() {
    let values = |count: usize| format!("[{}0]", "0,".repeat(count - 1)).into_bytes();

    assert!(parsed::<serde_json::Value>(&values(MOST_VALUES)).is_ok());
    let more = parsed::<serde_json::Value>(&values(MOST_VALUES + 1));
    assert!(matches!(more, Err(Error::Unreadable(_))));
}

#[test]
fn the_error_of_an_unreadable_answer_is_cut() {
    #[derive(Debug, serde::Deserialize)]
    #[expect(dead_code, reason = "parsing it fails")]
    struct Job {
        id: u64,
    }
    let body = format!("{{\"id\": \"{}\"}}", "x".repeat(100_000));

    let Err(Error::Unreadable(why)) = parsed::<Job>(body.as_bytes()) else {
        panic!("it is readable");
    };

    assert_eq!(why.chars().count(), 1000);
}

#[test]
fn refusals_of_the_content_are_recognized_by_their_words() {
    assert!(is_policy("NSFW content detected") && is_policy("content_policy_violation"));
    assert!(!is_policy("width must be a multiple of 8"));
}
