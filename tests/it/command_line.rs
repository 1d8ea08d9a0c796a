//! The command line and the pages, as an operator meets them.

use std::net::TcpListener;

use serde_json::Value;

use crate::support::{Space, eventually, run, run_with};

#[tokio::test]
async fn a_request_is_submitted_watched_and_asked_for_by_command() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let submit = [
        "submit", "image", "--id", "cli-1", "--prompt", "a fox", "--width", "64", "--height", "64",
    ];

    let (code, printed) = run(&space, &[&submit[..], &["--watch"]].concat()).await;
    assert_eq!(code, 0, "{printed}");
    assert!(
        printed.contains("cli-1") && printed.contains("COMPLETED"),
        "{printed}"
    );

    space.closed("cli-1").await;
    let (code, printed) = run(&space, &["status", "cli-1", "--json"]).await;
    assert_eq!(code, 0, "{printed}");
    let status: Value = serde_json::from_str(printed.trim()).unwrap();
    assert_eq!(
        (&status["state"], &status["kind"]),
        (&"completed".into(), &"IMAGE".into())
    );
    let (code, printed) = run(&space, &["watch", "cli-1"]).await;
    assert_eq!(code, 0, "{printed}");
    let (code, _) = run(&space, &["status", "nobody"]).await;
    assert_eq!(code, 1);
}

#[tokio::test]
async fn a_file_of_the_original_form_is_understood_and_an_unknown_field_is_named() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let good = r#"{"request_id": "flat-1", "user_id": "ann", "prompt": "a fox", "width": 64, "height": 64}"#;
    let bad = r#"{"request_id": "flat-2", "user_id": "ann", "prompt": "a fox", "wdith": 64, "height": 64}"#;
    let folder = space.temp();
    std::fs::create_dir_all(&folder).unwrap();
    let (good_file, bad_file) = (folder.join("good.json"), folder.join("bad.json"));
    std::fs::write(&good_file, good).unwrap();
    std::fs::write(&bad_file, bad).unwrap();

    let (code, printed) = run(
        &space,
        &["submit", "--file", good_file.to_str().unwrap(), "--watch"],
    )
    .await;
    assert_eq!(code, 0, "{printed}");

    let (code, printed) = run(&space, &["submit", "--file", bad_file.to_str().unwrap()]).await;
    assert_eq!(code, 64, "{printed}");
    assert!(
        printed.contains("wdith") && printed.lines().count() == 1,
        "{printed}"
    );
}

#[tokio::test]
async fn a_cancel_by_command_ends_a_running_request() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let submit = [
        "submit",
        "image",
        "--id",
        "cli-2",
        "--prompt",
        "a fox",
        "--param",
        r#"sim={"stuck":true}"#,
    ];
    let (code, printed) = run(&space, &submit).await;
    assert_eq!(code, 0, "{printed}");
    let accepted = async || (space.bill("cli-2").await.accepted == 1).then_some(());
    eventually("the job runs", accepted).await;

    let (code, printed) = run(&space, &["cancel", "cli-2", "--reason", "changed my mind"]).await;

    assert_eq!(code, 0, "{printed}");
    let events = space.story("cli-2").await;
    assert_eq!(
        events.last().unwrap().kind_of_event,
        genflow::domain::EventType::Cancelled
    );
}

#[tokio::test]
async fn faults_of_the_settings_are_told_all_at_once() {
    let space = Space::new().await;
    let faults = [
        ("KAFKA_BROKERS", "nowhere"),
        ("INTAKE_CONCURRENCY", "0"),
        ("LOG_LEVEL", "verbose"),
        ("LOG_FILE_PATH", "/nonexistent/log"),
        ("REQUIRE_API_KEY", "true"),
        ("SHUTDOWN_GRACE", "4m"),
    ];

    let (code, printed) = run_with(&space, &["intake"], &faults).await;

    assert_eq!(code, 64);
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines.len(), faults.len(), "{printed}");
    for told in [
        "KAFKA_BROKERS: is \"nowhere\", want host:port",
        "LOG_FILE_PATH: /nonexistent/log cannot be opened: ",
    ] {
        assert!(printed.contains(told), "{printed}");
    }
}

#[tokio::test]
async fn the_pages_tell_of_health_and_numbers() {
    let space = Space::new().await;
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let _all = space.start_with(&["all"], &[("HTTP_ADDR", &free)]);
    let page = async |name: &str| reqwest::get(format!("http://{free}/{name}")).await.ok();

    eventually("the process is ready", async || {
        page("readyz")
            .await
            .filter(|page| page.status().is_success())
    })
    .await;
    assert!(page("livez").await.unwrap().status().is_success());
    let request = crate::support::space::image("counted");
    space.send(&request).await;
    space.story(request.id.as_str()).await;

    let metrics = page("metrics").await.unwrap().text().await.unwrap();
    for wanted in [
        "genflow_requests_total{outcome=\"started\",kind=\"IMAGE\"} 1",
        "genflow_events_published_total",
        "genflow_run_seconds",
        "genflow_worker_slots_used{queue=\"main\"}",
        "genflow_worker_slots_used{queue=\"fetch\"}",
        "genflow_worker_process_memory_bytes",
        "genflow_worker_measured_memory_bytes",
    ] {
        assert!(metrics.contains(wanted), "{wanted} in\n{metrics}");
    }
}
