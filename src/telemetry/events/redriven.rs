//! The audit of the operator's hand: who sent which dead letter again.

use tracing::info;

use crate::domain::RecordPosition;

/// An operator sent a dead letter again. Above DEBUG on purpose: it is an audit, and no steady flow.
#[derive(Debug)]
pub struct DeadLetterRedriven<'a> {
    /// The dead letter.
    pub position: &'a RecordPosition,
    /// Where it stands now.
    pub to: &'a RecordPosition,
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
