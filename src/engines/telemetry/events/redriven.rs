//! The audit of the operator's hand: who sent which dead letter again.

use std::fmt::Display;

use tracing::info;

use crate::domain::RecordPosition;

/// An operator sent a dead letter again. Above DEBUG on purpose: it is an audit, and no steady flow.
pub struct DeadLetterRedriven<'a> {
    /// The dead letter.
    pub position: &'a RecordPosition,
    /// Where it is now: a position, or a workflow.
    pub to: &'a (dyn Display + 'a),
    /// Why it was parked; as its header has it.
    pub reason: &'a str,
    /// How often it was parked.
    pub attempts: u32,
    /// Who asked.
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
