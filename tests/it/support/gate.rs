//! A TCP gate in front of an engine: while it is shut, the engine is unreachable; while it is mute, no answers pass.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Mute,
    Shut,
}

/// Lets connections through to an engine, or cuts them all.
pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    state: watch::Sender<State>,
    serving: JoinHandle<()>,
}

impl Gate {
    /// Opens a gate in front of `engine`, `host:port`.
    pub(crate) async fn before(engine: &str) -> Self {
        Self::slow_before(engine, Duration::ZERO).await
    }

    /// Like [`Self::before`]; data to the engine is delayed by `delay`.
    pub(crate) async fn slow_before(engine: &str, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, states) = watch::channel(State::Open);
        let engine = engine.to_owned();
        let serving = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if *states.borrow() != State::Shut {
                    tokio::spawn(carry(client, engine.clone(), states.clone(), delay));
                }
            }
        });
        Self {
            address,
            state,
            serving,
        }
    }

    /// Cuts every connection and lets no new one through.
    pub(crate) fn shut(&self) {
        self.state.send_replace(State::Shut);
    }

    /// Passes everything to the engine, and nothing back.
    pub(crate) fn mute(&self) {
        self.state.send_replace(State::Mute);
    }

    pub(crate) fn open(&self) {
        self.state.send_replace(State::Open);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn carry(
    mut client: TcpStream,
    engine: String,
    mut states: watch::Receiver<State>,
    delay: Duration,
) {
    let Ok(mut server) = TcpStream::connect(&engine).await else {
        return;
    };
    let (asks, hears) = client.split();
    let (answers, engine) = server.split();
    tokio::select! {
        _ = pass_on(asks, engine, delay) => {}
        _ = pass_back(answers, hears, states.clone()) => {}
        _ = states.wait_for(|state| *state == State::Shut) => {}
    }
}

/// Delays each piece of data by `delay`; pieces do not wait for each other.
async fn pass_on(mut asks: ReadHalf<'_>, mut engine: WriteHalf<'_>, delay: Duration) -> Option<()> {
    let (taken, mut due) = mpsc::unbounded_channel();
    let taking = async move {
        let mut piece = [0; 16 * 1024];
        loop {
            let length = asks
                .read(&mut piece)
                .await
                .ok()
                .filter(|length| *length > 0)?;
            taken
                .send((Instant::now() + delay, piece[..length].to_vec()))
                .ok()?;
        }
    };
    let giving = async {
        while let Some((at, piece)) = due.recv().await {
            sleep_until(at).await;
            engine.write_all(&piece).await.ok()?;
        }
        Some(())
    };
    let (None::<()>, given) = tokio::join!(taking, giving) else {
        unreachable!("reading ends only with the connection")
    };
    given
}

async fn pass_back(
    mut answers: ReadHalf<'_>,
    mut hears: WriteHalf<'_>,
    mut states: watch::Receiver<State>,
) -> Option<()> {
    let mut piece = [0; 16 * 1024];
    loop {
        let length = answers.read(&mut piece).await.ok()?;
        if length == 0 {
            return None;
        }
        states.wait_for(|state| *state == State::Open).await.ok()?;
        hears.write_all(&piece[..length]).await.ok()?;
    }
}
