//! Speaks each model's own input: binds the fields of a request to the properties of the model's input schema.
//!
//! Each requested field ends as exact, as adapted with a note, or as a problem; nothing else is sent (contract, 6.10 and
//! 6.11). A function of the request and the model's [`Profile`] alone. What differs from model to model is data: the
//! schema, the names in `names`, and the limits in `schemas/models/limits.toml`.

mod binder;
pub mod bundle;
mod check;
mod files;
mod limits;
mod names;
mod params;
mod price;
mod profile;
mod schema;
mod size;
mod time;
mod value;

use serde_json::{Map, Value};

use self::binder::Binder;
pub use self::limits::Limits;
pub use self::price::Prices;
pub use self::profile::{ModelInput, Origin, Profile};
pub use self::schema::Schema;
use self::value::hide;
use crate::domain::{Note, Problem, Single};

/// The input of a model, and how it differs from the request.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// The properties to send, in the schema's spelling and JSON types.
    pub input: Map<String, Value>,
    /// What was adapted, dropped or overridden.
    pub notes: Vec<Note>,
    /// What it costs in US dollars; `None` until prices were looked up, or if the price is not known.
    pub estimate_usd: Option<f64>,
    /// The property that holds the prompt.
    prompt: Option<String>,
}

/// Binds a request to a model's input.
///
/// # Errors
/// All problems of the request, if the model cannot make what it asks for.
pub fn bind(profile: &Profile, single: &Single) -> Result<Bound, Vec<Problem>> {
    let mut binder = Binder::new(profile, single);
    let common = single.common();
    binder.prompt(&common.prompt);
    binder.text("negative_prompt", common.negative_prompt.as_deref());
    binder.number("seed", common.seed);
    // Before the size: some models take the ratio from a picture.
    files::bind(&mut binder, &common.inputs);
    size::bind(&mut binder, single);
    match single {
        Single::Video(video) => {
            time::bind(&mut binder, video, &common.params);
            binder.audio(video.audio);
        }
        Single::Image(image) => {
            binder.count(image.num_images);
            binder.output_format(image.output_format.as_deref());
        }
    }
    binder.style(common.style.as_deref());
    params::merge(&mut binder, &common.params);
    check::all(&mut binder);
    binder.finish()
}

/// Limit on the bytes of the report.
const LARGEST_SENT: usize = 32 * 1024;

impl Bound {
    /// Returns the input as events carry it: JSON text without the prompt, and URLs without login and query. Long values
    /// are cut; `None` if it is too long nevertheless.
    pub fn sent(&self) -> Option<String> {
        let mut sent = self.input.clone();
        if let Some(prompt) = &self.prompt {
            sent.remove(prompt);
        }
        sent.values_mut().for_each(hide);
        Some(Value::Object(sent).to_string()).filter(|text| text.len() <= LARGEST_SENT)
    }
}

#[cfg(test)]
mod tests;
