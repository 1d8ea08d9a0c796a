//! Rules for calls to addresses that others supply: users' webhooks and providers' outputs.

use std::net::Ipv6Addr;

use super::vars::Vars;
pub use crate::domain::Nat64;

/// Which of these addresses genflow may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Egress {
    /// Private, loopback and link-local addresses too.
    pub allow_private: bool,
    /// `http`, not only `https`.
    pub allow_http: bool,
    /// Allowed ports.
    pub ports: Ports,
    /// NAT64 prefixes of the operator's network, in addition to the well-known one.
    pub nat64: Vec<Nat64>,
}

/// Ports that may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// All ports.
    Any,
    /// Only these.
    Only(Vec<u16>),
}

/// Names of the variables for one kind of address.
pub(super) struct Names {
    pub(super) allow_private: &'static str,
    pub(super) allow_http: &'static str,
    pub(super) ports: &'static str,
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

/// Reads the rules. Private addresses mean services of the operator's own network, so with them the default allows
/// `http` and all ports.
pub(super) fn read(vars: &mut Vars<'_>, names: &Names, nat64: &[Nat64]) -> Egress {
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
        nat64: nat64.to_vec(),
    }
}

/// Reads the NAT64 prefixes of the operator's network.
pub(super) fn nat64(vars: &mut Vars<'_>) -> Vec<Nat64> {
    let name = "NAT64_PREFIXES";
    let Some(text) = vars.optional(name) else {
        return Vec::new();
    };
    let parsed: Option<Vec<Nat64>> = text.split(',').map(prefix).collect();
    parsed.unwrap_or_else(|| {
        let problem = format!(
            "is {text:?}, expected IPv6 prefixes of 32, 40, 48, 56, 64 or 96 bits, separated by commas, such as 2001:db8:64::/96, with zeros in bits 64 to 71 and after their length"
        );
        vars.fault(name, &problem);
        Vec::new()
    })
}

fn prefix(text: &str) -> Option<Nat64> {
    let (prefix, length) = text.trim().split_once('/')?;
    let (prefix, length): (Ipv6Addr, u8) = (prefix.parse().ok()?, length.parse().ok()?);
    let is_a_length = matches!(length, 32 | 40 | 48 | 56 | 64 | 96);
    let is_zero = prefix.octets()[8] == 0 && prefix.to_bits().checked_shl(length.into())? == 0;
    (is_a_length && is_zero).then_some(Nat64 { prefix, length })
}

fn ports(vars: &mut Vars<'_>, name: &'static str, text: &str) -> Ports {
    if text == "any" {
        return Ports::Any;
    }
    let parsed: Result<Vec<u16>, _> = text.split(',').map(|port| port.trim().parse()).collect();
    match parsed {
        Ok(ports) if !ports.contains(&0) => Ports::Only(ports),
        Ok(_) | Err(_) => {
            let problem =
                format!("is {text:?}, expected any, or ports from 1 to 65535 separated by commas");
            vars.fault(name, &problem);
            Ports::Only(Vec::new())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

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
                nat64: Vec::new(),
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
    fn ports_that_are_none_are_a_fault() {
        for ports in ["0", "443,", "70000", "all", "443 80", "-1"] {
            let faults = Config::of(&[("WEBHOOK_PORTS", ports)]).unwrap_err();

            assert_eq!(faults.0[0].variable, "WEBHOOK_PORTS", "{ports}");
        }
    }
    #[test]
    fn prefixes_of_nat64_hold_for_whoever_calls() {
        let of = |prefix: &str, length| Nat64 {
            prefix: prefix.parse().unwrap(),
            length,
        };
        for (text, expected) in [
            ("", vec![]),
            ("2001:db8:64::/96", vec![of("2001:db8:64::", 96)]),
            (
                "fd00:64::/32, 64:ff9b:1::/48",
                vec![of("fd00:64::", 32), of("64:ff9b:1::", 48)],
            ),
        ] {
            let config = Config::of(&[("NAT64_PREFIXES", text)]).unwrap();

            assert_eq!(config.notifier.egress.nat64, expected, "{text}");
            assert_eq!(config.worker.egress.nat64, expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_prefix_of_nat64_is_a_fault() {
        for prefixes in [
            "2001:db8:64::",
            "2001:db8:64::/97",
            "2001:db8::/128",
            "2001:db8::/0",
            "2001:db8:64::/33",
            "2001:db8:64::/32",
            "2001:db8:64:0:100::/96",
            "2001:db8:64::1/96",
            "10.0.0.0/32",
            "2001:db8:64::/96,",
            "2001:db8:64::/96 fd00::/96",
        ] {
            let faults = Config::of(&[("NAT64_PREFIXES", prefixes)]).unwrap_err();

            let named: Vec<_> = faults.0.iter().map(|fault| fault.variable).collect();
            assert_eq!(named, ["NAT64_PREFIXES"], "{prefixes}");
        }
    }
}
