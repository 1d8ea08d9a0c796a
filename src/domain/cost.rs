//! What a job cost, and where that number is from.

use serde::{Deserialize, Serialize};

/// What a job cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// US dollars.
    pub usd: f64,
    pub source: CostSource,
}

/// Where the cost of a job is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum CostSource {
    /// A source of a later version.
    Unknown,
    /// The provider's API, or a gateway in front of it, reported the price.
    Provider,
    /// The provider's API reported quantities, which genflow multiplied by prices of its own.
    Metered,
    /// Price rules, applied to the input before it was sent.
    Estimate,
}

impl CostSource {
    /// Returns the source as Avro and JSON spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Provider => "PROVIDER",
            Self::Metered => "METERED",
            Self::Estimate => "ESTIMATE",
        }
    }
}
