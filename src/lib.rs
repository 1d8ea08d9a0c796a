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
//! `docs/architecture.md` follows a request through the code, says where to add what, and has a glossary. Modules are
//! grouped by rank, from the bottom: [`domain`], [`contract`] (what is stored in histories or sent over a wire),
//! [`workflows`], [`engines`], [`roles`], [`operate`], [`app`], [`dev`], [`launch`]. Imports go downwards only, and
//! never from one role to another; `tests/it/layers.rs` checks it.
//!
//! # Invariants
//!
//! - An event of a run is in a history before it is on a topic, and publishing adds nothing to it: all copies are
//!   equal.
//! - Business failures are `Ok` values. An activity's `Err` means "retry", and leaves its events unconfirmed.
//! - genflow keeps no state: Kafka has the records, Temporal the runs, a disk or bucket the results. Any process may
//!   be killed at any time.
//! - Every step may run more than once. A repeat finds what was done before: by workflow id, event id, file name or
//!   manifest.
//!
//! # Boundaries
//!
//! - [`domain`] is pure: no I/O, no clock, no randomness. A value of a parsed type needs no second check.
//! - Only [`config`](engines::config) reads the settings' variables; records are read and written through
//!   [`kafka`](engines::kafka).
//! - An address that others supply (a webhook, a result) is called through [`egress`](engines::egress) only.
//! - [`app`] checks settings, starts the roles and stops them; [`telemetry`](engines::telemetry) defines every metric
//!   and the log events.
//! - For operators, [`dead_letters`](operate::dead_letters) lists and redrives dead letters,
//!   [`doctor`](operate::doctor) checks everything that genflow depends on, and [`replay`](operate::replay) reports
//!   before a deploy whether open runs can continue under a new build.
//! - [`simulator`](dev::simulator) simulates the generation APIs with faults on demand; [`dev`] runs engines and all
//!   roles locally.

#![cfg_attr(
    test,
    allow(
        clippy::too_many_lines,
        reason = "a test is read from its beginning to its end"
    )
)]

pub mod app;
pub mod contract;
#[cfg(feature = "dev")]
pub mod dev;
pub mod domain;
pub mod engines;
pub mod launch;
pub mod operate;
pub mod roles;
pub mod workflows;
