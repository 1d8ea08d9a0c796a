//! The pages of the commands that send requests and follow them.

use super::Page;

pub(super) const PAGES: &[Page] = &[
    Page {
        path: "submit",
        examples: [
            (
                "Make one picture, and wait for it",
                r#"submit image --prompt "a red fox" --width 1280 --height 720 --watch"#,
            ),
            (
                "See what a file of requests would send and cost, without sending it",
                "submit --file orders.jsonl --dry-run",
            ),
        ],
        exit: "0 when all were sent. With --watch: 0 all completed, 1 any failed, 2 any cancelled or rejected. With --dry-run: 1 if \
               anything is refused",
        json: Some(r#"{"request_id": "order-7"}"#),
        see: &[("Requests", "requests.md"), ("Models", "models.md")],
    },
    Page {
        path: "models list",
        examples: [
            ("List the models that genflow has a copy of", "models list"),
            ("Only those of one provider", "models list --provider fal"),
        ],
        exit: "0",
        json: Some(r#"{"provider": "fal", "model": "fal-ai/flux/schnell"}"#),
        see: &[("Models", "models.md")],
    },
    Page {
        path: "models show",
        examples: [
            (
                "Show the inputs and prices of a model",
                "models show black-forest-labs/flux-schnell",
            ),
            (
                "The same from genflow's own copy, for a program",
                "models show fal-ai/flux/schnell --provider fal --offline --json",
            ),
        ],
        exit: "0",
        json: Some(
            r#"{"provider": "fal", "model": "fal-ai/flux/schnell", "schema": "bundled", "inputs": [{"name": "prompt", "accepts": "text", "default": null, "required": true}], "prices": ["0.003 US dollars per image"]}"#,
        ),
        see: &[("Models", "models.md")],
    },
    Page {
        path: "models check",
        examples: [
            (
                "Show the input that a model gets, and the fields it refuses",
                r#"models check image --prompt "a red fox" --width 1280 --height 720"#,
            ),
            (
                "Check a file without asking the providers",
                "models check --file orders.jsonl --offline --json",
            ),
        ],
        exit: "0; 1 if anything is refused",
        json: Some(
            r#"{"request_id": "order-7", "fallback": null, "by_operator": false, "provider": "fal", "model": "fal-ai/flux/schnell", "schema": "bundled", "problems": [], "notes": [], "input": {"prompt": "a red fox"}, "estimate_usd": 0.003}"#,
        ),
        see: &[("Models", "models.md")],
    },
    Page {
        path: "cancel",
        examples: [
            (
                "Cancel one request",
                r#"cancel order-7 --reason "changed my mind""#,
            ),
            (
                "See how many open requests of a user would be cancelled",
                "cancel --user alice --since 2h --dry-run",
            ),
        ],
        exit: "0 when all were sent, also if there was nothing to send; 1 if the person said no, or if more would be sent than \
               --expect says",
        json: Some(
            r#"{"command_id": "0b0c5f0e-5a3c-4a8e-9d5f-3d3a2f6f7c11", "request_id": "order-7", "action": "CANCEL"}
{"action": "CANCEL", "would": 12, "left": {"has ended": 3}, "ids": ["order-7"], "usual_cost_usd": null}"#,
        ),
        see: &[(
            "Many requests at once",
            "command-line.md#many-requests-at-once",
        )],
    },
    Page {
        path: "retry",
        examples: [
            (
                "Run a failed request again",
                r#"retry order-7 --reason "quota raised" --by ann"#,
            ),
            (
                "Retry the 12 requests that a dry run found for one error code",
                "retry --code provider_quota --since 1d --expect 12",
            ),
        ],
        exit: "0 when all were sent, also if there was nothing to send; 1 if the person said no, or if more would be sent than \
               --expect says",
        json: Some(
            r#"{"command_id": "0b0c5f0e-5a3c-4a8e-9d5f-3d3a2f6f7c11", "request_id": "order-7", "action": "RETRY"}
{"action": "RETRY", "would": 12, "left": {"is running": 3}, "ids": ["order-7"], "usual_cost_usd": 0.48}"#,
        ),
        see: &[(
            "Many requests at once",
            "command-line.md#many-requests-at-once",
        )],
    },
    Page {
        path: "watch",
        examples: [
            ("Follow one request to its end", "watch order-7"),
            (
                "Follow all requests, for a program",
                "watch --json | jq .type",
            ),
        ],
        exit: "0 when the request has ended, with any outcome. Without an ID it never ends",
        json: Some(
            r#"{"event_id": "4f6c2f3e-6b7a-5c1d-9e0f-1a2b3c4d5e6f", "request_id": "order-7", "retry": 0, "sequence": 2, "batch_id": null, "user_id": "alice", "kind": "IMAGE", "type": "COMPLETED", "occurred_at": 1767225609000, "workflow_id": "order-7", "run_id": "01977c2e-2b6b-7d0c-9a53-9d7d5a2f5d11", "progress": null, "result": {}, "batch": null, "error": null, "record": null, "metadata": {}, "tried": []}"#,
        ),
        see: &[("Events", "events.md")],
    },
    Page {
        path: "status",
        examples: [
            ("Show the newest run of a request", "status order-7"),
            (
                "Show its second retry, for a program",
                "status order-7~2 --json | jq .state",
            ),
        ],
        exit: "0 if the request is known, 1 if not",
        json: Some(
            r#"{"request_id": "order-7", "workflow_id": "order-7", "run_id": "01977c2e-2b6b-7d0c-9a53-9d7d5a2f5d11", "kind": "IMAGE", "user_id": "alice", "batch_id": null, "state": "completed", "stage": null, "percent": 100, "provider_job_id": "gm3qorzdhgbfurvjtvhg6dckhu", "attempts": 1, "started_at": 1767225600000, "submitted_at": 1767225601000, "updated_at": 1767225609000, "error": null, "batch": null, "tried": [], "result": {}, "source": "history"}"#,
        ),
        see: &[("Check a request", "command-line.md#check-a-request")],
    },
    Page {
        path: "list",
        examples: [
            (
                "List what runs for a user",
                "list --user alice --state running --since 2h",
            ),
            (
                "List the items of a batch, for a program",
                "list --batch shoot-7 --json | jq .request_id",
            ),
        ],
        exit: "0, also when there are none",
        json: Some(
            r#"{"request_id": "order-7", "workflow_id": "order-7~1", "kind": "IMAGE", "user_id": "alice", "batch_id": null, "state": "running", "started_at": 1767225600000, "closed_at": null}"#,
        ),
        see: &[("Check a request", "command-line.md#check-a-request")],
    },
    Page {
        path: "get",
        examples: [
            ("Copy the files of a request here", "get order-7"),
            (
                "Copy those of all items of a batch to a folder",
                "get shoot-7 --output pictures",
            ),
        ],
        exit: "0; 1 if the request is unknown or has no files; 64 if one of the files exists already",
        json: Some(
            r#"{"path": "pictures/order-7-0.png", "workflow_id": "order-7", "uri": "file:///var/lib/genflow/results/order-7/0-1f3a.png", "content_type": "image/png", "bytes": 182044}"#,
        ),
        see: &[("Results", "operating/results.md")],
    },
    Page {
        path: "costs",
        examples: [
            ("Add up the last 30 days by model", "costs"),
            (
                "Add up what each user spent since a date",
                "costs --by user --since 2026-01-01T00:00:00Z",
            ),
        ],
        exit: "0, also when there are none",
        json: Some(
            r#"{"since": "2026-01-01T00:00:00.000Z", "until": "2026-01-31T00:00:00.000Z", "oldest": "2026-01-02T08:00:00.000Z", "exact": true, "groups": [{"model": "fal:fal-ai/flux/schnell", "runs": 12, "cost_usd": 0.036, "estimated_usd": 0.0, "unpriced": 0}], "total": {"runs": 12, "cost_usd": 0.036, "estimated_usd": 0.0, "unpriced": 0}}"#,
        ),
        see: &[("What was spent", "models.md#what-was-spent")],
    },
    Page {
        path: "budget",
        examples: [
            ("Show the budget of all users together", "budget"),
            ("Show that of one user", "budget alice"),
        ],
        exit: "0",
        json: Some(
            r#"{"day": {"spent_usd": 1.2, "reserved_usd": 0.04, "limit_usd": 5.0, "frees_at": "2026-01-02T00:00:00.000Z"}, "month": {"spent_usd": 20.0, "reserved_usd": 0.04, "limit_usd": null, "frees_at": "2026-02-01T00:00:00.000Z"}, "open_runs": 1}"#,
        ),
        see: &[("Budgets", "budgets.md")],
    },
];
