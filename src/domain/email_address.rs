//! Email addresses: of the sender, and of allowed recipients.

use std::str::FromStr;

use lettre::Address;
use lettre::message::Mailbox;
use url::Host;

use super::public_address::is_local;

/// The sender of all mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromAddress(Mailbox);

/// A text that is not a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not an address; expected local@domain or Name <local@domain>, the address in ASCII")]
pub struct InvalidFrom;

/// Why mail cannot go to a target. The texts show nothing of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidAddress {
    /// It is not an address.
    #[error("the target is not an email address")]
    Malformed,
    /// Its domain is an IP address: our mail server would connect to it, wherever it is.
    #[error("the target's domain is an IP address")]
    Number,
}

/// The domains that mail may go to; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Domains(Vec<String>);

/// Allows all domains except those of local networks.
const ALL: &str = "*";

impl FromAddress {
    /// Returns the mailbox for the `From` header.
    pub(crate) fn mailbox(&self) -> Mailbox {
        self.0.clone()
    }

    /// Returns the domain of our message ids.
    pub(crate) fn domain(&self) -> &str {
        self.0.email.domain()
    }
}

impl FromStr for FromAddress {
    type Err = InvalidFrom;

    fn from_str(text: &str) -> Result<Self, InvalidFrom> {
        let mailbox: Mailbox = text.parse().map_err(|_| InvalidFrom)?;
        let name_is_a_line = mailbox
            .name
            .as_ref()
            .is_none_or(|name| !name.contains(char::is_control));
        if name_is_a_line && mailbox.email.to_string().is_ascii() {
            Ok(Self(mailbox))
        } else {
            Err(InvalidFrom)
        }
    }
}

impl Domains {
    /// Parses domains separated by commas; `*` allows all domains except those of local networks.
    ///
    /// # Errors
    /// The first part that is not a domain.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim);
        let domains = parts.filter(|part| !part.is_empty()).map(|part| {
            if part == ALL {
                return Ok(part.to_owned());
            }
            let name = part.strip_prefix("*.").unwrap_or(part);
            let ascii = ascii(name).filter(|ascii| !ascii.contains('*'));
            let ascii = ascii.ok_or_else(|| part.to_owned())?;
            let prefix = if name == part { "" } else { "*." };
            Ok(format!("{prefix}{ascii}"))
        });
        Ok(Self(domains.collect::<Result<_, String>>()?))
    }

    /// If no domain is set, allows all in development and none otherwise.
    pub fn default_to(&mut self, is_development: bool) {
        if self.0.is_empty() && is_development {
            self.0.push(ALL.to_owned());
        }
    }

    /// Returns whether no domain is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether mail may go to an address.
    pub(crate) fn allow(&self, address: &Address) -> bool {
        let domain = address.domain().to_ascii_lowercase();
        self.0
            .iter()
            .any(|allowed| match allowed.strip_prefix('*') {
                Some("") => !is_local(&domain),
                Some(below) => domain.ends_with(below),
                None => *allowed == domain,
            })
    }
}

/// Returns whether a text is an address that mail can go to.
pub(crate) fn is_address(text: &str) -> bool {
    recipient(text).is_ok()
}

/// Parses a target. Its domain is converted to ASCII, so that every mail server accepts it.
pub(crate) fn recipient(text: &str) -> Result<Address, InvalidAddress> {
    let malformed = InvalidAddress::Malformed;
    // This check comes first, so that no line break ever ends a header or a command.
    if text.contains(char::is_control) {
        return Err(malformed);
    }
    let (local, domain) = text.rsplit_once('@').ok_or(malformed)?;
    let domain = match Host::parse(domain) {
        Ok(Host::Domain(domain)) => domain,
        Ok(Host::Ipv4(_) | Host::Ipv6(_)) => return Err(InvalidAddress::Number),
        Err(_) if domain.starts_with('[') => return Err(InvalidAddress::Number),
        Err(_) => return Err(malformed),
    };
    Address::new(local, domain).map_err(|_| malformed)
}

fn ascii(domain: &str) -> Option<String> {
    match Host::parse(domain) {
        Ok(Host::Domain(domain)) => Some(domain),
        Ok(Host::Ipv4(_) | Host::Ipv6(_)) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_an_address_of_a_named_domain() {
        for (text, address) in [
            ("someone@example.org", "someone@example.org"),
            ("some.one+tag@Example.ORG", "some.one+tag@example.org"),
            ("someone@bücher.example", "someone@xn--bcher-kva.example"),
            ("root@localhost", "root@localhost"),
            ("\"a b\"@example.org", "\"a b\"@example.org"),
        ] {
            assert_eq!(recipient(text).unwrap().to_string(), address);
        }
    }

    #[test]
    fn what_could_break_out_of_a_header_or_a_command_is_no_address() {
        for text in [
            "nobody",
            "@example.org",
            "a@",
            "a b@example.org",
            "a@b@example.org",
            "a@example.org\r\nBcc: victim@example.org",
            "a\r\nRCPT TO:<victim@example.org>@example.org",
            "\"a\r\nDATA\"@example.org",
            "a@example.org\0",
            "a@example.org> SIZE=1",
            "Name <a@example.org>",
            "a@example.org,b@example.org",
        ] {
            assert_eq!(recipient(text), Err(InvalidAddress::Malformed), "{text:?}");
        }
    }

    #[test]
    fn a_domain_that_is_an_ip_address_is_refused() {
        for text in [
            "a@127.0.0.1",
            "a@[127.0.0.1]",
            "a@[::1]",
            "a@[IPv6:::1]",
            "a@0x7f.1",
        ] {
            assert_eq!(recipient(text), Err(InvalidAddress::Number), "{text}");
        }
    }

    #[test]
    fn only_the_listed_domains_are_allowed() {
        let domains = Domains::parse("Example.org, *.bücher.example").unwrap();
        let allow = |text| domains.allow(&recipient(text).unwrap());

        assert!(allow("a@EXAMPLE.org"));
        assert!(allow("a@mail.bücher.example"));
        assert!(!allow("a@bücher.example"));
        assert!(!allow("a@mail.example.org"));
        assert!(!allow("a@evilexample.org"));
        assert_eq!(Domains::parse("a, b c"), Err("b c".to_owned()));
        assert_eq!(
            Domains::parse("*example.org"),
            Err("*example.org".to_owned())
        );
    }

    #[test]
    fn a_domain_of_a_local_network_is_allowed_only_if_it_is_listed() {
        let all = Domains::parse("*").unwrap();
        let listed = Domains::parse("localhost, *.internal").unwrap();
        for (text, is_listed) in [
            ("root@localhost", true),
            ("a@LOCALHOST", true),
            ("a@mail.corp.internal", true),
            ("a@intranet", false),
            ("a@printer.local", false),
            ("a@nas.home.arpa", false),
        ] {
            let to = recipient(text).unwrap();

            assert!(!all.allow(&to), "{text}");
            assert_eq!(listed.allow(&to), is_listed, "{text}");
        }
        let elsewhere = recipient("a@example.org").unwrap();
        assert!(all.allow(&elsewhere));
    }

    #[test]
    fn where_no_domain_is_set_mail_goes_out_in_development_only() {
        let elsewhere = recipient("a@example.org").unwrap();
        for is_development in [true, false] {
            let mut none = Domains::default();
            none.default_to(is_development);
            let mut one = Domains::parse("example.com").unwrap();
            one.default_to(is_development);

            assert_eq!(none.allow(&elsewhere), is_development);
            assert_eq!(none.is_empty(), !is_development);
            assert!(!one.allow(&elsewhere));
        }
    }

    #[test]
    fn a_sender_is_an_address_with_or_without_a_name() {
        let sender: FromAddress = "genflow <genflow@example.org>".parse().unwrap();

        assert_eq!(sender.domain(), "example.org");
        assert!("genflow@localhost".parse::<FromAddress>().is_ok());
        for text in ["genflow", "a\r\nBcc: b@c <a@example.org>", ""] {
            assert_eq!(text.parse::<FromAddress>(), Err(InvalidFrom), "{text:?}");
        }
    }
}
