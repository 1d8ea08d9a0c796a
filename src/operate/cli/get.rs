//! `genflow get`: copies the files of a request, or of a batch's items, from the result store to a folder.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueHint;
use serde_json::json;

use super::Error;
use super::temporal::{LONGEST, PATIENCE, RunName, connect, not_found, within};
use super::terminal::bar;
use crate::domain::{Generated, Output, RequestId, WorkflowId};
use crate::engines::clock::now;
use crate::engines::config::Config;
use crate::engines::storage::Store;
use crate::engines::temporal::client::Temporal;
use crate::engines::temporal::list::RunFilter;

/// `genflow get`.
#[derive(Debug, clap::Args)]
pub struct Get {
    /// ID of a request: the files of its newest run; ID~n: those of its n-th retry; ID of a batch: those of all its items
    pub id: String,
    /// Folder for the files; created if it does not exist
    #[arg(short, long, value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub output: PathBuf,
    /// Print each file as a line of JSON
    #[arg(long)]
    pub json: bool,
}

/// The most items of a batch.
const MOST_ITEMS: usize = 10_000;

/// Copies the files, and prints the path of each; returns 1 if there are none.
pub(super) async fn get(config: &Config, get: &Get, out: &mut dyn Write) -> anyhow::Result<u8> {
    let server = &config.temporal;
    let name = RunName::parse(&get.id)?;
    let temporal = connect(server).await?;
    let Some(run) = within(PATIENCE, server, name.workflow(&temporal)).await? else {
        not_found(&get.id, &temporal, server).await?;
        return Ok(1);
    };
    let store = Store::open(&config.worker).context("cannot open the result store")?;
    let runs = match stored(&store, &run).await? {
        Some(result) => vec![(run, result)],
        None => items(config, &temporal, &store, &run).await?,
    };
    if runs.is_empty() {
        writeln!(
            io::stderr().lock(),
            "{} has no files in the result store",
            get.id
        )?;
        return Ok(1);
    }
    std::fs::create_dir_all(&get.output).map_err(|error| {
        Error::Usage(format!("cannot create {}: {error}", get.output.display()))
    })?;
    let files = runs.iter().map(|(_, result)| result.outputs.len() as u64);
    let bar = bar("files copied", Some(files.sum()));
    for (run, result) in &runs {
        for (index, output) in result.outputs.iter().enumerate() {
            let path = get.output.join(file_name(run, index, &output.uri));
            copy(&store, run, &output.uri, &path).await?;
            bar.inc(1);
            let line = match get.json {
                true => as_json(run, output, &path),
                false => path.display().to_string(),
            };
            bar.suspend(|| writeln!(out, "{line}"))?;
        }
    }
    out.flush()?;
    Ok(0)
}

fn as_json(run: &WorkflowId, output: &Output, path: &Path) -> String {
    json!({
        "path": path,
        "workflow_id": run.as_str(),
        "uri": output.uri,
        "content_type": output.content_type,
        "bytes": output.bytes,
    })
    .to_string()
}

async fn stored(store: &Store, run: &WorkflowId) -> anyhow::Result<Option<Generated>> {
    let result = store.result(run).await;
    result.context("cannot read the result store")
}

/// Returns the results of a batch's items, of the newest run of each.
async fn items(
    config: &Config,
    temporal: &Temporal,
    store: &Store,
    batch: &WorkflowId,
) -> anyhow::Result<Vec<(WorkflowId, Generated)>> {
    let Ok(batch) = RequestId::try_from(batch.to_string()) else {
        return Ok(Vec::new());
    };
    let which = RunFilter {
        batch: Some(batch),
        ..RunFilter::default()
    };
    let listing = temporal.list(&which, MOST_ITEMS, now());
    let runs = within(LONGEST, &config.temporal, listing).await?;
    let mut seen = BTreeSet::new();
    let mut results = Vec::new();
    // The newest first.
    for run in runs
        .into_iter()
        .filter(|run| seen.insert(run.request_id.clone()))
    {
        let run = RunName::parse(&run.workflow_id)?.exact();
        if let Some(result) = stored(store, &run).await? {
            results.push((run, result));
        }
    }
    results.sort_by_key(|(run, _)| run.to_string());
    Ok(results)
}

/// Returns the name of a file in the folder: the run, the number of the output, and its extension.
fn file_name(run: &WorkflowId, index: usize, uri: &str) -> String {
    let extension = uri
        .rsplit('/')
        .next()
        .and_then(|name| name.rsplit_once('.'));
    let extension = extension.map_or("bin", |(_, extension)| extension);
    format!("{run}-{index}.{extension}")
}

/// Copies a file to a path where no file exists yet.
async fn copy(store: &Store, run: &WorkflowId, uri: &str, path: &Path) -> anyhow::Result<()> {
    let Err(error) = store.copy(run, uri, path).await else {
        return Ok(());
    };
    if error.kind() == io::ErrorKind::AlreadyExists {
        return Err(Error::Usage(format!(
            "{} exists already; delete it, or choose another folder with -o",
            path.display()
        ))
        .into());
    }
    let what = format!("cannot copy {uri} to {}", path.display());
    Err(anyhow::Error::from(error).context(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_its_run_its_number_and_its_kind() {
        let run = RequestId::try_from("order-7".to_owned()).unwrap().run(1);

        assert_eq!(
            file_name(&run, 0, "file:///results/order-7~1/0-abc.png"),
            "order-7~1-0.png"
        );
        assert_eq!(file_name(&run, 2, "s3://bucket/odd"), "order-7~1-2.bin");
    }
}
