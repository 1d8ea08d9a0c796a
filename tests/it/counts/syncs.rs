//! Counts how often a process syncs a file or folder to disk: a small library, loaded before the C library, counts the
//! calls. The C compiler that builds librdkafka builds it; a tracer would be one more tool to install.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The syncs of one process.
pub(super) struct Syncs {
    library: String,
    count: PathBuf,
}

impl Syncs {
    /// Builds the library in `folder`, for one process called `name`.
    pub(super) fn of(name: &str, folder: &Path) -> Self {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/counts/syncs.c");
        let library = folder.join(format!("{name}.so"));
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let built = Command::new(&compiler)
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(source)
            .status();
        match built {
            Ok(status) if status.success() => {}
            built => panic!(
                "{compiler} did not build {source}: {built:?}; expected a C compiler, as for librdkafka (docs/dev.md)"
            ),
        }
        Self {
            library: library.to_str().unwrap().to_owned(),
            count: folder.join(format!("{name}.syncs")),
        }
    }

    /// Returns the settings of a process whose syncs are counted.
    pub(super) fn settings(&self) -> [(&str, &str); 2] {
        let count = self.count.to_str().unwrap();
        [("LD_PRELOAD", &self.library), ("SYNCS", count)]
    }

    /// Returns how many there have been.
    pub(super) fn count(&self) -> u64 {
        std::fs::metadata(&self.count).map_or(0, |file| file.len())
    }
}
