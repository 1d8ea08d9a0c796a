//! The recorded histories, and how a story records its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use genflow::dev::engines::default_cache;
use genflow::operate::replay::{Recorded, Replayer};
use serde_json::Value;

use crate::support::Space;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/histories")
}

/// The recorded histories: release and ending, and what is in the file.
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

pub(super) async fn replay(name: &str, history: &[u8]) {
    let recorded = Recorded::from_json(history).unwrap();
    let misfit = Replayer::new().unwrap().replay(&recorded).await.unwrap();
    if let Some(misfit) = misfit {
        panic!("{name} does not replay: {misfit:?}");
    }
}

/// What Temporal's own CLI exports of a run.
pub(super) fn exported() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/exported.json")
}

/// Replays a fresh history, and records it if that is asked for; else one like it is recorded.
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
        "no history is recorded of {name}: see GENFLOW_RECORD"
    );
    replay(name, history).await;
}

/// Records what Temporal's own CLI exports of a run, if that is asked for.
pub(super) fn export(space: &Space, workflow: &str) {
    if std::env::var_os("GENFLOW_RECORD").is_none() {
        return;
    }
    let mut installed = std::fs::read_dir(default_cache()).unwrap().flatten();
    let cli = installed
        .find(|entry| entry.file_name().to_string_lossy().starts_with("temporal-"))
        .map(|entry| entry.path().join("package/bin/temporal"));
    let show = Command::new(cli.unwrap())
        .args([
            "workflow",
            "show",
            "--output",
            "json",
            "--workflow-id",
            workflow,
        ])
        .args(["--address", &space.engines.temporal])
        .output()
        .unwrap();
    let mut history: Value = serde_json::from_slice(&show.stdout).unwrap();
    each_text(&mut history, &anywhere);
    std::fs::write(exported(), format!("{history}\n")).unwrap();
}

/// Puts another text in the place of each for which `change` has one, in what payloads hold too.
pub(super) fn each_text(value: &mut Value, change: &dyn Fn(&str) -> Option<String>) {
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

/// A text as if the folder of its space were `/srv`.
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
