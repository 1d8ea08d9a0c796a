//! Settings that change from the old processes to the new ones, in the documented order, under load: the keys that seal
//! targets, the secret that signs webhooks, the key of a provider, and a provider that is added.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use genflow::domain::standard_webhooks::{bytes_of, is_signed};
use genflow::domain::{Request, Secret};

use super::fleet::{End, Fleet, Membership};
use super::load::{Load, Repeats};
use super::{PATIENT, ROLES};
use crate::support::receiver::Delivery;
use crate::support::requests::image;
use crate::support::{Space, presets};

/// Returns the base64 of 32 bytes, others for each number.
fn random(number: u8) -> String {
    BASE64.encode(std::array::from_fn::<u8, 32, _>(|at| number + at as u8))
}

/// Returns a request for the provider that is added.
fn at_the_added_provider(name: &str) -> Request {
    presets::of("bfl", image(name))
}

/// Whether a receiver that has this secret takes the webhook.
fn fits(secret: &str, delivery: &Delivery) -> bool {
    let key = bytes_of(&Secret::new(secret.to_owned())).unwrap();
    let header = |name| delivery.header(name);
    is_signed(
        &key,
        header("webhook-id"),
        header("webhook-timestamp").parse().unwrap(),
        &delivery.body,
        header("webhook-signature"),
    )
}

#[tokio::test]
#[ignore = "keeps two cores busy for minutes; .ci/run runs it alone"]
async fn settings_change_in_their_documented_order_and_nothing_is_lost() {
    let seals = [1, 2].map(|number| format!("k{number}:{}", random(number)));
    let masters = [3, 4].map(|number| format!("whsec_{}", random(number)));
    let (both_seals, both_masters) = (seals.join(","), format!("{},{}", masters[1], masters[0]));
    let start = [
        ("NOTIFY_KEYS", seals[0].as_str()),
        ("WEBHOOK_SIGNING_SECRET", &masters[0]),
    ];
    let space = Space::with(&[PATIENT.as_slice(), &start].concat()).await;
    let printed = space
        .run_with(
            &["webhook-secret", "ann"],
            &[("WEBHOOK_SIGNING_SECRET", &both_masters)],
        )
        .await
        .1;
    let [new_secret, old_secret] = printed.lines().collect::<Vec<_>>()[..] else {
        panic!("{printed}");
    };
    let load = Load::begin(&space).await;
    let mut fleet = Fleet::start(&space, Membership::Static).await;
    let new_key = format!("{}-new", space.name());

    let rolling = async {
        load.goes_on().await;
        fleet.set("NOTIFY_KEYS", &both_seals);
        fleet.set("WEBHOOK_SIGNING_SECRET", &both_masters);
        fleet.replace("notifier", End::Stopped).await;
        let learned = load.receiver.got().len();

        for name in ["IMAGE_API_KEY", "VIDEO_API_KEY"] {
            fleet.set(name, &new_key);
        }
        for (name, value) in presets::settings(&space.engines.simulator) {
            fleet.set(name, &value);
        }
        fleet.replace("worker", End::Stopped).await;
        let before_the_key = load.ids().len();
        fleet.set("NOTIFY_KEYS", &format!("{},{}", seals[1], seals[0]));
        fleet.replace("intake", End::Stopped).await;
        let before_the_seal = load.ids();
        load.add(at_the_added_provider);
        fleet.replace("notifier", End::Stopped).await;
        load.goes_on().await;

        // Nothing that the old key has sealed is left.
        load.outcomes(&before_the_seal).await;
        fleet.set("NOTIFY_KEYS", &seals[1]);
        fleet.set("WEBHOOK_SIGNING_SECRET", &masters[1]);
        for role in ROLES {
            fleet.replace(role, End::Stopped).await;
        }
        load.goes_on().await;
        load.end();
        (learned, before_the_key)
    };
    let ((), (learned, before_the_key)) = tokio::join!(load.send(), rolling);

    assert_eq!(load.ended(End::Stopped).await, Repeats::default());
    let got = load.receiver.got();
    assert!(got[..learned].iter().all(|one| fits(old_secret, one)));
    assert!(got[learned..].iter().all(|one| fits(new_secret, one)));
    let last = got.last().unwrap();
    assert!(!fits(old_secret, last), "the old secret has been removed");
    for id in &load.ids()[before_the_key..] {
        for job in space.jobs(id).await {
            let account = job["account"].as_str().unwrap();
            let added = account.is_empty();
            assert!(added || account.ends_with(&new_key), "{id}: {account}");
        }
    }
}
