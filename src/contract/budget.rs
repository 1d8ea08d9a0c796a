//! The inputs of `budget.v1`, the workflow that keeps the account of one user, or of all users together.

use serde::{Deserialize, Serialize};

use crate::domain::budget::{Account, Limits, Micros, Spend};

/// The input of `budget.v1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetStart {
    /// Carried over on continue-as-new.
    #[serde(default)]
    pub account: Account,
    /// Number of changes after which the workflow continues as new.
    pub segment: u32,
}

/// The input of the update `reserve.v1`; it returns an [`Answer`](crate::domain::budget::Answer).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserve {
    /// Temporal's run id.
    pub run: String,
    /// The candidate that is submitted next.
    #[serde(default)]
    pub candidate: u32,
    pub amount: Micros,
    /// Until when the calling attempt may reserve, in milliseconds since the epoch by the server's clock. `None` in calls
    /// of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    /// The limits in the settings of the calling worker.
    pub limits: Limits,
}

/// The content of the signal `settle.v1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settle {
    /// Temporal's run id.
    pub run: String,
    pub spend: Spend,
    /// The candidates below this number declined: the account releases their reservations.
    #[serde(default)]
    pub declined: u32,
    /// Whether the run ends: afterwards it reserves nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ends: bool,
}
