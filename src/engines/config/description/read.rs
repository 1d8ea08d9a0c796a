//! Reads descriptions from TOML, and reports all faults with their places in the file.

use std::collections::BTreeMap;
use std::sync::Arc;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use toml::Table;

use super::presets::PRESETS;
use super::{Body, Description, Key, Model, PathTemplate, Submit};
use crate::domain::model::{Origin, bundle};
use crate::domain::{Media, ProviderName, parse_http_url};

/// Reads the text of a file of descriptions.
///
/// # Errors
/// All faults, each with its place in the file.
pub(in super::super) fn read(
    text: &str,
) -> Result<BTreeMap<ProviderName, Description>, Vec<String>> {
    let file: Table = text.parse().map_err(|error: toml::de::Error| {
        let error = error.to_string();
        vec![format!("is not TOML: {}", error.trim().replace('\n', " "))]
    })?;
    let mut faults = Vec::new();
    let mut read = BTreeMap::new();
    for (name, entry) in file {
        match provider(&name, entry) {
            Ok((name, description)) => drop(read.insert(name, description)),
            Err(found) => faults.extend(found),
        }
    }
    match faults.is_empty() {
        true => Ok(read),
        false => Err(faults),
    }
}

fn provider(name: &str, entry: toml::Value) -> Result<(ProviderName, Description), Vec<String>> {
    let known = ProviderName::parse("provider", name)
        .map_err(|error| vec![format!("[{name}]: {}", error.problem)])?;
    if ProviderName::NATIVE.contains(&known) {
        let why = "is served without a description; expected another name, or the variables of this provider";
        return Err(vec![format!("[{name}]: {why}")]);
    }
    // VIDEO_… and IMAGE_… are the variables of the default providers, AWS_… those of the S3 client.
    if ["video", "image", "aws"].contains(&name) {
        let why = "is reserved, because variables with this prefix have another meaning; expected another name, \
                   such as the company's";
        return Err(vec![format!("[{name}]: {why}")]);
    }
    let toml::Value::Table(mut table) = entry else {
        return Err(vec![format!("{name}: expected a table, such as [{name}]")]);
    };
    let preset = table.remove("preset");
    let preset = preset.map(|it| it.as_str().unwrap_or_default().to_owned());
    if let Some(preset) = &preset {
        let Some((_, text)) = PRESETS.iter().find(|(known, _)| known == preset) else {
            let names = PRESETS.map(|(name, _)| name).join(", ");
            return Err(vec![format!(
                "{name}.preset: is {preset:?}, expected one of: {names}"
            )]);
        };
        let mut whole: Table = text.parse().unwrap_or_default();
        merge(&mut whole, table);
        table = whole;
    }
    let mut fields = Fields {
        at: name.to_owned(),
        table,
        faults: Vec::new(),
    };
    let description = fields.description(known).map(|read| Description {
        preset: preset.unwrap_or_default(),
        ..read
    });
    match description {
        Some(description) if fields.faults.is_empty() => Ok((known, description)),
        Some(_) | None => Err(fields.faults),
    }
}

/// Puts `over` on top of a preset: tables are merged, all else is replaced.
fn merge(whole: &mut Table, over: Table) {
    for (name, value) in over {
        match (whole.get_mut(&name), value) {
            // A schema or a body is replaced as a whole.
            (Some(toml::Value::Table(below)), toml::Value::Table(over))
                if name != "input" && name != "body" =>
            {
                merge(below, over);
            }
            (_, value) => drop(whole.insert(name, value)),
        }
    }
}

/// The fields of a table that are not read yet.
struct Fields {
    /// The table's place in the file.
    at: String,
    table: Table,
    faults: Vec<String>,
}

impl Fields {
    fn fault(&mut self, place: &str, problem: &str) {
        let at = &self.at;
        self.faults.push(format!(
            "{at}.{place}: {}",
            problem.trim().replace('\n', " ")
        ));
    }

    fn optional<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        match self.table.remove(name)?.try_into() {
            Ok(value) => Some(value),
            Err(error) => {
                self.fault(name, error.message());
                None
            }
        }
    }

    fn or_default<T: DeserializeOwned + Default>(&mut self, name: &str) -> T {
        self.optional(name).unwrap_or_default()
    }

    fn required<T: DeserializeOwned>(&mut self, name: &str, expected: &str) -> Option<T> {
        if !self.table.contains_key(name) {
            self.fault(name, &format!("is missing, expected {expected}"));
            return None;
        }
        self.optional(name)
    }

    fn rest(&mut self) {
        let unknown: Vec<String> = self.table.keys().cloned().collect();
        for name in unknown {
            self.fault(&name, "is not a field of a description");
        }
    }

    fn description(&mut self, name: ProviderName) -> Option<Description> {
        let url: Option<String> = self.required("base_url", "the URL of the API");
        let base_url = url.and_then(|url| {
            let parsed = parse_http_url(&url);
            if parsed.is_none() {
                self.fault("base_url", "is not an http or https URL");
            }
            parsed
        });
        let key = self.optional::<Key>("key").map(|key| match key.variable {
            variable if variable.is_empty() => Key {
                variable: variable_of(name, "API_KEY"),
                ..key
            },
            _ => key,
        });
        let headers = self.headers();
        let submit: Option<Submit> =
            self.required("submit", "a table with path and id, and body if needed");
        let strict = submit.as_ref().is_some_and(|it| it.inputs.is_none());
        let models = self.models(name, submit.as_ref(), strict);
        let find = self.optional("find");
        let poll = self.required("poll", "a table with path or url");
        let state = self.required("state", "a table with at and succeeded");
        let outputs = self.required("outputs", "a list of tables with at");
        let hosts = self.or_default("hosts");
        let progress = self.optional("progress");
        let error = self.or_default("error");
        let cost = self.optional("cost");
        let cancel = self.or_default("cancel");
        let default = self.or_default("default");
        self.rest();
        let description = Description {
            preset: String::new(),
            base_url: base_url?,
            key,
            headers,
            hosts,
            submit: submit?,
            find,
            poll: poll?,
            state: state?,
            progress,
            outputs: outputs?,
            error,
            cost,
            cancel,
            default,
            models,
        };
        self.check(&description);
        Some(description)
    }

    fn headers(&mut self) -> HeaderMap {
        let texts: BTreeMap<String, String> = self.or_default("headers");
        let mut headers = HeaderMap::new();
        for (name, value) in texts {
            match (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
                (Ok(name), Ok(value)) => drop(headers.insert(name, value)),
                (Err(_), _) | (_, Err(_)) => {
                    self.fault("headers", &format!("{name} is not a header"))
                }
            }
        }
        headers
    }

    fn models(
        &mut self,
        provider: ProviderName,
        submit: Option<&Submit>,
        strict: bool,
    ) -> BTreeMap<String, Model> {
        let tables: BTreeMap<String, Table> = self.or_default("models");
        let mut models = BTreeMap::new();
        for (name, table) in tables {
            let mut fields = Fields {
                at: format!("{}.models.{name:?}", self.at),
                table,
                faults: Vec::new(),
            };
            let model = fields.model(provider, &name, submit, strict);
            self.faults.append(&mut fields.faults);
            models.extend(model.map(|model| (name, model)));
        }
        models
    }

    fn model(
        &mut self,
        provider: ProviderName,
        name: &str,
        submit: Option<&Submit>,
        strict: bool,
    ) -> Option<Model> {
        let kind: Option<Kind> = self.required("kind", "video or image");
        let own: Option<String> = self.optional("name");
        let path: Option<PathTemplate> = self.optional("path");
        let body: Option<Body> = self.optional("body");
        let input: Option<Value> = self.required("input", "the JSON schema of the model's inputs");
        self.rest();
        // Origin::Bundled passes on params that the schema lacks; Origin::Provider refuses them.
        let origin = match strict {
            true => Origin::Provider,
            false => Origin::Bundled,
        };
        let input = input?;
        let Some(profile) = bundle::described(provider, name, &input, origin) else {
            self.fault("input", "has no inputs, expected a table of properties");
            return None;
        };
        let named = body.as_ref().or(submit.map(|submit| &submit.body));
        let named = named.map(Body::names).unwrap_or_default();
        for name in &named {
            let is_known = ["model", "workflow"].contains(name);
            if !is_known && !profile.has_input(name) {
                self.fault("body", &format!("has {{{name}}}, which is not an input of the model; expected an input, {{model}} or {{workflow}}"));
            }
        }
        let lost: Vec<_> = profile
            .inputs()
            .map(|input| input.name)
            .filter(|name| strict && !named.contains(name.as_str()))
            .collect();
        if !lost.is_empty() {
            let lost = lost.join(", ");
            self.fault("body", &format!("does not name the inputs {lost}; expected placeholders for them, or submit.inputs"));
        }
        Some(Model {
            kind: match kind? {
                Kind::Video => Media::Video,
                Kind::Image => Media::Image,
            },
            name: own.unwrap_or_else(|| name.to_owned()),
            path,
            body,
            profile: Arc::new(profile),
        })
    }

    /// Checks what concerns more than one field.
    fn check(&mut self, description: &Description) {
        let Description {
            submit,
            poll,
            models,
            default,
            ..
        } = description;
        let paths = models.values().filter_map(|model| model.path.as_ref());
        let others = paths.chain([&submit.path]).flat_map(PathTemplate::names);
        if let Some(other) = others.into_iter().find(|name| *name != "model") {
            self.fault(
                "submit.path",
                &format!("has {{{other}}}, expected only {{model}}"),
            );
        }
        let cancels = description.cancel.iter().map(|cancel| &cancel.path);
        let others = cancels.chain(&poll.path).flat_map(PathTemplate::names);
        if let Some(other) = others.into_iter().find(|name| *name != "id") {
            self.fault(
                "poll.path",
                &format!("(or a path of cancel) has {{{other}}}, expected only {{id}}"),
            );
        }
        if poll.path.is_none() && poll.url.is_none() {
            self.fault("poll", "has neither path nor url, expected one of them");
        }
        self.check_find(description);
        if description.outputs.is_empty() {
            self.fault("outputs", "is empty, expected at least one table with at");
        }
        for (kind, model) in [
            (Media::Video, &default.video),
            (Media::Image, &default.image),
        ] {
            let named = !model.is_empty();
            if let Some(problem) = description.misnamed(model, kind).filter(|_| named) {
                let allowed = problem.allowed.unwrap_or_default();
                self.fault(
                    "default",
                    &format!("has the model {model:?}, expected {allowed}"),
                );
            }
        }
    }

    fn check_find(&mut self, description: &Description) {
        let Some(find) = &description.find else {
            return;
        };
        if !find.path.names().into_iter().eq(["workflow"]) {
            self.fault(
                "find.path",
                "expected {workflow} in it, and no other placeholder",
            );
        }
        if description.poll.path.is_none() {
            let why = "needs poll.path: a job that is found has no URL";
            self.fault("find", why);
        }
    }
}

/// Returns the variable of a provider's setting.
pub(in super::super) fn variable_of(name: ProviderName, setting: &str) -> String {
    let name = name.as_str().to_ascii_uppercase().replace('-', "_");
    format!("{name}_{setting}")
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Video,
    Image,
}
