//! Adds and removes ACLs, in Kafka's own protocol: neither rdkafka nor the installed files of Kafka have a tool for it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::support::eventually;

/// An ACL that allows an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acl {
    /// The name of the user.
    pub(crate) principal: String,
    pub(crate) operation: Operation,
    pub(crate) resource: Resource,
}

/// The operations, with their numbers in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Read = 3,
    Write = 4,
    Create = 5,
    Alter = 7,
    Describe = 8,
    DescribeConfigs = 10,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    Topic(String),
    Group(String),
}

impl Resource {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Topic(name) | Self::Group(name) => name,
        }
    }
}

const DESCRIBE: i16 = 29;
const CREATE: i16 = 30;
const DELETE: i16 = 31;
const LITERAL: i8 = 3;
const ALLOW: i8 = 3;

/// Adds an ACL on the broker at `open`, where the caller may do everything, and waits until the broker goes by it: it answers when
/// its controller has stored the change.
pub(crate) async fn allow(open: &str, acl: &Acl) {
    let answer = call(open, CREATE, &one(acl));
    // After the throttle time and the number of results.
    assert_eq!(answer[8..10], [0, 0], "{acl:?} is not allowed");
    takes_effect(open, acl, 1).await;
}

/// Removes an ACL, and waits until the broker goes by it.
pub(crate) async fn forbid(open: &str, acl: &Acl) {
    let answer = call(open, DELETE, &one(acl));
    assert_eq!(answer[8..10], [0, 0], "{acl:?} is not removed");
    // After the error's text, which is absent: the number of ACLs that were removed.
    assert_eq!(answer[12..16], [0, 0, 0, 1], "{acl:?} did not exist");
    takes_effect(open, acl, 0).await;
}

async fn takes_effect(open: &str, acl: &Acl, resources: u8) {
    eventually(&format!("{acl:?} is as it was changed"), async || {
        // A filter is an ACL without the number of them.
        let answer = call(open, DESCRIBE, &one(acl)[4..]);
        assert_eq!(answer[4..6], [0, 0], "{acl:?} is not described");
        // After the error's text, which is absent: the number of resources with such an ACL.
        (answer[8..12] == [0, 0, 0, resources]).then_some(())
    })
    .await;
}

/// Encodes a list of one ACL, which both requests have.
fn one(acl: &Acl) -> Vec<u8> {
    let (kind, name) = resource(acl);
    let mut body = 1_i32.to_be_bytes().to_vec();
    body.push(kind);
    body.extend(string(&name));
    body.extend(LITERAL.to_be_bytes());
    body.extend(string(&format!("User:{}", acl.principal)));
    body.extend(string("*"));
    body.extend([acl.operation as u8, ALLOW as u8]);
    body
}

fn resource(acl: &Acl) -> (u8, String) {
    match &acl.resource {
        Resource::Topic(name) => (2, name.clone()),
        Resource::Group(name) => (3, name.clone()),
    }
}

/// Sends a request, version 1; returns the body of the answer.
fn call(open: &str, api: i16, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(api.to_be_bytes());
    frame.extend(1_i16.to_be_bytes()); // version
    frame.extend(7_i32.to_be_bytes()); // correlation id
    frame.extend(string("test"));
    frame.extend(body);
    let mut stream = TcpStream::connect(open).unwrap();
    let size = u32::try_from(frame.len()).unwrap();
    stream.write_all(&size.to_be_bytes()).unwrap();
    stream.write_all(&frame).unwrap();
    let mut size = [0; 4];
    stream.read_exact(&mut size).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(size) as usize];
    stream.read_exact(&mut answer).unwrap();
    answer.split_off(4)
}

fn string(text: &str) -> Vec<u8> {
    let size = u16::try_from(text.len()).unwrap();
    [&size.to_be_bytes()[..], text.as_bytes()].concat()
}
