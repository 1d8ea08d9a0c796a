//! Tests calls by name and by number, against a name server and listeners of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::dns::Resolve as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::names::{Answer, NameServer, addresses};
use super::*;
use crate::engines::egress::resolver::Unresolved;

/// Answers 204 and counts connections.
struct Target {
    at: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Target {
    async fn listen(at: (Ipv4Addr, u16)) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let at = listener.local_addr().unwrap();
        let connections = Arc::<AtomicUsize>::default();
        let count = connections.clone();
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let mut request = [0; 4096];
                assert!(client.read(&mut request).await.unwrap() > 0);
                let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
                client.write_all(answer).await.unwrap();
            }
        });
        Self { at, connections }
    }

    async fn start() -> Self {
        Self::listen((Ipv4Addr::LOCALHOST, 0)).await
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn url(&self, host: &str) -> Url {
        format!("http://{host}:{}/", self.at.port())
            .parse()
            .unwrap()
    }
}

/// Returns a guard that resolves names with `server` and treats the addresses that `allowed` accepts as public.
fn asking(server: &NameServer, allowed: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Guard {
    let names = PublicOnly::new(server.resolver.clone(), allowed, "test");
    Guard::with_names(names, &public(), |client| client).unwrap()
}

/// Calls `url`; an error says whether the guard refused.
async fn call(guard: &Guard, url: &Url) -> Result<u16, Option<Refused>> {
    let client = guard.client(url).map_err(Some)?;
    match client.get(url.clone()).send().await {
        Ok(answer) => Ok(answer.status().as_u16()),
        Err(error) => Err(Refused::of(&error)),
    }
}

#[tokio::test]
async fn a_name_that_is_public_first_and_then_loopback_gains_nothing() {
    let target = Target::start().await;
    let script = vec![addresses(&["1.1.1.1"]), addresses(&["127.0.0.1", "::1"])];
    let server = NameServer::start(script).await;
    let names = PublicOnly::new(server.resolver.clone(), public_address::is_public, "test");

    let first = names.resolve("rebind.example".parse().unwrap()).await;
    let first: Vec<_> = first.unwrap_or_else(|error| panic!("{error}")).collect();
    let then = call(
        &asking(&server, public_address::is_public),
        &target.url("rebind.example"),
    )
    .await;

    assert_eq!(first, ["1.1.1.1:0".parse().unwrap()]);
    assert_eq!(then, Err(Some(Address)));
    assert_eq!(target.connections(), 0);
    assert_eq!(server.asked(), ["rebind.example.", "rebind.example."]);
}

#[tokio::test]
async fn an_answer_of_nat64_passes_if_the_ipv4_address_in_it_does() {
    let answer = addresses(&["64:ff9b::10.0.0.1", "64:ff9b::1.1.1.1", "fd00::1.1.1.1"]);
    let server = NameServer::start(vec![answer]).await;
    let names = PublicOnly::new(server.resolver.clone(), public_address::is_public, "test");

    let found = names.resolve("six.example".parse().unwrap()).await;

    let found: Vec<_> = found.unwrap_or_else(|error| panic!("{error}")).collect();
    assert_eq!(found, ["[64:ff9b::1.1.1.1]:0".parse().unwrap()]);
}

#[tokio::test]
async fn one_client_calls_a_name_while_its_address_passes_and_no_longer() {
    let good = Target::start().await;
    let bad = Target::listen((Ipv4Addr::new(127, 0, 0, 2), good.at.port())).await;
    let script = vec![addresses(&["127.0.0.1"]), addresses(&["127.0.0.2"])];
    let server = NameServer::start(script).await;
    let guard = asking(&server, |ip| ip == IpAddr::V4(Ipv4Addr::LOCALHOST));
    let url = good.url("rebind.example");

    let first = call(&guard, &url).await;
    let asked = server.asked().len();
    let then = call(&guard, &url).await;

    // One lookup per call: there is no second answer between the check and the connection.
    assert_eq!((first, asked), (Ok(204), 1));
    assert_eq!(then, Err(Some(Address)));
    assert_eq!((good.connections(), bad.connections()), (1, 0));
}

#[tokio::test]
async fn of_several_answers_only_those_that_pass_are_connected_to() {
    let good = Target::start().await;
    let bad = Target::listen((Ipv4Addr::new(127, 0, 0, 2), good.at.port())).await;
    let both = addresses(&["127.0.0.2", "127.0.0.1", "127.0.0.2"]);
    let server = NameServer::start(vec![both]).await;
    let guard = asking(&server, |ip| ip == IpAddr::V4(Ipv4Addr::LOCALHOST));

    let called = call(&guard, &good.url("mixed.example")).await;

    assert_eq!(called, Ok(204));
    assert_eq!((good.connections(), bad.connections()), (1, 0));
}

#[tokio::test]
async fn no_connection_is_made_to_a_refused_address() {
    let target = Target::start().await;
    let server = NameServer::start(vec![addresses(&["127.0.0.1"])]).await;
    let (guarded, open) = (
        asking(&server, public_address::is_public),
        asking(&server, |_| true),
    );
    let forms = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127。0。0。1",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
        "localhost",
        "inside.example",
        "inside.example.",
    ];

    for host in forms {
        let called = call(&guarded, &target.url(host)).await;
        assert!(matches!(called, Err(Some(Address | Name))), "{host}");
    }

    assert_eq!(target.connections(), 0);
    // Without the check, the same name leads to the target, so it was the guard that prevented the call.
    assert_eq!(call(&open, &target.url("inside.example")).await, Ok(204));
    assert_eq!(target.connections(), 1);
}

#[tokio::test]
async fn a_name_without_an_address_is_unresolved_and_not_shown() {
    let nowhere = NameServer::start(vec![addresses(&[])]).await;
    let silent = NameServer::start(vec![Answer::Failure]).await;

    for (server, expected) in [
        (nowhere, Unresolved::NoAddress),
        (silent, Unresolved::NoAnswer),
    ] {
        let names = PublicOnly::new(server.resolver.clone(), public_address::is_public, "test");
        let error = names.resolve("secret.example".parse().unwrap()).await;
        let error = error.err().unwrap();

        assert_eq!(error.downcast_ref(), Some(&expected));
        assert!(!format!("{error:?} {error}").contains("secret"));
        // The name is not looked up in the machine's search domains either.
        assert!(server.asked().iter().all(|name| name == "secret.example."));
    }
}

#[tokio::test]
async fn the_hosts_file_of_the_machine_is_read_and_checked_too() {
    let names = PublicOnly::of_machine("test").unwrap();

    let resolved = names.resolve("localhost".parse().unwrap()).await;

    let error = resolved.err().unwrap();
    assert_eq!(error.downcast_ref(), Some(&Address));
}
