//! One accepted job and its progress.
//!
//! Nothing runs: each request computes the job's phase from its age, so a hundred thousand jobs cost no task and no
//! timer. Invariant: an ended job never changes again.

use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::{
    media,
    order::{JobOutput, Order},
    script::{PollFault, Refusal},
};

/// The longest time that a job is `Starting`.
const LONGEST_START: Duration = Duration::from_millis(200);

/// Number of reads whose time is recorded.
const KNOWN_READS: usize = 16;

/// An accepted job, which would be paid for.
#[derive(Debug)]
pub(super) struct SimulatedJob {
    pub(super) id: String,
    /// The client id of its submit.
    pub(super) key: String,
    /// The account that it is billed to.
    pub(super) account: String,
    pub(super) model: String,
    pub(super) order: Order,
    /// The same moment on both clocks: one for display, one for measuring.
    pub(super) created: (SystemTime, Instant),
    /// Running time, unless the job is stuck.
    pub(super) run_time: Duration,
    pub(super) calls: Calls,
    /// Whom to call when it has ended.
    pub(super) callback: Option<Callback>,
}

/// A call that a submit has asked for, when its job has ended.
#[derive(Clone, Debug)]
pub(super) struct Callback {
    pub(super) url: String,
    pub(super) protocol: Protocol,
    /// The base URL that the submit used.
    pub(super) base: String,
}

/// Whose callbacks have that form.
#[derive(Clone, Copy, Debug)]
pub(super) enum Protocol {
    Replicate,
    Fal,
}

/// Calls for a job since it was accepted.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// The job's age when it was canceled.
    canceled: Option<Duration>,
    pub(super) cancel_requests: usize,
    pub(super) reads: usize,
    /// Times of the first reads.
    pub(super) read_at: Vec<Instant>,
    /// How often the URLs of its files were issued, or its file was requested if the protocol issues no URL.
    pub(super) issues: usize,
    /// The status of each answer to its callback; 0 if there was no answer.
    pub(super) callbacks: Vec<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Starting,
    Processing,
    Succeeded,
    Failed,
    Canceled,
}

impl Phase {
    pub(super) fn ended(self) -> bool {
        match self {
            Self::Starting | Self::Processing => false,
            Self::Succeeded | Self::Failed | Self::Canceled => true,
        }
    }
}

impl SimulatedJob {
    /// Returns the job's phase at `now`.
    pub(super) fn phase(&self, now: Instant) -> Phase {
        let age = self.age(now);
        let script = &self.order.script;
        let unread = |read| self.calls.reads < read;
        if self.calls.canceled.is_some() {
            Phase::Canceled
        } else if script.done_at_read.is_some_and(unread) {
            Phase::Processing
        } else if age < LONGEST_START.min(self.run_time / 10) {
            Phase::Starting
        } else if script.stuck || age < self.run_time {
            Phase::Processing
        } else if script.fail.is_some() {
            Phase::Failed
        } else {
            Phase::Succeeded
        }
    }

    /// Returns the completed part of the work at `now`, 0 to 100.
    pub(super) fn percent(&self, now: Instant) -> u32 {
        let worked = self.calls.canceled.unwrap_or_else(|| self.age(now));
        match self.phase(now) {
            Phase::Succeeded => 100,
            Phase::Starting => 0,
            Phase::Processing | Phase::Failed | Phase::Canceled => {
                let part = worked.as_secs_f64() / self.run_time.as_secs_f64().max(0.001);
                (part * 100.0).min(99.0) as u32
            }
        }
    }

    /// Counts a read of the job; returns its script's fault for this read.
    pub(super) fn read(&mut self) -> Option<PollFault> {
        self.calls.reads += 1;
        if self.calls.read_at.len() < KNOWN_READS {
            self.calls.read_at.push(Instant::now());
        }
        self.order.script.poll.get(self.calls.reads - 1).copied()
    }

    /// Counts a cancel request; cancels the job, unless it has ended or its script refuses this request.
    pub(super) fn cancel(&mut self, now: Instant) -> Option<Refusal> {
        self.calls.cancel_requests += 1;
        let refusal = self
            .order
            .script
            .cancel
            .get(self.calls.cancel_requests - 1)
            .copied();
        if refusal.is_none() && !self.phase(now).ended() {
            self.calls.canceled = Some(self.age(now));
        }
        refusal
    }

    /// Counts that the URLs of its files are issued, if it has files at `now`.
    pub(super) fn issue(&mut self, now: Instant) {
        if self.phase(now) == Phase::Succeeded {
            self.calls.issues += 1;
        }
    }

    /// Returns the URLs of its files, as issued now.
    pub(super) fn files(&self, base: &str) -> Vec<String> {
        let given = self.calls.issues;
        let address = |name: String| match &self.order.script.output_at {
            Some(elsewhere) => elsewhere.clone(),
            None => format!("{base}/files/{}/{name}?given={given}", self.id),
        };
        media::names(&self.order.media)
            .into_iter()
            .map(address)
            .collect()
    }

    /// Returns the URL of the poster frame, if the script asks for one.
    pub(super) fn poster(&self, base: &str) -> Option<String> {
        let url = || format!("{base}/files/{}/{}", self.id, media::POSTER);
        self.order.script.poster.then(url)
    }

    /// Returns the quantity that fal bills, in its header's form: images, or seconds of a video.
    pub(super) fn units(&self) -> Option<String> {
        let script = &self.order.script;
        let made = || match &self.order.media {
            JobOutput::Images { count, .. } => count.to_string(),
            JobOutput::Video { seconds, .. } => seconds.to_string(),
        };
        (!script.unmetered).then(|| script.units.clone().unwrap_or_else(made))
    }

    /// Returns the tokens that OpenAI bills: one for each word, and a thousand for each image.
    pub(super) fn usage(&self) -> Option<Value> {
        let input = self.order.prompt.split_whitespace().count();
        let JobOutput::Images { count, .. } = &self.order.media else {
            return None;
        };
        let usage = json!({
            "input_tokens": input,
            "input_tokens_details": {"text_tokens": input, "image_tokens": 0},
            "output_tokens": 1000 * count,
        });
        (!self.order.script.unmetered).then_some(usage)
    }

    /// Returns how long it still runs, unless something else ends it.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.run_time.saturating_sub(self.age(now))
    }

    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.created.1)
    }
}
