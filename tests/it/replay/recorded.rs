//! The recorded histories, and how tests record new ones.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use genflow::operate::replay::{Recorded, Replayer};
use serde_json::Value;
use temporalio_common::protos::temporal::api::history::v1::History;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/histories")
}

/// Returns the recorded histories: release and ending, and the content of the file.
pub(super) fn recorded() -> Vec<(String, Vec<u8>)> {
    let entries = |path: &Path| {
        let entries = std::fs::read_dir(path).unwrap();
        entries.map(|entry| entry.unwrap().path())
    };
    let files = entries(&folder()).flat_map(|release| entries(&release));
    let name = |path: &Path| {
        let name = path.strip_prefix(folder()).unwrap().with_extension("");
        name.to_str().unwrap().to_owned()
    };
    files
        .map(|path| (name(&path), std::fs::read(&path).unwrap()))
        .collect()
}

/// Reads a history as the SDK writes it.
pub(super) fn of_json(history: &[u8]) -> Recorded {
    let history: History = serde_json::from_slice(history).unwrap();
    Recorded::of(history.events).unwrap()
}

pub(super) async fn replay(name: &str, history: &[u8]) {
    let recorded = of_json(history);
    let misfit = Replayer::new().unwrap().replay(&recorded).await.unwrap();
    if let Some(misfit) = misfit {
        panic!("{name} does not replay: {misfit:?}");
    }
}

/// Replays a new history, and records it if `GENFLOW_RECORD` is set. Asserts that one with its name is recorded.
pub(crate) async fn keep(name: &str, history: &[u8]) {
    if let Ok(release) = std::env::var("GENFLOW_RECORD") {
        let mut history: Value = serde_json::from_slice(history).unwrap();
        each_text(&mut history, &anywhere);
        let folder = folder().join(release);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.json")), history.to_string()).unwrap();
    }
    let is_recorded = recorded()
        .iter()
        .any(|(recorded, _)| recorded.ends_with(&format!("/{name}")));
    assert!(
        is_recorded,
        "no history of {name} is recorded: see GENFLOW_RECORD"
    );
    replay(name, history).await;
}

/// Replaces each text for which `change` returns another, also inside of payloads.
pub(crate) fn each_text(value: &mut Value, change: &dyn Fn(&str) -> Option<String>) {
    match value {
        Value::String(text) => {
            let held = BASE64.decode(&*text).ok();
            let changed = match held.and_then(|bytes| String::from_utf8(bytes).ok()) {
                Some(held) => change(&held).map(|held| BASE64.encode(held)),
                None => change(text),
            };
            if let Some(changed) = changed {
                *text = changed;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| each_text(value, change)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|value| each_text(value, change)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Replaces the folder of the text's space by `/srv`.
fn anywhere(text: &str) -> Option<String> {
    let mut parts = text.split(concat!(env!("CARGO_TARGET_TMPDIR"), "/"));
    let mut moved = parts.next()?.to_owned();
    for part in parts {
        let inside = part.find(['/', '"']).map_or("", |at| &part[at..]);
        moved.push_str("/srv");
        moved.push_str(inside);
    }
    (moved != text).then_some(moved)
}
