//! The command line and the HTTP pages, as an operator uses them.

mod covered;
mod many;
mod settings;
mod shapes;
mod terminal;

use std::path::PathBuf;

use serde_json::Value;

use crate::support::receiver::{Answer, Receiver};
use crate::support::{Space, eventually, nowhere};

#[tokio::test]
async fn a_request_is_submitted_watched_and_asked_for_by_command() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let submit = [
        "submit", "image", "--id", "cli-1", "--prompt", "a fox", "--width", "64", "--height", "64",
    ];

    let (code, printed) = space.run(&[&submit[..], &["--watch"]].concat()).await;
    assert_eq!(code, 0, "{printed}");
    assert!(
        printed.contains("cli-1") && printed.contains("COMPLETED"),
        "{printed}"
    );

    space.closed("cli-1").await;
    let (code, printed) = space.run(&["status", "cli-1", "--json"]).await;
    assert_eq!(code, 0, "{printed}");
    let status: Value = serde_json::from_str(printed.trim()).unwrap();
    assert_eq!(
        (&status["state"], &status["kind"]),
        (&"completed".into(), &"IMAGE".into())
    );
    let (code, printed) = space.run(&["watch", "cli-1"]).await;
    assert_eq!(code, 0, "{printed}");
    let (code, _) = space.run(&["status", "nobody"]).await;
    assert_eq!(code, 1);
}

#[tokio::test]
async fn notifications_are_listed_sent_again_and_tested_by_command() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let receiver = Receiver::start(&[]).await;
    let submit = [
        "submit",
        "image",
        "--id",
        "told-1",
        "--prompt",
        "a fox",
        "--width",
        "64",
        "--height",
        "64",
        "--webhook-url",
        &receiver.url,
        "--watch",
    ];
    space.succeed(&submit).await;
    let first = receiver.wait(1).await.remove(0);
    let listed = eventually("the notification has ended", async || {
        let listed = space.succeed(&["notifications", "list", "told-1"]).await;
        listed.contains("DELIVERED").then_some(listed)
    })
    .await;
    for shown in [
        "outcome    status  attempts",
        "DELIVERED     204         1  WEBHOOK",
        "told-1",
        first.header("webhook-id"),
    ] {
        assert!(listed.contains(shown), "{shown}: {listed}");
    }
    assert!(!listed.contains("secret-token"), "{listed}");
    let undelivered = ["notifications", "list", "told-1", "--undelivered"];
    let none = space.succeed(&undelivered).await;
    assert_eq!(none, "no ended notification matches\n");

    let resend = [
        "notifications",
        "resend",
        "told-1",
        "--event",
        "completed",
        "--channel",
        "webhook",
    ];
    let would = space.succeed(&[&resend[..], &["--dry-run"]].concat()).await;
    assert!(
        would.starts_with("would be sent: WEBHOOK to http://127.0.0.1/…"),
        "{would}"
    );
    assert_eq!(receiver.got().len(), 1, "a dry run sends nothing");
    let sent = space.succeed(&resend).await;
    assert!(sent.starts_with("is sent again: WEBHOOK"), "{sent}");
    let second = receiver.wait(2).await.remove(1);
    assert_eq!(second.header("webhook-id"), first.header("webhook-id"));
    assert_eq!(second.body, first.body);
    let (code, said) = space
        .run(&["notifications", "resend", "told-1", "--channel", "slack"])
        .await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("genflow notifications list told-1"), "{said}");

    let said = space
        .succeed(&["notifications", "test", &receiver.url, "--user", "ann"])
        .await;
    assert!(
        said.starts_with("delivered after") && said.contains("status 204"),
        "{said}"
    );
    let tested = receiver.wait(3).await.remove(2);
    assert!(tested.header("webhook-id").starts_with("test-"));
    let body: Value = serde_json::from_slice(&tested.body).unwrap();
    assert_eq!(body["type"], "genflow.test");
    receiver.answer(Answer::Status(410));
    let test = ["notifications", "test", &receiver.url, "--json"];
    let (code, said) = space.run(&test).await;
    let answer: Value = serde_json::from_str(said.trim()).unwrap();
    assert_eq!(
        (code, &answer["status"], &answer["delivered"]),
        (1, &410.into(), &false.into())
    );
}

#[tokio::test]
async fn the_files_of_a_request_and_of_a_batch_are_copied_to_a_folder() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let folder = space.folder().join("mine");
    let at = folder.display().to_string();
    let batch = r#"{"request_id": "two", "user_id": "ann", "type": "batch", "items": [
        {"request_id": "two-a", "type": "image", "prompt": "a fox", "width": 64, "height": 64},
        {"request_id": "two-b", "type": "image", "prompt": "an owl", "width": 64, "height": 64}]}"#;
    let file = space.folder().join("batch.json");
    std::fs::write(&file, batch).unwrap();
    let submit = ["submit", "--file", &file.display().to_string(), "--watch"];
    space.succeed(&submit).await;
    space.closed("two").await;

    let printed = space.succeed(&["get", "two-a", "-o", &at]).await;
    let (again, said) = space.run(&["get", "two-a", "-o", &at]).await;
    std::fs::remove_dir_all(&folder).unwrap();
    let both = eventually("both files", async || {
        // Temporal lists a run a moment after it started.
        let (code, printed) = space.run(&["get", "two", "-o", &at]).await;
        let all = printed.lines().count() == 2;
        if !all {
            std::fs::remove_dir_all(&folder).ok();
        }
        (code == 0 && all).then_some(printed)
    })
    .await;
    let (unknown, _) = space.run(&["get", "nobody", "-o", &at]).await;

    assert_eq!(
        printed.trim(),
        folder.join("two-a-0.png").display().to_string()
    );
    assert_eq!((again, unknown), (64, 1), "{said}");
    assert!(said.contains("exists already"), "{said}");
    for path in both.lines() {
        assert!(
            std::fs::read(path).unwrap().starts_with(b"\x89PNG"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_file_of_the_flat_form_is_understood_and_an_unknown_field_is_named() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let good = r#"{"request_id": "flat-1", "user_id": "ann", "prompt": "a fox", "width": 64, "height": 64}"#;
    let bad = r#"{"request_id": "flat-2", "user_id": "ann", "prompt": "a fox", "wdith": 64, "height": 64}"#;
    let folder = space.temp();
    std::fs::create_dir_all(&folder).unwrap();
    let (good_file, bad_file) = (folder.join("good.json"), folder.join("bad.json"));
    std::fs::write(&good_file, good).unwrap();
    std::fs::write(&bad_file, bad).unwrap();

    let (code, printed) = space
        .run(&["submit", "--file", good_file.to_str().unwrap(), "--watch"])
        .await;
    assert_eq!(code, 0, "{printed}");

    let (code, printed) = space
        .run(&["submit", "--file", bad_file.to_str().unwrap()])
        .await;
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
    let (code, printed) = space.run(&submit).await;
    assert_eq!(code, 0, "{printed}");
    let accepted = async || (space.bill("cli-2").await.accepted == 1).then_some(());
    eventually("the job runs", accepted).await;

    let (code, printed) = space
        .run(&["cancel", "cli-2", "--reason", "changed my mind"])
        .await;

    assert_eq!(code, 0, "{printed}");
    let events = space.story("cli-2").await;
    assert_eq!(
        events.last().unwrap().event_type,
        genflow::domain::EventType::Cancelled
    );
}

#[tokio::test]
async fn all_faults_of_the_settings_are_reported_at_once() {
    let space = Space::new().await;
    let faults = [
        ("KAFKA_BROKERS", "nowhere"),
        ("INTAKE_CONCURRENCY", "0"),
        ("LOG_LEVEL", "verbose"),
        ("LOG_FILE_PATH", "/nonexistent/log"),
        ("REQUIRE_API_KEY", "true"),
        ("SHUTDOWN_GRACE", "4m"),
    ];

    let (code, printed) = space.run_with(&["intake"], &faults).await;

    assert_eq!(code, 64);
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines.len(), faults.len(), "{printed}");
    for reported in [
        "KAFKA_BROKERS: is \"nowhere\", expected host:port",
        "LOG_FILE_PATH: /nonexistent/log cannot be opened: ",
    ] {
        assert!(printed.contains(reported), "{printed}");
    }
}

#[tokio::test]
async fn the_pages_show_health_and_metrics() {
    let space = Space::new().await;
    let free = nowhere().to_string();
    let mut all = space.start_with(&["all"], &[("HTTP_ADDR", &free)]);
    let health = async |arguments: &[&str]| {
        let arguments = [&["health"], arguments].concat();
        space.run_with(&arguments, &[("HTTP_ADDR", &free)]).await
    };
    let page = async |name: &str| reqwest::get(format!("http://{free}/{name}")).await.ok();

    eventually("the process is ready", async || {
        page("readyz")
            .await
            .filter(|page| page.status().is_success())
    })
    .await;
    assert!(page("livez").await.unwrap().status().is_success());
    for (arguments, asked) in [(&[][..], "livez"), (&["--ready"], "readyz")] {
        let (code, printed) = health(arguments).await;
        let line = format!("ok: http://{free}/{asked} answers 200\n");
        assert_eq!((code, printed), (0, line));
    }
    let request = crate::support::requests::image("counted");
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

    assert!(all.terminate().await.success());
    let (code, printed) = health(&[]).await;
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains("is not reachable"), "{printed}");
}

#[test]
fn bash_completes_commands_and_options() {
    let genflow = env!("CARGO_BIN_EXE_genflow");
    // Bash calls the function with the program, the word, and the word before it.
    let script = r#"
        source <("$0" completions bash)
        complete_last() {
            COMP_WORDS=(genflow "$@") COMP_CWORD=$# COMPREPLY=()
            _genflow genflow "${@: -1}" "${COMP_WORDS[COMP_CWORD - 1]}"
            echo "${COMPREPLY[*]}"
        }
        complete_last dl
        complete_last dlq red
        complete_last health --re
        complete_last list --state com
    "#;

    let ran = std::process::Command::new("bash")
        .args(["-euc", script, genflow])
        .output()
        .unwrap();

    let printed = String::from_utf8(ran.stdout).unwrap();
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(printed, "dlq\nredrive\n--ready\ncompleted\n", "{errors}");
}

#[test]
fn a_line_of_the_env_file_that_cannot_be_read_is_named_and_not_shown() {
    let folder =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("env-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let text = "LOG_LEVEL=info\nWEBHOOK_SIGNING_SECRET=whsec_NEEDLE oops\n";
    std::fs::write(folder.join(".env"), text).unwrap();

    let ran = std::process::Command::new(env!("CARGO_BIN_EXE_genflow"))
        .args(["webhook-secret", "ann"])
        .current_dir(&folder)
        .output()
        .unwrap();

    std::fs::remove_dir_all(&folder).unwrap();
    let reported = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(64), "{reported}");
    assert!(
        reported.contains("WEBHOOK_SIGNING_SECRET cannot be read"),
        "{reported}"
    );
    assert!(
        !reported.contains("NEEDLE") && !reported.contains("oops"),
        "{reported}"
    );
}

#[test]
fn an_env_file_of_a_folder_above_is_not_read() {
    let folder =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("above-{}", std::process::id()));
    let below = folder.join("below");
    std::fs::create_dir_all(&below).unwrap();
    std::fs::write(folder.join(".env"), "WEBHOOK_SIGNING_SECRET=none\n").unwrap();
    let code = |folder: &PathBuf| {
        let mut genflow = std::process::Command::new(env!("CARGO_BIN_EXE_genflow"));
        let ran = genflow.args(["webhook-secret", "ann"]).current_dir(folder);
        ran.output().unwrap().status.code()
    };

    assert_eq!(code(&folder), Some(64), "read in its own folder");
    assert_eq!(code(&below), Some(0));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn every_line_of_the_example_can_be_read_once_its_mark_is_off() {
    let example = include_str!("../../.env.example");
    let unmarked = example.lines().filter_map(|line| line.strip_prefix("# "));
    let is_variable = |line: &&str| {
        let name = line.split_once('=').map(|(name, _)| name);
        name.is_some_and(|name| {
            name.bytes()
                .all(|c| c.is_ascii_uppercase() || c == b'_' || c.is_ascii_digit())
        })
    };
    let variables: Vec<_> = unmarked.filter(is_variable).collect();
    assert!(variables.len() > 100, "{}", variables.len());

    for variable in variables {
        let mut read = dotenvy::from_read_iter(variable.as_bytes());
        assert!(read.next().unwrap().is_ok(), "{variable}");
        assert!(read.next().is_none(), "{variable}");
    }
}
