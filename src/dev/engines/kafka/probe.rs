//! Sends two requests in Kafka's own protocol: is the broker up, and does it have a coordinator of
//! consumer groups?
//!
//! Without librdkafka: its client backs off for seconds and logs when a broker is still starting, so its readiness
//! would differ from the broker's.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const FIND_COORDINATOR: i16 = 10;
const METADATA: i16 = 3;

/// The longest time for an answer; a port of another program may never answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Both answers are much smaller; a port of another program may send anything.
const LARGEST: i32 = 1 << 20;

/// Returns whether the broker lists a broker in its cluster, which is the broker itself.
pub(super) async fn is_up(port: u16) -> io::Result<bool> {
    let no_topics = 0_i32.to_be_bytes();
    let answer = ask(port, METADATA, &no_topics).await?;
    let brokers = read_i32(&answer, 0)?;
    Ok(brokers > 0)
}

/// Returns whether the broker has a coordinator of consumer groups. It creates one when it gets the first such request.
pub(super) async fn has_coordinator(port: u16) -> io::Result<bool> {
    let answer = ask(port, FIND_COORDINATOR, &find_coordinator("genflow")).await?;
    // After the throttle time.
    let error = answer.get(4..6).ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(error == [0, 0])
}

fn find_coordinator(group: &str) -> Vec<u8> {
    let mut body = string(group);
    body.push(0); // the coordinator of a group, not of a transaction
    body
}

/// Sends one request, version 1, on a connection of its own; returns the body of the answer.
async fn ask(port: u16, api: i16, body: &[u8]) -> io::Result<Vec<u8>> {
    timeout(PATIENCE, exchange(port, &request(api, body)))
        .await
        .map_err(|_| io::ErrorKind::TimedOut)?
}

async fn exchange(port: u16, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(request).await?;
    let size = stream.read_i32().await?;
    let size = usize::try_from(size.min(LARGEST)).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut answer = vec![0; size];
    stream.read_exact(&mut answer).await?;
    answer
        .get(4..)
        .map(<[u8]>::to_vec)
        .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn request(api: i16, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(api.to_be_bytes());
    frame.extend(1_i16.to_be_bytes()); // version
    frame.extend(7_i32.to_be_bytes()); // correlation id: any value, with one request per connection
    frame.extend(string("genflow"));
    frame.extend(body);
    let mut sized = u32::try_from(frame.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes()
        .to_vec();
    sized.extend(frame);
    sized
}

fn string(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes()
        .to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

fn read_i32(bytes: &[u8], at: usize) -> io::Result<i32> {
    let field = bytes
        .get(at..at + 4)
        .and_then(|field| field.try_into().ok());
    field
        .map(i32::from_be_bytes)
        .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_framed_as_kafka_wants_it() {
        let frame = request(FIND_COORDINATOR, &find_coordinator("g"));

        assert_eq!(
            frame,
            b"\0\0\0\x15\0\x0a\0\x01\0\0\0\x07\0\x07genflow\0\x01g\0"
        );
    }

    #[tokio::test]
    async fn a_port_that_speaks_something_else_is_no_broker() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"\xff\xff\xff\xff220 mail").await.unwrap();
        };

        let (answer, ()) = tokio::join!(is_up(port), serve);

        assert!(answer.is_err());
    }
}
