//! Places and circuits, without any endpoint.

use super::*;

const NOW: Duration = Duration::ZERO;
const SOON: Duration = Duration::from_secs(60);

fn endpoint(origin: &str, target: &str) -> Endpoint {
    Endpoint {
        origin: origin.to_owned(),
        target: target.to_owned(),
        most: MOST,
    }
}

async fn fail(endpoints: &Endpoints, endpoint: &Endpoint, seen: Seen, times: u32) {
    for _ in 0..times {
        endpoints.enter(endpoint, NOW).await.unwrap().seen(seen);
    }
}

async fn is_open(endpoints: &Endpoints, endpoint: &Endpoint) -> bool {
    match endpoints.enter(endpoint, NOW).await {
        Ok(_) => false,
        Err(closed) => {
            assert!(matches!(closed, Closed::Circuit(_)), "{closed:?}");
            true
        }
    }
}

/// Lets the time of every open circuit be over.
fn age(endpoints: &Endpoints) {
    for circuit in endpoints.known().circuits.values_mut() {
        circuit.open_until = circuit.open_until.map(|until| until - OPEN_FOR);
    }
}

#[tokio::test]
async fn an_origin_has_eight_places_and_a_tenth_of_the_pool_and_another_has_its_own() {
    for (pool, places) in [(1000, 8), (80, 8), (50, 5), (3, 1)] {
        let endpoints = Endpoints::new(pool);
        let mut taken = Vec::new();
        for n in 0..places {
            let target = endpoint("https://a", &n.to_string());
            taken.push(endpoints.enter(&target, NOW).await.unwrap());
        }

        let further = endpoints.enter(&endpoint("https://a", "x"), NOW).await;
        let elsewhere = endpoints.enter(&endpoint("https://b", "x"), NOW).await;

        assert_eq!(further.unwrap_err(), Closed::Full, "{pool}");
        assert!(elsewhere.is_ok());
        taken.pop();
        assert!(
            endpoints
                .enter(&endpoint("https://a", "x"), NOW)
                .await
                .is_ok()
        );
    }
}

#[tokio::test]
async fn an_origin_that_can_do_with_fewer_has_no_more_places() {
    let endpoints = Endpoints::new(1000);
    let one = Endpoint {
        most: 1,
        ..endpoint("mail", "x")
    };

    let taken = endpoints.enter(&one, NOW).await;

    assert!(taken.is_ok());
    assert_eq!(endpoints.enter(&one, NOW).await.unwrap_err(), Closed::Full);
}

#[test]
fn a_user_has_half_of_the_pool_but_eight_tries_whatever_endpoints_they_are_at() {
    for (pool, share) in [(128, 64), (10, 8), (1, 8)] {
        let endpoints = Endpoints::new(pool);
        let of = |user, n: usize| endpoints.share(user, &endpoint(&n.to_string(), "x"));
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
async fn few_wait_for_a_place_and_one_that_comes_free_is_theirs() {
    let endpoints = Endpoints::new(90);
    let one = endpoint("https://a", "x");
    let mut taken = Vec::new();
    for _ in 0..8 {
        taken.push(endpoints.enter(&one, NOW).await.unwrap());
    }

    let ninth = endpoints.enter(&one, SOON);
    let tenth = async {
        tokio::task::yield_now().await;
        let tenth = endpoints.enter(&one, SOON).await.map(drop);
        taken.pop();
        tenth
    };
    let (ninth, tenth) = tokio::join!(ninth, tenth);

    assert!(ninth.is_ok());
    assert_eq!(tenth, Err(Closed::Full), "nine are a tenth of the pool");
    drop((ninth, taken));
    assert!(endpoints.known().origins.is_empty());
    assert_eq!(endpoints.known().in_flight, 0);
}

#[tokio::test]
async fn five_silent_tries_in_a_row_open_the_circuit_of_the_whole_origin() {
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
    assert_eq!(endpoints.known().open(Instant::now()), 1);
}

#[tokio::test]
async fn bad_answers_open_the_circuit_of_the_target_alone() {
    let endpoints = Endpoints::new(100);

    fail(&endpoints, &endpoint("https://a", "x"), Seen::Unwell, 5).await;

    assert!(is_open(&endpoints, &endpoint("https://a", "x")).await);
    assert!(!is_open(&endpoints, &endpoint("https://a", "y")).await);
}

#[tokio::test]
async fn behind_its_time_an_open_circuit_lets_one_try_through_which_decides() {
    let endpoints = Endpoints::new(100);
    let one = endpoint("https://a", "x");
    fail(&endpoints, &one, Seen::Silent, 5).await;
    age(&endpoints);

    let probe = endpoints.enter(&one, NOW).await.unwrap();
    assert!(is_open(&endpoints, &one).await, "one only");
    probe.seen(Seen::Silent);
    assert!(
        is_open(&endpoints, &one).await,
        "one more failure is enough"
    );

    age(&endpoints);
    endpoints.enter(&one, NOW).await.unwrap().seen(Seen::Well);
    assert!(!is_open(&endpoints, &one).await);
    assert!(endpoints.known().circuits.is_empty());
}

#[tokio::test]
async fn who_waited_while_the_circuit_opened_is_not_let_in() {
    let endpoints = Endpoints::new(100);
    let one = endpoint("https://a", "x");
    let mut taken = Vec::new();
    for _ in 0..8 {
        taken.push(endpoints.enter(&one, NOW).await.unwrap());
    }

    let waiting = endpoints.enter(&one, SOON);
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

#[test]
fn circuits_that_nobody_uses_are_forgotten() {
    let mut known = Known::default();
    let now = Instant::now();
    for n in 0..MANY {
        known.circuits.insert(
            n.to_string(),
            Circuit {
                failures: 1,
                open_until: None,
                used: now,
            },
        );
    }

    known.failed("last".to_owned(), now);
    assert_eq!(known.circuits.len(), 1);
    known.failed("late".to_owned(), now + FORGOTTEN);
    assert_eq!(known.circuits.len(), 1);
}
