//! The one connection to the mail server.
//!
//! lettre's pool is not used: it takes a connection back when its message is abandoned midway, and then reads the late
//! answer to that message as the answer to the next one. Here a connection is kept only after a complete exchange.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lettre::Message;
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::DEFAULT_MECHANISMS;
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::Error;
use crate::domain::time::millis;
use crate::engines::config::mail_server::{MailServer, Security};

/// The connection, opened when it is needed, and used by one message at a time.
pub(super) struct Connection {
    server: MailServer,
    /// Set if the connection may be encrypted.
    tls: Option<TlsParameters>,
    kept: Mutex<Option<AsyncSmtpConnection>>,
    /// Milliseconds that the last exchange took, complete or not.
    took: AtomicU64,
}

impl Connection {
    /// Prepares the connection; makes no network call.
    pub(super) fn new(server: &MailServer) -> Result<Self, smtp::Error> {
        let tls = match server.security {
            Security::Plain => None,
            Security::Opportunistic | Security::Starttls | Security::Tls => {
                Some(TlsParameters::new(server.host.clone())?)
            }
        };
        Ok(Self {
            server: server.clone(),
            tls,
            kept: Mutex::new(None),
            took: AtomicU64::new(0),
        })
    }

    /// Whether the last exchange took at least `limit`, so that the next one would probably time out.
    pub(super) fn is_slower_than(&self, limit: Duration) -> bool {
        Duration::from_millis(self.took.load(Ordering::Relaxed)) >= limit
    }

    /// Sends the message within `limit`; returns the code with which the server accepted it.
    ///
    /// If this is dropped midway, or ends at the limit, the connection is dropped too. The limit does not
    /// include the wait for the message before: otherwise a message would be cut off midway, and arrive twice,
    /// because others were slow.
    pub(super) async fn send(&self, mail: &Message, limit: Duration) -> Result<u16, Error> {
        let mut kept = self.kept.lock().await;
        let began = Instant::now();
        let sent = timeout(limit, self.exchange(&mut kept, mail)).await;
        self.took.store(millis(began.elapsed()), Ordering::Relaxed);
        sent.unwrap_or(Err(Error::TimedOut))
    }

    async fn exchange(
        &self,
        kept: &mut Option<AsyncSmtpConnection>,
        mail: &Message,
    ) -> Result<u16, Error> {
        let mut connection = match alive(kept.take()).await {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let answer = connection.send(mail.envelope(), &mail.formatted()).await;
        let answer = answer.map_err(refused)?;
        *kept = Some(connection);
        Ok(answer.code().into())
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Error> {
        let MailServer {
            host,
            port,
            security,
            login,
            hello,
        } = &self.server;
        let from_the_start = self.tls.clone().filter(|_| *security == Security::Tls);
        let server = (host.as_str(), *port);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(server, None, hello, from_the_start, None)
                .await
                .map_err(Error::Unreachable)?;
        match (&self.tls, security) {
            (Some(tls), Security::Opportunistic | Security::Starttls)
                if connection.can_starttls() =>
            {
                let upgraded = connection.starttls(tls.clone(), hello).await;
                upgraded.map_err(Error::Unreachable)?;
            }
            (_, Security::Starttls) => return Err(Error::NotEncrypted),
            (_, Security::Plain | Security::Opportunistic | Security::Tls) => {}
        }
        if let Some(login) = login {
            let let_in = connection.auth(DEFAULT_MECHANISMS, login).await;
            let_in.map_err(Error::Login)?;
        }
        Ok(connection)
    }
}

/// Returns the connection unless it is closed: servers close idle connections.
async fn alive(kept: Option<AsyncSmtpConnection>) -> Option<AsyncSmtpConnection> {
    let mut connection = kept?;
    connection.test_connected().await.then_some(connection)
}

/// Maps the error of an exchange to that of its message.
fn refused(error: smtp::Error) -> Error {
    match error.status().map(u16::from) {
        Some(code) if error.is_permanent() => Error::Refused(code),
        Some(code) => Error::Failed(code),
        // Messages are ASCII, so lettre itself refuses only addresses that are not.
        None if error.is_client() => Error::AsciiOnly,
        None => Error::Unreachable(error),
    }
}

#[cfg(test)]
mod tests {
    use lettre::Message;
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::mpsc;

    use super::*;

    /// Answers as a mail server does; reports the end of each message, and answers that with `at_the_end`.
    async fn takes(stream: TcpStream, taken: mpsc::Sender<()>, at_the_end: &str) {
        let mut stream = BufReader::new(stream);
        let (mut line, mut in_message) = (String::new(), false);
        stream.write_all(b"220 hello\r\n").await.unwrap();
        while stream.read_line(&mut line).await.unwrap() > 0 {
            let answer = match line.trim_end() {
                "." => {
                    taken.send(()).await.unwrap();
                    in_message = false;
                    at_the_end
                }
                _ if in_message => "",
                "DATA" => {
                    in_message = true;
                    "354 go on\r\n"
                }
                _ => "250 OK\r\n",
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
            line.clear();
        }
    }

    /// Returns a listener for a mail server, and a connection to it.
    async fn place() -> (TcpListener, Connection) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = MailServer::parse(&format!("smtp://{address}?tls=none")).unwrap();
        (listener, Connection::new(&server).unwrap())
    }

    fn mail() -> Message {
        Message::builder()
            .from("a@b.test".parse().unwrap())
            .to("c@d.test".parse().unwrap())
            .body("hello".to_owned())
            .unwrap()
    }

    #[tokio::test]
    async fn an_abandoned_message_drops_its_connection() {
        let (listener, connection) = place().await;
        let mail = mail();
        let (taken, mut takes_it) = mpsc::channel(9);
        let (connected, mut connections) = mpsc::channel(9);
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connected.send(()).await.unwrap();
                tokio::spawn(takes(stream, taken.clone(), ""));
            }
        });

        for _ in 0..2 {
            tokio::select! {
                _ = connection.send(&mail, Duration::from_secs(60)) => panic!("the server did not answer"),
                taken = takes_it.recv() => taken.unwrap(),
            }
        }

        // On a shared connection, the second message would have read the late answer to the first as its own.
        serving.abort();
        let mut made = 0;
        while connections.try_recv().is_ok() {
            made += 1;
        }
        assert_eq!(made, 2);
    }

    #[tokio::test]
    async fn a_server_counts_as_slow_after_a_time_out_until_a_message_is_fast() {
        let (listener, connection) = place().await;
        let (taken, _takes_it) = mpsc::channel(9);
        tokio::spawn(async move {
            for at_the_end in ["", "250 OK\r\n"] {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(takes(stream, taken.clone(), at_the_end));
            }
        });
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(60));
        assert!(!connection.is_slower_than(short));

        let cut = connection.send(&mail(), short).await;

        assert!(matches!(cut, Err(Error::TimedOut)), "{cut:?}");
        assert!(connection.is_slower_than(short) && !connection.is_slower_than(long));

        connection.send(&mail(), long).await.unwrap();

        assert!(!connection.is_slower_than(short));
    }
}
