//! Limits and circuits, without real endpoints.

use super::*;

const NOW: Duration = Duration::ZERO;
const SOON: Duration = Duration::from_secs(60);

fn endpoint(origin: &str, target: &str) -> Endpoint {
    Endpoint {
        origin: origin.to_owned(),
        target: target.to_owned(),
        most: MOST,
        ours: false,
    }
}

/// Counts an attempt of `user`.
fn of<'e>(user: &str, endpoints: &'e Endpoints, endpoint: &Endpoint) -> Entry<'e> {
    endpoints.enter(user, endpoint.clone()).unwrap()
}

/// Begins an attempt of `user`.
async fn in_flight<'e>(user: &str, endpoints: &'e Endpoints, endpoint: &Endpoint) -> Entry<'e> {
    let mut entry = of(user, endpoints, endpoint);
    entry.turn(NOW).await.unwrap();
    entry
}

/// Begins an attempt and ends it at once.
async fn enters(user: &str, endpoints: &Endpoints, endpoint: &Endpoint) -> Result<(), Closed> {
    let mut entry = endpoints.enter(user, endpoint.clone())?;
    entry.turn(NOW).await
}

async fn fail(endpoints: &Endpoints, endpoint: &Endpoint, seen: Seen, times: u32) {
    for _ in 0..times {
        in_flight("alice", endpoints, endpoint).await.seen(seen);
    }
}

async fn is_open_to(user: &str, endpoints: &Endpoints, endpoint: &Endpoint) -> bool {
    match enters(user, endpoints, endpoint).await {
        Ok(()) => false,
        Err(closed) => {
            assert!(matches!(closed, Closed::Circuit(_)), "{closed:?}");
            true
        }
    }
}

async fn is_open(endpoints: &Endpoints, endpoint: &Endpoint) -> bool {
    is_open_to("alice", endpoints, endpoint).await
}

/// Ends the open time of every circuit.
fn age(endpoints: &Endpoints) {
    endpoints.known().circuits.age();
}

#[tokio::test]
async fn an_origin_has_up_to_eight_slots_and_a_tenth_of_the_pool_and_another_has_its_own() {
    for (pool, places) in [(1000, 8), (80, 8), (50, 5), (3, 1)] {
        let endpoints = Endpoints::new(pool);
        let target = |n: usize| endpoint("https://a", &n.to_string());
        let mut taken = Vec::new();
        for n in 0..places {
            taken.push(in_flight(&format!("user-{n}"), &endpoints, &target(n)).await);
        }
        let (here, elsewhere) = (target(places), endpoint("https://b", "x"));

        let further = enters("another", &endpoints, &here).await;
        assert_eq!(further, Err(Closed::Full), "{pool}");
        assert_eq!(enters("another", &endpoints, &elsewhere).await, Ok(()));
        taken.pop();
        assert_eq!(enters("another", &endpoints, &here).await, Ok(()));
    }
}

#[tokio::test]
async fn an_origin_that_supports_fewer_attempts_has_fewer_slots() {
    let endpoints = Endpoints::new(1000);
    let one = Endpoint {
        most: 1,
        ..endpoint("mail", "x")
    };

    let _taken = in_flight("alice", &endpoints, &one).await;

    assert_eq!(enters("bob", &endpoints, &one).await, Err(Closed::Full));
}

#[test]
fn a_user_has_half_of_the_pool_and_at_least_eight_attempts_over_all_endpoints() {
    for (pool, share) in [(128, 64), (10, 8), (1, 8)] {
        let endpoints = Endpoints::new(pool);
        let of = |user, n: usize| endpoints.enter(user, endpoint(&n.to_string(), "x"));
        let mut taken: Vec<_> = (0..share).map(|n| of("alice", n).unwrap()).collect();

        assert_eq!(of("alice", share).unwrap_err(), Closed::Full, "{pool}");
        assert!(of("bob", share).is_ok());
        taken.pop();
        assert!(of("alice", share).is_ok());
        drop(taken);
        assert!(endpoints.known().users.is_empty());
    }
}

#[tokio::test]
async fn few_wait_for_a_slot_and_one_that_comes_free_is_theirs() {
    let endpoints = Endpoints::new(90);
    let one = endpoint("https://a", "x");
    let mut taken = Vec::new();
    for _ in 0..8 {
        taken.push(in_flight("alice", &endpoints, &one).await);
    }
    let (mut bobs, mut carols) = (of("bob", &endpoints, &one), of("carol", &endpoints, &one));

    let ninth = bobs.turn(SOON);
    let tenth = async {
        tokio::task::yield_now().await;
        let tenth = carols.turn(SOON).await;
        taken.pop();
        tenth
    };
    let (ninth, tenth) = tokio::join!(ninth, tenth);

    assert!(ninth.is_ok());
    assert_eq!(tenth, Err(Closed::Full), "nine are a tenth of the pool");
    drop((bobs, taken));
    assert!(endpoints.known().origins.is_empty());
    assert_eq!(endpoints.known().in_flight, 0);
}

#[test]
fn no_user_fills_the_line_of_an_origin_that_others_need() {
    for (pool, most, line) in [(128, MOST, 8), (128, 1, 6), (50, MOST, 4), (20, MOST, 1)] {
        let endpoints = Endpoints::new(pool);
        let shared = Endpoint {
            most,
            ..endpoint("https://a", "x")
        };
        let mut alices: Vec<_> = (0..=line)
            .map(|_| of("alice", &endpoints, &shared))
            .collect();

        let in_line = alices.iter_mut().filter_map(|entry| entry.line_up().ok());

        assert_eq!(in_line.count(), line, "{most} at once, {pool} in the pool");
        assert!(of("bob", &endpoints, &shared).line_up().is_ok());
        drop(alices);
        assert!(endpoints.known().origins.is_empty());
    }
}

#[tokio::test]
async fn five_silent_attempts_in_a_row_open_the_circuit_of_the_users_whole_origin() {
    let endpoints = Endpoints::new(100);
    let (one, other) = (endpoint("https://a", "x"), endpoint("https://a", "y"));

    fail(&endpoints, &one, Seen::Silent, 4).await;
    fail(&endpoints, &other, Seen::Well, 1).await;
    fail(&endpoints, &one, Seen::Silent, 4).await;
    assert!(!is_open(&endpoints, &one).await, "they were not in a row");

    fail(&endpoints, &other, Seen::Silent, 1).await;
    assert!(is_open(&endpoints, &one).await);
    assert!(is_open(&endpoints, &other).await);
    assert!(!is_open(&endpoints, &endpoint("https://b", "x")).await);
    assert_eq!(endpoints.known().circuits.open(Instant::now()), 1);
    assert!(
        !is_open_to("bob", &endpoints, &endpoint("https://a", "z")).await,
        "his paths on the host may work"
    );
}

#[tokio::test]
async fn the_circuit_of_the_operators_origin_opens_for_all_users() {
    let endpoints = Endpoints::new(100);
    let mail = |target| Endpoint {
        ours: true,
        ..endpoint("mail", target)
    };

    fail(&endpoints, &mail("x"), Seen::Silent, 5).await;

    assert!(is_open_to("bob", &endpoints, &mail("y")).await);
}

#[tokio::test]
async fn bad_answers_open_the_circuit_of_the_users_target_alone() {
    let endpoints = Endpoints::new(100);

    fail(&endpoints, &endpoint("https://a", "x"), Seen::Unwell, 5).await;

    assert!(is_open(&endpoints, &endpoint("https://a", "x")).await);
    assert!(!is_open(&endpoints, &endpoint("https://a", "y")).await);
    assert!(
        !is_open_to("bob", &endpoints, &endpoint("https://a", "x")).await,
        "the target may reject only alice's signatures"
    );
}

#[tokio::test]
async fn after_its_time_an_open_circuit_admits_one_attempt_which_decides() {
    let endpoints = Endpoints::new(100);
    let one = endpoint("https://a", "x");
    fail(&endpoints, &one, Seen::Silent, 5).await;
    age(&endpoints);

    let probe = in_flight("alice", &endpoints, &one).await;
    assert!(is_open(&endpoints, &one).await, "one attempt only");
    probe.seen(Seen::Silent);
    assert!(
        is_open(&endpoints, &one).await,
        "one more failure is enough"
    );

    age(&endpoints);
    fail(&endpoints, &one, Seen::Well, 1).await;
    assert!(!is_open(&endpoints, &one).await);
    assert_eq!(endpoints.known().circuits.len(), 0);
}

#[tokio::test]
async fn an_attempt_that_ends_unsent_leaves_an_open_circuit_to_the_next_one() {
    let endpoints = Endpoints::new(100);
    let one = endpoint("https://a", "x");
    fail(&endpoints, &one, Seen::Silent, 5).await;
    age(&endpoints);

    drop(in_flight("alice", &endpoints, &one).await);

    let probe = in_flight("alice", &endpoints, &one).await;
    assert!(is_open(&endpoints, &one).await, "still one attempt only");
    probe.seen(Seen::Silent);
    assert!(is_open(&endpoints, &one).await, "still at its limit");
}

#[tokio::test]
async fn an_unsent_attempt_does_not_end_the_open_time_that_others_began() {
    let endpoints = Endpoints::new(100);
    let one = endpoint("https://a", "x");
    let unsent = in_flight("alice", &endpoints, &one).await;
    fail(&endpoints, &one, Seen::Silent, 5).await;

    drop(unsent);

    assert!(is_open(&endpoints, &one).await);
}

#[tokio::test]
async fn an_attempt_that_waited_while_the_circuit_opened_is_not_admitted() {
    let endpoints = Endpoints::new(200);
    let one = endpoint("https://a", "x");
    let mut taken = Vec::new();
    for _ in 0..8 {
        taken.push(in_flight("alice", &endpoints, &one).await);
    }
    let mut ninth = of("alice", &endpoints, &one);

    let waiting = ninth.turn(SOON);
    let failing = async {
        tokio::task::yield_now().await;
        for place in taken {
            place.seen(Seen::Silent);
        }
    };
    let (waited, ()) = tokio::join!(waiting, failing);

    let waited = waited.unwrap_err();
    assert!(matches!(waited, Closed::Circuit(_)), "{waited:?}");
}
