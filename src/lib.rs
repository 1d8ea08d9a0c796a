//! genflow: generation requests on Kafka become exactly one Temporal workflow each.
//!
//! ```text
//! gen.requests ─> kafka::consumer ─> intake ─start─> Temporal ─> temporal::workflows ─> temporal::activities ─> work
//! gen.commands ─>                    intake::commands ─cancel/claim/retry─>                                      │
//!                                                       provider (HTTP), storage (disk, bucket), events <────────┘
//! gen.events ──> kafka::consumer ─> notifier ─first try─> webhooks, mail, Slack; receipts on gen.notifications
//!                                            ─else─> Temporal (delivery.v1) ─later tries─> the same
//! ```
//!
//! # The path of a request
//!
//! 1. [`kafka`] feeds records to a handler, one of a key at a time, and commits behind the oldest that is not done. A
//!    passing fault holds a record; one that can never succeed is parked on the dead-letter topic, bytes unchanged.
//! 2. [`intake`] decodes ([`avro`], [`registry`]), parses ([`domain`]), seals the targets ([`seal`]) and starts
//!    `generation.v1` under the request id. An id that is taken is a duplicate if its fingerprint is ours, else a
//!    conflict, or a claim that a cancel has laid.
//! 3. The workflow ([`temporal::workflows`]) runs `submit`, `fetch` (again after each milestone) and `finish`. It alone
//!    decides events (`domain::Journal`); each activity publishes those it was handed before its own work ([`events`]).
//! 4. `submit` keeps its record at the server and fences each send with it: at most one send may have been accepted.
//!    What is not known is looked up by our id ([`provider`]).
//! 5. `fetch` waits, downloads to a temp folder, checks and stores ([`work`], [`storage`]). `finish` ends what still
//!    runs at the provider, writes the manifest, and publishes the outcome: to the events, then to the results.
//! 6. A batch is a workflow of its own, `batch.v1`: it keeps a window of items running as children, each a
//!    `generation.v1` under the item's id, and publishes its own events. Items travel in it as bytes
//!    ([`temporal::compact`]).
//! 7. [`notifier`] opens the targets of an event, tries each once, hands over what that does not end to a workflow of
//!    its own, `delivery.v1`, and writes a receipt for every end.
//! 8. What was closed from outside is found by the sweeps of workers and notifiers: a run gets its outcome from `end.v1`,
//!    a delivery is given up.
//!
//! # What holds it together
//!
//! - An event stands in history before it is on a topic, and nothing is added when it is published: copies are equal.
//! - Business failures are values; an `Err` of an activity means "again", and leaves its events unconfirmed.
//! - genflow keeps no state: Kafka has the records, Temporal the runs, a disk or bucket the results. Any process may be
//!   killed.
//! - All is done at least once, and what is done again finds what was done: workflow id, event id, file name, manifest.
//!
//! # Who may do what
//!
//! - [`domain`] is pure: no I/O, no clock, no randomness. Who holds a parsed type need not check it again.
//! - Only [`config`] knows the settings' variables, only [`temporal`] and [`worker`] name Temporal's crates; records go by [`kafka`].
//! - What others give as an address, a webhook or a result, is called by way of [`guard`] only.
//! - [`app`] checks settings, composes roles and their stop, and has no logic; [`telemetry`] has every metric and log event in one place.
//! - For the operator, [`dlq`] finds dead letters and sends them again, [`doctor`] looks at all that genflow needs, and
//!   [`temporal::replay`] tells before a deploy whether open runs go on under a new build.
//! - [`provider_sim`] serves the outside APIs' protocols with faults on demand; [`dev`] starts engines and all roles.

pub mod app;
pub mod contract;
pub mod dev;
pub mod domain;
pub mod engines;
pub mod operate;
pub mod roles;
pub mod workflows;
