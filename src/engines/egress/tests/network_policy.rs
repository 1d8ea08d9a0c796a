//! The NetworkPolicy of `deploy` allows the addresses that the program would call, and no others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use serde::Deserialize as _;
use serde_json::Value;

use crate::domain::public_address::is_public;

/// A block of addresses: the first, as a number of 128 bits, and how many bits all have in common.
#[derive(Clone, Copy, Debug)]
struct Block {
    first: u128,
    /// Of 128; the bits of an IPv4 address are the last 32.
    bits: u32,
    is_v4: bool,
}

impl Block {
    fn parse(text: &Value) -> Self {
        let (address, bits) = text.as_str().unwrap().split_once('/').unwrap();
        let (address, bits): (IpAddr, u32) = (address.parse().unwrap(), bits.parse().unwrap());
        Self {
            first: number(address),
            bits: bits + if address.is_ipv4() { 96 } else { 0 },
            is_v4: address.is_ipv4(),
        }
    }

    fn last(self) -> u128 {
        self.first | u128::MAX.checked_shr(self.bits).unwrap_or(0)
    }

    fn contains(self, address: IpAddr) -> bool {
        self.is_v4 == address.is_ipv4() && (self.first..=self.last()).contains(&number(address))
    }

    /// Returns the first and last address, and their neighbours outside.
    fn edges(self) -> impl Iterator<Item = IpAddr> {
        let numbers = [
            Some(self.first),
            Some(self.last()),
            self.first.checked_sub(1),
            self.last().checked_add(1),
        ];
        let address = move |number: u128| match self.is_v4 {
            true => u32::try_from(number)
                .ok()
                .map(|number| Ipv4Addr::from(number).into()),
            false => Some(Ipv6Addr::from(number).into()),
        };
        numbers.into_iter().flatten().filter_map(address)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

/// Returns the allowed blocks of the policy, each with the blocks that it excludes.
fn allowed() -> Vec<(Block, Vec<Block>)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes/base/network.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let documents = serde_yaml_ng::Deserializer::from_str(&text);
    let mut policies = documents.map(|document| Value::deserialize(document).unwrap());
    let policy = policies
        .find(|it| it["metadata"]["name"] == "genflow-public")
        .unwrap();
    let peers = policy["spec"]["egress"][0]["to"].as_array().unwrap();
    let blocks = peers.iter().map(|peer| {
        let except = peer["ipBlock"]["except"].as_array().unwrap();
        (
            Block::parse(&peer["ipBlock"]["cidr"]),
            except.iter().map(Block::parse).collect(),
        )
    });
    blocks.collect()
}

#[test]
fn the_network_policy_allows_the_addresses_that_count_as_public() {
    let allowed = allowed();
    let edges = allowed.iter().flat_map(|(block, except)| {
        let except = except.iter().flat_map(|block| block.edges());
        block.edges().chain(except).collect::<Vec<_>>()
    });
    // Each /16, and each /24 of those that are public in part.
    let large = (0..=u16::MAX).map(|high| u32::from(high) << 16 | 1);
    let parts: [u32; 5] = [0xc000, 0xc058, 0xc633, 0xcb00, 0xa83f];
    let small = parts
        .into_iter()
        .flat_map(|high| (0..=255).map(move |third| high << 16 | third << 8 | 16));
    let v4 = large
        .chain(small)
        .map(|number| IpAddr::from(Ipv4Addr::from(number)));
    // Each /16; a NAT64 address is left out, because the policy does not see the IPv4 address in it.
    let v6 = (0..=u16::MAX).map(|high| IpAddr::from(Ipv6Addr::new(high, 0xdb8, 0, 0, 0, 0, 0, 1)));
    let mut wrong = Vec::new();

    for address in edges.chain(v4).chain(v6) {
        let mut blocks = allowed.iter();
        let is_allowed = blocks.any(|(block, except)| {
            block.contains(address) && !except.iter().any(|block| block.contains(address))
        });
        if is_allowed != is_public(address) {
            wrong.push(address);
        }
    }

    assert_eq!(wrong, Vec::<IpAddr>::new());
}
