//! How large an event is as Avro, and what is cut of one that is too large (contract, section 3, rule 5).
//!
//! Sizes are reckoned from above and not by encoding: the domain knows no Avro. The tests of `avro.rs` hold the two
//! against each other.

use super::{Event, EventError, Generated, Output};

/// No event is larger, as Avro (contract, section 3, rule 5).
pub(crate) const LARGEST_EVENT: usize = 256 * 1024;

/// The most that the outputs of one result may weigh: what is never cut of an event has to fit without the rest.
const LARGEST_OUTPUTS: usize = 200_000;

/// More than all that is not text takes: numbers, symbols, union branches, the lengths of texts.
const EVENT_FRAME: usize = 512;

/// The same of one output.
const OUTPUT_FRAME: usize = 96;

/// The same of one entry of the metadata.
const ENTRY_FRAME: usize = 8;

impl Event {
    /// Cuts what would make the event larger than 256 kB: first the addresses to fetch outputs at, then what was sent to
    /// the model and how it differs from the request, then the metadata.
    ///
    /// Texts are bounded as they come in. What says which event it is, whom to tell and what is stored is never cut,
    /// and fits: see [`Generated::fits`].
    pub(super) fn cut_to_size(&mut self) {
        if self.weight() > LARGEST_EVENT {
            let outputs = self
                .result
                .iter_mut()
                .flat_map(|result| &mut result.outputs);
            outputs.for_each(|output| output.url = None);
        }
        if self.weight() > LARGEST_EVENT
            && let Some(result) = &mut self.result
        {
            result.sent = None;
            result.notes.clear();
        }
        if self.weight() > LARGEST_EVENT {
            self.metadata.clear();
        }
    }

    /// Returns a number of bytes that the event as Avro does not exceed.
    pub(crate) fn weight(&self) -> usize {
        let ids = [&self.event_id, &self.request_id, &self.user_id];
        let nullable_ids = [&self.batch_id, &self.workflow_id, &self.run_id];
        let progress = self.progress.as_ref().map_or(0, |progress| {
            progress.stage.len() + length(progress.message.as_ref())
        });
        let result = self.result.as_ref().map_or(0, Generated::weight);
        let error = self.error.as_ref().map_or(0, EventError::weight);
        let record = self.record.as_ref().map_or(0, |record| record.topic.len());
        let notify = self
            .notify
            .as_ref()
            .map_or(0, |notify| notify.on.len() + notify.sealed.0.len());
        let metadata: usize = self
            .metadata
            .iter()
            .map(|(key, value)| ENTRY_FRAME + key.len() + value.len())
            .sum();
        let ids = ids.map(String::len).iter().sum::<usize>()
            + nullable_ids
                .map(|id| length(id.as_ref()))
                .iter()
                .sum::<usize>();
        EVENT_FRAME + ids + progress + result + error + record + notify + metadata
    }
}

impl Generated {
    /// Tells whether an event can carry these outputs, whatever else stands in it.
    pub(crate) fn fits(outputs: &[Output]) -> bool {
        // Without the addresses to fetch them at: those can be left out.
        outputs.iter().map(Output::weight).sum::<usize>() <= LARGEST_OUTPUTS
    }

    fn weight(&self) -> usize {
        let outputs = self.outputs.iter();
        let outputs = outputs.map(|output| output.weight() + length(output.url.as_ref()));
        let ids = self.provider.len() + self.provider_job_id.len();
        let notes = self
            .notes
            .iter()
            .map(|note| ENTRY_FRAME * 2 + note.field.len() + note.kind.len() + note.details.len());
        let sent = length(self.sent.as_ref());
        ids + outputs.sum::<usize>() + sent + notes.sum::<usize>()
    }
}

impl EventError {
    fn weight(&self) -> usize {
        let problems = self.problems.iter().map(|problem| {
            let texts = [&problem.asked, &problem.allowed, &problem.hint];
            let texts = texts.map(|text| length(text.as_ref()));
            ENTRY_FRAME * 3 + problem.field.len() + texts.iter().sum::<usize>()
        });
        self.message.len() + problems.sum::<usize>()
    }
}

impl Output {
    fn weight(&self) -> usize {
        OUTPUT_FRAME + self.uri.len() + self.content_type.len() + self.sha256.len()
    }
}

fn length(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}
