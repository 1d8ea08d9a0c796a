//! Rules for calls to addresses that others supply: users' webhooks and providers' outputs.

use super::vars::Vars;

/// Which of these addresses genflow may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Egress {
    /// Private, loopback and link-local addresses too.
    pub allow_private: bool,
    /// `http`, not only `https`.
    pub allow_http: bool,
    pub ports: Ports,
}

/// Ports that may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    Any,
    Only(Vec<u16>),
}

impl Ports {
    /// Returns whether `port` is allowed.
    pub fn contain(&self, port: u16) -> bool {
        match self {
            Self::Any => true,
            Self::Only(ports) => ports.contains(&port),
        }
    }
}

/// Reads the rules. If private addresses are allowed, `http` and all ports are allowed by default too, since services
/// in the operator's own network use them.
pub(super) fn read(
    vars: &mut Vars<'_>,
    [private_name, http_name, ports_name]: [&'static str; 3],
) -> Egress {
    let allow_private = vars.flag(private_name, false);
    let allow_http = vars.flag(http_name, allow_private);
    let expected = "any, or ports from 1 to 65535 separated by commas";
    let ports = match vars.read(ports_name, expected, ports) {
        Some(ports) => ports,
        None if allow_private => Ports::Any,
        None if allow_http => Ports::Only(vec![443, 80]),
        None => Ports::Only(vec![443]),
    };
    Egress {
        allow_private,
        allow_http,
        ports,
    }
}

fn ports(text: &str) -> Option<Ports> {
    if text == "any" {
        return Some(Ports::Any);
    }
    let ports: Result<Vec<u16>, _> = text.split(',').map(|port| port.trim().parse()).collect();
    let ports = ports.ok().filter(|ports| !ports.contains(&0))?;
    Some(Ports::Only(ports))
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn rules_that_are_not_set_follow_from_those_that_are() {
        let only = |ports: &[u16]| Ports::Only(ports.to_vec());
        for (set, private, http, ports) in [
            (&[][..], false, false, only(&[443])),
            (&[("ALLOW_HTTP", "true")], false, true, only(&[443, 80])),
            (&[("PORTS", "443, 8443")], false, false, only(&[443, 8443])),
            (&[("PORTS", "any")], false, false, Ports::Any),
            (&[("ALLOW_PRIVATE", "true")], true, true, Ports::Any),
            (
                &[("ALLOW_PRIVATE", "true"), ("ALLOW_HTTP", "false")],
                true,
                false,
                Ports::Any,
            ),
            (
                &[("ALLOW_PRIVATE", "true"), ("PORTS", "9000")],
                true,
                true,
                only(&[9000]),
            ),
        ] {
            let expected = Egress {
                allow_private: private,
                allow_http: http,
                ports,
            };
            let with = |prefix: &str| {
                let full: Vec<_> = set
                    .iter()
                    .map(|(name, value)| (format!("{prefix}_{name}"), *value))
                    .collect();
                let pairs: Vec<_> = full.iter().map(|(name, value)| (&**name, *value)).collect();
                Config::of(&pairs).unwrap()
            };

            assert_eq!(with("WEBHOOK").notifier.egress, expected, "{set:?}");
            assert_eq!(with("DOWNLOAD").worker.egress, expected, "{set:?}");
            // The rules for webhooks do not affect those for downloads.
            let by_default = Config::of(&[]).unwrap().worker.egress;
            assert_eq!(with("WEBHOOK").worker.egress, by_default);
        }
    }

    #[test]
    fn invalid_ports_are_a_fault() {
        for ports in ["0", "443,", "70000", "all", "443 80", "-1"] {
            let faults = Config::of(&[("WEBHOOK_PORTS", ports)]).unwrap_err();

            assert_eq!(faults.0[0].variable, "WEBHOOK_PORTS", "{ports}");
        }
    }
}
