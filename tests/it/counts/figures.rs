//! Figures of requests: how they grow, and their medians.

use std::collections::BTreeSet;

use super::table::{Figures, value};

/// Returns the growth from `earlier` to `later`.
pub(super) fn growth(earlier: &Figures, later: &Figures) -> Figures {
    let grown = later
        .iter()
        .map(|(name, count)| (name.clone(), count - value(earlier, name)));
    grown.filter(|(_, growth)| *growth > 0).collect()
}

/// Returns the median of each figure. A busy machine may repeat a call of one request, but not of most.
pub(super) fn medians(of: &[Figures]) -> Figures {
    let names: BTreeSet<&String> = of.iter().flat_map(Figures::keys).collect();
    let median = |name: &String| {
        let mut values: Vec<u64> = of.iter().map(|one| value(one, name)).collect();
        values.sort_unstable();
        values[values.len() / 2]
    };
    let medians = names.into_iter().map(|name| (name.clone(), median(name)));
    medians.filter(|(_, median)| *median > 0).collect()
}
