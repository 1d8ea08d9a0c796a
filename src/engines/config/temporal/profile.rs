//! A profile of Temporal's client configuration, the file that the `temporal` command and the SDKs share.

use std::collections::HashMap;

use temporalio_common::envconfig::{
    ClientConfigProfile, ConfigError, DEFAULT_PROFILE, DataSource, LoadClientConfigProfileOptions,
    load_client_config_profile,
};

use super::super::vars::Vars;

pub(super) const FILE: &str = "TEMPORAL_CONFIG_FILE";
const NAME: &str = "TEMPORAL_PROFILE";

/// Reads the profile, if the file or the profile is named: else a file that is there for the `temporal` command would change
/// which server genflow uses.
pub(super) fn read(vars: &mut Vars<'_>) -> ClientConfigProfile {
    let (file, name) = (vars.optional(FILE), vars.optional(NAME));
    if file.is_none() && name.is_none() {
        return ClientConfigProfile::default();
    }
    let text = file.as_deref().map(std::fs::read);
    let text = match text.transpose() {
        Ok(text) => text,
        Err(error) => {
            let path = file.unwrap_or_default();
            let problem = format!("names {path}, which cannot be read: {error}");
            vars.fault(FILE, &problem);
            return ClientConfigProfile::default();
        }
    };
    let name = name.unwrap_or_else(|| DEFAULT_PROFILE.to_owned());
    let options = LoadClientConfigProfileOptions::builder()
        .maybe_config_source(text.clone().map(DataSource::Data))
        .config_file_profile(name)
        .config_file_strict(true)
        .disable_env(true)
        .build();
    // The empty map: only `vars` reads the environment.
    load_client_config_profile(options, Some(&HashMap::new())).unwrap_or_else(|error| {
        let (variable, problem) = problem(&error, &text.unwrap_or_default());
        vars.fault(variable, &problem);
        ClientConfigProfile::default()
    })
}

/// Describes a fault without the text of the file, which may contain a key.
fn problem(error: &ConfigError, text: &[u8]) -> (&'static str, String) {
    match error {
        ConfigError::ProfileNotFound(name) => (
            NAME,
            format!("is {name}, expected a profile of the file that {FILE} names"),
        ),
        ConfigError::InvalidConfig(problem) => (FILE, format!("names a faulty file: {problem}")),
        ConfigError::LoadError(error) => {
            let parsed = error.downcast_ref::<toml::de::Error>();
            let place = parsed.and_then(toml::de::Error::span);
            let before = place.and_then(|place| text.get(..place.start));
            let line =
                before.map(|before| before.iter().filter(|byte| **byte == b'\n').count() + 1);
            let place = line.map_or_else(|| "a line".to_owned(), |line| format!("line {line}"));
            (
                FILE,
                format!(
                    "names a faulty file: {place} is not one of a Temporal client configuration"
                ),
            )
        }
    }
}
