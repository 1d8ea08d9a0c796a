//! `genflow dev` when it cannot start or continue: one clear message, no success, no process left.

use std::fs::File;
use std::io::ErrorKind;
use std::net::TcpListener;

use rustix::process::Signal;

use crate::support::eventually;
use crate::support::process::Process;
use crate::support::trial::{Trial, cut, folder};

/// Waits until the process has printed `words`.
async fn said(dev: &Process, words: &str) {
    eventually(words, async || dev.output().contains(words).then_some(())).await;
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_way_out_and_nothing_is_started() {
    let mut trial = Trial::new();
    trial.set("HTTP_ADDR", "127.0.0.1:0");
    // Another process may hold the port: then it is taken too.
    let _taken = match TcpListener::bind("127.0.0.1:9092") {
        Ok(listener) => Some(listener),
        Err(error) if error.kind() == ErrorKind::AddrInUse => None,
        Err(error) => panic!("{error}"),
    };
    let mut dev = trial.start(&["dev", "--once"]);

    let status = dev.ended().await;

    let output = dev.output();
    assert_eq!(status.code(), Some(1), "{output}");
    let last = output.lines().last().unwrap();
    for words in ["Kafka", "port 9092", "KAFKA_BROKERS", "--ports free"] {
        assert!(last.contains(words), "{output}");
    }
    assert_eq!(
        output.lines().count(),
        2,
        "a greeting and one line: {output}"
    );
    trial.nothing_is_left().await;
}

#[tokio::test]
async fn an_address_of_metrics_in_use_is_named_before_any_engine_is_started() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut trial = Trial::new();
    trial.set("HTTP_ADDR", &address);
    let mut dev = trial.start(&["dev", "--once"]);

    let status = dev.ended().await;

    let output = dev.output();
    assert_eq!(status.code(), Some(1), "{output}");
    let last = output.lines().last().unwrap();
    assert!(
        last.starts_with(&format!("HTTP_ADDR {address} is taken")),
        "{output}"
    );
    assert!(!output.contains("is ready at"), "{output}");
    trial.nothing_is_left().await;
}

#[tokio::test]
async fn faulty_settings_are_reported_before_any_engine_starts() {
    let mut trial = Trial::new();
    trial.set("SHUTDOWN_GRACE", "soon");
    let mut dev = trial.start(&["dev", "--once", "--ports", "free"]);

    let status = dev.ended().await;

    let output = dev.output();
    assert_eq!(status.code(), Some(64), "{output}");
    assert!(output.contains("SHUTDOWN_GRACE"), "{output}");
    assert!(!output.contains("is ready at"), "{output}");
}

#[tokio::test]
async fn engines_that_are_not_on_this_machine_and_paid_samples_are_refused_before_anything_is_started()
 {
    let mut trial = Trial::new();
    trial.set("KAFKA_BROKERS", "kafka.production.test:9092");
    trial.set("MOCK_EXTERNAL_APIS", "false");
    let mut dev = trial.start(&["test", "--ports", "free"]);

    let status = dev.ended().await;

    let output = dev.output();
    assert_eq!(status.code(), Some(64), "{output}");
    for reported in [
        "KAFKA_BROKERS: is not on this machine",
        "--use-existing",
        "MOCK_EXTERNAL_APIS: is false, so the sample requests are paid for",
        "--samples",
    ] {
        assert!(output.contains(reported), "{reported} is not in {output}");
    }
    assert!(!output.contains("is ready at"), "{output}");
    trial.nothing_is_left().await;
}

#[tokio::test]
async fn an_incomplete_engine_is_not_used_and_the_failed_repair_is_reported() {
    let (mut trial, cache) = Trial::with_cache().await;
    let jar = folder(&cache, "apicurio-").join("app/quarkus-run.jar");
    cut(&jar);
    trial.shadow("mvn", "echo no route to the repository; exit 1");
    let mut dev = trial.start(&["dev", "--once", "--ports", "free"]);

    let status = dev.ended().await;

    let output = dev.output();
    assert_eq!(status.code(), Some(1), "{output}");
    let not_whole = format!("is incomplete and is not used: {}", jar.display());
    assert!(output.contains(&not_whole), "{output}");
    let (_, reported) = output
        .split_once("schema registry could not be installed: exit status: 1; log: ")
        .unwrap_or_else(|| panic!("{output}"));
    let (log, said) = reported.split_once('\n').unwrap();
    assert!(std::fs::exists(log).unwrap(), "{log}");
    assert!(said.contains("no route to the repository"), "{output}");
    assert!(!output.contains("is ready at"), "{output}");
    trial.nothing_is_left().await;
}

#[tokio::test]
async fn half_an_engine_is_installed_again() {
    let (trial, cache) = Trial::with_cache().await;
    let kafka = folder(&cache, "kafka-");
    cut(&kafka.join("formatted/meta.properties"));
    let part = kafka.with_extension("0.part");
    std::fs::create_dir(&part).unwrap();
    std::fs::write(part.join("classpath"), "/half/a/na").unwrap();
    let mut dev = trial.start(&["dev", "--once", "--ports", "free"]);

    let status = dev.ended().await;

    let output = dev.output();
    assert!(status.success(), "{output}");
    assert!(output.contains("is incomplete and is not used"), "{output}");
    assert!(output.contains("installing Kafka"), "{output}");
    assert!(!part.exists());
    let mut again = trial.start(&["dev", "--ports", "free"]);
    said(&again, "Kafka is ready at").await;
    assert!(!again.output().contains("installing"), "{}", again.output());
    again.terminate().await;
    trial.nothing_is_left().await;
}

#[tokio::test]
async fn the_lock_of_an_installation_is_waited_for_while_its_holder_lives() {
    let (trial, cache) = Trial::with_cache().await;
    std::fs::remove_dir_all(folder(&cache, "aiosmtpd-")).unwrap();
    let path = cache.join("lock");
    let held = File::create(&path).unwrap();
    held.lock().unwrap();
    let dev = trial.start(&["dev", "--ports", "free"]);
    said(&dev, "waiting for another genflow that is installing").await;
    assert!(
        dev.output().contains(&path.display().to_string()),
        "{}",
        dev.output()
    );
    assert!(!dev.output().contains("is ready at"), "{}", dev.output());

    drop(held);

    said(&dev, "installing the mail catcher").await;
}

#[tokio::test]
async fn a_lock_and_half_an_installation_of_a_killed_run_do_not_stop_the_next() {
    let (trial, cache) = Trial::with_cache().await;
    std::fs::remove_dir_all(folder(&cache, "aiosmtpd-")).unwrap();
    let mut killed = trial.start(&["dev", "--ports", "free"]);
    said(&killed, "installing the mail catcher").await;
    killed.signal(Signal::KILL);
    killed.ended().await;
    trial.nothing_is_left().await;
    assert!(cache.join("lock").exists());

    let mut dev = trial.start(&["dev", "--once", "--ports", "free"]);

    let status = dev.ended().await;
    assert!(status.success(), "{}", dev.output());
    assert!(!dev.output().contains("waiting"), "{}", dev.output());
}

#[tokio::test]
async fn dev_reports_an_engine_that_ends_during_its_start_with_its_log() {
    let (mut trial, _) = Trial::with_cache().await;
    trial.shadow("python3", "echo no room for mails; exit 3");
    let mut dev = trial.start(&["dev", "--ports", "free"]);

    let status = dev.ended().await;

    assert_eq!(status.code(), Some(1), "{}", dev.output());
    engine_ended(&dev, "the mail catcher ended by itself (exit status: 3)");
    assert!(
        dev.output().contains("no room for mails"),
        "{}",
        dev.output()
    );
    trial.nothing_is_left().await;
}

#[tokio::test]
async fn dev_reports_a_killed_engine_with_its_log() {
    let trial = Trial::new();
    let mut dev = trial.start(&["dev", "--ports", "free"]);
    said(&dev, "ready after").await;

    trial.kill("kafka.Kafka");

    let status = dev.ended().await;
    assert_eq!(status.code(), Some(1), "{}", dev.output());
    engine_ended(&dev, "Kafka ended by itself (signal: 9 (SIGKILL))");
    trial.nothing_is_left().await;
}

/// Asserts that the process printed how an engine ended, and where its log is.
fn engine_ended(dev: &Process, how: &str) {
    let output = dev.output();
    let (_, reported) = output
        .split_once(&format!("{how}; log: "))
        .unwrap_or_else(|| panic!("{output}"));
    let log = reported.lines().next().unwrap_or_default();
    assert!(std::fs::exists(log).unwrap(), "{log}: {output}");
}
