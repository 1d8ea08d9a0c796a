//! The presets, the faults of a file, and how bodies, paths and pointers are filled.

use super::*;
use crate::domain::model::bind;
use crate::domain::{Common, ImageSpec, Input, Role, Single, VideoSpec};
use serde_json::{Value, json};

/// A whole description of an invented API.
const WHOLE: &str = r#"
[acme]
base_url = "https://api.acme.example"
key = { header = "authorization", prefix = "Token " }
outputs = [{ at = "/files/*/url" }]
[acme.submit]
path = "/jobs/{model}"
inputs = "/input"
id = "/job/id"
[acme.poll]
path = "/jobs/{id}"
[acme.state]
at = "/job/state"
succeeded = ["done"]
[acme.models.one]
kind = "image"
[acme.models.one.input.properties]
prompt = { type = "string" }
"#;

fn faults(text: &str) -> Vec<String> {
    read(text).map(drop).unwrap_err()
}

fn of_preset(preset: &str) -> Description {
    let text = format!("[it]\npreset = {preset:?}");
    let (_, description) = read(&text).unwrap().pop_first().unwrap();
    description
}

#[test]
fn every_preset_is_a_whole_description() {
    for (preset, _) in PRESETS {
        let description = of_preset(preset);
        // ComfyUI's models are the graphs of its operator.
        assert_eq!(description.models.is_empty(), preset == "comfyui");
    }
}

#[test]
fn a_file_may_change_parts_of_a_preset() {
    let text = r#"
        [mine]
        preset = "runway"
        base_url = "http://gateway.internal"
        poll = { every_seconds = 0.5 }
        [mine.models.new]
        kind = "video"
        input = { properties = { promptText = { type = "string" } } }
    "#;

    let (name, description) = read(text).unwrap().pop_first().unwrap();

    assert_eq!(name.as_str(), "mine");
    assert_eq!(description.base_url.as_str(), "http://gateway.internal/");
    assert_eq!(description.poll.every_seconds, Duration::from_millis(500));
    assert!(description.poll.path.is_some());
    assert!(description.models.contains_key("new"));
    assert!(description.models.contains_key("gen4_image"));
    assert_eq!(description.key.unwrap().variable, "RUNWAY_API_KEY");
}

#[test]
fn the_examples_of_the_documentation_are_whole_descriptions() {
    let page = include_str!("../../../../docs/providers.md");
    let examples = page.split("```toml\n").skip(1);
    let examples: Vec<_> = examples.filter_map(|it| it.split("```").next()).collect();

    assert_eq!(examples.len(), 3);
    for example in examples {
        let read = read(example);
        assert!(read.is_ok(), "{:#?}", read.err());
    }
}

#[test]
fn the_variable_of_the_key_follows_from_the_name() {
    let text = WHOLE.replace("[acme", "[my-acme");

    let (_, description) = read(&text).unwrap().pop_first().unwrap();

    assert_eq!(description.key.unwrap().variable, "MY_ACME_API_KEY");
}

#[test]
fn all_faults_are_reported_with_their_places() {
    let text = r#"
        [openai]
        preset = "runway"
        [video]
        preset = "runway"
        [Acme]
        [other]
        preset = "none"
        [acme]
        base_url = "ftp://x"
        speed = 1
        outputs = []
        [acme.submit]
        path = "jobs"
        id = "/id"
        [acme.poll]
        [acme.state]
        at = "/state"
        done = ["x"]
        [acme.models.one]
        kind = "sound"
        input = {}
    "#;

    let faults = faults(text);

    for part in [
        "[openai]: is served without a description",
        "[video]: is reserved, because variables with this prefix have another meaning",
        "[Acme]: is \"Acme\", expected the name of a provider",
        "other.preset: is \"none\", expected one of: bfl, comfyui",
        "acme.base_url: is not an http or https URL",
        "acme.submit: is \"jobs\", expected a path below base_url",
        "acme.state: unknown field `done`",
        "acme.models.\"one\".kind: unknown variant `sound`",
        "acme.models.\"one\".input: has no inputs",
    ] {
        assert!(
            faults.iter().any(|fault| fault.starts_with(part)),
            "{part}: {faults:#?}"
        );
    }
}

#[test]
fn what_concerns_several_fields_is_checked() {
    for (from, to, part) in [
        (
            "/jobs/{model}",
            "/jobs/{prompt}",
            "acme.submit.path: has {prompt}",
        ),
        (
            "\"/jobs/{id}\"",
            "\"/jobs/{job}\"",
            "acme.poll.path: (or a path of cancel) has {job}, expected only {id}",
        ),
        (
            "path = \"/jobs/{id}\"",
            "every_seconds = 1",
            "acme.poll: has neither path nor url",
        ),
        (
            "inputs = \"/input\"\n",
            "",
            "acme.models.\"one\".body: does not name the inputs prompt",
        ),
        (
            "inputs = \"/input\"\n",
            "body = { text = \"{promt}\" }\ninputs = \"\"\n",
            "acme.models.\"one\".body: has {promt}, which is not an input",
        ),
        (
            "[acme.state]",
            "[acme.default]\nvideo = \"one\"\n[acme.state]",
            "acme.default: has the model \"one\", expected no model",
        ),
        (
            "[acme.state]",
            "[acme.error]\nat = \"/x\"\n[acme.state]",
            "acme.error: invalid type",
        ),
        (
            "[acme.state]",
            "[acme.cancle]\n[acme.state]",
            "acme.cancle: is not a field",
        ),
        (
            "outputs = [{ at = \"/files/*/url\" }]",
            "",
            "acme.outputs: is missing",
        ),
        (
            "succeeded = [\"done\"]",
            "",
            "acme.state: missing field `succeeded`",
        ),
    ] {
        let text = WHOLE.replace(from, to);
        assert_ne!(text, WHOLE, "{from}");
        let faults = faults(&text);
        assert!(
            faults.iter().any(|fault| fault.starts_with(part)),
            "{part}: {faults:#?}"
        );
    }
}

fn video(common: Common) -> VideoSpec {
    VideoSpec {
        common,
        duration: Some(5),
        resolution: Some("1280x720".to_owned()),
        ..VideoSpec::default()
    }
}

fn image() -> Single {
    Single::Image(ImageSpec {
        common: Common::new("a fox"),
        width: Some(1280),
        height: Some(720),
        ..ImageSpec::default()
    })
}

/// Returns the input of a preset's model for a request.
fn input(preset: &str, model: &str, single: &Single) -> Value {
    let description = of_preset(preset);
    let bound = bind(&description.models[model].profile, single);
    Value::Object(bound.unwrap().input)
}

#[test]
fn requests_are_bound_to_the_presets_models() {
    let mut from_picture = video(Common::new("a fox"));
    from_picture.common.inputs = vec![Input {
        url: "https://example.com/a.png".parse().unwrap(),
        role: Role::FirstFrame,
    }];
    let mut luma = from_picture.clone();
    luma.resolution = Some("720p".to_owned());
    let mut veo = video(Common::new("a fox"));
    veo.duration = Some(8);

    assert_eq!(
        input(
            "runway",
            "image_to_video/gen4_turbo",
            &Single::Video(from_picture)
        ),
        json!({"promptText": "a fox", "promptImage": "https://example.com/a.png", "ratio": "1280:720", "duration": 5})
    );
    assert_eq!(
        input("runway", "gen4_image", &image()),
        json!({"promptText": "a fox", "ratio": "1280:720"})
    );
    assert_eq!(
        input("bfl", "flux-2-pro", &image()),
        json!({"prompt": "a fox", "width": 1280, "height": 720})
    );
    assert_eq!(
        input("luma", "ray-2", &Single::Video(luma)),
        json!({"prompt": "a fox", "resolution": "720p", "duration": "5s", "start_image": "https://example.com/a.png"})
    );
    assert_eq!(
        input("luma", "photon-1", &image()),
        json!({"prompt": "a fox", "aspect_ratio": "16:9"})
    );
    assert_eq!(
        input("google", "veo-3.1-generate-preview", &Single::Video(veo)),
        json!({"prompt": "a fox", "aspectRatio": "16:9", "resolution": "720p", "durationSeconds": 8})
    );
}

#[test]
fn a_model_that_is_not_described_or_of_another_kind_is_refused_with_the_names() {
    let bfl = of_preset("bfl");

    assert!(bfl.misnamed("flux-2-pro", Media::Image).is_none());
    let problem = bfl.misnamed("flux", Media::Image).unwrap();
    assert!(problem.allowed.unwrap().contains("flux-2-pro"));
    let problem = bfl.misnamed("flux-2-pro", Media::Video).unwrap();
    assert!(problem.allowed.unwrap().starts_with("no model"));
}

#[test]
fn a_part_of_a_body_without_values_is_left_out() {
    let body: Body = serde_json::from_value(json!({
        "fixed": {"version": 1},
        "model": "{model}",
        "frames": {"first": {"type": "image", "url": "{first}"}, "last": {"type": "image", "url": "{last}"}},
        "list": [{"text": "{prompt}", "picture": "{picture}"}],
        "text": "{not a placeholder}",
    }))
    .unwrap();
    let fill = |set: &[&str]| body.fill(&|name| set.contains(&name).then(|| json!(name)));

    assert_eq!(
        fill(&["model", "prompt", "last"]),
        json!({
            "fixed": {"version": 1},
            "model": "model",
            "frames": {"last": {"type": "image", "url": "last"}},
            "list": [{"text": "prompt"}],
            "text": "{not a placeholder}",
        })
    );
    assert_eq!(
        fill(&[]),
        json!({"fixed": {"version": 1}, "text": "{not a placeholder}"})
    );
}

#[test]
fn a_path_cannot_be_led_elsewhere_by_what_fills_it() {
    let path: PathTemplate = serde_json::from_value(json!("/v1/{id}/x?a={id}")).unwrap();
    let fill = |id: &str| path.fill(|_| Some(id.to_owned()));

    assert_eq!(fill("models/a-1").unwrap(), "/v1/models/a-1/x?a=models/a-1");
    assert_eq!(
        fill("a?b#c&d e").unwrap(),
        "/v1/a%3Fb%23c%26d%20e/x?a=a%3Fb%23c%26d%20e"
    );
    assert_eq!(fill(".."), None);
    assert_eq!(fill("a/../b"), None);
    for bad in ["v1", "//host/x", "https://host", "/v1/{id"] {
        assert!(
            serde_json::from_value::<PathTemplate>(json!(bad)).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn a_pointer_finds_all_its_elements_and_no_nulls() {
    let found = |pointer: &str, value: &Value| -> Vec<Value> {
        let pointer: Pointer = serde_json::from_value(json!(pointer)).unwrap();
        pointer.all(value, "a/b").into_iter().cloned().collect()
    };
    let value =
        json!({"a/b": {"out": {"7": {"files": [1, null, 2]}, "8": {"files": [3]}}, "c~d": true}});

    assert_eq!(
        found("/{id}/out/*/files/*", &value),
        [json!(1), json!(2), json!(3)]
    );
    assert_eq!(found("/a~1b/c~0d", &value), [json!(true)]);
    assert_eq!(found("/{id}/out/7/files/2", &value), [json!(2)]);
    assert_eq!(found("/none/*", &value), Vec::<Value>::new());
    assert_eq!(found("", &json!(5)), [json!(5)]);
    assert!(serde_json::from_value::<Pointer>(json!("a")).is_err());
}

#[test]
fn a_look_up_needs_our_id_and_a_path_for_the_job_that_it_finds() {
    let with = |find: &str| format!("{WHOLE}[acme.find]\nid = \"/jobs/*/id\"\npath = {find:?}\n");
    let by_url = |text: String| text.replace("path = \"/jobs/{id}\"", "url = \"/self\"");

    assert!(read(&with("/jobs?reference={workflow}")).is_ok());
    for wrong in ["/jobs", "/jobs/{id}", "/jobs/{id}?reference={workflow}"] {
        let says = "acme.find.path: expected {workflow} in it, and no other placeholder";
        assert_eq!(faults(&with(wrong)), [says], "{wrong}");
    }
    let says = "acme.find: needs poll.path: a job that is found has no URL";
    assert_eq!(faults(&by_url(with("/jobs/{workflow}"))), [says]);
}
