//! Which addresses and names belong to the public internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use super::Refused;

/// Endings of names that no public name server knows (RFC 6761, 6762, 8375, and ICANN's `internal`).
const LOCAL: [&str; 4] = [".localhost", ".local", ".internal", ".home.arpa"];

/// Checks the host of a URL as far as it can be without asking a name server.
pub(super) fn check(url: &Url) -> Result<(), Refused> {
    match url.host() {
        None => Err(Refused::Name),
        Some(Host::Domain(name)) if is_local(name) => Err(Refused::Name),
        Some(Host::Domain(_)) => Ok(()),
        Some(Host::Ipv4(ip)) if public_v4(ip) => Ok(()),
        // Nobody writes an IPv4 address in the form of IPv6, but to get it past a check.
        Some(Host::Ipv6(ip)) if public_v6(ip) && !is_nat64(ip) => Ok(()),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => Err(Refused::Address),
    }
}

/// A name without a dot, or below one of the endings that are for networks of one's own.
pub(super) fn is_local(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    !name.contains('.') || LOCAL.iter().any(|ending| name.ends_with(ending))
}

/// Tells whether an address that a name stands for is a public one.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => public_v4(ip),
        IpAddr::V6(ip) => public_v6(ip),
    }
}

/// All but the special-purpose blocks of IANA's IPv4 registry, and the one public address that a cloud answers within.
fn public_v4(ip: Ipv4Addr) -> bool {
    let special = match ip.octets() {
        [0 | 10 | 127, ..] => true,
        [100, second, ..] => (64..128).contains(&second), // carrier-grade NAT
        [169, 254, ..] => true,                           // link-local: the clouds' metadata
        [168, 63, 129, 16] => true, // Azure's host, seen from its machines only
        [172, second, ..] => (16..32).contains(&second),
        [192, 0, 0 | 2, _] | [192, 88, 99, _] | [192, 168, ..] => true,
        [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => true,
        [224..=255, ..] => true, // multicast, reserved, broadcast
        _ => false,
    };
    !special
}

/// Global unicast less its special-purpose blocks. NAT64, by which a network of IPv6 alone reaches all others, is as
/// public as the address in it; mapped, compatible, 6to4 and Teredo forms are never called.
fn public_v6(ip: Ipv6Addr) -> bool {
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        [0x2001, second, ..] => second >= 0x200 && second != 0xdb8, // protocols (Teredo is one), documentation
        [0x2002, ..] | [0x3fff, 0..0x1000, ..] => false,            // 6to4, documentation
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

fn is_nat64(ip: Ipv6Addr) -> bool {
    matches!(ip.segments(), [0x64, 0xff9b, ..])
}
