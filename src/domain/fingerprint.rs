//! The fingerprint of a request: equal for equal content. It distinguishes a duplicate from a conflict.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "values without fields are returned unchanged"
)]

use ring::digest;
use serde_json::{Map, Value, json};

use super::{BatchSpec, Invalid, Request, Spec};

/// Returns `f1:` and the SHA-256 of the request's canonical JSON.
///
/// Fields at their default are omitted, keys are sorted, `requested_at` is excluded (contract, section 5.13).
/// So a field added later does not change the fingerprint of a request that does not use it.
///
/// # Errors
/// If a part cannot be written as JSON, which does not happen for a parsed request.
pub fn fingerprint(request: &Request) -> Result<String, Invalid> {
    Ok(spelled(&content_hash(request)?))
}

/// Returns the SHA-256 that the request's fingerprint contains.
pub(crate) fn content_hash(request: &Request) -> Result<[u8; 32], Invalid> {
    let json = canonical(request).map_err(|error| Invalid::new("request", error.to_string()))?;
    let hash = digest::digest(&digest::SHA256, json.as_bytes());
    hash.as_ref()
        .try_into()
        .map_err(|_| Invalid::new("request", "has a hash that is not 32 bytes long"))
}

/// Returns the fingerprint with this hash.
pub(crate) fn spelled(hash: &[u8]) -> String {
    format!("f1:{}", hex(hash))
}

/// Returns `bytes` as lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the bytes of hex digits, in either case; `None` if `text` has other characters or an odd number of them.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    // `from_str_radix` accepts a sign, which is not a digit.
    let is_hex = text.len().is_multiple_of(2) && text.bytes().all(|it| it.is_ascii_hexdigit());
    let pairs = text.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    pairs.collect::<Option<_>>().filter(|_| is_hex)
}

fn canonical(request: &Request) -> Result<String, serde_json::Error> {
    // Video and image specs omit their defaults when serialized.
    let spec = match &request.spec {
        Spec::Single(single) => serde_json::to_value(single)?,
        Spec::Batch(batch) => json!({"batch": batch_of(batch)?}),
    };
    let whole = json!({
        "request_id": request.id,
        "user_id": request.user,
        "spec": spec,
        "priority": request.priority,
        "timeout_seconds": request.timeout.map(|timeout| timeout.as_secs()),
        "targets": request.targets,
        "notify_on": request.notify_on,
        "metadata": request.metadata,
    });
    let defaults = json!({
        "priority": "NORMAL",
        "timeout_seconds": null,
        "targets": {},
        "notify_on": ["COMPLETED", "FAILED", "CANCELLED", "REJECTED"],
        "metadata": {},
    });
    serde_json::to_string(&sorted(without(whole, &defaults)))
}

fn batch_of(batch: &BatchSpec) -> Result<Value, serde_json::Error> {
    let of_item = json!({"webhook_url": null, "notify_on": [], "metadata": {}});
    let defaults = json!({
        "strategy": "PARALLEL",
        "max_concurrent": 3,
        "on_failure": "CONTINUE",
    });
    let mut whole = without(serde_json::to_value(batch)?, &defaults);
    for item in whole["items"].as_array_mut().into_iter().flatten() {
        *item = without(item.take(), &of_item);
    }
    Ok(whole)
}

/// Removes the fields of `value` that equal those of `defaults`.
fn without(value: Value, defaults: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(key, value)| defaults.get(key) != Some(value))
                .collect(),
        ),
        other => other,
    }
}

/// Sorts the keys of all objects: serde_json keeps the insertion order if any crate enables `preserve_order`.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut pairs: Vec<_> = fields.into_iter().collect();
            pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(
                pairs
                    .into_iter()
                    .map(|(key, value)| (key, sorted(value)))
                    .collect::<Map<_, _>>(),
            )
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::domain::{
        BatchItem, Common, EventType, ImageSpec, Input, OnFailure, OnUnsupported, Priority, Role,
        Single, Strategy, Targets, VideoSpec,
    };

    fn image() -> Single {
        Single::Image(ImageSpec {
            common: Common::new("a fox"),
            ..ImageSpec::default()
        })
    }

    fn request() -> Request {
        Request {
            id: "r-1".to_owned().try_into().unwrap(),
            user: "u".to_owned().try_into().unwrap(),
            spec: image().into(),
            priority: Priority::Normal,
            timeout: None,
            targets: Targets::default(),
            notify_on: vec![
                EventType::Completed,
                EventType::Failed,
                EventType::Cancelled,
                EventType::Rejected,
            ],
            metadata: BTreeMap::new(),
            requested_at: None,
        }
    }

    #[test]
    fn defaults_are_left_out_so_that_the_text_is_stable() {
        let text = canonical(&request()).unwrap();

        assert_eq!(
            text,
            r#"{"request_id":"r-1","spec":{"image":{"prompt":"a fox"}},"user_id":"u"}"#
        );
        let hash = digest::digest(&digest::SHA256, text.as_bytes());
        assert_eq!(
            fingerprint(&request()).unwrap(),
            format!("f1:{}", hex(hash.as_ref()))
        );
    }

    #[test]
    fn each_field_but_requested_at_counts() {
        let base = fingerprint(&request()).unwrap();
        let same = Request {
            requested_at: Some(7),
            ..request()
        };
        assert_eq!(fingerprint(&same).unwrap(), base);

        let others = [
            Request {
                user: "v".to_owned().try_into().unwrap(),
                ..request()
            },
            Request {
                priority: Priority::High,
                ..request()
            },
            Request {
                timeout: Some(Duration::from_secs(5)),
                ..request()
            },
            Request {
                notify_on: vec![],
                ..request()
            },
            Request {
                metadata: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
                ..request()
            },
            Request {
                targets: Targets::parse(Some("https://a/b"), None, None).unwrap(),
                ..request()
            },
            Request {
                spec: Single::Image(ImageSpec {
                    common: Common::new("a fox"),
                    width: Some(512),
                    ..ImageSpec::default()
                })
                .into(),
                ..request()
            },
        ];
        for other in others {
            assert_ne!(fingerprint(&other).unwrap(), base, "{other:?}");
        }
    }

    fn of(spec: Spec) -> Request {
        Request { spec, ..request() }
    }

    #[test]
    fn each_field_of_a_spec_counts() {
        let input = |role| Input {
            url: "https://a/1.png".parse().unwrap(),
            role,
        };
        let common = |edit: &dyn Fn(&mut Common)| {
            let mut common = Common::new("a fox");
            edit(&mut common);
            of(Single::Video(VideoSpec {
                common,
                ..VideoSpec::default()
            })
            .into())
        };
        let video = |edit: &dyn Fn(&mut VideoSpec)| {
            let mut video = VideoSpec {
                common: Common::new("a fox"),
                ..VideoSpec::default()
            };
            edit(&mut video);
            of(Single::Video(video).into())
        };
        let all = [
            common(&|_| {}),
            common(&|it| it.negative_prompt = Some("x".to_owned())),
            common(&|it| it.aspect_ratio = Some("x".to_owned())),
            common(&|it| it.style = Some("x".to_owned())),
            common(&|it| it.seed = Some(0)),
            common(&|it| it.inputs = vec![input(Role::Unspecified)]),
            common(&|it| it.inputs = vec![input(Role::Mask)]),
            common(&|it| it.model = Some("x".to_owned())),
            common(&|it| it.on_unsupported = OnUnsupported::Drop),
            video(&|it| it.duration = Some(5)),
            video(&|it| it.resolution = Some("x".to_owned())),
            video(&|it| it.fps = Some(5)),
            video(&|it| it.audio = Some(false)),
            request(),
        ];

        let prints: std::collections::BTreeSet<_> =
            all.iter().map(|it| fingerprint(it).unwrap()).collect();

        assert_eq!(prints.len(), all.len());
    }

    #[test]
    fn defaults_of_a_batch_and_its_items_are_left_out() {
        let item = BatchItem {
            request_id: "i".to_owned().try_into().unwrap(),
            spec: image(),
            webhook_url: None,
            notify_on: Vec::new(),
            metadata: BTreeMap::new(),
        };
        let batch = Spec::Batch(BatchSpec {
            strategy: Strategy::Parallel,
            max_concurrent: 3,
            on_failure: OnFailure::Continue,
            items: vec![item],
        });

        assert_eq!(
            canonical(&of(batch)).unwrap(),
            concat!(
                r#"{"request_id":"r-1","spec":{"batch":{"items":[{"request_id":"i","#,
                r#""spec":{"image":{"prompt":"a fox"}}}]}},"user_id":"u"}"#
            )
        );
    }

    #[test]
    fn hexadecimal_digits_are_read_in_pairs() {
        assert_eq!(unhex("00ffA0"), Some(vec![0, 255, 160]));
        for wrong in ["0", "0g", "+1", "\u{f6}"] {
            assert_eq!(unhex(wrong), None, "{wrong}");
        }
    }
}
