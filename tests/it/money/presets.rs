//! The same matrix for the APIs that are spoken by description. None of them can look a job up by our id.

use super::{Fate, cells, expected, expected_of_resubmit, matrix_of};
use crate::support::presets::of;
use crate::support::requests::{image, video};

/// Makes a request for a preset.
type Make = fn(&str) -> genflow::domain::Request;

const TAKERS: [Make; 6] = [
    |name| of("bfl", image(name)),
    |name| of("comfyui", image(name)),
    |name| of("google", video(name)),
    |name| of("luma", video(name)),
    |name| of("runway", image(name)),
    |name| of("runway", video(name)),
];

#[tokio::test]
async fn a_cut_submit_by_description_is_ambiguous_and_never_paid_twice() {
    matrix_of(&cells(&TAKERS), Fate::GoesOn, "fail", expected).await;
}

#[tokio::test]
async fn a_submit_by_description_whose_worker_is_killed_is_ambiguous_and_never_paid_twice() {
    matrix_of(&cells(&TAKERS), Fate::Killed, "fail", expected).await;
}

#[tokio::test]
async fn a_submit_by_description_that_is_cut_in_a_drain_is_ambiguous_and_never_paid_twice() {
    matrix_of(&cells(&TAKERS), Fate::Terminated, "fail", expected).await;
}

#[tokio::test]
async fn a_submit_by_description_whose_worker_wakes_after_the_end_is_never_paid_twice() {
    matrix_of(&cells(&TAKERS), Fate::Paused, "fail", expected).await;
}

#[tokio::test]
async fn where_resubmit_is_chosen_a_submit_by_description_is_paid_twice_at_most() {
    matrix_of(
        &cells(&TAKERS),
        Fate::GoesOn,
        "resubmit",
        expected_of_resubmit,
    )
    .await;
}
