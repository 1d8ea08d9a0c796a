//! What a run knows about its reservations on budgets.

use serde::{Deserialize, Serialize};

use super::{AttemptRecord, Sent, Submitted};

/// What a run knows, when it ends, about its reservations on budgets, over all candidates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BudgetUse {
    /// An attempt reported a reservation. False does not prove that there is none: an attempt's report can get lost.
    pub reserved: bool,
    /// The last attempt's record proves that the provider accepted no job.
    pub not_accepted: bool,
    /// The candidates below this one have declined: their reservations were not paid. 0 without a reservation.
    #[serde(skip_serializing_if = "super::submit::is_first")]
    pub declined: u32,
}

impl BudgetUse {
    /// Returns what is known after the `submit` of a candidate. A reservation of any candidate must be settled; those
    /// of candidates that declined were not paid.
    pub(crate) fn after(self, candidate: u32, submitted: &Submitted) -> Self {
        let (reserved, declined) = match submitted {
            Submitted::Accepted { reserved, .. }
            | Submitted::Stored { reserved, .. }
            | Submitted::Refused { reserved, .. }
            | Submitted::Ambiguous { reserved, .. } => (*reserved, self.declined),
            Submitted::Declined { reserved, .. } => (*reserved, candidate + 1),
            Submitted::Adopted(_) => (false, self.declined),
        };
        let reserved = self.reserved || reserved;
        Self {
            reserved,
            not_accepted: false,
            // Stays 0 without a reservation, so that the history of a run without budgets does not grow.
            declined: if reserved { declined } else { 0 },
        }
    }

    /// Returns what is known after a `submit` that ended without a result; `record` is its last attempt record.
    pub(crate) fn after_record(self, record: Option<AttemptRecord>) -> Self {
        let reserved = self.reserved || record.is_some_and(|it| it.reserved);
        Self {
            reserved,
            // Stays false without a reservation, as in `after`.
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

    fn refused(reserved: bool) -> Submitted {
        Submitted::Refused {
            error: no(),
            reserved,
        }
    }

    #[test]
    fn a_refusal_without_a_reservation_is_written_as_earlier_builds_write_it() {
        let error = serde_json::to_value(no()).unwrap();

        let written = serde_json::to_value(refused(false)).unwrap();

        assert_eq!(written, serde_json::json!({ "refused": error }));
        for it in [refused(false), refused(true)] {
            let json = serde_json::to_string(&it).unwrap();
            assert_eq!(serde_json::from_str::<Submitted>(&json).unwrap(), it);
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
        assert_eq!(first.after(1, &refused(false)), first);
        assert_eq!(nothing.after(0, &refused(true)), known(true, false, 0));
        assert_eq!(first.after(1, &ambiguous), first);
        assert_eq!(first.after_record(None), first);
        assert_eq!(first.after_record(Some(unsent)), known(true, true, 1));
        assert_eq!(nothing.after(1, &ambiguous), known(true, false, 0));
        assert_eq!(nothing.after_record(Some(unsent)), nothing);
        // The history of a run without budgets does not grow.
        assert_eq!(nothing.after(0, &declined(false)), nothing);
    }
}
