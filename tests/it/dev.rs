//! `genflow dev` as a new user runs it, and that nothing is left when it is killed.

use std::collections::BTreeSet;
use std::net::TcpStream;

use rustix::process::Signal;

use crate::support::process::Process;
use crate::support::requests::image;
use crate::support::trial::Trial;
use crate::support::{Space, eventually};

/// Returns a client; these stories start no engines in this process, which would choose the TLS for it.
fn client() -> reqwest::Client {
    // Another story may have chosen it already.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    reqwest::Client::new()
}

#[tokio::test]
async fn a_test_completes_the_samples_and_leaves_nothing_running() {
    let trial = Trial::new();
    // The same as `dev --once`.
    let mut dev = trial.start(&["test", "--ports", "free"]);

    let status = dev.ended().await;

    assert!(status.success(), "{}", dev.output());
    assert!(
        dev.output().contains("the sample requests completed"),
        "{}",
        dev.output()
    );
    assert!(
        dev.output().contains("3 items: 3 completed"),
        "{}",
        dev.output()
    );
    assert!(
        dev.output()
            .contains("mail arrived: Image completed: image-"),
        "{}",
        dev.output()
    );
    trial.nothing_is_left().await;
}

#[tokio::test]
async fn the_first_line_is_the_address_of_the_console_which_shows_the_start() {
    let trial = Trial::new();
    let mut dev = trial.start(&["dev", "--ports", "free"]);
    let console = eventually("the first line", async || {
        let output = dev.output();
        let (first, _) = output.split_once('\n')?;
        let address = first.strip_prefix("console: ")?;
        address.split(' ').next().map(str::to_owned)
    })
    .await;
    let page = async || {
        let page = client().get(&console).send().await.ok()?;
        Some((page.status().as_u16(), page.text().await.ok()?))
    };

    let (status, text) = page().await.unwrap();
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("genflow starts"), "{text}");
    eventually("the start is shown", async || {
        page().await?.1.contains("ready at 127.0.0.1").then_some(())
    })
    .await;
    eventually("the console", async || {
        let (status, text) = page().await?;
        (status == 200 && text.contains("/app.js")).then_some(())
    })
    .await;

    dev.signal(Signal::INT);
    dev.ended().await;
    let output = dev.output();
    for engine in [
        "Kafka",
        "Temporal",
        "the schema registry",
        "the mail catcher",
    ] {
        let lines = output.matches(&format!("{engine} is ")).count();
        assert_eq!(lines, 1, "{engine}: {output}");
    }
    assert!(!output.contains('\x1b'), "not on a terminal: {output:?}");
}

#[tokio::test]
async fn ctrl_c_leaves_no_process_no_port_and_no_temporary_file() {
    let trial = Trial::new();
    let mut dev = trial.start(&["dev", "--ports", "free"]);
    eventually("the samples", async || {
        dev.output()
            .contains("the sample requests completed")
            .then_some(())
    })
    .await;
    let processes = trial.processes();
    let output = dev.output();
    let ports = output.split("127.0.0.1:").skip(1);
    let ports = ports.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap());
    let ports: BTreeSet<u16> = ports.map(|port| port.parse().unwrap()).collect();
    assert!(
        processes.len() >= 5 && ports.len() >= 7,
        "{ports:?} {processes:?}"
    );

    dev.signal(Signal::INT);

    assert!(dev.ended().await.success(), "{}", dev.output());
    let left: Vec<_> = processes.iter().filter(|it| it.exists()).collect();
    assert!(left.is_empty(), "{left:?}");
    for port in ports {
        assert!(
            TcpStream::connect(("127.0.0.1", port)).is_err(),
            "{port} is still open"
        );
    }
    let files = std::fs::read_dir(&trial.folder).unwrap();
    let files: BTreeSet<_> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(
        files,
        BTreeSet::from(["dev.log", "results"].map(str::to_owned))
    );
}

#[tokio::test]
async fn state_is_kept_if_asked_for_until_a_reset() {
    let trial = Trial::new();
    let kept = &["dev", "--ports", "free", "--keep", "state"][..];
    let mut first = trial.start(&[kept, &["--once"]].concat());
    assert!(first.ended().await.success(), "{}", first.output());
    let image = first.output().split("image-").nth(1).unwrap()[..8].to_owned();
    let image = format!("image-{image}");

    let mut second = trial.start(kept);
    eventually("the samples", async || {
        second
            .output()
            .contains("the sample requests completed")
            .then_some(())
    })
    .await;
    let mut another = Process::start(kept, &trial.variables, trial.folder.join("another.log"));
    assert_eq!(another.ended().await.code(), Some(1));
    assert!(
        another.output().contains("another genflow dev uses"),
        "{}",
        another.output()
    );
    // Temporal has the run, Kafka the events, and the registry the schema that reads them.
    assert!(
        asked(&trial, &second, &["status", &image])
            .await
            .contains("completed")
    );
    assert_eq!(runs(&trial, &second).await, 10);
    second.signal(Signal::INT);
    assert!(second.ended().await.success(), "{}", second.output());

    let mut third = trial.start(&[kept, &["--reset"]].concat());
    eventually("the samples", async || {
        third
            .output()
            .contains("the sample requests completed")
            .then_some(())
    })
    .await;
    assert_eq!(runs(&trial, &third).await, 5);
    third.signal(Signal::INT);
    assert!(third.ended().await.success(), "{}", third.output());
}

/// Returns how many completed runs the engines of `dev` know.
async fn runs(trial: &Trial, dev: &Process) -> u64 {
    let costs = asked(trial, dev, &["costs", "--json"]).await;
    let costs: serde_json::Value = serde_json::from_str(&costs).unwrap();
    costs["total"]["runs"].as_u64().unwrap()
}

/// Returns the output of a command with the engines of `dev`.
async fn asked(trial: &Trial, dev: &Process, command: &[&str]) -> String {
    let output = dev.output();
    let mut variables = trial.variables.clone();
    for (engine, variable) in [
        ("Kafka", "KAFKA_BROKERS"),
        ("the schema registry", "SCHEMA_REGISTRY_URL"),
        ("Temporal", "TEMPORAL_HOST"),
    ] {
        let (_, rest) = output
            .split_once(&format!("{engine} is ready at "))
            .unwrap();
        let address = rest.lines().next().unwrap().to_owned();
        variables.insert(variable.to_owned(), address);
    }
    let mut asked = Process::start(command, &variables, trial.folder.join("asked.log"));
    assert!(asked.ended().await.success(), "{}", asked.output());
    asked.output()
}

#[tokio::test]
async fn a_real_picture_is_paid_for_only_after_a_person_has_seen_its_price() {
    let provider = Trial::new();
    let simulator = provider.start(&[
        "provider-sim",
        "--listen",
        "127.0.0.1:0",
        "--job-time",
        "300ms",
    ]);
    let url = eventually("the provider's address", async || {
        let output = simulator.output();
        let (_, url) = output.split_once("simulator on ")?;
        url.split_once('\n').map(|(url, _)| url.to_owned())
    })
    .await;
    let submits = async || {
        let ledger = client()
            .get(format!("{url}/_sim/ledger"))
            .send()
            .await
            .unwrap();
        let ledger: serde_json::Value = ledger.json().await.unwrap();
        ledger["entries"].as_array().unwrap().len()
    };
    let mut trial = Trial::new();
    trial.set("IMAGE_API_BASE_URL", &url);
    trial.set("IMAGE_API_KEY", "r8_real");
    let real = ["dev", "--once", "--ports", "free", "--real", "image"];
    let price = "costs about 0.0030 US dollars";

    // Nobody to ask.
    let mut dev = trial.start(&real);
    assert_eq!(dev.ended().await.code(), Some(64), "{}", dev.output());
    assert!(
        dev.output().contains(price) && dev.output().contains("--yes"),
        "{}",
        dev.output()
    );

    // A person who does not agree.
    let mut dev = trial.start_on_terminal(&real, "n\n");
    assert_eq!(dev.ended().await.code(), Some(1), "{}", dev.output());
    assert!(
        dev.output().contains("Pay for it? [y/N]"),
        "{}",
        dev.output()
    );
    assert!(dev.output().contains("nothing is paid"), "{}", dev.output());
    assert!(!dev.output().contains("ready at"), "{}", dev.output());
    assert_eq!(submits().await, 0);

    let mut dev = trial.start(&[&real[..], &["--yes"]].concat());
    assert!(dev.ended().await.success(), "{}", dev.output());
    let output = dev.output();
    let (before, after) = output.split_once("ready after").unwrap();
    assert!(before.contains(price), "{output}");
    assert!(after.contains("the real image is made"), "{output}");
    assert!(
        !output.contains("the sample requests completed"),
        "{output}"
    );
    assert_eq!(submits().await, 1);
    assert_eq!(
        std::fs::read_dir(trial.folder.join("results"))
            .unwrap()
            .count(),
        1
    );
}

#[tokio::test]
async fn on_existing_engines_the_requests_of_others_are_left_alone() {
    // A deployment whose roles do not run, and a request that waits for them.
    let space = Space::new().await;
    let request = image("waits");
    space.send(&request).await;
    let mut trial = Trial::new();
    let places = [
        "KAFKA_BROKERS",
        "KAFKA_GROUP",
        "SCHEMA_REGISTRY_URL",
        "TEMPORAL_HOST",
        "TEMPORAL_TASK_QUEUE",
    ];
    for (name, value) in &space.variables {
        if name.starts_with("TOPIC_") || places.contains(&&**name) {
            trial.set(name, value);
        }
    }
    trial.set("USER", "ann");
    let mut dev = trial.start(&["test", "--ports", "free", "--use-existing"]);

    let status = dev.ended().await;

    let output = dev.output();
    assert!(status.success(), "{output}");
    assert!(output.contains("the sample requests completed"), "{output}");
    let topics = &space.config.kafka.topics;
    assert_eq!(space.lag("intake", &topics.requests).await, 1);
    assert!(space.read(&topics.events).await.all().await.is_empty());
    let own = space.read(&format!("dev-ann.{}", topics.events)).await;
    assert!(!{ own }.all().await.is_empty());
}

#[tokio::test]
async fn dev_killed_at_any_moment_leaves_no_process() {
    for moment in ["console: http", "is ready at", "ready after"] {
        let trial = Trial::new();
        let mut dev = trial.start(&["dev", "--ports", "free"]);
        eventually(moment, async || dev.output().contains(moment).then_some(())).await;
        assert!(!trial.processes().is_empty());

        dev.signal(Signal::KILL);

        dev.ended().await;
        trial.nothing_is_left().await;
    }
}

#[tokio::test]
async fn dev_interrupted_during_the_start_leaves_no_process() {
    let trial = Trial::new();
    let mut dev = trial.start(&["dev", "--ports", "free"]);
    eventually("the first engine", async || {
        dev.output().contains("is ready at").then_some(())
    })
    .await;

    dev.signal(Signal::INT);

    let status = dev.ended().await;
    assert!(status.success(), "{status}: {}", dev.output());
    trial.nothing_is_left().await;
}

#[tokio::test]
async fn a_missing_prerequisite_is_named() {
    let mut trial = Trial::new();
    trial
        .variables
        .insert("PATH".to_owned(), "/nonexistent".to_owned());
    trial.variables.remove("JAVA_HOME");
    trial.variables.insert(
        "XDG_CACHE_HOME".to_owned(),
        trial.folder.join("cache").display().to_string(),
    );
    let mut dev = trial.start(&["dev", "--once", "--ports", "free"]);

    let status = dev.ended().await;

    assert_eq!(status.code(), Some(69), "{}", dev.output());
    assert!(dev.output().contains("python3"), "{}", dev.output());
    assert!(
        dev.output().contains("mvn") || dev.output().contains("Maven"),
        "{}",
        dev.output()
    );
}
