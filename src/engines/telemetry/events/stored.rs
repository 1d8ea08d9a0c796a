//! Events of results: on their way, and in the store.

use std::error::Error;
use std::io;

use metrics::counter;
use tracing::{debug, info, warn};

use super::catalogue;

/// An output was stored.
#[derive(Debug)]
pub struct OutputStored {
    /// Size of the output.
    pub bytes: u64,
}

/// An operation on the store or the temp folder failed.
#[derive(Debug)]
pub struct StoreFailed<'a> {
    /// `disk`, `bucket` or `temp`; a label.
    pub place: &'static str,
    /// `full`, `denied` and so on; a label.
    pub cause: &'static str,
    /// The error.
    pub error: &'a io::Error,
}

/// Temp folders that a crash left were removed.
#[derive(Debug)]
pub struct TempSwept {
    /// Number of folders.
    pub folders: usize,
}

impl OutputStored {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self { bytes } = self;
        debug!(bytes, "output stored");
        counter!(catalogue::STORED_BYTES).increment(bytes);
    }
}

impl StoreFailed<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self {
            place,
            cause,
            error,
        } = self;
        let error = error as &dyn Error;
        warn!(place, cause, error, "store failed");
        counter!(catalogue::STORE_FAILURES, "place" => place, "cause" => cause).increment(1);
    }
}

impl TempSwept {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self { folders } = self;
        info!(folders, "temp folders swept");
        counter!(catalogue::TEMP_FOLDERS_SWEPT).increment(folders as u64);
    }
}
