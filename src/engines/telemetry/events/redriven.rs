//! The audit of redrives: which dead letter was sent again, and where to.

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
}

impl DeadLetterRedriven<'_> {
    /// Logs it.
    pub fn emit(self) {
        let Self {
            position,
            to,
            reason,
            attempts,
        } = self;
        info!(%position, %to, reason, attempts, "dead letter redriven");
    }
}
