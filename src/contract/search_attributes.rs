//! The search attributes of all runs (first runs, retries and batch items), and the margin of their execution time-out.

use std::time::Duration;

use temporalio_common::search_attributes::{
    SearchAttributeKey, SearchAttributeUpdate, SearchAttributes,
};

use crate::domain::{Kind, RequestId, UserId};

pub const GEN_USER: &str = "GenUser";
/// The kind of a run: `VIDEO`, `IMAGE` or `BATCH`.
pub const GEN_KIND: &str = "GenKind";
/// The batch that a run is an item of.
pub const GEN_BATCH: &str = "GenBatch";

/// Set during `fetch`, when a run is cancelled or its provider has called back. Workers list the runs that have it: a
/// `fetch` rarely sends a heartbeat, so a worker would learn of it late.
pub const GEN_STATE: &str = "GenState";
/// A value of [`GEN_STATE`].
pub const CANCELLING: &str = "CANCELLING";
/// A value of [`GEN_STATE`]: the provider called back a worker that does not poll the job.
pub const CALLED_BACK: &str = "CALLED_BACK";

/// How long after its deadline the server itself ends a run: a backstop (contract, rule 7).
pub(crate) const BACKSTOP: Duration = Duration::from_secs(7 * 24 * 3600);

pub(crate) fn attributes(user: &UserId, kind: Kind, batch: Option<&RequestId>) -> SearchAttributes {
    let mut attributes = vec![
        SearchAttributeKey::keyword(GEN_USER).value_set(user.as_str().to_owned()),
        SearchAttributeKey::keyword(GEN_KIND).value_set(kind.as_str().to_owned()),
    ];
    if let Some(batch) = batch {
        attributes.push(SearchAttributeKey::keyword(GEN_BATCH).value_set(batch.to_string()));
    }
    SearchAttributes::new(attributes)
}

/// Returns what a run adds to its attributes when its `fetch` is cancelled.
pub(crate) fn cancelling() -> [SearchAttributeUpdate; 1] {
    [SearchAttributeKey::keyword(GEN_STATE).value_set(CANCELLING.to_owned())]
}

/// Returns what a run adds to its attributes when its provider has called back during `fetch`.
pub(crate) fn called_back() -> [SearchAttributeUpdate; 1] {
    [SearchAttributeKey::keyword(GEN_STATE).value_set(CALLED_BACK.to_owned())]
}
