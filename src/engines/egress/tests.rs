//! Tests which addresses the guard allows, form by form, and that a refused one is not connected to.

mod connections;
mod names;
mod network_policy;

use std::net::IpAddr;

use super::*;
use crate::engines::config::Ports;

/// The result for an address as it is written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Called,
    Not(Refused),
    /// It does not parse as a URL, so it is never called.
    NoUrl,
}

use Fate::{Called, NoUrl, Not};
use Refused::{Address, Name, Port, Scheme, Userinfo};

/// Allows public addresses, by https or http, at any port.
fn public() -> Egress {
    Egress {
        allow_private: false,
        allow_http: true,
        ports: Ports::Any,
    }
}

fn fate(rules: &Egress, base: Option<&Url>, written: &str) -> Fate {
    let guard = Guard::new("test", rules, |client| client).unwrap();
    let Ok(url) = written.parse() else {
        return NoUrl;
    };
    let client = match base {
        Some(base) => guard.client_from(base, &url),
        None => guard.client(&url),
    };
    client.map_or_else(Not, |_| Called)
}

fn hold(rules: &Egress, table: &[(&str, Fate)]) {
    for (written, expected) in table {
        assert_eq!(fate(rules, None, written), *expected, "{written}");
    }
}

#[test]
fn public_addresses_and_names_are_called_however_they_are_written() {
    let table = [
        "http://1.1.1.1/",
        "https://1.1.1.1/",
        "https://example.com/hook",
        "https://example.com./hook",
        "https://EXAMPLE.com:8443/hook?a=b#c",
        "https://bücher.example/",
        "https://xn--bcher-kva.example/",
        "https://a_b.example.com/",
        "https://localhost.example.com/",
        "https://127.0.0.1.example.com/",
        "https://10.example.com/",
        "https://[2606:4700::1111]/",
        "https://[2a00:1450:4001::1]:8443/",
        "http://16843009/",
        "http://0x01.01.1.1/",
        "http://9.255.255.255/",
        "http://172.32.0.1/",
        "http://223.255.255.254/",
        "https://@example.com/",
    ];

    hold(&public(), &table.map(|written| (written, Called)));
}

#[test]
fn no_notation_of_a_special_ipv4_address_is_called() {
    let table = [
        "http://127.0.0.1/",
        "http://127.255.255.254/",
        "http://127.1/",
        "http://127.0.1/",
        "http://127.0.0.1./",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0X7F.1/",
        "http://017700000001/",
        "http://0177.0.0.1/",
        "http://0x7f.0x0.0x0.0x1/",
        "http://127.0x0.0.01/",
        "http://0/",
        "http://0.0.0.0/",
        "http://0.1.2.3/",
        "http://%31%32%37.0.0.1/",
        "http://127。0。0。1/",
        "http://127.0.0.1/",
        "http://①②⑦.⓪.⓪.①/",
        "http:\\\\127.0.0.1\\x",
        "http:127.0.0.1",
        "http:///127.0.0.1/",
        "http://1\t27.0.0\n.1/",
        "http://10.0.0.1/",
        "http://012.0.0.1/",
        "http://167772161/",
        "http://172.16.0.1/",
        "http://172.31.255.255/",
        "http://192.168.0.1/",
        "http://3232235521/",
        "http://169.254.169.254/latest/meta-data",
        "http://0xa9fea9fe/",
        "http://0251.0376.0251.0376/",
        "http://169.254.43518/",
        "http://100.64.0.1/",
        "http://100.127.255.255/",
        "http://100.100.100.200/",
        "http://168.63.129.16/",
        "http://192.0.0.192/",
        "http://192.0.2.1/",
        "http://192.88.99.1/",
        "http://198.18.0.1/",
        "http://198.19.255.255/",
        "http://198.51.100.1/",
        "http://203.0.113.1/",
        "http://224.0.0.1/",
        "http://239.255.255.255/",
        "http://240.0.0.1/",
        "http://255.255.255.255/",
    ];

    hold(&public(), &table.map(|written| (written, Not(Address))));
}

#[test]
fn no_notation_of_a_special_ipv6_address_is_called() {
    let table = [
        "http://[::]/",
        "http://[::1]/",
        "http://[0:0:0:0:0:0:0:1]/",
        "http://[::127.0.0.1]/",
        "http://[::7f00:1]/",
        "http://[::1.1.1.1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[::FFFF:a9fe:a9fe]/",
        "http://[::ffff:1.1.1.1]/",
        "http://[::ffff:0:127.0.0.1]/",
        "http://[64:ff9b::127.0.0.1]/",
        "http://[64:ff9b::a00:1]/",
        "http://[64:ff9b::1.1.1.1]/",
        "http://[64:ff9b:1::1.1.1.1]/",
        "http://[64:ff9b:1:abcd::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[2002:101:101::1]/",
        "http://[2001::1]/",
        "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
        "http://[2001:10::1]/",
        "http://[2001:20::1]/",
        "http://[2001:db8::1]/",
        "http://[3fff::1]/",
        "http://[100::1]/",
        "http://[5f00::1]/",
        "http://[4000::1]/",
        "http://[fc00::1]/",
        "http://[fd00:ec2::254]/",
        "http://[fe80::1]/",
        "http://[fec0::1]/",
        "http://[ff02::1]/",
        "http://[ff0e::1]/",
    ];

    hold(&public(), &table.map(|written| (written, Not(Address))));
}

#[test]
fn names_of_private_networks_userinfo_and_other_schemes_are_refused_before_a_lookup() {
    hold(
        &public(),
        &[
            ("http://localhost/", Not(Name)),
            ("http://LOCALHOST:8080/", Not(Name)),
            ("http://localhost./", Not(Name)),
            ("http://ｌｏｃａｌｈｏｓｔ/", Not(Name)),
            ("http://a.localhost/", Not(Name)),
            ("http://printer.local/", Not(Name)),
            ("http://metadata.google.internal/", Not(Name)),
            ("http://metadata.google.internal./", Not(Name)),
            ("http://nas.home.arpa/", Not(Name)),
            ("http://redis:6379/", Not(Name)),
            ("http://./", Not(Name)),
            ("https://user@example.com/", Not(Userinfo)),
            ("https://user:word@example.com/", Not(Userinfo)),
            ("https://:word@example.com/", Not(Userinfo)),
            ("https://1.1.1.1@127.0.0.1/", Not(Userinfo)),
            ("https://1.1.1.1&@127.0.0.1#@1.1.1.1/", Not(Userinfo)),
            ("ftp://example.com/", Not(Scheme)),
            ("file:///etc/passwd", Not(Scheme)),
            ("gopher://127.0.0.1:6379/_x", Not(Scheme)),
            ("data:text/plain,x", Not(Scheme)),
            ("ws://example.com/", Not(Scheme)),
            ("unix:/run/docker.sock", Not(Scheme)),
            ("http://", NoUrl),
            ("https://:443/", NoUrl),
            ("http://[fe80::1%25eth0]/", NoUrl),
            ("http://[fe80::1%eth0]/", NoUrl),
            ("http://[::1/", NoUrl),
            ("http://256.256.256.256/", NoUrl),
            ("http://127.0.0.1.1/", NoUrl),
            ("http://0x7f.0.0.0x100/", NoUrl),
            ("http://4294967296/", NoUrl),
            ("http://1.1.1.1:99999/", NoUrl),
            ("http://a b/", NoUrl),
            ("//example.com/", NoUrl),
        ],
    );
}

#[test]
fn by_default_only_https_at_its_own_port_is_called() {
    let by_default = Egress {
        allow_private: false,
        allow_http: false,
        ports: Ports::Only(vec![443]),
    };

    hold(
        &by_default,
        &[
            ("https://example.com/", Called),
            ("https://example.com:443/", Called),
            ("https://example.com:8443/", Not(Port)),
            ("https://example.com:22/", Not(Port)),
            ("https://example.com:0/", Not(Port)),
            ("http://example.com/", Not(Scheme)),
            ("http://example.com:443/", Not(Scheme)),
        ],
    );
}

#[test]
fn where_private_addresses_are_allowed_the_other_rules_hold() {
    let rules = Egress {
        allow_private: true,
        allow_http: true,
        ports: Ports::Only(vec![80, 9000]),
    };

    hold(
        &rules,
        &[
            ("http://127.0.0.1:9000/", Called),
            ("http://localhost/", Called),
            ("http://redis:6379/", Not(Port)),
            ("http://user@localhost/", Not(Userinfo)),
            ("ftp://localhost/", Not(Scheme)),
        ],
    );
}

#[test]
fn the_origin_from_the_settings_is_called_and_no_other() {
    let by_default = Egress {
        allow_private: false,
        allow_http: false,
        ports: Ports::Only(vec![443]),
    };
    let base = "http://cog:5000/v1".parse().unwrap();

    for (written, expected) in [
        ("http://cog:5000/files/1", Called),
        ("http://COG:5000/", Called),
        ("http://cog:5001/", Not(Scheme)),
        ("https://cog:5000/", Not(Port)),
        ("http://cog.example.com:5000/", Not(Scheme)),
        ("http://user@cog:5000/", Not(Userinfo)),
        ("data:text/plain,x", Not(Scheme)),
        ("blob:http://cog:5000/files/1", Not(Scheme)),
    ] {
        assert_eq!(
            fate(&by_default, Some(&base), written),
            expected,
            "{written}"
        );
    }
    assert_eq!(
        fate(&by_default, None, "http://cog:5000/files/1"),
        Not(Scheme)
    );
}

#[test]
fn of_the_answers_of_a_name_server_only_public_addresses_count() {
    for (addresses, expected) in [
        ("1.1.1.1 11.0.0.1 100.63.0.1 100.128.0.1", true),
        ("172.15.0.1 192.167.0.1 192.0.1.1 198.17.0.1", true),
        ("2606:4700::1111 2a00:1450::1 2001:200::1", true),
        ("2001:4860::8888 64:ff9b::101:101", true),
        ("0.0.0.0 10.0.0.1 127.0.0.1 169.254.169.254", false),
        ("100.64.0.1 172.16.0.1 192.168.0.1 224.0.0.1", false),
        (":: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:1.1.1.1", false),
        ("fe80::1 fc00::1 fec0::1 ff02::1 2001::1", false),
        ("64:ff9b::7f00:1 64:ff9b::a9fe:a9fe", false),
        ("64:ff9b:1::101:101 2002:101:101::1", false),
    ] {
        for address in addresses.split(' ') {
            let ip: IpAddr = address.parse().unwrap();
            assert_eq!(public_address::is_public(ip), expected, "{address}");
        }
    }
}
