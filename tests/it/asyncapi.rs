//! The descriptions for machines: the AsyncAPI document and the JSON Schema of webhooks are made of the schemas and topics,
//! and independent code checks them, and what genflow sends: AsyncAPI's parser, the validator of Python, the SDK of
//! CloudEvents.
//!
//! `GENFLOW_RECORD=1 cargo test --test it asyncapi::` writes both files anew.

mod document;
mod json_schema;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use genflow::contract::avro;
use genflow::domain::{EventType, Targets};
use genflow::engines::kafka::Record;
use serde_json::{Value, json};

use crate::support::Space;
use crate::support::receiver::Receiver;
use crate::support::requests::{image, script};

fn webhook() -> Value {
    json_schema::webhook(&serde_json::from_str(avro::EVENT.text).unwrap())
}

#[test]
fn the_files_are_current() {
    let webhook = webhook();
    let document = document::document(&webhook);
    let yaml = serde_yaml_ng::to_string(&document).unwrap();
    let schema = serde_json::to_string_pretty(&webhook).unwrap() + "\n";
    let head = "# Made by tests/it/asyncapi.rs from the schemas and the names of the topics.\n";
    for (name, text) in [
        ("docs/asyncapi.yaml", format!("{head}{yaml}")),
        ("schemas/webhook.schema.json", schema),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        if std::env::var_os("GENFLOW_RECORD").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let now = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            now == text,
            "{name} is not current: GENFLOW_RECORD=1 cargo test --test it asyncapi::"
        );
    }
}

#[test]
fn the_parser_of_asyncapi_takes_the_document() {
    let Some(packages) = npm() else {
        return;
    };
    let document = document::document(&webhook());

    let found = parse(&packages, &document);

    assert_eq!(found["faults"], json!([]), "{found:#}");
    let channels = found["channels"].as_array().unwrap();
    assert_eq!(channels.len(), 8);
    assert!(
        channels.contains(&json!("gen.requests.dlq")),
        "{channels:?}"
    );
    // What the parser would find.
    let mut wrong = document.clone();
    wrong["operations"]["events"]["action"] = "publish".into();
    assert_ne!(parse(&packages, &wrong)["faults"], json!([]));
    let mut wrong = document;
    let field = &mut wrong["components"]["schemas"]["GenerationEvent"]["schema"]["fields"][0];
    field.as_object_mut().unwrap().remove("name");
    assert_ne!(parse(&packages, &wrong)["faults"], json!([]));
}

#[tokio::test]
async fn what_genflow_sends_is_as_described() {
    let source = "https://genflow.example.com/staging";
    let Some(packages) = python() else {
        return;
    };
    let space = Space::with(&[("CE_SOURCE", source)]).await;
    let receiver = Receiver::start(&[]).await;
    let _all = space.start(&["all"]);
    // One completes, and one fails: between them, they have nearly all that events may have.
    let mut good = script(image("described"), &json!({ "seconds": 1.0 }));
    let mut bad = script(image("described-not"), &json!({ "fail": "no" }));
    for request in [&mut good, &mut bad] {
        request.targets = Targets::parse(Some(&receiver.url), None, None).unwrap();
        request.notify_on = vec![
            EventType::Started,
            EventType::Progress,
            EventType::Completed,
            EventType::Failed,
        ];
        space.send(request).await;
        space.story(request.id.as_str()).await;
    }
    let topics = &space.config.kafka.topics;
    let mut records = space.events().await.all().await;
    let webhooks = receiver.wait(records.len()).await;
    records.extend(space.read(&topics.results).await.all().await);
    let bodies: Vec<Value> = webhooks
        .iter()
        .map(|webhook| serde_json::from_slice(&webhook.body).unwrap())
        .collect();
    for kind in ["STARTED", "COMPLETED", "FAILED"] {
        assert!(
            bodies.iter().any(|body| body["data"]["type"] == kind),
            "{kind}"
        );
    }
    let strict = json_schema::strict(webhook());

    let said = check(&packages, &strict, &bodies, &records);

    assert_eq!(said["faults"], json!([]), "{said:#}");
    check_events(&said["events"], &records, source);
    // What the validator would find.
    let mut wrong = bodies[0].clone();
    wrong["data"]["surprise"] = true.into();
    wrong["data"]["retry"] = "0".into();
    wrong["data"].as_object_mut().unwrap().remove("event_id");
    let said = check(&packages, &strict, &[wrong], &[]);
    assert_eq!(said["faults"].as_array().unwrap().len(), 3, "{said:#}");
}

/// Compares what the SDK has read with the records.
fn check_events(events: &Value, records: &[Record], source: &str) {
    let events = events.as_array().unwrap();
    assert_eq!(events.len(), records.len());
    for (event, record) in events.iter().zip(records) {
        let attributes = &event["attributes"];
        assert_eq!(attributes["source"], source);
        assert_eq!(attributes["specversion"], "1.0");
        assert_eq!(attributes["datacontenttype"], "application/avro");
        // The binding for Kafka makes this attribute of the record's key.
        let key = String::from_utf8(record.key.clone().unwrap()).unwrap();
        assert_eq!(attributes["partitionkey"], key);
        url::Url::parse(attributes["dataschema"].as_str().unwrap()).unwrap();
        let data = BASE64.decode(event["data"].as_str().unwrap()).unwrap();
        assert_eq!(Some(data), record.value);
        let described: Vec<_> = document::EVENT_HEADERS
            .iter()
            .map(|(name, _)| *name)
            .collect();
        let carried: Vec<_> = record
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(
            carried,
            described[..carried.len()],
            "the last one may be missing"
        );
        assert!(carried.len() + 1 >= described.len());
    }
}

/// Returns the folder of AsyncAPI's parser. Says so and returns `None` if npm cannot install it.
fn npm() -> Option<PathBuf> {
    packages("npm", "package-lock.json", |folder| {
        let mut npm = Command::new("npm");
        std::fs::copy(source("package.json"), folder.join("package.json")).unwrap();
        npm.args([
            "ci",
            "--silent",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
        ]);
        npm
    })
}

/// Returns the folder of the packages of `records.py`. Says so and returns `None` if pip cannot install them.
fn python() -> Option<PathBuf> {
    packages("pip", "requirements.txt", |folder| {
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "-r",
            "requirements.txt",
        ]);
        pip.arg("--target").arg(folder);
        pip
    })
}

/// Returns a folder with the packages of a list, which `install` installs there once.
fn packages(tool: &str, list: &str, install: impl FnOnce(&Path) -> Command) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("asyncapi.{tool}"));
    let wanted = std::fs::read(source(list)).unwrap();
    let installed = folder.join("installed");
    if std::fs::read(&installed).ok().as_ref() != Some(&wanted) {
        std::fs::remove_dir_all(&folder).ok();
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::copy(source(list), folder.join(list)).unwrap();
        let status = install(&folder).current_dir(&folder).status();
        if !status.is_ok_and(|status| status.success()) {
            // Not by eprintln!, which shows nothing if the test passes.
            let mut terminal = std::io::stderr();
            writeln!(
                terminal,
                "SKIPPED: a story of asyncapi: {tool} cannot install {list}"
            )
            .unwrap();
            return None;
        }
        std::fs::write(installed, wanted).unwrap();
    }
    Some(folder)
}

fn source(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/asyncapi")
        .join(file)
}

/// Returns what AsyncAPI's parser finds in a document.
fn parse(packages: &Path, document: &Value) -> Value {
    let mut node = Command::new("node");
    answer(node.arg(source("validate.mjs")).arg(packages), document)
}

/// Returns what `records.py` says.
fn check(packages: &Path, schema: &Value, bodies: &[Value], records: &[Record]) -> Value {
    let records: Vec<_> = records.iter().map(plain).collect();
    let mut python = Command::new("python3");
    let given = json!({ "schema": schema, "bodies": bodies, "records": records });
    answer(
        python.arg(source("records.py")).env("PYTHONPATH", packages),
        &given,
    )
}

fn plain(record: &Record) -> Value {
    let headers = record.headers.iter().map(|(name, value)| {
        let text = String::from_utf8(value.clone().unwrap()).unwrap();
        json!([name, text])
    });
    json!({
        "headers": headers.collect::<Vec<_>>(),
        "key": String::from_utf8(record.key.clone().unwrap()).unwrap(),
        "value": BASE64.encode(record.value.as_deref().unwrap()),
    })
}

/// Runs a program with JSON as its input, and returns the JSON that it prints.
fn answer(command: &mut Command, given: &Value) -> Value {
    let mut program = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = program.stdin.take().unwrap();
    stdin.write_all(given.to_string().as_bytes()).unwrap();
    drop(stdin);
    let ended = program.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", ended.status);
    serde_json::from_slice(&ended.stdout).unwrap()
}
