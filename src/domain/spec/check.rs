//! The bounds of specs that follow from the contract alone. Intake checks what the operator allows.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::{BatchSpec, Common, ImageSpec, Single, Spec, VideoSpec, params};
use crate::domain::InvalidFields;
use crate::domain::invalid::beginning;

const PROMPT: RangeInclusive<usize> = 1..=10_000;
const MODEL: RangeInclusive<usize> = 1..=256;
/// Limit on the entries of `fallback`, a request's and the operator's.
pub(crate) const MOST_FALLBACKS: usize = 5;
const WORD: RangeInclusive<usize> = 1..=32;

impl Spec {
    /// Checks the contract's bounds.
    pub(crate) fn check(&self, faults: &mut InvalidFields) {
        match self {
            Self::Single(single) => single.check(faults),
            Self::Batch(batch) => batch.check(faults),
        }
    }
}

impl Single {
    fn check(&self, faults: &mut InvalidFields) {
        match self {
            Self::Video(video) => video.check(faults),
            Self::Image(image) => image.check(faults),
        }
    }
}

impl VideoSpec {
    fn check(&self, faults: &mut InvalidFields) {
        self.common.check(faults);
        within(faults, "spec.duration", self.duration, 1..=600);
        within(faults, "spec.fps", self.fps, 1..=120);
        if let Some(resolution) = &self.resolution
            && !is_resolution(resolution)
        {
            let wanted = "expected WIDTHxHEIGHT, each 1 to 65535, or a class such as 720p";
            let shown = beginning(resolution);
            faults.add("spec.resolution", format!("is {shown:?}, {wanted}"));
        }
    }
}

impl ImageSpec {
    fn check(&self, faults: &mut InvalidFields) {
        self.common.check(faults);
        within(faults, "spec.width", self.width, 64..=8192);
        within(faults, "spec.height", self.height, 64..=8192);
        within(faults, "spec.num_images", self.num_images, 1..=16);
        long(
            faults,
            "spec.output_format",
            self.output_format.as_deref(),
            WORD,
        );
    }
}

impl Common {
    fn check(&self, faults: &mut InvalidFields) {
        long(faults, "spec.prompt", Some(&self.prompt), PROMPT);
        let negative = self.negative_prompt.as_deref();
        long(faults, "spec.negative_prompt", negative, PROMPT);
        let ratio = self.aspect_ratio.as_deref();
        long(faults, "spec.aspect_ratio", ratio, WORD);
        long(faults, "spec.style", self.style.as_deref(), 0..=128);
        long(faults, "spec.model", self.model.as_deref(), MODEL);
        let entries = self.fallback.len();
        if entries > MOST_FALLBACKS {
            let problem = format!("has {entries} entries, expected at most {MOST_FALLBACKS}");
            faults.add("spec.fallback", problem);
        }
        for (index, fallback) in self.fallback.iter().take(MOST_FALLBACKS).enumerate() {
            let field = format!("spec.fallback[{index}].model");
            long(faults, &field, fallback.model.as_deref(), MODEL);
        }
        params::check(faults, &self.params);
    }
}

impl BatchSpec {
    fn check(&self, faults: &mut InvalidFields) {
        let most = Some(self.max_concurrent);
        within(faults, "spec.max_concurrent", most, 1..=500);
        if !(1..=10_000).contains(&self.items.len()) {
            let problem = format!("has {} items, expected 1 to 10000", self.items.len());
            faults.add("spec.items", problem);
            return;
        }
        let mut seen = BTreeSet::new();
        for (index, item) in self.items.iter().enumerate() {
            if !seen.insert(&item.request_id) {
                faults.add(
                    "spec.items",
                    format!(
                        "contains the id {} twice, expected each id once",
                        item.request_id
                    ),
                );
            }
            let mut of_item = InvalidFields::default();
            item.spec.check(&mut of_item);
            check_metadata(&mut of_item, &item.metadata);
            faults.of_item(index, of_item);
        }
    }
}

/// Checks the contract's bounds on the metadata of a request or an item.
pub(crate) fn check_metadata(faults: &mut InvalidFields, metadata: &BTreeMap<String, String>) {
    let sizes = metadata.iter().map(|(key, value)| key.len() + value.len());
    let (entries, bytes) = (metadata.len(), sizes.sum::<usize>());
    if entries > 32 || bytes > 8 * 1024 {
        let problem = format!(
            "has {entries} entries of {bytes} bytes in all, expected at most 32 entries and 8192 bytes"
        );
        faults.add("metadata", problem);
    }
}

/// Returns whether `text` is two sides in pixels, such as `1280x720`, or a class, such as `720p` or `4k`.
fn is_resolution(text: &str) -> bool {
    let number = |text: &str| text.parse::<u16>().is_ok_and(|number| number > 0);
    match text.split_once('x') {
        Some((width, height)) => number(width) && number(height),
        None => text.strip_suffix(['p', 'P', 'k', 'K']).is_some_and(number),
    }
}

fn long(faults: &mut InvalidFields, field: &str, text: Option<&str>, range: RangeInclusive<usize>) {
    let length = text.map_or(*range.start(), |text| text.chars().count());
    if !range.contains(&length) {
        let (least, most) = (range.start(), range.end());
        faults.add(
            field,
            format!("is {length} characters long, expected {least} to {most}"),
        );
    }
}

fn within(faults: &mut InvalidFields, field: &str, value: Option<i32>, range: RangeInclusive<i32>) {
    if let Some(value) = value.filter(|value| !range.contains(value)) {
        let (least, most) = (range.start(), range.end());
        faults.add(field, format!("is {value}, expected {least} to {most}"));
    }
}
