//! `genflow list`: by user, kind, state, batch and time, the newest first.

use genflow::domain::{EventType, Kind, Request};
use genflow::engines::clock::now;
use genflow::engines::temporal::list::{Listed, RunFilter, State};
use serde_json::{Value, json};

use crate::batch::{batch, ids};
use crate::support::requests::{image, script, video};
use crate::support::{Space, eventually};

fn by(request: Request, user: &str) -> Request {
    Request {
        user: user.to_owned().try_into().unwrap(),
        ..request
    }
}

/// Lists until `wanted` runs are found, because visibility lags a little.
async fn listed(space: &Space, which: &RunFilter, wanted: usize) -> Vec<Listed> {
    let temporal = space.temporal().await;
    eventually("the list has all runs", async || {
        let found = temporal.list(which, 1000, now()).await.unwrap();
        (found.len() >= wanted).then_some(found)
    })
    .await
}

fn names(runs: &[Listed]) -> Vec<&str> {
    runs.iter().map(|run| run.workflow_id.as_str()).collect()
}

#[tokio::test]
async fn runs_are_listed_by_what_they_are_labelled_with_the_newest_first() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let odd = "o'brien \\ \" OR GenUser != '";
    let first = image("first");
    let second = by(video("second"), odd);
    let third = by(script(image("third"), &json!({"submit": [422]})), "ann\\");
    for request in [&first, &second, &third] {
        space.send(request).await;
        space.story(request.id.as_str()).await;
    }
    let group = by(batch("group", &[json!({}), json!({})]), "bob");
    space.send(&group).await;
    space.story(group.id.as_str()).await;
    space.cancel("never-sent").await;

    let all = listed(&space, &RunFilter::default(), 7).await;
    assert_eq!(all.len(), 7, "{all:#?}");
    assert!(all.is_sorted_by_key(|run| std::cmp::Reverse(run.started_at)));
    assert_eq!(
        (all[0].state, all[0].user_id.as_deref()),
        (State::Claimed, None)
    );
    let closed = eventually("all are listed as closed", async || {
        let all = listed(&space, &RunFilter::default(), 7).await;
        let open = all.iter().filter(|run| run.state == State::Running);
        (open.count() == 0).then_some(all)
    })
    .await;
    assert_eq!(
        names(&closed[4..]),
        [third.id.as_str(), second.id.as_str(), first.id.as_str()]
    );

    let items = ids(&group);
    let of = |user: &str| RunFilter {
        user: Some(user.to_owned().try_into().unwrap()),
        ..RunFilter::default()
    };
    for (which, wanted) in [
        (of(odd), vec![second.id.as_str()]),
        (of("ann\\"), vec![third.id.as_str()]),
        (of("x' OR GenUser = 'ann"), vec![]),
        (
            RunFilter {
                kind: Some(Kind::Video),
                ..RunFilter::default()
            },
            vec![second.id.as_str()],
        ),
        (
            RunFilter {
                kind: Some(Kind::Batch),
                ..RunFilter::default()
            },
            vec![group.id.as_str()],
        ),
        (
            RunFilter {
                state: Some(State::Failed),
                ..RunFilter::default()
            },
            vec![third.id.as_str()],
        ),
        (
            RunFilter {
                state: Some(State::Claimed),
                ..RunFilter::default()
            },
            vec!["never-sent"],
        ),
        (
            RunFilter {
                batch: Some(group.id.clone()),
                ..RunFilter::default()
            },
            vec![items[0].as_str(), items[1].as_str()],
        ),
        (
            RunFilter {
                since: Some(closed[6].started_at + 1),
                until: Some(closed[4].started_at),
                ..RunFilter::default()
            },
            vec![second.id.as_str()],
        ),
    ] {
        let mut found = listed(&space, &which, wanted.len()).await;
        found.sort_by(|a, b| a.workflow_id.cmp(&b.workflow_id));
        assert_eq!(names(&found), wanted, "{which:?}");
    }
}

#[tokio::test]
async fn a_list_is_lines_for_people_and_for_programs() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let requests: Vec<_> = (0..3).map(|_| image("line")).collect();
    for request in &requests {
        space.send(request).await;
        let events = space.story(request.id.as_str()).await;
        assert_eq!(events.last().unwrap().event_type, EventType::Completed);
    }
    let completed = RunFilter {
        state: Some(State::Completed),
        ..RunFilter::default()
    };
    listed(&space, &completed, 3).await;

    let (code, printed) = space.run(&["list", "--limit", "2"]).await;
    assert_eq!(code, 0, "{printed}");
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines.len(), 4, "{printed}");
    let has = |words: &[&str]| {
        lines
            .iter()
            .any(|line| words.iter().all(|word| line.contains(word)))
    };
    for request in &requests[1..] {
        let words = [request.id.as_str(), "completed", "IMAGE", "ann"];
        assert!(has(&words), "{printed}");
    }
    assert!(has(&["there are more"]), "{printed}");

    let arguments = [
        "list",
        "--user",
        "ann",
        "--kind",
        "image",
        "--state",
        "completed",
        "--json",
    ];
    let (code, printed) = space.run(&arguments).await;
    assert_eq!(code, 0, "{printed}");
    let runs: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let found: Vec<_> = runs
        .iter()
        .map(|run| run["request_id"].as_str().unwrap())
        .collect();
    let newest: Vec<_> = requests
        .iter()
        .rev()
        .map(|request| request.id.as_str())
        .collect();
    assert_eq!(found, newest);
    assert!(
        runs.iter().all(|run| run["closed_at"].is_i64()),
        "{printed}"
    );
}
