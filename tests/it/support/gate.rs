//! A TCP gate in front of an engine: while it is shut, the engine cannot be reached.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Lets connections through to an engine, or cuts them all.
pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    open: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Gate {
    /// Opens a gate before `engine`, `host:port`.
    pub(crate) async fn before(engine: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (open, is_open) = watch::channel(true);
        let engine = engine.to_owned();
        let serving = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if *is_open.borrow() {
                    tokio::spawn(carry(client, engine.clone(), is_open.clone()));
                }
            }
        });
        Self {
            address,
            open,
            serving,
        }
    }

    /// Cuts every connection and lets no new one through.
    pub(crate) fn shut(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn carry(mut client: TcpStream, engine: String, mut open: watch::Receiver<bool>) {
    let Ok(mut server) = TcpStream::connect(&engine).await else {
        return;
    };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = open.wait_for(|open| !open) => {}
    }
}
