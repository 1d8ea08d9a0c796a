//! Events that cost money, or may.

use tracing::{debug, warn};

use super::catalogue;
use crate::domain::{Cost, ErrorCode, ProviderName};

/// Money may be lost or paid twice: a warning beside the call says what happened. `cause`: `ambiguous`, `resent`, `unused`,
/// `not_cancelled`, `not_kept` or `not_stored`.
pub fn money_at_risk(provider: ProviderName, cause: &'static str) {
    catalogue::MONEY_AT_RISK.add(1, &[provider.as_str(), cause]);
}

/// A submit or a job ended without a result. The current span names the run.
pub fn generation_failed(provider: ProviderName, code: ErrorCode) {
    catalogue::GENERATION_FAILURES.add(1, &[provider.as_str(), code.as_str()]);
    let name = provider.as_str();
    if code == ErrorCode::StoreFailed {
        let event = "output_not_stored";
        warn!(
            event,
            provider = name,
            "the run fails: its outputs could not be stored, and they are paid for"
        );
        money_at_risk(provider, "not_stored");
    } else if code == ErrorCode::SubmitAmbiguous {
        let event = "submit_ambiguous";
        warn!(
            event,
            provider = name,
            "the run fails: its job may exist and be paid for"
        );
        money_at_risk(provider, "ambiguous");
    }
}

/// A generation is paid for. `model`: of a closed set; `priority`: the request's.
pub fn generation_priced(provider: ProviderName, model: &str, priority: &'static str, cost: Cost) {
    let (provider, source) = (provider.as_str(), cost.source.as_str());
    debug!(
        provider,
        model, priority, cost.usd, source, "generation priced"
    );
    // Counters of this library hold whole numbers only; the sum of a histogram holds cents.
    catalogue::PROVIDER_COST.record(cost.usd, &[provider, model, source]);
    catalogue::SPENT.record(cost.usd, &[model, priority]);
}

/// A budget was asked for a reservation. `budget`: `user` or `all`; `outcome`: `granted`, `refused`, `full`,
/// `late` or `unanswered`.
pub fn budget_asked(budget: &'static str, outcome: &'static str) {
    debug!(budget, outcome, "budget asked");
    catalogue::BUDGET_RESERVATIONS.add(1, &[budget, outcome]);
}
