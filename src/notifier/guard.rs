//! Which addresses a webhook may call: the public ones, unless `WEBHOOK_ALLOW_PRIVATE`.
//!
//! A target comes from a tenant, so without this it could reach what only our network may (SSRF). Checked are the
//! addresses that are connected to, after the name was resolved: a name that answers differently the second time
//! gains nothing. An address that stands in the URL itself is not resolved, hence [`check_literal`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// The target is at an address that may not be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the target is not at a public address")]
pub(super) struct Refused;

/// Resolves names as the system does and leaves out the addresses that may not be called.
#[derive(Clone, Copy, Debug)]
pub(super) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|found| allowed(found.ip())).collect();
            if public.is_empty() {
                return Err(Refused.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Refuses a URL whose host is an address that may not be called.
pub(super) fn check_literal(url: &Url) -> Result<(), Refused> {
    let ip = match url.host() {
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip),
        Some(Host::Domain(_)) => return Ok(()),
        None => return Err(Refused),
    };
    if allowed(ip) { Ok(()) } else { Err(Refused) }
}

/// Tells whether an address is a public one.
pub(super) fn allowed(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => allowed_v4(ip),
        IpAddr::V6(ip) => allowed_v6(ip),
    }
}

/// The special-purpose blocks of IANA's IPv4 registry.
fn allowed_v4(ip: Ipv4Addr) -> bool {
    let special = match ip.octets() {
        [0 | 10 | 127, ..] => true,
        [100, second, ..] => (64..128).contains(&second), // carrier-grade NAT
        [169, 254, ..] => true,                           // link-local: the clouds' metadata
        [172, second, ..] => (16..32).contains(&second),
        [192, 0, 0 | 2, _] | [192, 88, 99, _] | [192, 168, ..] => true,
        [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => true,
        [224..=255, ..] => true, // multicast, reserved, broadcast
        _ => false,
    };
    !special
}

/// Global unicast less its special-purpose blocks; of the forms that hold an IPv4 address that one decides.
fn allowed_v6(ip: Ipv6Addr) -> bool {
    match ip.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] => allowed_v4(embedded(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => allowed_v4(embedded(high, low)), // NAT64
        [0x2001, second, ..] => second >= 0x200 && second != 0xdb8, // protocols, documentation
        [0x2002, ..] | [0x3fff, 0..0x1000, ..] => false,            // 6to4, documentation
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_are_allowed_and_no_others() {
        for (addresses, expected) in [
            (
                "1.1.1.1 9.255.255.255 11.0.0.1 100.63.0.1 100.128.0.1",
                true,
            ),
            (
                "172.15.0.1 172.32.0.1 192.167.0.1 192.0.1.1 198.17.0.1 223.255.0.1",
                true,
            ),
            (
                "2606:4700::1111 2a00:1450::1 2001:200::1 2001:4860::8888",
                true,
            ),
            ("::ffff:1.1.1.1 64:ff9b::101:101", true),
            ("0.0.0.0 0.1.2.3 127.0.0.1 127.255.0.1", false),
            ("10.0.0.1 172.16.0.1 172.31.255.255 192.168.0.1", false),
            ("169.254.169.254 100.64.0.1 100.127.255.255", false),
            (
                "192.0.0.8 192.0.2.1 192.88.99.1 198.18.0.1 198.19.0.1",
                false,
            ),
            (
                "198.51.100.1 203.0.113.1 224.0.0.1 239.0.0.1 240.0.0.1 255.255.255.255",
                false,
            ),
            (
                ":: ::1 ::7f00:1 fe80::1 fc00::1 fd12::1 fec0::1 ff02::1",
                false,
            ),
            (
                "::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254",
                false,
            ),
            (
                "64:ff9b::7f00:1 64:ff9b:1::1 2002:7f00:1:: 2001::1 2001:db8::1 3fff::1",
                false,
            ),
        ] {
            for address in addresses.split(' ') {
                assert_eq!(allowed(address.parse().unwrap()), expected, "{address}");
            }
        }
    }

    #[test]
    fn an_address_in_the_url_is_checked_however_it_is_written() {
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://017700000001/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
        ] {
            assert_eq!(check_literal(&url.parse().unwrap()), Err(Refused), "{url}");
        }
        for url in ["http://1.1.1.1/", "http://localhost/"] {
            assert_eq!(check_literal(&url.parse().unwrap()), Ok(()), "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_of_a_private_address_resolves_to_nothing() {
        let resolved = PublicOnly.resolve("localhost".parse().unwrap()).await;

        let error = resolved.err().unwrap();
        assert!(error.is::<Refused>());
    }
}
