//! The connections for callbacks: bounded in number, and closed if no request arrives in time.

use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// Most open connections; others wait until one ends.
const MOST: usize = 256;
/// How long a request may take to arrive, counted from the start of the connection or from the last answer.
const READ_TIME: Duration = Duration::from_secs(15);

pub(super) struct Connections {
    listener: TcpListener,
    places: Arc<Semaphore>,
    read_time: Duration,
}

pub(super) struct Connection {
    stream: TcpStream,
    read_time: Duration,
    deadline: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Connections {
    pub(super) fn of(listener: TcpListener) -> Self {
        Self::bounded(listener, MOST, READ_TIME)
    }

    fn bounded(listener: TcpListener, most: usize, read_time: Duration) -> Self {
        Self {
            listener,
            places: Arc::new(Semaphore::new(most)),
            read_time,
        }
    }
}

impl Listener for Connections {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // Always `Some`, because the semaphore is never closed.
        let place = self.places.clone().acquire_owned().await.ok();
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        let connection = Connection {
            stream,
            read_time: self.read_time,
            deadline: Box::pin(sleep(self.read_time)),
            _place: place,
        };
        (connection, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, into) {
            return Poll::Ready(read);
        }
        ready!(self.deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let deadline = Instant::now() + self.read_time;
        self.deadline.as_mut().reset(deadline);
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::post;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Serves at most `most` connections at once; returns the address.
    async fn serve(most: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Connections::bounded(listener, most, Duration::from_millis(200));
        let routes = Router::new().route("/", post(async |body: String| body));
        tokio::spawn(async move { axum::serve(connections, routes).await });
        address
    }

    async fn answer(mut stream: TcpStream, request: &str) -> String {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // An error means that the server has closed the connection.
        stream.read_to_string(&mut answer).await.ok();
        answer
    }

    const WHOLE: &str =
        "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi";

    #[tokio::test]
    async fn a_request_that_does_not_arrive_is_cut() {
        let address = serve(8).await;
        for (length, expected) in [
            (WHOLE.len(), "hi"),
            (WHOLE.len() - 1, ""),
            (20, ""),
            (0, ""),
        ] {
            let stream = TcpStream::connect(address).await.unwrap();

            let answer = answer(stream, WHOLE.get(..length).unwrap()).await;

            assert!(answer.ends_with(expected), "{length}: {answer}");
            assert_eq!(
                answer.starts_with("HTTP/1.1 200"),
                !expected.is_empty(),
                "{length}: {answer}"
            );
        }
    }

    #[tokio::test]
    async fn silent_connections_give_their_places_back() {
        let address = serve(1).await;
        let mut silent = Vec::new();
        for _ in 0..3 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let stream = TcpStream::connect(address).await.unwrap();

        assert!(answer(stream, WHOLE).await.ends_with("hi"));
    }
}
