//! Outputs that try to crash a worker or to keep it busy: they may end their own run, but nothing else.

use genflow::domain::{ErrorCode, EventType, Single, Spec};
use serde_json::json;

use super::{at_openai, outputs};
use crate::support::Space;
use crate::support::ledger::types;
use crate::support::requests::{image, script, video};
use crate::support::stories::stories;

/// Videos that aborted a parser with a size of 2^50 bytes, and kept one busy forever with a size of zero.
const ABORT: &str = "AAAAFGZ0eXBpc29tAAAAAGlzb20AAABkbW9vdgAAAFxtZXRhAAAAAAAAAAFoZGxyAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const ENDLESS: &str = "AAAAFGZ0eXBpc29tAAAAAGlzb20AAAAQbW9vdgAAAABmcmVl";

#[tokio::test]
async fn films_that_end_parsers_are_stored_by_a_worker_that_lives_on() {
    let space = Space::new().await;
    let mut all = space.start(&["all"]);

    for film in [ABORT, ENDLESS] {
        let place = format!("data:video/mp4;base64,{film}");
        let request = script(video("odd"), &json!({"output_at": place}));
        space.send(&request).await;

        let output = &outputs(&space.story(request.id.as_str()).await)[0];
        assert_eq!(output.content_type, "video/mp4");
        assert_eq!((output.width, output.duration_seconds), (None, None));
    }
    let request = video("good");
    space.send(&request).await;
    let output = &outputs(&space.story(request.id.as_str()).await)[0];

    assert_eq!((output.width, output.height), (Some(320), Some(180)));
    assert_eq!(output.duration_seconds, Some(2.0));
    assert!(all.terminate().await.success());
}

/// Simulates a fault in the current parser. The file is good: the last worker would store it if it checked it.
#[tokio::test]
async fn a_file_that_ends_every_worker_that_checks_it_is_not_checked_for_ever() {
    let space = Space::new().await;
    let _intake = space.start(&["intake"]);
    let request = image("killer");
    space.send(&request).await;
    // The first attempt is not counted.
    for _ in 0..3 {
        let failpoint = [("GENFLOW_FAILPOINT", "fetch.checking=kill")];
        let mut worker = space.start_with(&["worker"], &failpoint);
        assert!(!worker.ended().await.success());
    }

    let _last = space.start(&["worker"]);

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Failed));
    let error = events.last().unwrap().error.clone().unwrap();
    assert_eq!(error.code, ErrorCode::ResultInvalid);
    assert!(!error.retryable);
    assert_eq!(space.bill(request.id.as_str()).await.accepted, 1);
    assert_eq!(space.temp_leftovers(), Vec::<String>::new());
}

/// A worker may end for another reason while it checks a file.
#[tokio::test]
async fn a_file_whose_checks_were_cut_short_by_chance_is_stored() {
    let space = Space::new().await;
    let _intake = space.start(&["intake"]);
    let request = image("unlucky");
    space.send(&request).await;
    for _ in 0..2 {
        let failpoint = [("GENFLOW_FAILPOINT", "fetch.checking=kill")];
        let mut worker = space.start_with(&["worker"], &failpoint);
        worker.ended().await;
    }

    let _last = space.start(&["worker"]);

    assert_eq!(outputs(&space.story(request.id.as_str()).await).len(), 1);
}

/// Memory is reserved for 128 images. Twelve requests of ten reserve 120, so the thirteenth waits, and is sent once like
/// the others.
#[tokio::test]
async fn images_that_come_with_their_answers_are_asked_for_while_there_is_memory() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let requests: Vec<_> = (0..13)
        .map(|_| {
            let mut request = at_openai(image("many"));
            if let Spec::Single(Single::Image(image)) = &mut request.spec {
                image.num_images = Some(10);
            }
            script(request, &json!({"delay_submit_ms": 8000}))
        })
        .collect();
    for request in &requests {
        space.send(request).await;
    }

    let requests: Vec<_> = requests.iter().collect();
    let stories = stories(&space, &requests).await;

    let mut elapsed = Vec::new();
    for (request, events) in requests.iter().zip(&stories) {
        assert_eq!(outputs(events).len(), 10);
        elapsed.push(events.last().unwrap().result.as_ref().unwrap().elapsed_ms);
        let bill = space.bill(request.id.as_str()).await;
        assert_eq!((bill.submits, bill.accepted), (1, 1));
    }
    // The waiting request was tried again after five seconds and took eight.
    assert!(
        elapsed.iter().any(|elapsed| *elapsed >= 13_000),
        "{elapsed:?}"
    );
}
