//! Whom genflow may call where somebody else gives the address: users their webhooks, providers their results.

use super::vars::Vars;

/// What such an address may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Egress {
    /// At a private, loopback or link-local address too.
    pub allow_private: bool,
    /// `http`, not only `https`.
    pub allow_http: bool,
    /// At which ports.
    pub ports: Ports,
}

/// Ports that may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// All.
    Any,
    /// These.
    Only(Vec<u16>),
}

/// The variables of one kind of address.
pub(super) struct Names {
    pub(super) allow_private: &'static str,
    pub(super) allow_http: &'static str,
    pub(super) ports: &'static str,
}

impl Ports {
    /// Tells whether `port` is one of them.
    pub fn contain(&self, port: u16) -> bool {
        match self {
            Self::Any => true,
            Self::Only(ports) => ports.contains(&port),
        }
    }
}

/// Who lets private addresses be called means services of a network of their own: `http`, and any port.
pub(super) fn read(vars: &mut Vars<'_>, names: &Names) -> Egress {
    let allow_private = vars.flag(names.allow_private, false);
    let allow_http = vars.flag(names.allow_http, allow_private);
    let ports = match vars.optional(names.ports) {
        Some(text) => ports(vars, names.ports, &text),
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

fn ports(vars: &mut Vars<'_>, name: &'static str, text: &str) -> Ports {
    if text == "any" {
        return Ports::Any;
    }
    let parsed: Result<Vec<u16>, _> = text.split(',').map(|port| port.trim().parse()).collect();
    match parsed {
        Ok(ports) if !ports.contains(&0) => Ports::Only(ports),
        Ok(_) | Err(_) => {
            let problem = format!("is {text:?}, want any, or ports from 1 to 65535 by comma");
            vars.fault(name, &problem);
            Ports::Only(Vec::new())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Faults};
    use super::*;

    fn load(pairs: &[(&str, &str)]) -> Result<Config, Faults> {
        let value = |name: &str| pairs.iter().find(|(key, _)| *key == name);
        Config::load(|name| value(name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn what_is_not_set_follows_from_what_is() {
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
                load(&pairs).unwrap()
            };

            assert_eq!(with("WEBHOOK").notifier.egress, expected, "{set:?}");
            assert_eq!(with("DOWNLOAD").worker.egress, expected, "{set:?}");
            // One does not let the other.
            let by_default = load(&[]).unwrap().worker.egress;
            assert_eq!(with("WEBHOOK").worker.egress, by_default);
        }
    }

    #[test]
    fn ports_that_are_none_are_a_fault() {
        for ports in ["0", "443,", "70000", "all", "443 80", "-1"] {
            let faults = load(&[("WEBHOOK_PORTS", ports)]).unwrap_err();

            assert_eq!(faults.0[0].variable, "WEBHOOK_PORTS", "{ports}");
        }
    }
}
