//! What the measured costs mean for a number of requests a day: pure arithmetic, explained in `docs/operating/sizing.md`.

use std::fmt::Write as _;

use super::report::Report;

/// Requests a day for which a line is printed.
const DAILY: [f64; 3] = [1e5, 1e7, 1e9];
/// The busiest hour has this many times the mean rate.
const PEAK: f64 = 3.0;
/// The part of a core that is used at the peak.
const LOAD: f64 = 0.6;
/// How long a job runs at the provider, in seconds.
const JOB_SECONDS: f64 = 120.0;
/// Copies of each Kafka record.
const COPIES: f64 = 3.0;
/// How long Temporal keeps a closed history, in days.
const RETENTION: f64 = 30.0;
/// The row `requests` measures images that are done at once. A job that is fetched costs this many times as much: it has
/// 23 to 29 history events instead of 17.
const FETCHED: f64 = 1.5;
/// How often Temporal writes the state of such a run: its start, four workflow tasks and three activities, each when it
/// starts and when it ends, and two heartbeats.
const WRITES: f64 = 17.0;
/// Writes a second that one shard of Temporal's history handles without queueing.
const WRITES_OF_A_SHARD: f64 = 50.0;

/// What one request and one waiting job cost.
#[derive(Debug, PartialEq)]
pub(super) struct Measured {
    /// CPU time of one request, in ms.
    intake: f64,
    worker: f64,
    notifier: f64,
    temporal: f64,
    history_bytes: f64,
    kafka_bytes: f64,
    /// Of one waiting job: parts of a core, and MB of a worker.
    worker_share: f64,
    temporal_share: f64,
    worker_mb: f64,
}

impl Measured {
    /// Reads the costs from a report; `None` if it lacks one of the rows `requests`, `notifier` and `in-flight`.
    pub(super) fn of(report: &Report, jobs: usize) -> Option<Self> {
        let whole = |unit| report.median(("requests", "genflow"), unit);
        let case = format!("{jobs} jobs");
        let each = |unit| Some(report.median(("in-flight", &case), unit)? / jobs as f64);
        let deliveries = report.median(("notifier", "genflow, answers at once"), "own CPU-ms")?;
        Some(Self {
            intake: whole("intake CPU-ms")?,
            worker: whole("worker CPU-ms")?,
            notifier: deliveries,
            temporal: whole("Temporal CPU-ms")?,
            history_bytes: whole("history bytes")?,
            kafka_bytes: whole("Kafka bytes")?,
            worker_share: each("worker % of a core")? / 100.0,
            temporal_share: each("Temporal % of a core")? / 100.0,
            worker_mb: each("worker MB")?,
        })
    }

    /// Returns a Markdown table with a line for each number of requests a day.
    pub(super) fn table(&self) -> String {
        let mut table = "| requests a day | at the peak, a second | jobs in flight | intake, cores | workers, cores | \
             workers, GB | notifier, cores | Temporal, cores | history shards | histories, GB | Kafka, GB a day |\n\
             |---|---|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
        for daily in DAILY {
            let rate = daily / 86_400.0 * PEAK;
            let jobs = rate * JOB_SECONDS;
            let cores = |ms: f64, share: f64| (rate * ms / 1e3 + jobs * share) / LOAD;
            let line = [
                daily,
                rate,
                jobs,
                cores(self.intake, 0.0),
                cores(self.worker * FETCHED, self.worker_share),
                jobs * self.worker_mb / 1e3,
                cores(self.notifier, 0.0),
                cores(self.temporal * FETCHED, self.temporal_share),
                shards(rate),
                daily * RETENTION * self.history_bytes * FETCHED / 1e9,
                daily * COPIES * self.kafka_bytes / 1e9,
            ];
            for value in line {
                write!(table, "| {} ", short(value)).ok();
            }
            table.push_str("|\n");
        }
        table
    }
}

/// Returns the number of shards for a rate of requests, rounded up to a power of two: it can never be changed.
fn shards(rate: f64) -> f64 {
    let least = rate * WRITES / WRITES_OF_A_SHARD;
    least.max(4.0).log2().ceil().exp2()
}

/// Formats with two decimals, and whole numbers from 10 on.
fn short(value: f64) -> String {
    match value {
        large if large >= 1e6 => format!("{value:.0e}"),
        middle if middle >= 10.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_follows_from_the_costs() {
        let measured = Measured {
            intake: 1.0,
            worker: 6.0,
            notifier: 0.3,
            temporal: 30.0,
            history_bytes: 5_000.0,
            kafka_bytes: 2_000.0,
            worker_share: 0.000_01,
            temporal_share: 0.000_02,
            worker_mb: 0.02,
        };

        let table = measured.table();

        // 10^7 / 86,400 × 3 = 347 a second; 120 s each: 41,667 jobs. Worker: (347 × 6 ms × 1.5 + 41,667 × 0.00001) / 0.6.
        let line = "| 1e7 | 347 | 41667 | 0.58 | 5.90 | 0.83 | 0.17 | 27 | 128 | 2250 | 60 |";
        assert_eq!(table.lines().nth(3), Some(line), "{table}");
    }

    #[test]
    fn a_report_without_these_rows_has_no_sizing() {
        assert_eq!(Measured::of(&Report::begin(), 2000), None);
    }
}
