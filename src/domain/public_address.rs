//! Which addresses and names belong to the public internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// A prefix behind which IPv6 addresses have an IPv4 address in them (RFC 6052).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nat64 {
    /// Its bits; those behind its length are zero, and so are those from 64 to 71.
    pub prefix: Ipv6Addr,
    /// How many bits it has: 32, 40, 48, 56, 64 or 96.
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

/// The prefix of NAT64 that all networks may have.
const WELL_KNOWN: Nat64 = Nat64 {
    prefix: Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0),
    length: 96,
};

/// Endings of names that no public name server knows (RFC 6761, 6762, 8375, and ICANN's `internal`).
const LOCAL: [&str; 4] = [".localhost", ".local", ".internal", ".home.arpa"];

/// Checks the host of a URL as far as it can be without asking a name server.
pub(crate) fn check(url: &Url, nat64: &[Nat64]) -> Result<(), NotPublic> {
    match url.host() {
        None => Err(NotPublic::Name),
        Some(Host::Domain(name)) if is_local(name) => Err(NotPublic::Name),
        Some(Host::Domain(_)) => Ok(()),
        Some(Host::Ipv4(ip)) if public_v4(ip) => Ok(()),
        // Nobody writes an IPv4 address in the form of IPv6, but to get it past a check.
        Some(Host::Ipv6(ip)) if public_v6(ip) && behind_nat64(ip, nat64).is_none() => Ok(()),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => Err(NotPublic::Address),
    }
}

/// A name without a dot, or below one of the endings that are for networks of one's own.
pub(crate) fn is_local(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    !name.contains('.') || LOCAL.iter().any(|ending| name.ends_with(ending))
}

/// Tells whether an address that a name stands for is a public one. NAT64, by which a network of IPv6 alone reaches all
/// others, is as public as the address in it.
pub(crate) fn is_public(ip: IpAddr, nat64: &[Nat64]) -> bool {
    match ip {
        IpAddr::V4(ip) => public_v4(ip),
        IpAddr::V6(ip) => behind_nat64(ip, nat64).unwrap_or_else(|| public_v6(ip)),
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

/// Global unicast less its special-purpose blocks; mapped, compatible, 6to4 and Teredo forms are never called.
fn public_v6(ip: Ipv6Addr) -> bool {
    match ip.segments() {
        [0x2001, second, ..] => second >= 0x200 && second != 0xdb8, // protocols (Teredo is one), documentation
        [0x2002, ..] | [0x3fff, 0..0x1000, ..] => false,            // 6to4, documentation
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

/// Tells whether the IPv4 address in one of NAT64 is public, by each prefix that it has; `None` if it has none.
fn behind_nat64(ip: Ipv6Addr, own: &[Nat64]) -> Option<bool> {
    let prefixes = own.iter().chain([&WELL_KNOWN]);
    prefixes
        .filter_map(|nat64| behind(ip, nat64))
        .reduce(|a, b| a && b)
}

/// The same by one prefix. The IPv4 address comes behind it, less octet 8, which is zero as the rest (RFC 6052, section
/// 2.2): an address with anything there was made by no NAT64, and may be a host of one's own.
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
