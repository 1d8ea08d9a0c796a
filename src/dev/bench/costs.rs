//! What a measurement costs: the CPU time and the memory of each process.

use std::time::Instant;

use super::measure::{cpu_ms, mb, peak_mb};
use super::report::{Case, Report};

/// The CPU time of some processes and of the Temporal server since `begin`.
pub(super) struct Costs {
    began: Instant,
    ours: Vec<Watched>,
    temporal: Watched,
}

/// A process, and its CPU time when the measurement began.
struct Watched {
    name: &'static str,
    pid: u32,
    began_ms: f64,
}

impl Watched {
    fn begin((name, pid): (&'static str, u32)) -> anyhow::Result<Self> {
        let began_ms = cpu_ms(pid)?;
        Ok(Self {
            name,
            pid,
            began_ms,
        })
    }

    fn cpu_ms(&self) -> anyhow::Result<f64> {
        Ok(cpu_ms(self.pid)? - self.began_ms)
    }
}

impl Costs {
    /// Starts measuring these processes, given by name and id.
    pub(super) fn begin(
        ours: Vec<(&'static str, u32)>,
        temporal: (&'static str, u32),
    ) -> anyhow::Result<Self> {
        let ours: anyhow::Result<_> = ours.into_iter().map(Watched::begin).collect();
        Ok(Self {
            ours: ours?,
            temporal: Watched::begin(temporal)?,
            began: Instant::now(),
        })
    }

    pub(super) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Adds to the report how many of `number` things were done per second, the CPU time for each, and the peak memory.
    /// Returns the CPU time of our processes for each, in milliseconds.
    pub(super) fn add(
        &self,
        report: &mut Report,
        (row, of): Case<'_>,
        (things, number): (&str, usize),
        seconds: f64,
    ) -> anyhow::Result<f64> {
        let number = number as f64;
        let mut add = |unit: &str, value| report.add(row, of, unit, value);
        add(&format!("{things}/s"), number / seconds);
        let mut own = 0.0;
        for process in &self.ours {
            let (name, each) = (process.name, process.cpu_ms()? / number);
            own += each;
            if self.ours.len() > 1 {
                add(&format!("{name} CPU-ms"), each);
            }
            add(&format!("{name} peak MB"), peak_mb(process.pid)?);
        }
        add("own CPU-ms", own);
        add("Temporal CPU-ms", self.temporal.cpu_ms()? / number);
        Ok(own)
    }

    /// Adds to the report what share of a core each process has used since `begin`, and its memory now.
    pub(super) fn add_shares(
        &self,
        report: &mut Report,
        (row, of): Case<'_>,
    ) -> anyhow::Result<()> {
        let seconds = self.seconds();
        for process in self.ours.iter().chain([&self.temporal]) {
            let (name, share) = (process.name, process.cpu_ms()? / seconds / 10.0);
            report.add(row, of, &format!("{name} % of a core"), share);
            report.add(row, of, &format!("{name} MB"), mb(process.pid)?);
        }
        Ok(())
    }
}
