//! genflow turns each generation request on Kafka into exactly one Temporal workflow.
//!
//! ```text
//! gen.requests ─> kafka::consumer ─> intake ─start─> Temporal ─> temporal::workflows ─> temporal::activities ─> work
//! gen.commands ─>                    intake::commands ─cancel/claim/retry─>                                      │
//!                                                       provider (HTTP), storage (disk, bucket), events <────────┘
//! gen.events ──> kafka::consumer ─> notifier ─first attempt─> webhooks, mail, Slack; receipts on gen.notifications
//!                                            ─if it fails─> Temporal (delivery.v1) ─retries─> webhooks, mail, Slack
//! ```
//!
//! # The path of a request
//!
//! 1. [`kafka`] feeds records to a handler, one at a time per key, and commits up to the oldest unfinished record. It
//!    retries a record that fails for a passing reason, and dead-letters one that can never succeed, bytes unchanged.
//! 2. [`intake`] decodes a record ([`avro`], [`registry`]), parses it ([`domain`]), seals its targets ([`seal`]) and
//!    starts `generation.v1` with the request id as workflow id. If the id is taken, the record is a duplicate (same
//!    fingerprint), a conflict (another one), or refused because a CANCEL has claimed the id.
//! 3. The workflow ([`temporal::workflows`]) runs the activities `submit`, `fetch` (again after each milestone) and
//!    `finish`. Only the workflow decides events (`domain::Journal`). Each activity publishes the events that it
//!    receives ([`events`]) before it does its own work.
//! 4. `submit` stores its attempt record on the Temporal server right before each send. The server's answer is the
//!    fence: at most one send may have been accepted. If the outcome of a send is unknown, the next attempt looks the
//!    job up by our id ([`provider`]).
//! 5. `fetch` polls the provider, downloads outputs to a temp folder, checks and stores them ([`work`], [`storage`]).
//!    `finish` cancels a job that may still run, writes the manifest, and publishes the outcome: first to `gen.events`,
//!    then to `gen.results`.
//! 6. A batch is a workflow of its own, `batch.v1`. It runs a window of items as child workflows, each a
//!    `generation.v1` under the item's id, and publishes its own events. Its input holds the items in a compact binary
//!    form ([`temporal::compact`]).
//! 7. [`notifier`] opens the targets of an event and makes one delivery attempt for each. A delivery that needs more
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
//! # Boundaries
//!
//! - [`domain`] is pure: no I/O, no clock, no randomness. A value of a parsed type needs no second check.
//! - Only [`config`] reads the settings' variables; only [`temporal`] and [`worker`] use Temporal's crates; records are
//!   read and written through [`kafka`].
//! - An address that others supply (a webhook, a result) is called through [`guard`] only.
//! - [`app`] checks settings, starts the roles and stops them; [`telemetry`] defines every metric and the log events.
//! - For operators, [`dlq`] lists and redrives dead letters, [`doctor`] checks everything that genflow depends on, and
//!   [`temporal::replay`] reports before a deploy whether open runs can continue under a new build.
//! - [`provider_sim`] simulates the generation APIs with faults on demand; [`dev`] runs engines and all roles locally.

pub mod access;
pub mod admin;
pub mod app;
pub mod avro;
mod causes;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dev;
pub mod dlq;
pub mod doctor;
pub mod domain;
pub mod events;
mod failpoint;
pub mod guard;
mod http;
pub mod intake;
pub mod kafka;
pub mod notifier;
mod open_files;
pub mod provider;
pub mod provider_sim;
pub mod registry;
pub mod seal;
pub mod setup;
pub mod storage;
pub mod telemetry;
pub mod temporal;
mod token_buckets;
pub mod work;
pub mod worker;
