//! Figures of requests: how they grow, and the lowest of each.

use std::collections::BTreeSet;

use super::table::{Figures, value};

/// Returns the growth from `earlier` to `later`.
pub(super) fn growth(earlier: &Figures, later: &Figures) -> Figures {
    let grown = later
        .iter()
        .map(|(name, count)| (name.clone(), count - value(earlier, name)));
    grown.filter(|(_, growth)| *growth > 0).collect()
}

/// Returns the minimum of each figure: on a busy machine, some requests need an extra heartbeat or a repeated call.
pub(super) fn lowest(of: &[Figures]) -> Figures {
    let names: BTreeSet<&String> = of.iter().flat_map(Figures::keys).collect();
    let lowest = |name: &String| of.iter().map(|one| value(one, name)).min();
    let all = names
        .into_iter()
        .filter_map(|name| Some((name.clone(), lowest(name)?)));
    all.filter(|(_, lowest)| *lowest > 0).collect()
}
