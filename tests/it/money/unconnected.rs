//! Submits whose connection is not established yet: nothing was sent, and a submit whose worker dies is ambiguous.

use std::net::SocketAddr;

use rustix::process::Signal;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use super::{
    AMBIGUOUS, Bill, COMPLETED, Fate, Request, Space, TAKERS, Watched, at, bill, borrowed, check,
    end, published_events, served_at, stories,
};
use crate::support::eventually;
use crate::support::requests::{prompt_only, provider as provider_of};

/// A port whose queue of connections is full, so further connections wait.
struct Door {
    address: SocketAddr,
    listener: TcpListener,
    _filling: TcpStream,
}

impl Door {
    async fn shut() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // Another address than the ports of other tests, so none of them takes the port while it is free for a moment.
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

    /// Refuses waiting connections; returns the address, which no process listens on any more.
    fn refuse(self) -> SocketAddr {
        self.address
    }

    /// Accepts waiting connections.
    fn open(self, simulator: &str) -> JoinHandle<()> {
        pass(self.listener, simulator)
    }
}

/// Waits until `count` connections wait at `address`, according to the kernel's table of connections.
async fn knock(address: SocketAddr, count: usize) {
    const SYN_SENT: &str = "02";
    let remote = format!("0700007F:{:04X}", address.port());
    eventually(&format!("{count} connections wait"), async || {
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

/// Lets submits wait for a connection until the worker has met its fate; asserts that each has the `expected` bill.
async fn unconnected(fate: Fate, expected: Bill) {
    let space = Space::new().await;
    let door = Door::shut().await;
    let base = format!("http://{}", door.address);
    let mut settings = served_at(&base);
    settings.push(("RETRY_BACKOFF", "2s".to_owned()));
    // A waiting connection is refused only when the kernel tries again, some seconds later.
    settings.push(("SHUTDOWN_GRACE", "20s".to_owned()));
    settings.push(("KAFKA_SESSION_TIMEOUT", "30s".to_owned()));
    let settings = borrowed(&settings);
    let _intake = space.start_with(&["intake"], &[("RETRY_BACKOFF", "2s")]);
    let mut first = Watched::start(&space, "worker", &settings);
    let requests: Vec<Request> = TAKERS
        // Their schemas cannot be read here.
        .map(|(provider, make)| prompt_only(at(provider, make("unconnected"))))
        .into();
    for request in &requests {
        space.send(request).await;
    }
    // Replicate and fal are asked for schemas first, and have a time limit for that.
    eventually("the schemas are not read", async || {
        let unread = first.process.output().matches("input schema").count();
        (unread >= 2).then_some(())
    })
    .await;
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
            // While the worker sleeps, the kernel connects for it.
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

    for events in published_events(&space, &asked).await {
        check(&events);
    }
    for (request, events) in requests.iter().zip(&stories) {
        let provider = provider_of(request);
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

/// The worker wakes with a connection, or too late for one, and its run is over.
#[tokio::test]
async fn a_submit_that_is_connected_while_its_worker_sleeps_is_not_sent() {
    unconnected(Fate::Paused, (AMBIGUOUS, 0, 0)).await;
}
