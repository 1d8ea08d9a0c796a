//! genflow turns each generation request on Kafka into exactly one Temporal workflow.
//!
//! ```text
//! gen.requests ─> kafka::consumer ─> intake ─start─> Temporal ─> workflows ─> worker::activities ─> worker::steps
//! gen.commands ─>                    intake::commands ─cancel/claim/retry─>                              │
//!                                                provider (HTTP), storage (disk, bucket), publisher <────┘
//! gen.events ──> kafka::consumer ─> notifier ─first attempt─> webhooks, mail, Slack; receipts on gen.notifications
//!                                            ─if it fails─> Temporal (delivery.v1) ─retries─> webhooks, mail, Slack
//! ```
//!
//! # The path of a request
//!
//! 1. [`kafka`](engines::kafka) feeds records to a handler, one at a time per key, and commits up to the oldest unfinished record. It
//!    retries a record that fails for a passing reason, and dead-letters one that can never succeed, bytes unchanged.
//! 2. [`intake`](roles::intake) decodes a record ([`avro`](contract::avro), [`registry`](engines::registry)), parses it ([`domain`]), seals its targets ([`seal`](contract::seal)) and
//!    starts `generation.v1` with the request id as workflow id. If the id is taken, the record is a duplicate (same
//!    fingerprint), a conflict (another one), or refused because a CANCEL has claimed the id.
//! 3. The workflow ([`workflows`]) runs the activities `submit`, `fetch` (again after each milestone) and
//!    `finish`. Only the workflow decides events (`domain::Journal`). Each activity publishes the events that it
//!    receives ([`publisher`](engines::publisher)) before it does its own work.
//! 4. `submit` stores its attempt record on the Temporal server right before each send. The server's answer is the
//!    fence: at most one send may have been accepted. If the outcome of a send is unknown, the next attempt looks the
//!    job up by our id ([`provider`](engines::provider)).
//! 5. `fetch` polls the provider, downloads outputs to a temp folder, checks and stores them ([`worker::steps`](roles::worker::steps), [`storage`](engines::storage)).
//!    `finish` cancels a job that may still run, writes the manifest, and publishes the outcome: first to `gen.events`,
//!    then to `gen.results`.
//! 6. A batch is a workflow of its own, `batch.v1`. It runs a window of items as child workflows, each a
//!    `generation.v1` under the item's id, and publishes its own events. Its input holds the items in a compact binary
//!    form ([`batch_items`](contract::batch_items)).
//! 7. [`notifier`](roles::notifier) opens the targets of an event and makes one delivery attempt for each. A delivery that needs more
//!    attempts is handed over to a workflow, `delivery.v1`. Every end of a notification gets a receipt.
//! 8. Workers and notifiers sweep for runs and deliveries that were closed from outside (terminated, timed out):
//!    `end.v1` gives such a run its outcome, and such a delivery is given up.
//!
//! # Invariants
//!
//! - An event is in a history before it is on a topic, and publishing adds nothing to it: all copies are equal.
//! - Business failures are `Ok` values. An activity's `Err` means "retry", and leaves its events unconfirmed.
//! - genflow keeps no state: Kafka has the records, Temporal the runs, a disk or bucket the results. Any process may be
//!   killed at any time.
//! - Every step may run more than once. A repeat finds what was done before: by workflow id, event id, file name or
//!   manifest.
//!
//! # Ranks
//!
//! Imports go downwards only, and never from one role to another; `tests/layers.rs` checks it. From the bottom:
//! [`domain`], [`contract`] (what is stored in histories or sent over a wire), [`workflows`], [`engines`], [`roles`],
//! [`operate`], [`app`], [`dev`]. `docs/architecture.md` has the map and a glossary.
//!
//! # Boundaries
//!
//! - [`domain`] is pure: no I/O, no clock, no randomness. A value of a parsed type needs no second check.
//! - Only [`config`](engines::config) reads the settings' variables; only [`temporal`](engines::temporal) and [`worker`](roles::worker) use Temporal's crates; records are
//!   read and written through [`kafka`](engines::kafka).
//! - An address that others supply (a webhook, a result) is called through [`egress`](engines::egress) only.
//! - [`app`] checks settings, starts the roles and stops them; [`telemetry`](engines::telemetry) defines every metric and the log events.
//! - For operators, [`dead_letters`](operate::dead_letters) lists and redrives dead letters, [`doctor`](operate::doctor) checks everything that genflow depends on, and
//!   [`replay`](operate::replay) reports before a deploy whether open runs can continue under a new build.
//! - [`simulator`](dev::simulator) simulates the generation APIs with faults on demand; [`dev`] runs engines and all roles locally.

pub mod app;
pub mod contract;
pub mod dev;
pub mod domain;
pub mod engines;
pub mod operate;
pub mod roles;
pub mod workflows;
