//! Settings of logs.

use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::vars::Vars;

/// How logs are written.
#[derive(Clone, Debug)]
pub struct Log {
    /// Directives of a `tracing` filter.
    pub filter: String,
    /// Write JSON instead of text.
    pub json: bool,
    /// Append to this file instead of standard error.
    pub file: Option<LogFile>,
}

/// A log file, and when another one is begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    pub path: PathBuf,
    /// Above this many bytes, another file is begun; `None`: never.
    pub max_bytes: Option<u64>,
    /// After this time, another file is begun; `None`: never.
    pub max_age: Option<Duration>,
    /// How many earlier files are kept: `path.1` is the newest.
    pub kept: u32,
}

impl LogFile {
    /// Returns the file at a path, with the default limits.
    pub const fn at(path: PathBuf) -> Self {
        Self {
            path,
            max_bytes: Some(MAX_BYTES),
            max_age: None,
            kept: KEPT,
        }
    }
}

const MAX_BYTES: u64 = 100 << 20;
const KEPT: u32 = 5;

pub(super) fn read(vars: &mut Vars<'_>) -> Log {
    let debug = vars.flag("DEBUG", false);
    let default = if debug { "debug" } else { "info" };
    let expected =
        "off, error, warn, info, debug, trace, or a tracing filter such as warn,genflow=debug";
    let given = vars.read("LOG_LEVEL", expected, filter);
    Log {
        filter: given.or_else(|| filter(default)).unwrap_or_default(),
        json: vars.flag("USE_JSON_LOGGING", false),
        file: file(vars),
    }
}

fn file(vars: &mut Vars<'_>) -> Option<LogFile> {
    let path = vars.optional("LOG_FILE_PATH").map(PathBuf::from);
    let max_bytes = vars.number("LOG_FILE_MAX_BYTES", MAX_BYTES, 0..=u64::MAX);
    let max_age = vars.optional_duration("LOG_FILE_MAX_AGE");
    let kept = vars.number("LOG_FILES_KEPT", KEPT.into(), 1..=100);
    Some(LogFile {
        path: path?,
        max_bytes: (max_bytes > 0).then_some(max_bytes),
        max_age,
        kept: u32::try_from(kept).unwrap_or(KEPT),
    })
}

/// Returns the filter for `level`. A plain level applies to genflow; libraries log warnings at most.
fn filter(level: &str) -> Option<String> {
    let plain = match level.to_ascii_lowercase().as_str() {
        "warning" => Some(LevelFilter::WARN),
        word => word.parse().ok(),
    };
    match plain {
        Some(plain) if plain <= LevelFilter::ERROR => Some(plain.to_string()),
        Some(plain) => Some(format!("warn,genflow={plain}")),
        // A word that is not a level would be the name of a target, and silence all other targets.
        None if level.split(',').any(is_bare_target) => None,
        None => EnvFilter::try_new(level).ok().map(|_| level.to_owned()),
    }
}

fn is_bare_target(part: &str) -> bool {
    !part.contains(['=', '[', ']']) && part.trim().parse::<LevelFilter>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_level_is_for_genflow_and_anything_else_is_a_filter() {
        for (level, directives) in [
            ("info", "warn,genflow=info"),
            ("DEBUG", "warn,genflow=debug"),
            ("Warning", "warn,genflow=warn"),
            ("error", "error"),
            ("OFF", "off"),
            (
                "genflow::engines::kafka=trace",
                "genflow::engines::kafka=trace",
            ),
            ("warn,genflow=debug", "warn,genflow=debug"),
            (
                "info,genflow[{topic=a}]=debug",
                "info,genflow[{topic=a}]=debug",
            ),
        ] {
            assert_eq!(filter(level).as_deref(), Some(directives), "{level}");
        }
    }

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for level in [
            "verbose",
            "genflow",
            "WARN,verbose",
            "genflow::engines::kafka",
            "genflow=loud",
        ] {
            assert_eq!(filter(level), None, "{level}");
        }
    }
}
