//! Decides which addresses and names belong to the public internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// A NAT64 prefix: IPv6 addresses with it contain an IPv4 address (RFC 6052).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nat64 {
    /// The prefix as an address: bits after its length are zero, and so are bits 64 to 71.
    pub prefix: Ipv6Addr,
    /// Length in bits: 32, 40, 48, 56, 64 or 96.
    pub length: u8,
}

/// Why a host is not one of the public internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotPublic {
    /// A name that only private networks know, or none.
    Name,
    /// Loopback, private, link-local or otherwise special.
    Address,
}

/// The well-known NAT64 prefix, which any network may use.
const WELL_KNOWN: Nat64 = Nat64 {
    prefix: Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0),
    length: 96,
};

/// Suffixes of names that no public name server resolves (RFC 6761, 6762, 8375, and ICANN's `internal`).
const LOCAL: [&str; 4] = [".localhost", ".local", ".internal", ".home.arpa"];

/// Checks the host of a URL as far as possible without DNS.
pub(crate) fn check(url: &Url, nat64: &[Nat64]) -> Result<(), NotPublic> {
    match url.host() {
        None => Err(NotPublic::Name),
        Some(Host::Domain(name)) if is_local(name) => Err(NotPublic::Name),
        Some(Host::Domain(_)) => Ok(()),
        Some(Host::Ipv4(ip)) if public_v4(ip) => Ok(()),
        // A URL contains a NAT64 address only to get an IPv4 address past a check.
        Some(Host::Ipv6(ip)) if public_v6(ip) && behind_nat64(ip, nat64).is_none() => Ok(()),
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
pub(crate) fn is_public(ip: IpAddr, nat64: &[Nat64]) -> bool {
    match ip {
        IpAddr::V4(ip) => public_v4(ip),
        IpAddr::V6(ip) => behind_nat64(ip, nat64).unwrap_or_else(|| public_v6(ip)),
    }
}

/// All but the special-purpose blocks of IANA's IPv4 registry, and one public address that answers
/// only inside a cloud.
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

/// Global unicast without its special-purpose blocks. Mapped, compatible, 6to4 and Teredo forms are never called.
fn public_v6(ip: Ipv6Addr) -> bool {
    match ip.segments() {
        [0x2001, second, ..] => second >= 0x200 && second != 0xdb8, // protocols (Teredo is one), documentation
        [0x2002, ..] | [0x3fff, 0..0x1000, ..] => false,            // 6to4, documentation
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

/// Returns whether the IPv4 address in a NAT64 address is public under each prefix that matches;
/// `None` if none matches.
fn behind_nat64(ip: Ipv6Addr, own: &[Nat64]) -> Option<bool> {
    let prefixes = own.iter().chain([&WELL_KNOWN]);
    prefixes
        .filter_map(|nat64| behind(ip, nat64))
        .reduce(|a, b| a && b)
}

/// Like [`behind_nat64`], for one prefix. The IPv4 address follows the prefix, skipping octet 8;
/// octet 8 and all octets after the IPv4 address are zero (RFC 6052, section 2.2). NAT64 creates no
/// other address, so any other may be a private host.
pub(crate) fn behind(ip: Ipv6Addr, nat64: &Nat64) -> Option<bool> {
    let differs = ip.to_bits() ^ nat64.prefix.to_bits();
    if differs.leading_zeros() < nat64.length.into() {
        return None;
    }
    let octets = ip.octets();
    let places = (usize::from(nat64.length / 8)..16).filter(|place| *place != 8);
    let mut behind = places.map(|place| octets[place]);
    let inner = [(); 4].map(|()| behind.next().unwrap_or_default());
    let is_made = octets[8] == 0 && behind.all(|octet| octet == 0);
    Some(is_made && public_v4(inner.into()))
}
