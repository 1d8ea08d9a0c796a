//! Jobs whose provider answers after their run has ended: genflow cancels them.

use rustix::process::Signal;
use serde_json::json;

use super::{AMBIGUOUS, borrowed, end, served_at};
use crate::support::cutter::{Cut, Cutter};
use crate::support::requests::{FAL, at, image, script};
use crate::support::{Space, Watched};

/// The provider cancels one of them, and not the other one.
#[tokio::test]
async fn a_job_that_comes_after_the_end_of_its_run_counts_once_as_money_at_risk() {
    let space = Space::new().await;
    let cutter = Cutter::before(&space.engines.simulator).await;
    let settings = served_at(&cutter.url);
    let settings = borrowed(&settings);
    // The submits do not time out while their worker sleeps.
    let patient = [&settings[..], &[("SUBMIT_TIMEOUT", "120s")]].concat();
    let _intake = space.start(&["intake"]);
    let first = Watched::start(&space, "worker", &patient);
    let cancelled = json!({"stuck": true});
    let kept = json!({"stuck": true, "cancel": [503, 503, 503]});
    let requests = [cancelled, kept].map(|faults| at(FAL, script(image("late"), &faults)));
    for request in &requests {
        cutter.plan(request.id.as_str(), Cut::AfterBody);
        space.send(request).await;
    }
    cutter.held(requests.len()).await;
    first.process.signal(Signal::STOP);
    first.process.stopped().await;
    let _second = space.start_with(&["worker"], &settings);
    for request in &requests {
        let events = space.story(request.id.as_str()).await;
        assert_eq!(end(&events), AMBIGUOUS);
    }

    cutter.answer();
    first.process.signal(Signal::CONT);

    for cause in ["unused", "not_cancelled"] {
        let counted =
            format!("genflow_money_at_risk_total{{provider=\"fal\",cause=\"{cause}\"}} 1\n");
        first.says("metrics", &counted).await;
    }
    assert_eq!(first.sum("genflow_money_at_risk_total").await, 2.0);
}
