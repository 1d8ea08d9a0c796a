//! The limit on open files and sockets of this process.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the limit to the system's maximum, if it can. The common default of 1,024 is too low for the connections of a
/// busy notifier, or of a worker that waits for 2,000 jobs.
pub(crate) fn allow_many() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit on open files was not raised");
    }
}
