//! The audit of redrives: who sent which dead letter again.

use std::fmt::Display;

use tracing::info;

use crate::domain::RecordPosition;

/// An operator redrove a dead letter. Logged above DEBUG on purpose: it is an audit line, and rare.
pub struct DeadLetterRedriven<'a> {
    /// Position of the dead letter.
    pub position: &'a RecordPosition,
    /// Where it went: a position, or a workflow.
    pub to: &'a (dyn Display + 'a),
    /// Why it was parked, from its header.
    pub reason: &'a str,
    /// How many times it was parked.
    pub attempts: u32,
    /// The operator who redrove it.
    pub by: &'a str,
}

impl DeadLetterRedriven<'_> {
    /// Logs it.
    pub fn emit(self) {
        let Self {
            position,
            to,
            reason,
            attempts,
            by,
        } = self;
        info!(%position, %to, reason, attempts, by, "dead letter redriven");
    }
}
