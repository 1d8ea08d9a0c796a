//! Bounds the size of an event as Avro, and trims one that is too large (contract, section 3, rule 5).
//!
//! Sizes are estimated from above, not encoded: the domain does not know Avro. The tests of `avro.rs` compare
//! the estimate with the encoding.

use super::{Event, EventError, Generated, Output};

/// The largest event in bytes, as Avro (contract, section 3, rule 5).
pub(crate) const LARGEST_EVENT: usize = 256 * 1024;

/// Limit on the outputs of one result in bytes. Outputs are never trimmed, so they and the other untrimmed
/// fields must fit.
const LARGEST_OUTPUTS: usize = 200_000;

/// Upper bound of everything but text: numbers, symbols, union branches, the lengths of texts.
const EVENT_FRAME: usize = 512;

/// The same bound for one output.
const OUTPUT_FRAME: usize = 96;

/// The same bound for one entry of the metadata; a note counts as two entries, a problem as three.
const ENTRY_FRAME: usize = 8;

impl Event {
    /// Trims an event above 256 kB: first `outputs[].url`, then `result.sent` and `result.notes`, then
    /// `tried`, then `metadata`.
    ///
    /// Texts are bounded where they enter. The ids, the notification targets and the stored outputs are never
    /// trimmed; [`Generated::fits`] bounds the outputs.
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
            self.tried.clear();
        }
        if self.weight() > LARGEST_EVENT {
            self.metadata.clear();
        }
    }

    /// Returns an upper bound of the event's size as Avro, in bytes.
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
        let tried = self.tried.iter().map(|tried| {
            let texts = [&tried.provider, &tried.model, &tried.message];
            let code = tried.code.as_str().len();
            ENTRY_FRAME * 2 + code + texts.map(String::len).iter().sum::<usize>()
        });
        let ids = ids.map(String::len).iter().sum::<usize>()
            + nullable_ids
                .map(|id| length(id.as_ref()))
                .iter()
                .sum::<usize>();
        EVENT_FRAME
            + ids
            + progress
            + result
            + error
            + record
            + notify
            + metadata
            + tried.sum::<usize>()
    }
}

impl Generated {
    /// Returns whether every event can carry these outputs, even one with the largest other fields.
    pub(crate) fn fits(outputs: &[Output]) -> bool {
        // Without `url`, which can be trimmed.
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
        let sent = length(self.sent.as_ref()) + length(self.model.as_ref());
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
