//! Budgets of users and of all users: what is reserved before a submit, settled at the end of a run, and refused.

mod accounts;
mod fallback;
mod late;
mod month;

use genflow::domain::budget::Statement;
use genflow::domain::{ErrorCode, Event, EventType, Request};
use genflow::engines::temporal::budgets::Holder;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::described::Described as _;
use crate::support::process::Process;
use crate::support::requests::{FAL, IMAGE_MODEL, at, image, script};
use crate::support::stories::stories;
use crate::support::{Space, eventually};

/// What one image costs, in US dollars, by the price file of these stories.
const PRICE: f64 = 0.6;

/// A space whose workers have these budgets and know the price of an image.
pub(crate) struct Budgeted {
    pub(crate) space: Space,
    settings: Vec<(&'static str, String)>,
}

impl Budgeted {
    pub(crate) async fn new(budgets: &[(&'static str, &str)]) -> Self {
        Self::priced(
            &["replicate", "fal", "openai"].map(|name| (name, PRICE)),
            budgets,
        )
        .await
    }

    /// Like [`Self::new`], with the price of an image at each provider.
    async fn priced(prices: &[(&str, f64)], budgets: &[(&'static str, &str)]) -> Self {
        let space = Space::new().await;
        let rules: String = prices
            .iter()
            .map(|(name, usd)| {
                let models = [format!("{name}:{IMAGE_MODEL}")];
                format!("[[price]]\nmodels = {models:?}\nper = \"run\"\nusd = {usd}\n")
            })
            .collect();
        let prices = space.folder().join("prices.toml");
        std::fs::write(&prices, rules).unwrap();
        let budgets = budgets.iter().map(|(name, usd)| (*name, (*usd).to_owned()));
        let prices = ("PRICES_FILE", prices.display().to_string());
        let settings = budgets.chain([prices]).collect();
        Self { space, settings }
    }

    fn start(&self, role: &str, settings: &[(&str, &str)]) -> Process {
        let own = self.settings.iter().map(|(name, value)| (*name, &**value));
        let settings: Vec<_> = own.chain(settings.iter().copied()).collect();
        self.space.start_with(&[role], &settings)
    }

    /// Sends a request to a worker that dies at this failpoint, and waits for its death.
    async fn dies_at(&self, point: &str, request: &Request) {
        let failpoint = format!("{point}=kill");
        let mut worker = self.start("worker", &[("GENFLOW_FAILPOINT", &failpoint)]);
        self.space.send(request).await;
        worker.ended().await;
    }

    /// Sends a request, and returns its last event.
    async fn outcome(&self, request: &Request) -> Event {
        self.space.send(request).await;
        self.space.story(request.id.as_str()).await.pop().unwrap()
    }

    /// Returns what is spent and reserved on the account of `ann`, who sends all requests.
    async fn used(&self) -> [f64; 2] {
        self.used_by(&Holder::of("ann")).await
    }

    async fn used_by(&self, holder: &Holder) -> [f64; 2] {
        let Statement { month, .. } = self.statement(holder).await.unwrap();
        [month.spent.usd(), month.reserved.usd()]
    }

    async fn statement(&self, holder: &Holder) -> Option<Statement> {
        let temporal = self.space.temporal().await;
        let at = chrono::Utc::now().timestamp_millis();
        eventually("a worker answers", async || {
            temporal.statement(holder, at).await.ok()
        })
        .await
    }
}

fn code(event: &Event) -> Option<ErrorCode> {
    event.error.as_ref().map(|error| error.code)
}

/// Two requests at once, by two workers, of which the budget pays for one.
async fn only_one_of_two(variable: &'static str, says: &str) {
    let budgeted = Budgeted::new(&[(variable, "1")]).await;
    let space = &budgeted.space;
    let _intake = space.start(&["intake"]);
    let _workers = [(); 2].map(|()| budgeted.start("worker", &[]));
    let requests = [image("first"), image("second")];

    for request in &requests {
        space.send(request).await;
    }

    let ends = stories(space, &requests.each_ref()).await;
    let ends: Vec<_> = ends
        .into_iter()
        .map(|mut events| events.pop().unwrap())
        .collect();
    let mut codes: Vec<_> = ends.iter().map(code).collect();
    codes.sort_by_key(Option::is_some);
    assert_eq!(codes, [None, Some(ErrorCode::BudgetExceeded)], "{ends:#?}");
    let mut submits = 0;
    for request in &requests {
        submits += space.bill(request.id.as_str()).await.submits;
    }
    assert_eq!(submits, 1);
    let refused = ends.iter().find_map(|end| end.error.as_ref()).unwrap();
    assert!(!refused.retryable);
    let left = "has 0.4000 US dollars left, and the request may cost 0.6000; it resets at 2";
    for part in [says, left, "T00:00:00.000Z", variable] {
        assert!(
            refused.message.contains(part),
            "{part}: {}",
            refused.message
        );
    }
}

#[tokio::test]
async fn of_two_requests_at_once_a_users_budget_pays_for_the_one_that_fits() {
    only_one_of_two("BUDGET_USER_DAY_USD", "the user's budget of the day").await;
    only_one_of_two("BUDGET_USER_MONTH_USD", "the user's budget of the month").await;
}

#[tokio::test]
async fn of_two_requests_at_once_the_budget_of_all_users_pays_for_the_one_that_fits() {
    only_one_of_two("BUDGET_DAY_USD", "all users' budget of the day").await;
    only_one_of_two("BUDGET_MONTH_USD", "all users' budget of the month").await;
}

/// The one that ends the run may know of no budget: the result of the submit says that something may be reserved.
#[tokio::test]
async fn a_request_that_all_users_budget_refuses_leaves_nothing_reserved_for_its_user() {
    let budgets = [("BUDGET_USER_DAY_USD", "1"), ("BUDGET_DAY_USD", "0.5")];
    let budgeted = Budgeted::new(&budgets).await;
    let space = &budgeted.space;
    let _intake = space.start(&["intake"]);
    let request = image("dear");
    budgeted.dies_at("finish.began", &request).await;

    let _second = space.start(&["worker"]);

    let end = space.story(request.id.as_str()).await.pop().unwrap();

    assert_eq!(code(&end), Some(ErrorCode::BudgetExceeded));
    let message = end.error.unwrap().message;
    assert!(message.contains("more than the whole budget"), "{message}");
    assert_eq!(budgeted.used().await, [0.0, 0.0]);
}

/// A worker that is paused in a refusal may wake when another has reserved more and sent the job.
#[tokio::test]
async fn a_refusal_that_comes_late_does_not_give_back_what_the_current_attempt_has_reserved() {
    let budgets = [("BUDGET_USER_DAY_USD", "1"), ("BUDGET_DAY_USD", "0.5")];
    let budgeted = Budgeted::new(&budgets).await;
    let space = &budgeted.space;
    let _intake = space.start(&["intake"]);
    let failpoint = [("GENFLOW_FAILPOINT", "budget.refused=stop")];
    let mut late = budgeted.start("worker", &failpoint);
    let request = script(image("late"), &json!({"stuck": true}));
    space.send(&request).await;
    late.stopped().await;
    let _second = budgeted.start("worker", &[("BUDGET_DAY_USD", "5")]);
    space.job_runs(request.id.as_str()).await;

    late.signal(Signal::CONT);
    assert!(late.terminate().await.success(), "{}", late.output());

    assert_eq!(budgeted.used().await, [0.0, PRICE]);
    assert_eq!(budgeted.used_by(&Holder::All).await, [0.0, PRICE]);
    space.cancel(request.id.as_str()).await;
    space.story(request.id.as_str()).await;
    assert_eq!(budgeted.used().await, [PRICE, 0.0]);
}

/// The first send may have been accepted, and the second one does not fit into the budget.
#[tokio::test]
async fn a_resubmit_that_a_budget_refuses_ends_as_ambiguous_and_counts_the_first_send() {
    let budgeted = Budgeted::new(&[("BUDGET_USER_DAY_USD", "1")]).await;
    let _intake = budgeted.space.start(&["intake"]);
    let _worker = budgeted.start("worker", &[("SUBMIT_AMBIGUOUS", "resubmit")]);
    let request = script(at(FAL, image("doubt")), &json!({"submit": ["cut"]}));

    let end = budgeted.outcome(&request).await;

    let error = end.error.as_ref().unwrap();
    assert_eq!(
        (error.code, error.retryable),
        (ErrorCode::SubmitAmbiguous, true)
    );
    let says = "it is not known whether the provider accepted the job, and it is not sent again: the user's budget of the day";
    assert!(error.message.starts_with(says), "{}", error.message);
    assert_eq!(budgeted.space.bill(request.id.as_str()).await.submits, 1);
    assert_eq!(budgeted.used().await, [PRICE, 0.0]);
}

#[tokio::test]
async fn a_run_counts_with_what_it_cost_and_one_that_was_not_paid_with_nothing() {
    let budgeted = Budgeted::new(&[("BUDGET_USER_MONTH_USD", "100")]).await;
    let _intake = budgeted.space.start(&["intake"]);
    let _worker = budgeted.start("worker", &[]);
    let mut spent = 0.0;
    for (what, faults, cost) in [
        ("refused", json!({"submit": [401]}), 0.0),
        (
            "never accepted",
            json!({"submit": [503, 503, 503, 503, 503]}),
            0.0,
        ),
        ("known", json!({"price": "0.25"}), 0.25),
        ("unknown", json!({}), PRICE),
        ("failed", json!({"fail": "out of memory"}), PRICE),
    ] {
        budgeted.outcome(&script(image("costs"), &faults)).await;

        spent += cost;
        assert_eq!(budgeted.used().await, [spent, 0.0], "{what}");
    }

    let printed = budgeted.space.succeed(&["budget", "ann", "--json"]).await;
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed["month"]["spent_usd"], json!(spent));
    assert_eq!(printed["month"]["limit_usd"], json!(100.0));
    assert_eq!(printed["open_runs"], json!(0));
    let nothing = budgeted.space.succeed(&["budget"]).await;
    assert!(nothing.contains("day        0.0000"), "{nothing}");
    // An account is no run.
    let listed = budgeted.space.succeed(&["list", "--json"]).await;
    assert!(!listed.contains("budget/"), "{listed}");
}

#[tokio::test]
async fn a_model_without_a_known_price_is_refused_while_there_is_a_budget() {
    let space = Space::new().await;
    let _all = space.start_with(&["all"], &[("BUDGET_MONTH_USD", "1000")]);
    let request = image("unpriced");

    space.send(&request).await;

    let end = space.story(request.id.as_str()).await.pop().unwrap();
    assert_eq!(code(&end), Some(ErrorCode::InvalidRequest));
    let message = end.error.unwrap().message;
    assert!(message.contains("PRICES_FILE"), "{message}");
}

#[tokio::test]
async fn a_cancelled_job_counts_and_a_run_that_never_sent_does_not() {
    let budgeted = Budgeted::new(&[("BUDGET_USER_MONTH_USD", "100")]).await;
    let space = &budgeted.space;
    let _intake = space.start(&["intake"]);
    let _worker = budgeted.start("worker", &[]);
    let request = script(image("stuck"), &json!({"stuck": true}));
    space.send(&request).await;
    space.job_runs(request.id.as_str()).await;
    assert_eq!(budgeted.used().await, [0.0, PRICE]);

    space.cancel(request.id.as_str()).await;

    let end = space.story(request.id.as_str()).await.pop().unwrap();
    assert_eq!(end.event_type, EventType::Cancelled);
    assert_eq!(budgeted.used().await, [PRICE, 0.0]);
}

#[tokio::test]
async fn a_worker_that_dies_between_reservation_and_settlement_reserves_and_spends_once() {
    // Before the fence, after the send, after the settlement.
    for point in ["submit.fencing", "submit.sent", "finish.settled"] {
        let budgeted =
            Budgeted::new(&[("BUDGET_USER_DAY_USD", "1"), ("BUDGET_DAY_USD", "1")]).await;
        let space = &budgeted.space;
        let _intake = space.start(&["intake"]);
        let request = image("killed");
        budgeted.dies_at(point, &request).await;

        let _second = budgeted.start("worker", &[]);

        let end = space.story(request.id.as_str()).await.pop().unwrap();
        assert_eq!(end.event_type, EventType::Completed, "{point}");
        assert_eq!(space.bill(request.id.as_str()).await.accepted, 1, "{point}");
        assert_eq!(budgeted.used().await, [PRICE, 0.0], "{point}");
        assert_eq!(
            budgeted.used_by(&Holder::All).await,
            [PRICE, 0.0],
            "{point}"
        );
    }
}

/// A resubmit may pay a second time: each submit has a reservation.
#[tokio::test]
async fn a_submit_that_is_sent_again_after_an_unknown_one_adds_to_what_is_spent() {
    let budgeted = Budgeted::new(&[("BUDGET_USER_DAY_USD", "10")]).await;
    let _intake = budgeted.space.start(&["intake"]);
    let _worker = budgeted.start("worker", &[("SUBMIT_AMBIGUOUS", "resubmit")]);
    let request = at(FAL, image("twice"));
    let request = script(request, &json!({"submit": ["cut"]}));

    let end = budgeted.outcome(&request).await;

    assert_eq!(end.event_type, EventType::Completed, "{end:#?}");
    assert_eq!(budgeted.space.bill(request.id.as_str()).await.submits, 2);
    assert_eq!(budgeted.used().await, [2.0 * PRICE, 0.0]);
}

#[tokio::test]
async fn without_a_budget_there_is_no_account() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let request = image("free");
    space.send(&request).await;
    space.story(request.id.as_str()).await;
    let temporal = space.temporal().await;
    let queue = &space.config.temporal.task_queue;
    eventually("the run is listed", async || {
        let closed = format!("TaskQueue = '{queue}' AND ExecutionStatus = 'Completed'");
        (temporal.count(&closed).await.unwrap() > 0).then_some(())
    })
    .await;

    for holder in [Holder::of("ann"), Holder::All] {
        let account = temporal.describe(&holder.workflow(queue)).await.unwrap();
        assert!(account.is_none());
    }
    assert!(!temporal.is_closed(&request.id.run(1)).await);
}
