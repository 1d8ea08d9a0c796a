//! The pages of the commands that set genflow up, run it and repair it.

use super::Page;

/// The exit code of what runs until it is stopped.
const AFTER_A_STOP: &str = "0 after a stop";
const DEPLOY: (&str, &str) = ("Deploy", "operating/README.md#deploy");
#[cfg(feature = "dev")]
const ONE_MACHINE: (&str, &str) = ("Everything on one machine", "dev.md");
const DEAD_LETTERS: (&str, &str) = ("Dead letters", "dead-letters.md");
const CONFIGURATION: (&str, &str) = ("Configuration", "configuration.md");
const RECEIPTS: (&str, &str) = ("Receipts", "receipts.md");
const SECRETS: (&str, &str) = ("Secrets", "operating/secrets.md");

pub(super) const PAGES: &[Page] = &[
    Page {
        path: "init",
        examples: [
            ("Answer some questions, and get a .env", "init"),
            (
                "Write a .env without questions",
                "init --brokers kafka:9092 --registry http://registry:8081 --temporal temporal:7233 --provider fal",
            ),
        ],
        exit: "0; 64 if the file exists already",
        json: Some(r#"{"path": ".env"}"#),
        see: &[CONFIGURATION, SECRETS],
    },
    Page {
        path: "secrets",
        examples: [
            ("Add secrets of your own to .env", "secrets >> .env"),
            ("See what they look like", "secrets"),
        ],
        exit: "0",
        json: Some(
            r#"{"NOTIFY_KEYS": "2026-12-01:mr9e0jkDou7wpYjJ5V7jmba+hnXCRO7lEVk6EwjktR8=", "WEBHOOK_SIGNING_KEY": "whsk_…", "WEBHOOK_SIGNING_SECRET": "whsec_…"}"#,
        ),
        see: &[SECRETS],
    },
    Page {
        path: "config show",
        examples: [
            ("Show what is set, and where", "config show --set"),
            ("Show the settings of Kafka", "config show kafka"),
        ],
        exit: "0, even if a setting is invalid",
        json: Some(
            r#"{"name": "KAFKA_BROKERS", "value": "kafka:9092", "source": "env_file", "file": ".env", "default": "127.0.0.1:9092", "secret": false, "problem": null}"#,
        ),
        see: &[CONFIGURATION],
    },
    Page {
        path: "config check",
        examples: [
            ("Check the settings of all roles", "config check"),
            (
                "Check those of a worker, before a deploy",
                "config check --role worker --json",
            ),
        ],
        exit: "0 if all settings are valid; 64 if a setting is invalid; 1 if the only problem is a name that looks misspelt",
        json: Some(
            r#"{"ok": false, "problems": [{"name": "LOG_LEVEL", "problem": "is \"verbose\", expected off, error, warn, info, debug or trace"}], "unknown": [{"name": "KAFKA_BROKER", "nearest": "KAFKA_BROKERS"}]}"#,
        ),
        see: &[CONFIGURATION],
    },
    Page {
        path: "setup",
        examples: [
            ("Create topics, schemas and search attributes", "setup"),
            (
                "On a cluster of one broker, and with more partitions than before",
                "setup --replication 1 --grow",
            ),
        ],
        exit: "0",
        json: Some(r#"{"done": "schema gen.requests-value: genflow.GenerationRequest, id 7"}"#),
        see: &[DEPLOY],
    },
    Page {
        path: "doctor",
        examples: [
            ("Check everything, and get advice", "doctor"),
            (
                "Only what fails, for a program",
                "doctor --json | jq '.checks[] | select(.verdict == \"FAIL\")'",
            ),
        ],
        exit: "0 when no check fails, 1 otherwise",
        json: Some(
            r#"{"ok": true, "checks": [{"check": "Kafka", "verdict": "ok", "found": "3 brokers", "advice": null}]}"#,
        ),
        see: &[("Doctor", "operating/doctor.md")],
    },
    Page {
        path: "health",
        examples: [
            ("Check that the process runs", "health"),
            ("Check that all its roles are ready", "health --ready"),
        ],
        exit: "0 if so, 1 otherwise",
        json: Some(
            r#"{"ok": true, "url": "http://127.0.0.1:9464/livez", "status": 200, "why": null}"#,
        ),
        see: &[("Health", "operating/containers.md#health")],
    },
    Page {
        path: "all",
        examples: [
            ("Run all roles and the console", "all"),
            ("Keep its log", "all 2>> genflow.log"),
        ],
        exit: AFTER_A_STOP,
        json: None,
        see: &[DEPLOY],
    },
    Page {
        path: "intake",
        examples: [
            ("Run intake alone", "intake"),
            ("Keep its log", "intake 2>> intake.log"),
        ],
        exit: AFTER_A_STOP,
        json: None,
        see: &[DEPLOY],
    },
    Page {
        path: "worker",
        examples: [
            ("Run a worker alone", "worker"),
            ("Keep its log", "worker 2>> worker.log"),
        ],
        exit: AFTER_A_STOP,
        json: None,
        see: &[DEPLOY],
    },
    Page {
        path: "notifier",
        examples: [
            ("Run a notifier alone", "notifier"),
            ("Keep its log", "notifier 2>> notifier.log"),
        ],
        exit: AFTER_A_STOP,
        json: None,
        see: &[DEPLOY],
    },
    Page {
        path: "console",
        examples: [
            ("Serve the console at CONSOLE_ADDR", "console"),
            (
                "With an API key, if intake requires one for commands",
                "console --api-key-file /run/secrets/genflow-key",
            ),
        ],
        exit: AFTER_A_STOP,
        json: None,
        see: &[("Console", "console.md")],
    },
    Page {
        path: "codec-server",
        examples: [
            (
                "Decode payloads for Temporal's web UI, at CODEC_SERVER_ADDR",
                "codec-server",
            ),
            ("Keep its log", "codec-server 2>> codec.log"),
        ],
        exit: AFTER_A_STOP,
        json: None,
        see: &[(
            "Encrypt what Temporal keeps",
            "operating/connecting.md#encrypt-what-temporal-keeps",
        )],
    },
    Page {
        path: "dlq list",
        examples: [
            ("List the dead letters of a day", "dlq list --since 1d"),
            (
                "Notifications that were given up, for a program",
                "dlq list --notifications --json | jq .error",
            ),
        ],
        exit: "0, also when there are none",
        json: Some(
            r#"{"partition": 0, "offset": 15, "dead_lettered_at": "2026-01-31T12:00:00.000Z", "reason": "invalid", "key": "order-7", "request_id": "order-7", "user_id": "alice", "attempts": 1, "original": {"topic": "gen.requests", "partition": 3, "offset": 991}, "original_at": "2026-01-31T11:59:59.000Z", "group": "genflow-intake", "channel": null, "target_hash": null, "truncated": false, "error": "spec.prompt is empty"}"#,
        ),
        see: &[DEAD_LETTERS],
    },
    Page {
        path: "dlq show",
        examples: [
            ("Show one dead letter", "dlq show 0:15"),
            (
                "Show one of notifications, for a program",
                "dlq show 0:15 --notifications --json",
            ),
        ],
        exit: "0; 1 when there is no dead letter at this position",
        json: Some(
            r#"{"partition": 0, "offset": 15, "dead_lettered_at": "2026-01-31T12:00:00.000Z", "key": "order-7", "headers": [{"name": "dlq.reason", "value": "invalid"}], "bytes": 120, "sha256": "9f86d081884c7d65", "value": {"request_id": "order-7"}, "unreadable": null}"#,
        ),
        see: &[DEAD_LETTERS],
    },
    Page {
        path: "dlq redrive",
        examples: [
            (
                "See what would be sent",
                "dlq redrive --reason unauthorized --dry-run",
            ),
            ("Send two of them again", "dlq redrive 0:15 0:16"),
        ],
        exit: "0 when everything that may be sent was sent; 1 when a given position holds no dead letter; 130 when it was \
               interrupted",
        json: Some(
            r#"{"position": "0:15", "to": "gen.requests/3/1042", "reason": "invalid", "attempts": 1, "key": "order-7", "new_id": null}
{"sent": {"invalid": 1}, "skipped": {}, "missing": [], "interrupted": false, "dry_run": false}"#,
        ),
        see: &[DEAD_LETTERS],
    },
    Page {
        path: "notifications list",
        examples: [
            (
                "How the notifications of a request ended",
                "notifications list order-7",
            ),
            (
                "Those of a day that were not delivered, for a program",
                "notifications list --undelivered --json | jq .error",
            ),
        ],
        exit: "0, also when there are none",
        json: Some(
            r#"{"receipt_id": "0b7c9a4e-1d2f-5a3b-8c4d-5e6f7a8b9c0d", "event_id": "5b0c8a52-9d1e-5c55-8f0e-0f6f1d0c7a11", "request_id": "order-7", "channel": "WEBHOOK", "target": "https://shop.example/…", "target_hash": "9f86d081884c7d65", "outcome": "DELIVERED", "status": 204, "tries": 1, "first_try_at": 1769860799000, "ended_at": 1769860800000, "error": null}"#,
        ),
        see: &[RECEIPTS],
    },
    Page {
        path: "notifications resend",
        examples: [
            (
                "See what would be sent again",
                "notifications resend order-7 --dry-run",
            ),
            (
                "Send the webhook about the completion again",
                "notifications resend order-7 --event completed --channel webhook",
            ),
        ],
        exit: "0; 1 if none could be sent",
        json: Some(
            r#"{"dry_run": true, "sent": [{"receipt_id": "0b7c9a4e-1d2f-5a3b-8c4d-5e6f7a8b9c0d", "event_id": "5b0c8a52-9d1e-5c55-8f0e-0f6f1d0c7a11", "request_id": "order-7", "channel": "WEBHOOK", "target": "https://shop.example/…", "target_hash": "9f86d081884c7d65", "outcome": "DELIVERED", "status": 204, "tries": 1, "first_try_at": 1769860799000, "ended_at": 1769860800000, "error": null}], "left": {"is still being delivered": 1}}"#,
        ),
        see: &[("Send one again", "notifications.md#send-one-again")],
    },
    Page {
        path: "notifications test",
        examples: [
            (
                "Send a test to an endpoint",
                "notifications test https://shop.example/hooks",
            ),
            (
                "Signed with the secret of a user",
                "notifications test https://shop.example/hooks --user alice --json",
            ),
        ],
        exit: "0 if the target accepted it, 1 if not",
        json: Some(
            r#"{"delivered": true, "status": 204, "error": null, "webhook_id": "test-9b2f4a1c-7d3e-4f5a-8b6c-1d2e3f4a5b6c", "took_ms": 12}"#,
        ),
        see: &[("Test an endpoint", "notifications.md#test-an-endpoint")],
    },
    Page {
        path: "replay",
        examples: [
            ("Check that this build can continue all open runs", "replay"),
            ("Check two runs only", "replay order-7 order-8~1"),
        ],
        exit: "0 if it can continue all; 1 if not, or if an ID is unknown",
        json: Some(
            r#"{"workflow_id": "order-7", "run_id": "01977c2e-2b6b-7d0c-9a53-9d7d5a2f5d11", "workflow_type": "generation.v1", "open": true, "ok": true, "event": null, "event_type": null, "problem": null}"#,
        ),
        see: &[("Before a deploy", "operating/upgrade.md#before-a-deploy")],
    },
    Page {
        path: "webhook-secret",
        examples: [
            (
                "Print what verifies a user's webhooks",
                "webhook-secret alice",
            ),
            (
                "The current secret alone",
                "webhook-secret alice --json | jq -r '.secrets[0]'",
            ),
        ],
        exit: "0",
        json: Some(
            r#"{"secrets": ["whsec_mr9e0jkDou7wpYjJ5V7jmba+hnXCRO7lEVk6EwjktR8="], "public_keys": []}"#,
        ),
        see: &[("Notifications", "notifications.md")],
    },
    Page {
        path: "completions",
        examples: [
            (
                "For bash",
                "completions bash > ~/.local/share/bash-completion/completions/genflow",
            ),
            ("For zsh", "completions zsh > ~/.zfunc/_genflow"),
        ],
        exit: "0",
        json: None,
        see: &[],
    },
    Page {
        path: "man",
        examples: [
            (
                "Write the pages to where man looks",
                "man ~/.local/share/man/man1",
            ),
            ("Write them here", "man ."),
        ],
        exit: "0",
        json: None,
        see: &[],
    },
    #[cfg(feature = "dev")]
    Page {
        path: "dev",
        examples: [
            ("Run everything on this machine", "dev"),
            ("On free ports, beside other engines", "dev --ports free"),
        ],
        exit: "0 after a stop; with --once 1 if a sample failed",
        json: None,
        see: &[ONE_MACHINE],
    },
    #[cfg(feature = "dev")]
    Page {
        path: "test",
        examples: [
            (
                "Send one request of each kind, and check the outcomes",
                "test",
            ),
            ("On free ports, beside other engines", "test --ports free"),
        ],
        exit: "0 if all samples completed, 1 otherwise",
        json: None,
        see: &[ONE_MACHINE],
    },
    #[cfg(feature = "dev")]
    Page {
        path: "bench",
        examples: [
            (
                "Measure everything, and keep the figures",
                "bench --json figures.json",
            ),
            (
                "One row, in one short round",
                "bench requests --rounds 1 --requests 100",
            ),
        ],
        exit: "0",
        json: None,
        see: &[("Performance", "performance.md")],
    },
    #[cfg(feature = "dev")]
    Page {
        path: "provider-sim",
        examples: [
            ("Serve the simulated APIs", "provider-sim"),
            (
                "On another port, with slow jobs",
                "provider-sim --listen 127.0.0.1:8191 --job-time 30s",
            ),
        ],
        exit: AFTER_A_STOP,
        json: None,
        see: &[ONE_MACHINE],
    },
];
