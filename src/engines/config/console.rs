//! Settings of the console: its address, its memory, and who may act.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use reqwest::header::HeaderName;
use url::Url;

use super::vars::{Fault, Vars};
use crate::domain::{Secret, parse_http_url};

/// The console's address, its memory, and the people who may use it.
#[derive(Clone, Debug)]
pub struct Console {
    /// `None`: `genflow all` does not serve it.
    pub addr: Option<SocketAddr>,
    /// The people who may look and act. If there are none, everyone who reaches the address may look.
    pub people: Vec<Person>,
    /// Header in which a proxy names the person who has signed in there.
    pub user_header: Option<HeaderName>,
    /// Whether everyone may act who reaches the address, if there are no people: only in `genflow dev`.
    pub anyone_may_act: bool,
    /// The most requests in memory.
    pub requests: usize,
    /// How far back events are read at the start.
    pub period: Duration,
    /// Where Temporal's own pages are.
    pub temporal_ui: Option<Url>,
    /// Where a trace is shown, with [`TRACE_ID`] in the place of its id.
    pub trace_url: Option<String>,
}

/// The placeholder for the id of a trace in `CONSOLE_TRACE_URL`.
pub const TRACE_ID: &str = "{trace_id}";

/// One who may use the console.
#[derive(Clone, Debug)]
pub struct Person {
    /// Commands name it as `issued_by`.
    pub name: String,
    pub key: Secret,
}

/// Length of the shortest key, in bytes. A shorter one can be guessed.
const SHORTEST_KEY: usize = 16;

const ADDR: &str = "CONSOLE_ADDR";
const DEFAULT_ADDR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8088);
const OFF: &str = "off";

impl Console {
    /// Checks what only those who serve it need.
    ///
    /// # Errors
    /// It can be reached from other machines, and nobody has to sign in.
    pub fn check(&self) -> Result<(), Fault> {
        let Some(addr) = self.addr else {
            return Ok(());
        };
        if addr.ip().is_loopback() || !self.people.is_empty() || self.user_header.is_some() {
            return Ok(());
        }
        Err(Fault {
            variable: ADDR,
            problem: format!(
                "is {addr}, which other machines can reach, and nobody has to sign in; expected an address of this machine \
                 only, such as {DEFAULT_ADDR}, or CONSOLE_KEYS"
            ),
        })
    }
}

pub(super) fn read(vars: &mut Vars<'_>) -> Console {
    let addr = vars.read(
        ADDR,
        "host:port, the host as an IP address, or off",
        |text| match text {
            OFF => Some(None),
            addr => addr.parse().ok().map(Some),
        },
    );
    Console {
        addr: addr.unwrap_or(Some(DEFAULT_ADDR)),
        people: people(vars),
        user_header: vars.read("CONSOLE_USER_HEADER", "the name of a header", |text| {
            text.parse().ok()
        }),
        anyone_may_act: false,
        requests: vars.number("CONSOLE_REQUESTS", 100_000, 100..=5_000_000) as usize,
        period: vars.duration("CONSOLE_PERIOD", "7d"),
        temporal_ui: vars.read("TEMPORAL_UI_URL", "an http or https URL", parse_http_url),
        trace_url: vars.read(
            "CONSOLE_TRACE_URL",
            "an http or https URL that contains {trace_id}",
            |text| {
                let is_url = parse_http_url(&text.replace(TRACE_ID, "0")).is_some();
                (is_url && text.contains(TRACE_ID)).then(|| text.to_owned())
            },
        ),
    }
}

/// Reads `name:key` pairs. No fault shows a key.
fn people(vars: &mut Vars<'_>) -> Vec<Person> {
    const NAME: &str = "CONSOLE_KEYS";
    let text = vars.secret(NAME).unwrap_or_default();
    let mut people = Vec::new();
    for pair in text
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
    {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@');
        let pair = pair.split_once(':').filter(|(name, key)| {
            (1..=64).contains(&name.len()) && name.chars().all(good) && key.len() >= SHORTEST_KEY
        });
        match pair {
            Some((name, key)) => people.push(Person {
                name: name.to_owned(),
                key: Secret::new(key.to_owned()),
            }),
            None => vars.fault(
                NAME,
                "is invalid, expected name:key, a name of at most 64 letters, digits, '.', '_', '-' or '@' and a key of at \
                 least 16 characters, several separated by commas",
            ),
        }
    }
    people
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    #[test]
    fn an_address_that_others_can_reach_needs_people() {
        let check = |more: &[(&str, &str)]| {
            let set = [&[("CONSOLE_ADDR", "0.0.0.0:8088")], more].concat();
            Config::of(&set).unwrap().console.check()
        };

        assert_eq!(check(&[]).unwrap_err().variable, "CONSOLE_ADDR");
        assert!(check(&[("CONSOLE_KEYS", "ann:0123456789abcdef")]).is_ok());
        assert!(check(&[("CONSOLE_USER_HEADER", "x-forwarded-user")]).is_ok());
        let off = Config::of(&[("CONSOLE_ADDR", "off")]).unwrap().console;
        assert!(off.addr.is_none() && off.check().is_ok());
    }

    #[test]
    fn the_address_of_traces_is_a_url_with_a_place_for_the_id() {
        let read = |url: &str| Config::of(&[("CONSOLE_TRACE_URL", url)]);

        let good = "https://jaeger.test/trace/{trace_id}";
        let url = read(good).unwrap().console.trace_url;
        assert_eq!(url.as_deref(), Some(good));
        for bad in ["https://jaeger.test/", "javascript:alert({trace_id})"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn people_have_names_and_keys_that_no_fault_shows() {
        let read = |keys: &str| Config::of(&[("CONSOLE_KEYS", keys)]);

        let people = read("ann:0123456789abcdef, bob@x:fedcba9876543210")
            .unwrap()
            .console
            .people;
        let names: Vec<_> = people.iter().map(|person| person.name.as_str()).collect();
        assert_eq!(names, ["ann", "bob@x"]);
        assert_eq!(people[0].key.expose(), "0123456789abcdef");
        for bad in ["needle-without-name", "ann:needle", "a b:needle-0123456789"] {
            let faults = read(bad).unwrap_err().to_string();
            assert!(faults.starts_with("CONSOLE_KEYS: is invalid"), "{faults}");
            assert!(!faults.contains("needle"), "{faults}");
        }
    }
}
