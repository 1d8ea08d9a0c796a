//! A TCP gate in front of an engine: while it is shut, the engine cannot be reached; while it is mute, it is not heard.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

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
    /// Opens a gate before `engine`, `host:port`.
    pub(crate) async fn before(engine: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, states) = watch::channel(State::Open);
        let engine = engine.to_owned();
        let serving = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if *states.borrow() != State::Shut {
                    tokio::spawn(carry(client, engine.clone(), states.clone()));
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

    /// Lets everything through to the engine, and nothing back.
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

async fn carry(mut client: TcpStream, engine: String, mut states: watch::Receiver<State>) {
    let Ok(mut server) = TcpStream::connect(&engine).await else {
        return;
    };
    let (mut asks, hears) = client.split();
    let (answers, mut engine) = server.split();
    tokio::select! {
        _ = copy(&mut asks, &mut engine) => {}
        _ = pass_back(answers, hears, states.clone()) => {}
        _ = states.wait_for(|state| *state == State::Shut) => {}
    }
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
