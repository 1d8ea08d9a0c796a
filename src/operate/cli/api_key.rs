//! `--api-key` and `--api-key-file`.

use std::path::Path;

use super::Error;
use crate::engines::config::secret_file;

/// `--api-key`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ApiKey {
    /// API key, sent as the header x-api-key
    #[arg(
        long,
        value_name = "KEY",
        env = "GENFLOW_API_KEY",
        hide_env_values = true
    )]
    api_key: Option<String>,
    /// File that contains the key
    #[arg(long, value_name = "PATH", env = "GENFLOW_API_KEY_FILE")]
    api_key_file: Option<String>,
}

impl ApiKey {
    /// Returns the key, or else the content of its file; an empty variable counts as not set.
    ///
    /// # Errors
    /// The file cannot be read, or is empty.
    pub(crate) fn get(&self) -> Result<Option<String>, Error> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(key) = given(&self.api_key) {
            return Ok(Some(key));
        }
        let Some(path) = given(&self.api_key_file) else {
            return Ok(None);
        };
        let key = secret_file::read(Path::new(&path));
        key.map(Some)
            .map_err(|problem| Error::Usage(format!("the file of the API key is {problem}")))
    }
}
