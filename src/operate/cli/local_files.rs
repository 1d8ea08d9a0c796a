//! Input files that a request names by their path on this machine: `submit` puts them into the bucket, and replaces each
//! path by a signed URL.

use std::io;
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value as Json, json};

use super::Error;
use crate::engines::config::Config;
use crate::engines::storage::{Store, check_input};

/// What a check shows in place of the signed URL, which only a submit makes.
const PLACEHOLDER: &str = "https://signed-url.invalid/";

/// Stores the local files of requests; returns whether there were any.
pub(super) async fn share(config: &Config, forms: &mut [Json]) -> anyhow::Result<bool> {
    let files: Vec<_> = forms.iter_mut().flat_map(local).collect();
    if files.is_empty() {
        return Ok(false);
    }
    let store = Store::open(&config.worker).context("cannot open the result store")?;
    for file in files {
        let path = path(file);
        let checked = check_input(Path::new(&path)).await;
        checked.map_err(|error| fault(&path, &error))?;
        *file = match store.share_input(Path::new(&path)).await {
            Ok(url) => json!(url.as_str()),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                return Err(fault(&path, &error).into());
            }
            Err(error) => return Err(error).context(format!("cannot store {path}")),
        };
    }
    Ok(true)
}

/// Checks the local files of requests and puts a placeholder in place of each.
pub(super) async fn check(forms: &mut [Json]) -> Result<(), Error> {
    for file in forms.iter_mut().flat_map(local) {
        let path = path(file);
        let checked = check_input(Path::new(&path)).await;
        checked.map_err(|error| fault(&path, &error))?;
        let name = path.trim_start_matches(['.', '/']);
        *file = json!(format!("{PLACEHOLDER}{name}"));
    }
    Ok(())
}

fn fault(path: &str, error: &io::Error) -> Error {
    let problem = if error.kind() == io::ErrorKind::NotFound {
        "is neither a file here nor an http or https URL".to_owned()
    } else {
        error.to_string()
    };
    Error::Usage(format!("--input {path}: {problem}"))
}

/// Returns the inputs of a request that are no URLs: each is the path of a file.
fn local(form: &mut Json) -> Vec<&mut Json> {
    let inputs = form.get_mut("inputs").and_then(Json::as_array_mut);
    let urls = inputs
        .into_iter()
        .flatten()
        .filter_map(|input| input.get_mut("url"));
    urls.filter(|url| url.as_str().is_some_and(|text| !text.contains("://")))
        .collect()
}

fn path(file: &Json) -> String {
    file.as_str().unwrap_or_default().to_owned()
}
