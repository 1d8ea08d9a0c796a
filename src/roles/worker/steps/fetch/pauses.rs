//! How long a fetch waits between two polls.

use std::time::Duration;

/// The longest pause between two polls, unless the provider or `FETCH_POLL_INTERVAL` asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// The longest pause between two polls of a job whose provider calls back; the shortest is a fifth of it.
const RAREST_PAUSE: Duration = Duration::from_secs(300);

/// Returns the pause before the next poll: a tenth of the job's age, and at most half the time left, so that a job that
/// is done just before the deadline is still found.
pub(super) fn pause(age: Duration, left: Duration, shortest: Duration) -> Duration {
    let usual = (age / 10).min(LONGEST_PAUSE);
    usual.min(left / 2).max(shortest)
}

/// Returns the pause before the next poll of a job whose provider calls back: minutes, since these polls only find jobs
/// whose callback does not come.
pub(super) fn rare_pause(age: Duration, left: Duration, shortest: Duration) -> Duration {
    let usual = (age / 2).clamp(RAREST_PAUSE / 5, RAREST_PAUSE);
    usual.min(left / 2).max(shortest)
}
