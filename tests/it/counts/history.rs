//! The figures of runs' histories.

use std::cell::Cell;

use genflow::domain::Request;
use genflow::workflows::generation::Generation;
use serde_json::Value;
use temporalio_client::{Client, WorkflowDescribeOptions, WorkflowHandle};

use super::table::Figures;
use crate::replay::each_text;
use crate::support::Space;

/// The client identity of a role begins so, and ends with its process id.
const IDENTITY: &str = "genflow-";

/// Adds the figures of each request's run.
pub(super) async fn add_histories(space: &Space, requests: &[Request], measured: &mut [Figures]) {
    let client = space.client().await;
    for (request, figures) in requests.iter().zip(measured) {
        let run = client.get_workflow_handle::<Generation>(request.id.to_string());
        figures.extend(figures_of(space, &run).await);
    }
}

async fn figures_of(space: &Space, run: &WorkflowHandle<Client, Generation>) -> Figures {
    let described = run.describe(WorkflowDescribeOptions::default()).await;
    let described = described.unwrap().into_raw();
    let size = described
        .workflow_execution_info
        .unwrap()
        .history_size_bytes;
    let history = run.fetch_history(Default::default()).to_json().await;
    let mut history: Value = serde_json::from_slice(&history.unwrap()).unwrap();
    let mut figures = Figures::new();
    let local = local_bytes(space, &mut history);
    let bytes = size.unsigned_abs() - local;
    figures.insert("history: bytes, at most".to_owned(), bytes);
    for event in history["events"].as_array().unwrap() {
        let mut count = |name: &str| *figures.entry(format!("history: {name}")).or_default() += 1;
        count("events");
        let attributes = event["attributes"].as_object().unwrap();
        let (kind, attributes) = attributes.iter().next().unwrap();
        match kind.as_str() {
            "ActivityTaskScheduledEventAttributes" => {
                let name = attributes["activity_type"]["name"].as_str();
                count(&format!("activity {}", name.unwrap()));
            }
            "WorkflowTaskCompletedEventAttributes" => count("workflow tasks"),
            "TimerStartedEventAttributes" => count("timers"),
            _ => {}
        }
    }
    figures
}

/// Returns how many bytes are names that depend on the machine: the space's folder, and the ids of processes.
fn local_bytes(space: &Space, history: &mut Value) -> u64 {
    let folder = space.folder().to_str().unwrap();
    let bytes = Cell::new(0);
    each_text(history, &|text| {
        let process = text.strip_prefix(IDENTITY).unwrap_or_default();
        let local = text.matches(folder).count() * folder.len() + process.len();
        bytes.set(bytes.get() + local);
        None
    });
    bytes.get() as u64
}
