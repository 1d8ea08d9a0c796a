//! TCP connections that the simulator can cut.
//!
//! A cut connection ends at once and sends nothing more, even if hyper still has data to send. So the simulator can
//! lose an answer, or a part of it, on demand, and stop without waiting for hung requests.
//! Invariant: no byte is written after [`Line::cut`].

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    extract::connect_info::Connected,
    http::StatusCode,
    response::{IntoResponse, Response},
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Accepts connections that end when they are cut, and all when `stop` is cancelled.
pub(super) struct Lines {
    pub(super) listener: TcpListener,
    pub(super) stop: CancellationToken,
}

impl Listener for Lines {
    type Io = Wire;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Wire, SocketAddr) {
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        let cut = self.stop.child_token();
        let ended = Box::pin(cut.clone().cancelled_owned());
        (
            Wire {
                stream,
                line: Line {
                    cut,
                    left: Arc::new(AtomicUsize::new(usize::MAX)),
                },
                ended,
            },
            peer,
        )
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A handler's control over the connection of its request.
#[derive(Clone, Debug)]
pub(super) struct Line {
    cut: CancellationToken,
    /// How many bytes may be written before the connection is cut.
    left: Arc<AtomicUsize>,
}

impl Line {
    /// Cuts the connection. The returned response only satisfies the type and is never sent.
    pub(super) fn cut(&self) -> Response {
        self.cut.cancel();
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }

    /// Cuts the connection after `bytes` more bytes.
    pub(super) fn cut_after(&self, bytes: usize) {
        self.left.store(bytes, Ordering::Relaxed);
    }

    /// Sends nothing until the caller hangs up (hyper then drops this future) or the simulator stops.
    pub(super) async fn hang(&self) -> Response {
        self.cut.cancelled().await;
        self.cut()
    }
}

impl Connected<IncomingStream<'_, Lines>> for Line {
    fn connect_info(stream: IncomingStream<'_, Lines>) -> Self {
        stream.io().line.clone()
    }
}

/// A TCP stream that fails once its [`Line`] is cut.
pub(super) struct Wire {
    stream: TcpStream,
    line: Line,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Wire {
    /// Fails if the line is cut; otherwise wakes the task of `context` when it is cut.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.ended.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        let left = self.line.left.load(Ordering::Relaxed);
        if left == 0 {
            self.line.cut.cancel();
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let some = bytes.get(..left).unwrap_or(bytes);
        let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(context, some))?;
        if left != usize::MAX {
            self.line.cut_after(left - written);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
