//! Signatures of webhooks, checked by independent code: the reference library of Standard Webhooks for Python.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use genflow::dev::engines::default_cache;
use genflow::domain::Targets;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};

use crate::support::Space;
use crate::support::receiver::{Delivery, Receiver};
use crate::support::requests::image;

#[tokio::test]
async fn the_reference_library_takes_our_webhooks_and_not_those_that_were_changed() {
    let library = library();
    let random = |first: u8| BASE64.encode(std::array::from_fn::<u8, 32, _>(|at| first + at as u8));
    let masters = [1, 2].map(|first| format!("whsec_{}", random(first)));
    let key = format!("whsk_{}", random(3));
    // The first master is the new one, the second the old one: a receiver may have the secret of either.
    let space = Space::with(&[
        ("WEBHOOK_SIGNING_SECRET", &masters.join(",")),
        ("WEBHOOK_SIGNING_KEY", &key),
    ])
    .await;
    let receiver = Receiver::start(&[500]).await;
    let _all = space.start(&["all"]);
    let mut request = image("signed");
    request.targets = Targets::parse(Some(&receiver.url), None, None).unwrap();

    space.send(&request).await;

    let deliveries = receiver.wait(2).await;
    let mut secrets = printed(&space, &["webhook-secret", request.user.as_str()]).await;
    let mut others = printed(&space, &["webhook-secret", "somebody-else"]).await;
    assert_eq!((secrets.len(), others.len()), (3, 3));
    // Signatures of another tenant's webhooks to the same endpoint match neither.
    let public = [secrets.pop().unwrap(), others.pop().unwrap()];
    let ids: Vec<_> = deliveries
        .iter()
        .map(|one| &one.headers["webhook-id"])
        .collect();
    assert_eq!(ids[0], ids[1], "the second attempt has the id of the first");
    for delivery in &deliveries {
        let said = check(
            &library,
            delivery,
            &[&secrets[..], &others].concat(),
            &public,
        );
        assert_eq!(said["secrets"], json!([true, true, false, false]));
        let unless = |fits: [bool; 2]| [json!(fits), json!([null, null])];
        assert!(unless([true, false]).contains(&said["public"]), "{said}");
        assert!(by_ring(delivery, &public[0]) && !by_ring(delivery, &public[1]));

        let mut changed = delivery.clone();
        let mut body = changed.body.to_vec();
        *body.last_mut().unwrap() = b' ';
        changed.body = body.into();
        let said = check(&library, &changed, &secrets, &public);
        assert_eq!(said["secrets"], json!([false, false]));
        assert!(unless([false, false]).contains(&said["public"]), "{said}");
        assert!(!by_ring(&changed, &public[0]));
    }
}

/// Returns the folder of the reference library, which it installs beside the engines if it is missing.
fn library() -> PathBuf {
    let folder = default_cache().join("standardwebhooks-1.1.0");
    if !folder.exists() {
        let part = folder.with_extension(format!("part-{}", std::process::id()));
        let installed = Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
            .arg(part.join("package"))
            .arg("standardwebhooks==1.1.0")
            .status();
        assert!(
            installed.unwrap().success(),
            "pip did not install the library"
        );
        // Another run of the tests may have been faster.
        std::fs::rename(&part, &folder).ok();
    }
    folder.join("package")
}

/// Returns the lines that a command prints.
async fn printed(space: &Space, arguments: &[&str]) -> Vec<String> {
    let mut process = space.start(arguments);
    let status = process.ended().await;
    let output = process.output();
    assert!(status.success(), "{output}");
    output.lines().map(str::to_owned).collect()
}

/// Checks a webhook with Python: returns for each secret and each public key whether it matches.
fn check(library: &Path, delivery: &Delivery, secrets: &[String], public: &[String]) -> Value {
    let header = |name: &str| delivery.headers[name].to_str().unwrap().to_owned();
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers: serde_json::Map<_, _> = names
        .iter()
        .map(|name| ((*name).to_owned(), header(name).into()))
        .collect();
    let given = json!({
        "secrets": secrets,
        "public": public,
        "headers": headers,
        "body": BASE64.encode(&delivery.body),
    });
    let mut python = Command::new("python3")
        .args(["-c", include_str!("signatures.py")])
        .env("PYTHONPATH", library)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = python.stdin.take().unwrap();
    stdin.write_all(given.to_string().as_bytes()).unwrap();
    drop(stdin);
    let ended = python.wait_with_output().unwrap();
    assert!(ended.status.success());
    serde_json::from_slice(&ended.stdout).unwrap()
}

/// Returns whether the last signature, the asymmetric one, matches a public key.
fn by_ring(delivery: &Delivery, public: &str) -> bool {
    let header = |name: &str| delivery.headers[name].to_str().unwrap();
    let bytes = |text: &str| BASE64.decode(text).unwrap();
    let (_, last) = header("webhook-signature").rsplit_once(' ').unwrap();
    let start = format!("{}.{}.", header("webhook-id"), header("webhook-timestamp"));
    let text = [start.as_bytes(), &delivery.body].concat();
    UnparsedPublicKey::new(&ED25519, bytes(public.strip_prefix("whpk_").unwrap()))
        .verify(&text, &bytes(last.strip_prefix("v1a,").unwrap()))
        .is_ok()
}
