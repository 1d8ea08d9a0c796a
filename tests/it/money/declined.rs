//! The same matrix over a run whose first provider has declined: the cut submit is the one to its fallback. Both together
//! pay at most once.

use genflow::domain::ErrorCode;
use serde_json::json;

use super::{Cell, Fate, TAKERS, expected, expected_of_resubmit, matrix_of};
use crate::support::cutter::Cut;
use crate::support::requests::{at, falling_back, script};

use crate::support::requests::{FAL, REPLICATE};

fn cells() -> Vec<Cell> {
    let declined = json!({"candidates": 1, "submit": [401]});
    let mut cells = Vec::new();
    for (provider, make) in TAKERS {
        // Also the same provider again, under another key.
        let first = if provider == FAL { REPLICATE } else { provider };
        for cut in Cut::ALL {
            let request = at(first, script(make("declined"), &declined));
            let request = falling_back(request, &[provider]);
            cells.push(Cell {
                provider,
                cut,
                key: format!("{}/1", request.id),
                request,
            });
        }
    }
    cells
}

async fn matrix(fate: Fate, ambiguous: &str, expected: fn(&Cell) -> super::Bill) {
    let cells = cells();
    let space = matrix_of(&cells, fate, ambiguous, expected).await;

    for Cell { request, .. } in &cells {
        let first = space.bill(request.id.as_str()).await;
        assert_eq!((first.submits, first.accepted), (1, 0), "{}", request.id);
        let events = space.story(request.id.as_str()).await;
        let tried = &events.last().unwrap().tried;
        assert_eq!(tried[0].code, ErrorCode::ProviderAuth);
    }
}

#[tokio::test]
async fn a_cut_submit_to_a_fallback_is_never_paid_twice() {
    matrix(Fate::GoesOn, "fail", expected).await;
}

#[tokio::test]
async fn a_submit_to_a_fallback_whose_worker_is_killed_is_never_paid_twice() {
    matrix(Fate::Killed, "fail", expected).await;
}

#[tokio::test]
async fn a_submit_to_a_fallback_that_is_cut_while_its_worker_drains_is_never_paid_twice() {
    matrix(Fate::Terminated, "fail", expected).await;
}

#[tokio::test]
async fn a_submit_to_a_fallback_whose_worker_wakes_after_the_end_is_never_paid_twice() {
    matrix(Fate::Paused, "fail", expected).await;
}

#[tokio::test]
async fn where_resubmit_is_chosen_a_submit_to_a_fallback_is_paid_twice_at_most() {
    matrix(Fate::Killed, "resubmit", expected_of_resubmit).await;
}
