//! Tests defaults, faults, secrets, and `.env.example`.

mod secrets;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::*;

mod names;

#[test]
fn the_defaults_are_good() {
    let config = Config::of(&[]).unwrap();

    assert_eq!(config.kafka.topics.requests, "gen.requests");
    assert_eq!(config.temporal.url.as_str(), "http://127.0.0.1:7233/");
    assert_eq!(config.notify_keys.len(), 1);
}

#[test]
fn deliveries_have_a_queue_of_their_own_and_may_have_a_namespace() {
    let place = |pairs: &[(&str, &str)]| {
        let place = Config::of(pairs).unwrap().temporal.for_deliveries();
        (place.namespace, place.task_queue)
    };
    let names = |namespace: &str, queue: &str| (namespace.to_owned(), queue.to_owned());

    let (ours, queue) = (("TEMPORAL_NAMESPACE", "ours"), ("TEMPORAL_TASK_QUEUE", "q"));
    assert_eq!(place(&[]), names("default", "genflow-notify"));
    assert_eq!(place(&[ours, queue]), names("ours", "q-notify"));
    let apart = [ours, ("NOTIFY_NAMESPACE", "apart")];
    assert_eq!(place(&apart), names("apart", "genflow-notify"));
}

#[test]
fn our_slack_webhooks_have_a_host_that_slack_allowed_hosts_lists() {
    let hook = "https://hooks.slack.test/services/needle";
    for variable in ["SLACK_WEBHOOK_URL", "OPS_SLACK_WEBHOOK_URL"] {
        let loaded = |hosts| Config::of(&[(variable, hook), ("SLACK_ALLOWED_HOSTS", hosts)]);

        assert!(loaded("hooks.slack.com,hooks.slack.test").is_ok());
        let fault = loaded("hooks.slack.com").unwrap_err().to_string();
        assert!(
            fault.contains(variable) && fault.contains("SLACK_ALLOWED_HOSTS does not list"),
            "{fault}"
        );
        assert!(!fault.contains("needle"), "{fault}");
    }
}

#[test]
fn our_slack_webhooks_follow_the_rules_for_webhooks() {
    let faults = |hook: &str, (variable, value)| {
        let hosts = ("SLACK_ALLOWED_HOSTS", "slack.test,127.0.0.1");
        let loaded = Config::of(&[("SLACK_WEBHOOK_URL", hook), hosts, (variable, value)]);
        loaded.err().map(|faults| faults.to_string())
    };

    for (hook, lets) in [
        ("http://slack.test/needle", ("WEBHOOK_ALLOW_HTTP", "true")),
        ("https://slack.test:8443/needle", ("WEBHOOK_PORTS", "8443")),
        (
            "https://127.0.0.1/needle",
            ("WEBHOOK_ALLOW_PRIVATE", "true"),
        ),
    ] {
        assert_eq!(faults(hook, lets), None);
        let reported = faults(hook, ("DEBUG", "false")).unwrap();
        assert!(
            reported.starts_with("SLACK_WEBHOOK_URL: ") && reported.contains(lets.0),
            "{reported}"
        );
        assert!(!reported.contains("needle"), "{reported}");
    }
    let reported = faults("https://me:needle@slack.test/", ("DEBUG", "false")).unwrap();
    assert!(reported.contains("user name or password"), "{reported}");
}

#[test]
fn a_key_that_no_header_may_have_is_refused_and_not_shown() {
    for variable in ["VIDEO_API_KEY", "FAL_API_KEY", "TEMPORAL_API_KEY"] {
        assert!(Config::of(&[(variable, "r8_needle")]).is_ok());
        for key in ["needle\nneedle", "needle\u{7f}"] {
            let fault = Config::of(&[(variable, key)]).unwrap_err();

            assert_eq!(fault.0[0].variable, variable);
            assert!(!fault.to_string().contains("needle"), "{fault}");
        }
    }
}

#[test]
fn the_operators_address_is_valid_and_needs_a_mail_server() {
    let faults = |address: &str, smtp: &str| {
        let loaded = Config::of(&[("OPS_EMAIL", address), ("SMTP_URL", smtp)]);
        loaded.err().map(|faults| faults.to_string())
    };

    assert_eq!(faults("ops@example.org", "smtp://mail.test"), None);
    for (address, smtp, reported) in [
        ("ops@example.org", "", "needs SMTP_URL too"),
        ("needle", "smtp://mail.test", "expected one address"),
        (
            "needle@a.test,b@a.test",
            "smtp://mail.test",
            "expected one address",
        ),
        (
            "needle@127.0.0.1",
            "smtp://mail.test",
            "expected one address",
        ),
    ] {
        let fault = faults(address, smtp).unwrap();
        assert!(
            fault.contains("OPS_EMAIL") && fault.contains(reported),
            "{fault}"
        );
        assert!(!fault.contains("needle"), "{fault}");
    }
}

/// Variables, each with a faulty value.
const FAULTY: [(&str, &str); 22] = [
    ("KAFKA_BROKERS", "nowhere"),
    ("TEMPORAL_HOST", "://"),
    ("INTAKE_CONCURRENCY", "0"),
    ("NOTIFY_KEYS", "k:short"),
    ("WEBHOOK_SIGNING_SECRET", "plain"),
    ("WEBHOOK_SIGNING_KEY", "whsk_c2hvcnQ="),
    ("SLACK_ALLOWED_HOSTS", "https://hooks.slack.com"),
    ("VIDEO_PROVIDER", "acme"),
    ("HTTP_ADDR", "here"),
    ("LOG_LEVEL", "verbose"),
    ("RETRY_BACKOFF", "soon"),
    ("USE_JSON_LOGGING", "maybe"),
    ("TOPIC_EVENTS", "a b"),
    ("TOPIC_RESULTS", "gen.requests"),
    ("KAFKA_SESSION_TIMEOUT", "6m"),
    ("SUBMIT_AMBIGUOUS", "hope"),
    ("NOTIFY_SCHEDULE", "5s,,later"),
    ("NOTIFY_TRY_TIMEOUT", "2m"),
    ("SLACK_WEBHOOK_URL", "topsecret"),
    ("FAL_RATE_LIMIT", "0"),
    ("STORE_GRACE", "2m"),
    ("MEMORY_LIMIT_BYTES", "2GiB"),
];

#[test]
fn all_faults_are_reported_at_once_one_per_line() {
    let faults = Config::of(&FAULTY).unwrap_err();

    let mut named: Vec<_> = faults.0.iter().map(|fault| fault.variable).collect();
    named.sort_unstable();
    let mut faulty = FAULTY.map(|(variable, _)| variable);
    faulty.sort_unstable();
    assert_eq!(named, faulty);
    assert_eq!(faults.to_string().lines().count(), named.len());
    assert!(
        faults
            .to_string()
            .contains("KAFKA_BROKERS: is \"nowhere\", expected host:port[,host:port]")
    );
    assert!(!faults.to_string().contains("topsecret"));
}

#[test]
fn fallbacks_are_providers_with_or_without_a_model_that_is_allowed() {
    let read = |settings: &[(&str, &str)]| Config::of(settings).map(|it| it.worker.video_fallback);
    let shown = |text| {
        let entries = read(&[("VIDEO_FALLBACK", text)]).unwrap().into_iter();
        let shown = entries.map(|it| (it.provider.as_str().to_owned(), it.model));
        shown.collect::<Vec<_>>()
    };

    assert_eq!(shown(""), []);
    let named = Some("google/veo-3.1".to_owned());
    assert_eq!(
        shown("fal, replicate/google/veo-3.1"),
        [("fal".to_owned(), None), ("replicate".to_owned(), named)]
    );
    for bad in ["none", "fal/", "fal,", "fal,fal,fal,fal,fal,fal"] {
        let fault = read(&[("VIDEO_FALLBACK", bad)]).unwrap_err().to_string();
        assert!(fault.contains("VIDEO_FALLBACK: is "), "{fault}");
        assert!(fault.contains("expected at most 5 entries"), "{fault}");
    }
    let allowed = ("ALLOWED_MODELS", "replicate/*");
    let fault = read(&[("VIDEO_FALLBACK", "fal/x,replicate"), allowed]).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "VIDEO_FALLBACK: has fal/x, expected models that ALLOWED_MODELS allows"
    );
}

#[test]
fn all_steps_have_the_same_pauses() {
    let config = Config::of(&[
        ("RETRY_BACKOFF", "3s"),
        ("RETRY_BACKOFF_MAX", "30s"),
        ("FETCH_MAX_ATTEMPTS", "7"),
    ])
    .unwrap();

    let (retries, steps) = (config.worker.retries, config.intake.steps);
    let pauses = Pauses {
        first: Duration::from_secs(3),
        most: Duration::from_secs(30),
    };
    assert_eq!((retries.pauses, retries.fetch_attempts), (pauses, 7));
    assert_eq!((steps.backoff_ms, steps.backoff_max_ms), (3000, 30_000));
    assert_eq!([steps.submit, steps.fetch], [steps.backoff(); 2]);
}

#[test]
fn secrets_are_not_shown() {
    let slack = ("SLACK_WEBHOOK_URL", "https://hooks.slack.com/topsecret");
    let config = Config::of(&[
        ("VIDEO_API_KEY", "r8_topsecret"),
        slack,
        ("SCHEMA_REGISTRY_USER", "ann"),
        ("SCHEMA_REGISTRY_PASSWORD", "topsecret"),
        ("KAFKA_OPTIONS", "sasl.username=a,sasl.password=topsecret"),
        ("SMTP_URL", "smtp://a:topsecret@mail.test"),
        ("VIDEO_API_BASE_URL", "https://a:topsecret@gateway.test/"),
        ("FAL_API_BASE_URL", "https://a:topsecret@gateway.test/"),
    ]);
    let config = config.unwrap();

    assert!(!format!("{config:?}").contains("topsecret"));
    assert_eq!(
        config.worker.video.api_key.unwrap().expose(),
        "r8_topsecret"
    );
}

#[test]
fn faults_show_no_password() {
    for (variable, value) in [
        ("SCHEMA_REGISTRY_URL", "registry/a:needle@b"),
        ("SCHEMA_REGISTRY_URL", "https://needle:needle"),
        ("SCHEMA_REGISTRY_URL", "https://a:needle@registry.test"),
        ("KAFKA_BROKERS", "a:needle@kafka"),
        ("KAFKA_OPTIONS", "needle"),
        ("KAFKA_OPTIONS", "plugin.library.paths=needle"),
        ("S3_ENDPOINT", "https://:needle@store.test"),
        ("VIDEO_API_BASE_URL", "https://a:needle@:x"),
        ("SMTP_URL", "https://a:needle@mail.test"),
    ] {
        let faults = Config::of(&[("S3_BUCKET", "media"), (variable, value)]).unwrap_err();

        let named: Vec<_> = faults.0.iter().map(|fault| fault.variable).collect();
        assert_eq!(named, [variable], "{value}");
        assert!(!faults.to_string().contains("needle"), "{faults}");
    }
}

#[test]
fn a_key_of_one_byte_repeated_is_refused() {
    let zeros = |bytes: usize| BASE64.encode(vec![0_u8; bytes]);
    for (variable, value) in [
        ("NOTIFY_KEYS", format!("a:{}", zeros(32))),
        ("WEBHOOK_SIGNING_SECRET", format!("whsec_{}", zeros(24))),
        ("WEBHOOK_SIGNING_KEY", format!("whsk_{}", zeros(64))),
    ] {
        let faults = Config::of(&[(variable, &value)]).unwrap_err();

        assert_eq!(faults.0[0].variable, variable);
        assert!(faults.to_string().contains("random bytes"), "{faults}");
    }
}

#[test]
fn two_keys_with_one_id_are_refused() {
    let key = |byte: u8| BASE64.encode([&[byte][..], &[1; 31]].concat());
    let keys = |id: &str| format!("a:{},{id}:{}", key(2), key(3));
    let of = |keys: &str| Config::of(&[("NOTIFY_KEYS", keys)]);

    let faults = of(&keys("a")).unwrap_err().to_string();

    assert_eq!(
        faults,
        "NOTIFY_KEYS: has two keys with the id \"a\"; expected ids that differ"
    );
    assert_eq!(of(&keys("b")).unwrap().notify_keys.len(), 2);
}

#[test]
fn a_setting_of_librdkafka_may_have_spaces_around_its_name() {
    let options = ("KAFKA_OPTIONS", "security.protocol = ssl , debug=all");
    let kafka = Config::of(&[options]).unwrap().kafka;

    let options = kafka.options.iter();
    let pairs: Vec<_> = options
        .map(|(name, value)| (&**name, value.expose()))
        .collect();
    assert_eq!(pairs, [("security.protocol", "ssl"), ("debug", "all")]);
}

#[test]
fn the_source_of_events_is_a_uri_or_a_path() {
    let source = |text| Config::of(&[("CE_SOURCE", text)]).map(|config| config.kafka.event_source);
    for good in [
        "/genflow",
        "https://genflow.example.com/eu#1",
        "urn:genflow:eu",
    ] {
        assert_eq!(source(good).unwrap(), good);
    }
    for bad in ["our genflow", "<genflow>", "/gen\u{e9}"] {
        let faults = source(bad).unwrap_err().to_string();
        assert!(faults.starts_with("CE_SOURCE: is "), "{faults}");
    }
}

#[test]
fn a_bucket_brings_its_settings_and_hides_its_secrets() {
    let config = Config::of(&[
        ("S3_BUCKET", "media"),
        ("S3_PREFIX", "/prod/genflow/"),
        ("S3_ENDPOINT", "http://127.0.0.1:9000"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "AKID"),
        ("AWS_SECRET_ACCESS_KEY", "topsecret"),
        ("AWS_SESSION_TOKEN", "topsecrettoken"),
        ("RESULT_URL_TTL", "7d"),
    ]);

    let s3 = config.unwrap().worker.s3.unwrap();

    assert_eq!((&*s3.bucket, &*s3.prefix), ("media", "prod/genflow"));
    let names: Vec<_> = s3.aws.iter().map(|(name, _)| *name).collect();
    let expected = [
        "AWS_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    ];
    assert_eq!(names, expected);
    assert_eq!(s3.aws[0].1.expose(), "eu-west-1");
    assert!(!format!("{s3:?}").contains("topsecret"), "{s3:?}");
    assert!(Config::of(&[]).unwrap().worker.s3.is_none());
}

#[test]
fn the_heartbeat_timeout_has_bounds() {
    for good in ["1s", "1000ms", "60s", "1m"] {
        assert!(Config::of(&[("HEARTBEAT_TIMEOUT", good)]).is_ok(), "{good}");
    }
    for bad in ["999ms", "61s", "2m", "soon"] {
        let faults = Config::of(&[("HEARTBEAT_TIMEOUT", bad)]).unwrap_err();
        let named: Vec<_> = faults.0.iter().map(|fault| fault.variable).collect();
        assert_eq!(named, ["HEARTBEAT_TIMEOUT"], "{bad}");
    }
}

#[test]
fn settings_that_reach_no_bucket_are_faults() {
    for (variable, value, faulty) in [
        ("S3_BUCKET", "s3://media", "S3_BUCKET"),
        ("S3_PREFIX", "a/../b", "S3_PREFIX"),
        ("S3_ENDPOINT", "minio:9000", "S3_ENDPOINT"),
        ("RESULT_URL_TTL", "8d", "RESULT_URL_TTL"),
        ("AWS_ACCESS_KEY_ID", "AKID", "AWS_SECRET_ACCESS_KEY"),
        ("AWS_SECRET_ACCESS_KEY", "s", "AWS_ACCESS_KEY_ID"),
    ] {
        let faults = Config::of(&[("S3_BUCKET", "media"), (variable, value)]).unwrap_err();
        let named: Vec<_> = faults.0.iter().map(|fault| fault.variable).collect();
        assert_eq!(named, [faulty], "{variable}={value}");
    }
    let alone = Config::of(&[("RESULT_URL_TTL", "1d")]).unwrap_err();
    assert_eq!(alone.0[0].variable, "RESULT_URL_TTL");
}

#[test]
fn only_intake_checks_that_a_required_key_is_set() {
    let required = ("REQUIRE_API_KEY", "true");

    let without = Config::of(&[required]).unwrap();
    let with = Config::of(&[required, ("API_KEYS", "topsecret")]).unwrap();

    let fault = without.intake.check_access().unwrap_err();
    assert_eq!(fault.variable, "API_KEYS");
    assert_eq!(with.intake.check_access(), Ok(()));
    assert!(!format!("{with:?}").contains("topsecret"));
}

#[test]
fn the_example_names_the_variables_that_are_read_and_no_others() {
    let manual = include_str!("../../../.env.example");
    let assigned = |line: &str| {
        line.trim_start_matches(['#', ' '])
            .split_once('=')
            .map(|(name, _)| name.to_owned())
    };
    let is_name = |name: &String| {
        !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    let mut named: Vec<_> = manual
        .lines()
        .filter_map(assigned)
        .filter(is_name)
        .collect();
    named.sort_unstable();
    let mut read: Vec<_> = Config::variables().into_iter().map(str::to_owned).collect();
    read.sort_unstable();

    assert_eq!(named, read);
}

#[test]
fn only_a_consumer_must_drain_within_the_session_timeout() {
    let long = Config::of(&[("SHUTDOWN_GRACE", "4m")]).unwrap();

    let fault = long.check_drain().unwrap_err();

    assert_eq!(fault.variable, "SHUTDOWN_GRACE");
    assert!(Config::of(&[]).unwrap().check_drain().is_ok());
}
