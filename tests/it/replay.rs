//! Histories: those recorded under `tests/histories/` and fresh ones of every ending replay with today's workflows.
//!
//! `GENFLOW_RECORD=1 cargo test --test it replay` records the fresh ones anew, for the release that made them.

use std::path::PathBuf;
use std::time::Duration;

use genflow::domain::{EventType, ProviderName, Request, Spec};
use genflow::temporal::workflows::claimed::Claimed;
use genflow::temporal::workflows::generation::Generation;
use serde_json::json;
use temporalio_client::{Client, ClientOptions, Connection, ConnectionOptions, WorkflowHistory};
use temporalio_sdk::workflow_replayer::{WorkflowReplayer, WorkflowReplayerOptions};

use crate::support::space::{image, script, video};
use crate::support::{Space, eventually};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/histories")
}

async fn replay(name: &str, history: &[u8]) {
    let options = WorkflowReplayerOptions::new()
        .register_workflow::<Generation>()
        .unwrap()
        .register_workflow::<Claimed>()
        .unwrap()
        .build();
    let replayer = WorkflowReplayer::new(options).unwrap();
    let history = WorkflowHistory::from_json(history).unwrap();
    if let Err(error) = replayer.replay_workflow(history).await {
        panic!("{name} does not replay: {error}");
    }
}

#[tokio::test]
async fn every_recorded_history_replays() {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        replay(&name, &std::fs::read(&path).unwrap()).await;
        names.push(name);
    }
    names.sort();
    let endings = [
        "cancelled",
        "claimed",
        "completed",
        "deadline",
        "failed",
        "progress",
        "refused",
        "stored",
    ];
    assert_eq!(names, endings);
}

#[tokio::test]
async fn a_run_of_every_ending_replays() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let mut late = script(image("deadline"), &json!({"stuck": true}));
    late.timeout = Some(Duration::from_secs(2));
    let stuck = script(image("cancelled"), &json!({"stuck": true}));
    let claimed = image("claimed");
    let mut stored = image("stored");
    if let Spec::Image(image) = &mut stored.spec {
        image.provider = Some(ProviderName::OpenAi);
    }
    let endings: [(&str, Request, EventType); 7] = [
        ("completed", image("completed"), EventType::Completed),
        (
            "progress",
            script(video("progress"), &json!({"seconds": 2.0})),
            EventType::Completed,
        ),
        (
            "refused",
            script(image("refused"), &json!({"submit": [422]})),
            EventType::Failed,
        ),
        (
            "failed",
            script(image("failed"), &json!({"fail": "no"})),
            EventType::Failed,
        ),
        ("stored", stored, EventType::Completed),
        ("deadline", late, EventType::Failed),
        ("cancelled", stuck.clone(), EventType::Cancelled),
    ];
    for (_, request, _) in &endings {
        space.send(request).await;
    }
    space.cancel(claimed.id.as_str()).await;
    let accepted = async || (space.bill(stuck.id.as_str()).await.accepted == 1).then_some(());
    eventually("the job runs", accepted).await;
    space.cancel(stuck.id.as_str()).await;

    let options = ConnectionOptions::new(space.config.temporal.url.clone())
        .identity("test".to_owned())
        .build();
    let connection = Connection::connect(options).await.unwrap();
    let client = Client::new(connection, ClientOptions::new("default").build()).unwrap();
    for (name, request, ending) in &endings {
        let events = space.story(request.id.as_str()).await;
        assert_eq!(events.last().unwrap().kind_of_event, *ending, "{name}");
        check(&client, name, request.id.as_str()).await;
    }
    space.closed(claimed.id.as_str()).await;
    check(&client, "claimed", claimed.id.as_str()).await;
}

async fn check(client: &Client, name: &str, workflow: &str) {
    let handle = client.get_workflow_handle::<Generation>(workflow.to_owned());
    let history = handle
        .fetch_history(Default::default())
        .to_json()
        .await
        .unwrap();
    if std::env::var_os("GENFLOW_RECORD").is_some() {
        std::fs::write(folder().join(format!("{name}.json")), &history).unwrap();
    }
    replay(name, &history).await;
}
