//! Which ports the engines listen on, and whether those are free.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use super::Error;

/// Which ports the engines listen on; always on the loopback address alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// The ports people know: Kafka 9092, registry 8081, Temporal 7233, its page 8233, mail 1025.
    Fixed,
    /// Any that are free, so that any number of runs fit on one machine.
    Free,
}

impl Ports {
    /// Lists the ports that have to be free before anything starts.
    pub(super) fn fixed(self) -> &'static [Fixed] {
        match self {
            Self::Fixed => &[KAFKA, REGISTRY, TEMPORAL, TEMPORAL_PAGE, MAIL],
            Self::Free => &[],
        }
    }

    /// Returns the port to tell an engine that can choose a free one by itself when told 0.
    pub(super) fn or_zero(self, fixed: &Fixed) -> u16 {
        match self {
            Self::Fixed => fixed.port,
            Self::Free => 0,
        }
    }
}

/// A port people know.
#[derive(Debug)]
pub(super) struct Fixed {
    pub(super) engine: &'static str,
    pub(super) port: u16,
    /// The setting that names an engine to use in place of one of ours.
    pub(super) variable: &'static str,
}

pub(super) const KAFKA: Fixed = Fixed {
    engine: "Kafka",
    port: 9092,
    variable: "KAFKA_BROKERS",
};
pub(super) const REGISTRY: Fixed = Fixed {
    engine: "schema registry",
    port: 8081,
    variable: "SCHEMA_REGISTRY_URL",
};
pub(super) const TEMPORAL: Fixed = Fixed {
    engine: "Temporal",
    port: 7233,
    variable: "TEMPORAL_HOST",
};
pub(super) const TEMPORAL_PAGE: Fixed = Fixed {
    port: 8233,
    ..TEMPORAL
};

pub(super) const MAIL: Fixed = Fixed {
    engine: "the mail catcher",
    port: 1025,
    variable: "SMTP_URL",
};

impl Fixed {
    /// Fails if something listens on the port; it may still be taken before the engine gets there.
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

/// Picks ports that are free now, each another one.
pub(super) fn pick<const N: usize>() -> io::Result<[u16; N]> {
    // All are held until the last is picked, or one could come twice.
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

        let fixed = Fixed { port, ..KAFKA };
        let error = fixed.require_free().unwrap_err();
        assert!(matches!(error, Error::PortTaken { port: taken, .. } if taken == port));

        drop(listener);
        fixed.require_free().unwrap();
    }

    #[test]
    fn picked_ports_differ() {
        let [a, b, c] = pick::<3>().unwrap();

        assert!(a != b && b != c && a != c);
    }
}
