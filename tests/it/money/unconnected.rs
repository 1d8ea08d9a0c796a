//! Submits whose connection does not stand yet: nothing was sent, and what the worker cannot say any more is ambiguous.

use std::net::SocketAddr;

use rustix::process::Signal;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use super::{
    AMBIGUOUS, Bill, COMPLETED, Fate, Request, Space, TAKERS, Watched, at, bill, borrowed, check,
    end, served_at, stories, told,
};
use crate::support::eventually;

/// A port whose queue of connections is full: who knocks is left waiting.
struct Door {
    address: SocketAddr,
    listener: TcpListener,
    _filling: TcpStream,
}

impl Door {
    async fn shut() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // Not the address of the other tests' ports, so that nobody takes the port while it is free for a moment.
        socket.bind(([127, 0, 0, 7], 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        let listener = socket.listen(0).unwrap();
        let filling = TcpStream::connect(address).await.unwrap();
        Self {
            address,
            listener,
            _filling: filling,
        }
    }

    /// Refuses who waits; returns the address, at which nobody listens any more.
    fn refuse(self) -> SocketAddr {
        self.address
    }

    /// Lets in who waits.
    fn open(self, simulator: &str) -> JoinHandle<()> {
        pass(self.listener, simulator)
    }
}

/// Waits until so many knock at `address`, as the kernel's table of connections has it.
async fn knock(address: SocketAddr, count: usize) {
    const SYN_SENT: &str = "02";
    let remote = format!("0700007F:{:04X}", address.port());
    eventually(&format!("{count} knock"), async || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let knocking = table.lines().filter(|line| {
            let mut fields = line.split_whitespace().skip(2);
            fields.next() == Some(&remote) && fields.next() == Some(SYN_SENT)
        });
        (knocking.count() == count).then_some(())
    })
    .await;
}

/// Passes connections on to the simulator.
fn pass(listener: TcpListener, simulator: &str) -> JoinHandle<()> {
    let simulator = simulator.strip_prefix("http://").unwrap().to_owned();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut provider = TcpStream::connect(&simulator).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut provider).await });
        }
    })
}

/// Lets submits knock at a shut door until the worker has met its fate; the end and bill of each must be `expected`.
async fn unconnected(fate: Fate, expected: Bill) {
    let space = Space::new().await;
    let door = Door::shut().await;
    let base = format!("http://{}", door.address);
    let mut settings = served_at(&base);
    settings.push(("RETRY_BACKOFF", "2s".to_owned()));
    // Who knocks is refused when it knocks again, which is some seconds later.
    settings.push(("SHUTDOWN_GRACE", "20s".to_owned()));
    settings.push(("KAFKA_SESSION_TIMEOUT", "30s".to_owned()));
    let settings = borrowed(&settings);
    let _intake = space.start_with(&["intake"], &[("RETRY_BACKOFF", "2s")]);
    let mut first = Watched::start(&space, "worker", &settings);
    let requests: Vec<Request> = TAKERS
        .map(|(provider, make)| at(provider, make("unconnected")))
        .into();
    for request in &requests {
        space.send(request).await;
    }
    knock(door.address, requests.len()).await;

    let mut opened = None;
    match fate {
        Fate::GoesOn => {
            let address = door.refuse();
            knock(address, 0).await;
            let listener = TcpListener::bind(address).await.unwrap();
            opened = Some(pass(listener, &space.engines.simulator));
        }
        Fate::Killed => {
            first.process.signal(Signal::KILL);
            first.process.ended().await;
        }
        Fate::Terminated => {
            first.process.signal(Signal::TERM);
            first.says("readyz", "draining").await;
            door.refuse();
        }
        Fate::Paused => {
            first.process.signal(Signal::STOP);
            first.process.stopped().await;
            // While it sleeps the kernel connects for it.
            let address = door.address;
            opened = Some(door.open(&space.engines.simulator));
            knock(address, 0).await;
        }
    }
    let _second = (fate != Fate::GoesOn).then(|| space.start(&["worker"]));
    let asked: Vec<&Request> = requests.iter().collect();
    let stories = stories(&space, &asked).await;
    if fate == Fate::Paused {
        first.process.signal(Signal::CONT);
        assert!(first.process.terminate().await.success());
    }

    for events in told(&space, &asked).await {
        check(&events);
    }
    for (request, events) in requests.iter().zip(&stories) {
        let provider = request.spec.provider();
        let bill = bill(&space, request, end(events)).await;
        assert_eq!(bill, expected, "{fate:?} {provider:?}");
    }
    if let Some(opened) = opened {
        opened.abort();
    }
}

#[tokio::test]
async fn a_submit_that_was_not_connected_is_sent_when_the_provider_is_back() {
    unconnected(Fate::GoesOn, (COMPLETED, 1, 1)).await;
}

#[tokio::test]
async fn a_submit_that_was_not_connected_while_its_worker_drained_is_sent_by_another() {
    unconnected(Fate::Terminated, (COMPLETED, 1, 1)).await;
}

#[tokio::test]
async fn a_submit_that_was_not_connected_when_its_worker_died_is_ambiguous() {
    unconnected(Fate::Killed, (AMBIGUOUS, 0, 0)).await;
}

/// It wakes with a connection, or too late for it, and without its run.
#[tokio::test]
async fn a_submit_that_is_connected_while_its_worker_sleeps_is_not_sent() {
    unconnected(Fate::Paused, (AMBIGUOUS, 0, 0)).await;
}
