//! An id that is used again when Temporal has forgotten its first run, as after the retention, but the store has its
//! result.

use std::time::Duration;

use genflow::domain::{Event, EventType, Request, Single, Spec, fingerprint};
use genflow::engines::temporal::client::Temporal;
use temporalio_client::Client;
use temporalio_client::tonic::IntoRequest as _;
use temporalio_common::protos::temporal::api::workflowservice::v1::RegisterNamespaceRequest;

use super::manifest;
use crate::support::requests::image;
use crate::support::stories::stories;
use crate::support::{Space, eventually};

/// Returns a space in its own Temporal namespace, with the results of `first`.
async fn sharing_results(first: &Space) -> Space {
    let namespace = format!("{}-other", first.name());
    register(&first.client().await, &namespace).await;
    let mut settings = first.config.temporal.clone();
    settings.namespace.clone_from(&namespace);
    let temporal = Temporal::connect(&settings).await.unwrap();
    eventually("the namespace can be used", async || {
        temporal.count("").await.ok()
    })
    .await;
    let results = first.results().display().to_string();
    Space::with(&[
        ("TEMPORAL_NAMESPACE", &namespace),
        ("RESULTS_DIR", &results),
    ])
    .await
}

async fn register(client: &Client, namespace: &str) {
    let day = Duration::from_secs(24 * 3600);
    let request = RegisterNamespaceRequest {
        namespace: namespace.to_owned(),
        workflow_execution_retention_period: Some(day.try_into().unwrap()),
        ..RegisterNamespaceRequest::default()
    };
    let mut service = client.connection().workflow_service();
    let registering = service.register_namespace(request.into_request());
    registering.await.unwrap();
}

fn of_prompt(request: &Request, prompt: &str) -> Request {
    let mut other = request.clone();
    if let Spec::Single(Single::Image(image)) = &mut other.spec {
        prompt.clone_into(&mut image.common.prompt);
    }
    other
}

async fn completed(space: &Space, requests: [&Request; 2]) -> [Event; 2] {
    for request in requests {
        space.send(request).await;
    }
    let stories = stories(space, &requests).await;
    let ends = stories.into_iter().map(|events| {
        let end = events.last().unwrap().clone();
        assert_eq!(end.event_type, EventType::Completed, "{:?}", end.error);
        end
    });
    ends.collect::<Vec<_>>().try_into().unwrap()
}

/// Returns how many files a run's folder has; asserts that its manifest is that of `completed`.
fn files(space: &Space, request: &Request, completed: &Event) -> usize {
    let manifest = manifest(space, request.id.as_str());
    let result = serde_json::to_value(&completed.result).unwrap();
    assert_eq!(manifest["result"], result);
    assert_eq!(manifest["fingerprint"], fingerprint(request).unwrap());
    let folder = space.results().join(request.id.as_str());
    std::fs::read_dir(folder).unwrap().count()
}

#[tokio::test]
async fn an_id_used_again_gets_the_old_result_for_the_same_content_only() {
    let first = Space::new().await;
    let second = sharing_results(&first).await;
    let (same, fox) = (image("same"), image("other"));
    let whale = of_prompt(&fox, "a blue whale");
    let _first = first.start(&["all"]);
    let before = completed(&first, [&same, &fox]).await;

    let _second = second.start(&["all"]);
    let after = completed(&second, [&same, &whale]).await;

    assert_eq!(after[0].result, before[0].result);
    assert_eq!(second.bill(same.id.as_str()).await.submits, 1, "not again");
    assert_eq!(files(&first, &same, &after[0]), 2);
    let sha256 = |event: &Event| event.result.as_ref().unwrap().outputs[0].sha256.clone();
    assert_ne!(sha256(&after[1]), sha256(&before[1]));
    assert_eq!(second.bill(whale.id.as_str()).await.accepted, 2, "paid for");
    assert_eq!(files(&first, &whale, &after[1]), 3, "both files stay");
}
