//! Tests which predictions in Replicate's list are this run's, and when a list proves that the run has no prediction.

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::{KEY, asked, providers, read_until};
use crate::contract::run::Job;
use crate::domain::{Media, ProviderName};
use crate::engines::provider::Error;

#[tokio::test]
async fn a_look_up_passes_over_a_job_of_our_id_that_is_older_than_the_run() {
    let answer = r#"{"results": [
        {"id": "old", "status": "starting", "input": {"genflow_id": "r-1"}, "created_at": "2026-11-26T10:00:00Z"}
    ]}"#;
    let found = async |since: &str| {
        let since = chrono::DateTime::parse_from_rfc3339(since).unwrap();
        asked(ProviderName::REPLICATE, answer, async |provider, _| {
            provider.find(KEY, since.timestamp_millis()).await
        })
        .await
        .unwrap()
        .map(|job| job.id)
    };

    assert_eq!(found("2026-11-26T09:59:00Z").await.as_deref(), Some("old"));
    assert_eq!(found("2026-11-27T10:00:00Z").await, None);
}

/// Serves a list of predictions, one page per request; returns the result of the look-up, and the paths it requested.
async fn listed(pages: &[&str]) -> (Result<Option<Job>, Error>, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // As with a gateway: below a path.
    let base = format!("http://{}/gateway", listener.local_addr().unwrap());
    let providers = providers(&base);
    let replicate = providers.of(Media::Image, ProviderName::REPLICATE);
    let mut asked = Vec::new();
    let serving = async {
        for page in pages {
            let (mut socket, _) = listener.accept().await.unwrap();
            let read = read_until(&mut socket, b"\r\n\r\n").await;
            let request = String::from_utf8(read).unwrap();
            asked.push(request.split(' ').nth(1).unwrap().to_owned());
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length:";
            let answer = format!("{head} {}\r\n\r\n{page}", page.len());
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
        std::future::pending::<()>().await
    };
    let found = tokio::select! {
        found = replicate.find(KEY, 0) => found,
        () = serving => unreachable!(),
    };
    (found, asked)
}

const OTHER: &str = r#"{"id": "other", "status": "starting", "input": {"genflow_id": "r-2"}}"#;
const OURS: &str = r#"{"id": "ours", "status": "starting", "input": {"genflow_id": "r-1"}}"#;

#[tokio::test]
async fn a_list_that_goes_on_at_another_origin_is_read_to_its_end_through_the_gateway() {
    let hidden = "https://api.replicate.example/v1/predictions?cursor=";
    let first = format!(r#"{{"next": "{hidden}two", "results": [{OTHER}]}}"#);
    let second = format!(r#"{{"next": "/v1/predictions?cursor=3", "results": [{OTHER}]}}"#);
    let third = format!(r#"{{"next": null, "results": [{OURS}]}}"#);

    let (found, asked) = listed(&[&first, &second, &third]).await;

    assert_eq!(found.unwrap().unwrap().id, "ours");
    let list = "/gateway/v1/predictions";
    let wanted = ["", "?cursor=two", "?cursor=3"].map(|query| format!("{list}{query}"));
    assert_eq!(asked, wanted);
}

#[tokio::test]
async fn a_list_that_is_not_read_to_its_end_does_not_say_that_a_job_is_absent() {
    for next in ["https://elsewhere.example/more", "https://:0"] {
        let page = format!(r#"{{"next": "{next}", "results": [{OTHER}]}}"#);

        let (found, _) = listed(&[&page]).await;

        assert!(matches!(found, Err(Error::Unreadable(_))), "{found:?}");
    }
    for end in ["null", r#""""#] {
        let page = format!(r#"{{"next": {end}, "results": [{OTHER}]}}"#);

        let (found, _) = listed(&[&page]).await;

        assert!(matches!(found, Ok(None)), "{found:?}");
    }
}

#[tokio::test]
async fn a_job_that_the_first_pages_of_an_endless_list_lack_may_be_further_on() {
    let page = |number| format!(r#"{{"next": "?cursor={number}", "results": [{OTHER}]}}"#);
    let mut pages: Vec<_> = (2..=11).map(page).collect();
    pages.push(format!(r#"{{"next": null, "results": [{OURS}]}}"#));
    let pages: Vec<_> = pages.iter().map(String::as_str).collect();

    let (found, asked) = listed(&pages).await;

    // "Absent" would let the next attempt send, and pay, again.
    assert!(matches!(found, Err(Error::Unreadable(_))), "{found:?}");
    assert_eq!(asked.len(), 10);
}

/// Replicate deletes inputs after an hour; the URL of the callbacks stays.
#[tokio::test]
async fn a_job_whose_input_is_deleted_is_found_by_the_url_of_its_callbacks() {
    let replicate = providers("http://127.0.0.1:1").of(Media::Image, ProviderName::REPLICATE);
    let of = |path: &str| {
        let webhook = format!("https://callbacks.example/base{path}");
        format!(
            r#"{{"results": [{{"id": "ours", "status": "succeeded", "data_removed": true, "webhook": "{webhook}"}}]}}"#
        )
    };
    let path = replicate.callback_path(KEY).unwrap();

    let (found, _) = listed(&[&of(&path)]).await;

    let job = found.unwrap().unwrap();
    assert!(job.id == "ours" && job.called_back);
    let retry = crate::domain::WorkflowId::parse("r-1~1").unwrap();
    let of_retry = replicate.callback_path(retry.as_str()).unwrap();
    for other in [&*of_retry, "/callbacks/replicate/token/r-1", "/r-1", ""] {
        let (found, _) = listed(&[&of(other)]).await;
        assert!(matches!(found, Ok(None)), "{other}: {found:?}");
    }
    // The job of another candidate of the run, which has the same URL.
    let other = of(&path).replace(
        r#""data_removed""#,
        r#""input": {"genflow_id": "r-1/1"}, "data_removed""#,
    );
    let (found, _) = listed(&[&other]).await;
    assert!(matches!(found, Ok(None)), "{found:?}");
    let by_input = format!(r#"{{"results": [{OURS}]}}"#);
    let (found, _) = listed(&[&by_input]).await;
    assert!(!found.unwrap().unwrap().called_back);
}
