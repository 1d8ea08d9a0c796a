//! `genflow cancel` and `retry` for many requests: a dry run, a question, and what is sent.

use genflow::domain::{EventType, Request};
use serde_json::{Value, json};

use super::terminal::Terminal;
use crate::support::requests::{image, script};
use crate::support::{Space, eventually};

async fn wait_started(space: &Space, requests: &[Request]) {
    for request in requests {
        space.job_runs(request.id.as_str()).await;
    }
}

/// Returns the plan of a dry run.
async fn plan(space: &Space, arguments: &[&str]) -> Value {
    let line = [arguments, &["--dry-run", "--json"]].concat();
    serde_json::from_str(space.succeed(&line).await.trim()).unwrap()
}

/// Waits until a dry run would send so many.
async fn would(space: &Space, arguments: &[&str], wanted: usize) -> Value {
    eventually("the events are read", async || {
        let plan = plan(space, arguments).await;
        (plan["would"] == wanted).then_some(plan)
    })
    .await
}

#[tokio::test]
async fn many_requests_are_cancelled_and_retried_once_a_person_has_seen_how_many() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let done = image("done");
    space.send(&done).await;
    space.story(done.id.as_str()).await;
    let stuck: Vec<_> = (0..3)
        .map(|_| script(image("stuck"), &json!({"stuck": true})))
        .collect();
    for request in &stuck {
        space.send(request).await;
    }
    wait_started(&space, &stuck).await;
    let cancel = ["cancel", "--user", "ann", "--reason", "enough"];

    let planned = would(&space, &cancel, 3).await;
    assert_eq!(planned["left"], json!({"has ended": 1}));
    let (_, text) = space.run(&[&cancel[..], &["--dry-run"]].concat()).await;
    assert_eq!(
        text,
        "would cancel 3 requests\n       1  left out: has ended\n"
    );
    // Without a person and without a number, and with too small a number, nothing is sent.
    let (code, printed) = space.run(&cancel).await;
    assert_eq!(code, 64, "{printed}");
    assert!(printed.contains("add --expect 3"), "{printed}");
    let (code, printed) = space.run(&[&cancel[..], &["--expect", "2"]].concat()).await;
    assert_eq!(code, 1, "{printed}");
    assert!(
        printed.contains("3 would be sent, but the dry run said 2"),
        "{printed}"
    );
    let mut terminal = Terminal::new(space.folder());
    terminal.variables.extend(space.variables.clone());
    terminal.typed = "n\n";
    let (code, shown) = terminal.run(&cancel);
    assert_eq!(code, 1, "{shown}");
    assert!(shown.contains("cancel 3 requests? [y/N]"), "{shown}");
    assert_eq!(plan(&space, &cancel).await["would"], 3);

    terminal.typed = "y\n";
    let (code, shown) = terminal.run(&cancel);
    assert_eq!(code, 0, "{shown}");
    for request in &stuck {
        let events = space.story(request.id.as_str()).await;
        let last = events.last().unwrap();
        assert_eq!(last.event_type, EventType::Cancelled);
    }
    let since = ["retry", "--state", "cancelled", "--since", "1h"];
    let planned = would(&space, &since, 3).await;
    assert!(planned["usual_cost_usd"].is_null(), "{planned}");
    let printed = space
        .succeed(&[&since[..], &["--expect", "3"]].concat())
        .await;
    assert_eq!(printed.lines().count(), 3, "{printed}");
    for request in &stuck {
        assert!(printed.contains(request.id.as_str()), "{printed}");
        space.job_runs(&format!("{}~1", request.id)).await;
    }
    // A retry that runs is left out; no filter matches nothing.
    let planned = would(&space, &["retry", "--user", "ann"], 0).await;
    assert_eq!(planned["left"]["is running"], 3);
    let named: Vec<_> = stuck.iter().map(|it| it.id.as_str()).collect();
    space.succeed(&[&["cancel"], &named[..]].concat()).await;
    let none = space
        .succeed(&["cancel", "--user", "nobody", "--expect", "0"])
        .await;
    assert_eq!(none, "would cancel 0 requests\n");
}
