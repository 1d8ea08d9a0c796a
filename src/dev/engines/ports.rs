//! The ports that the engines listen on, and whether they are free.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use super::error::Error;
use crate::operate::cli::local::EnginePorts;

impl EnginePorts {
    /// Lists the ports that must be free before anything starts.
    pub(super) fn fixed(self) -> &'static [UsualPort] {
        match self {
            Self::Fixed => &[KAFKA, REGISTRY, TEMPORAL, TEMPORAL_PAGE, MAIL],
            Self::Free => &[],
        }
    }

    /// Returns the port for an engine that chooses a free one itself if it gets 0.
    pub(super) fn or_zero(self, usual: &UsualPort) -> u16 {
        match self {
            Self::Fixed => usual.port,
            Self::Free => 0,
        }
    }
}

/// A usual port of an engine.
#[derive(Debug)]
pub(super) struct UsualPort {
    pub(super) engine: &'static str,
    pub(super) port: u16,
    /// The variable that names an existing engine to use instead.
    pub(super) variable: &'static str,
}

pub(super) const KAFKA: UsualPort = UsualPort {
    engine: "Kafka",
    port: 9092,
    variable: "KAFKA_BROKERS",
};
pub(super) const REGISTRY: UsualPort = UsualPort {
    engine: "the schema registry",
    port: 8081,
    variable: "SCHEMA_REGISTRY_URL",
};
pub(super) const TEMPORAL: UsualPort = UsualPort {
    engine: "Temporal",
    port: 7233,
    variable: "TEMPORAL_HOST",
};
pub(super) const TEMPORAL_PAGE: UsualPort = UsualPort {
    port: 8233,
    ..TEMPORAL
};

pub(super) const MAIL: UsualPort = UsualPort {
    engine: "the mail catcher",
    port: 1025,
    variable: "SMTP_URL",
};

impl UsualPort {
    /// Fails if a program listens on the port. Another program may still take the port before the engine does.
    pub(super) fn require_free(&self) -> Result<(), Error> {
        let &Self {
            engine,
            port,
            variable,
        } = self;
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(Error::PortTaken {
                engine,
                port,
                variable,
            }),
            Err(source) => Err(Error::Io {
                what: format!("{engine} cannot listen on port {port}"),
                source,
            }),
        }
    }
}

/// Picks ports that are free now and differ from each other.
pub(super) fn pick<const N: usize>() -> io::Result<[u16; N]> {
    // Holds all until the last is picked; otherwise a port could be picked twice.
    let held: Vec<_> = (0..N)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<_, _>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_taken_while_something_listens_on_it() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();

        let usual = UsualPort { port, ..KAFKA };
        let error = usual.require_free().unwrap_err();
        assert!(matches!(error, Error::PortTaken { port: taken, .. } if taken == port));

        drop(listener);
        usual.require_free().unwrap();
    }

    #[test]
    fn picked_ports_differ() {
        let [a, b, c] = pick::<3>().unwrap();

        assert!(a != b && b != c && a != c);
    }
}
