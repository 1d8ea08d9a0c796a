//! A retry as an operator sends it and sees it.

use genflow::contract::avro;
use genflow::domain::EventType;
use serde_json::Value;

use super::{described, failing, outcome};
use crate::support::Space;

#[tokio::test]
async fn an_operator_retries_and_sees_the_newest_run() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let request = failing("operated", 1);
    space.send(&request).await;
    super::run(&space, &request.id, 0).await;
    let id = request.id.as_str();

    let (code, printed) = space
        .run(&["retry", id, "--reason", "was unlucky", "--by", "ann"])
        .await;

    assert_eq!(code, 0, "{printed}");
    assert_eq!(outcome(&space, &request.id, 1).await, EventType::Completed);
    let second = described(&space, request.id.run(1).as_str()).await;
    let memo = |field| second.memo().get::<String>(field).unwrap();
    assert_eq!(memo("command_id").as_deref(), Some(printed.trim()));
    assert_eq!(memo("reason").as_deref(), Some("was unlucky"));
    let topic = &space.config.kafka.topics.commands;
    let sent = space.read(topic).await.next().await;
    let (schema, datum) = avro::unframe(sent.value.as_deref().unwrap()).unwrap();
    let schema = space.registry.schema(schema).await.unwrap();
    let sent = avro::read_command(&schema, datum).unwrap();
    assert_eq!(sent.issued_by.as_deref(), Some("ann"));
    for (named, state) in [
        (id.to_owned(), "completed"),
        (format!("{id}~0"), "failed"),
        (format!("{id}~1"), "completed"),
    ] {
        let (code, printed) = space.run(&["status", &named, "--json"]).await;
        assert_eq!(code, 0, "{printed}");
        let status: Value = serde_json::from_str(printed.trim()).unwrap();
        assert_eq!(status["state"], state, "{named}");
    }
    let (code, _) = space.run(&["status", &format!("{id}~2")]).await;
    assert_eq!(code, 1);
}
