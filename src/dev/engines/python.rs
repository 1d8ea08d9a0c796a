//! Libraries of PyPI, for tests that check genflow against independent code.

use std::path::PathBuf;

use super::install::{Installer, Needs};
use super::{Error, Options, pins, whole};

const NAME: &str = "standardwebhooks";

/// Installs the reference library of Standard Webhooks if it is missing, and returns the folder for `PYTHONPATH`.
///
/// # Errors
/// Python or pip is missing, or the package cannot be downloaded.
pub async fn standard_webhooks(options: &Options) -> Result<PathBuf, Error> {
    let options = &options.absolute()?;
    let name = format!("{NAME}-{}", pins::STANDARD_WEBHOOKS);
    let folder = options.cache.join(&name);
    let needs = Needs {
        python: true,
        ..Needs::default()
    };
    let missing = needs.missing(&options.guard).await;
    if !missing.is_empty() {
        return Err(Error::Missing(missing));
    }
    std::fs::create_dir_all(&options.data).map_err(Error::io("create", &options.data))?;
    let installer = Installer::lock(options).await?;
    if !whole::is_whole(&folder) {
        installer.report(&format!("installing {name}"));
        let staging = installer.stage(&name)?;
        let package = format!("{NAME}=={}", pins::STANDARD_WEBHOOKS);
        installer.pip(NAME, &staging.folder, &package, 1).await?;
        staging.finish()?;
    }
    Ok(folder.join("package"))
}
