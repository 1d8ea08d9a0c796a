//! Decides which addresses and names belong to the public internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Why a host is not on the public internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotPublic {
    /// The name is one that only private networks know, or the URL has no host.
    Name,
    /// The IP address is loopback, private, link-local or otherwise special.
    Address,
}

/// Suffixes of names that no public name server resolves (RFC 6761, 6762, 8375, and ICANN's `internal`).
const LOCAL: [&str; 4] = [".localhost", ".local", ".internal", ".home.arpa"];

/// Checks the host of a URL as far as possible without DNS.
pub(crate) fn check(url: &Url) -> Result<(), NotPublic> {
    match url.host() {
        None => Err(NotPublic::Name),
        Some(Host::Domain(name)) if is_local(name) => Err(NotPublic::Name),
        Some(Host::Domain(_)) => Ok(()),
        Some(Host::Ipv4(ip)) if public_v4(ip) => Ok(()),
        // A NAT64 address is refused: a URL contains one only to get an IPv4 address past a check.
        Some(Host::Ipv6(ip)) if public_v6(ip) => Ok(()),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => Err(NotPublic::Address),
    }
}

/// Returns whether a name has no dot, or a suffix that is reserved for private networks.
pub(crate) fn is_local(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    !name.contains('.') || LOCAL.iter().any(|ending| name.ends_with(ending))
}

/// Returns whether a resolved address is public. A NAT64 address, by which an IPv6-only network
/// reaches IPv4 hosts, is as public as the IPv4 address in it.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => public_v4(ip),
        IpAddr::V6(ip) => nat64_target_is_public(ip).unwrap_or_else(|| public_v6(ip)),
    }
}

/// Returns whether an address is public. Not public are multicast, the blocks that IANA's registry of special-purpose
/// IPv4 addresses does not mark as globally reachable, and one address that answers only inside a cloud.
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

/// Returns whether an address is global unicast, outside its special-purpose blocks. Addresses that contain an IPv4
/// address (IPv4-mapped, IPv4-compatible, 6to4, Teredo) are not public.
fn public_v6(ip: Ipv6Addr) -> bool {
    match ip.segments() {
        [0x2001, second, ..] => second >= 0x200 && second != 0xdb8, // protocols (Teredo is one), documentation
        [0x2002, ..] | [0x3fff, 0..0x1000, ..] => false,            // 6to4, documentation
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

/// Returns whether the IPv4 address in an address with the well-known NAT64 prefix, `64:ff9b::/96`, is public; `None`
/// for any other address.
fn nat64_target_is_public(ip: Ipv6Addr) -> Option<bool> {
    let [0x64, 0xff9b, 0, 0, 0, 0, _, _] = ip.segments() else {
        return None;
    };
    let [.., a, b, c, d] = ip.octets();
    Some(public_v4(Ipv4Addr::new(a, b, c, d)))
}
