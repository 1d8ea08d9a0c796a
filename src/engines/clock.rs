//! The clock of this machine.

use std::time::SystemTime;

use crate::domain::time::since_epoch;

/// Returns the time in milliseconds since the epoch.
pub fn now() -> i64 {
    since_epoch(SystemTime::now())
}
