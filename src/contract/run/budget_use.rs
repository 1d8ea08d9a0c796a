//! What a run knows about its reservations on budgets.

use serde::{Deserialize, Serialize};

use super::{AttemptRecord, Sent, Submitted};

/// What a run knows, when it ends, about its reservations on budgets, over all candidates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BudgetUse {
    /// Something is reserved. If not, something may be nevertheless: an attempt may be lost.
    pub reserved: bool,
    /// The provider has accepted no job.
    pub not_accepted: bool,
    /// The candidates below this one have declined: what they reserved was not paid. 0 if nothing is reserved.
    #[serde(skip_serializing_if = "super::submit::is_first")]
    pub declined: u32,
}

impl BudgetUse {
    /// Returns what is known after the `submit` of a candidate. What any of them has reserved is to be settled, and by the
    /// last one that was asked: those that have declined were not paid.
    pub(crate) fn after(self, candidate: u32, submitted: &Submitted) -> Self {
        let (reserved, declined) = match submitted {
            Submitted::Accepted { reserved, .. }
            | Submitted::Stored { reserved, .. }
            | Submitted::Ambiguous { reserved, .. } => (*reserved, self.declined),
            Submitted::Declined { reserved, .. } => (*reserved, candidate + 1),
            Submitted::Adopted(_) | Submitted::Refused(_) => (false, self.declined),
        };
        let reserved = self.reserved || reserved;
        Self {
            reserved,
            not_accepted: false,
            // Not noted for nothing, so that a run without budgets has no more in its history.
            declined: if reserved { declined } else { 0 },
        }
    }

    /// Returns what is known after a `submit` without a result, whose last record this is.
    pub(crate) fn after_record(self, record: Option<AttemptRecord>) -> Self {
        let reserved = self.reserved || record.is_some_and(|it| it.reserved);
        Self {
            reserved,
            // Not noted for nothing, as in `after`.
            not_accepted: reserved && record.is_some_and(|it| it.state == Sent::NotAccepted),
            ..self
        }
    }

    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::run::JobLookup;
    use crate::domain::{ErrorCode, EventError, Media, ProviderName};

    fn no() -> EventError {
        EventError::new(ErrorCode::ProviderAuth, "no", false)
    }

    fn declined(reserved: bool) -> Submitted {
        Submitted::Declined {
            model: "m".to_owned(),
            error: no(),
            skipped: false,
            reserved,
        }
    }

    #[test]
    fn what_a_run_knows_of_its_reservations_covers_all_candidates() {
        let known = |reserved, not_accepted, declined| BudgetUse {
            reserved,
            not_accepted,
            declined,
        };
        let nothing = BudgetUse::default();
        let ambiguous = Submitted::Ambiguous {
            error: no(),
            lookup: JobLookup {
                provider: ProviderName::FAL,
                kind: Media::Image,
                run_id: "run".to_owned(),
                since: 1,
                recent: false,
                candidate: 1,
            },
            reserved: true,
        };
        let unsent = AttemptRecord {
            number: 1,
            state: Sent::NotAccepted,
            provider: ProviderName::FAL,
            sends: 0,
            first_at: None,
            waiting_since: None,
            doubtful: false,
            reserved: false,
        };

        let first = nothing.after(0, &declined(true));

        assert_eq!(first, known(true, false, 1));
        assert_eq!(first.after(1, &declined(false)), known(true, false, 2));
        assert_eq!(first.after(1, &Submitted::Refused(no())), first);
        assert_eq!(first.after(1, &ambiguous), first);
        assert_eq!(first.after_record(None), first);
        assert_eq!(first.after_record(Some(unsent)), known(true, true, 1));
        assert_eq!(nothing.after(1, &ambiguous), known(true, false, 0));
        assert_eq!(nothing.after_record(Some(unsent)), nothing);
        // So a run without budgets has nothing more in its history.
        assert_eq!(nothing.after(0, &declined(false)), nothing);
    }
}
