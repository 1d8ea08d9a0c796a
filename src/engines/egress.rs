//! Whom genflow calls where somebody else gives the address: a user's webhook, a provider's result.
//!
//! Without this they could reach what only our own network may (SSRF). One place decides. The URL is checked as it is
//! parsed, so every notation of an address is the same; a name is resolved once, all its answers are checked, and the
//! connection goes to an address that passed (`resolver`): a name that answers otherwise the next time gains nothing.
//! The clients follow no redirect; who does checks each URL on the way.

mod resolver;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::time::Duration;

use hickory_resolver::net::NetError;
use reqwest::{Client, ClientBuilder};
use url::Url;

use self::resolver::PublicOnly;
use crate::domain::public_address::{self, NotPublic};
use crate::engines::config::Egress;
use crate::engines::http;
use crate::engines::telemetry::events::CallRefused;

/// Why an address is not called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Neither `https` nor, where that is allowed, `http`.
    #[error("the address has a scheme that is not called")]
    Scheme,
    /// It would give them to whoever is there.
    #[error("the address holds a user name or password")]
    Userinfo,
    /// A port that is not set as allowed.
    #[error("the address has a port that is not called")]
    Port,
    /// A name that only private networks know.
    #[error("the address names a host of a private network")]
    Name,
    /// Loopback, private, link-local or otherwise special.
    #[error("the address is not a public one")]
    Address,
}

/// Why no guard can be made.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// No resolver of names.
    #[error("no resolver of names can be made")]
    Resolver(#[source] NetError),
    /// No HTTP client.
    #[error("no HTTP client can be built")]
    Client(#[source] reqwest::Error),
}

/// How long a connection to a stranger is kept for another call, and how many are to one of them: a host for each
/// call must not take all the descriptors there are.
const IDLE: Duration = Duration::from_secs(5);
const MOST_IDLE: usize = 8;

/// Decides whom one caller calls.
#[derive(Clone, Debug)]
pub struct Guard {
    caller: &'static str,
    rules: Egress,
    /// Connects to public addresses only.
    guarded: Client,
    /// For addresses that the operator has set, and where private addresses are allowed.
    open: Client,
}

impl Guard {
    /// Makes the guard of `caller` (a label), whose clients `tune` sets up further.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn new(
        caller: &'static str,
        rules: &Egress,
        tune: impl Fn(ClientBuilder) -> ClientBuilder,
    ) -> Result<Self, Unusable> {
        let names = PublicOnly::of_machine(caller, &rules.nat64).map_err(Unusable::Resolver)?;
        Self::with_names(names, rules, tune)
    }

    fn with_names(
        names: PublicOnly,
        rules: &Egress,
        tune: impl Fn(ClientBuilder) -> ClientBuilder,
    ) -> Result<Self, Unusable> {
        let caller = names.caller();
        let client = || {
            tune(
                http::client()
                    .pool_idle_timeout(IDLE)
                    .pool_max_idle_per_host(MOST_IDLE),
            )
        };
        let open = client().build().map_err(Unusable::Client)?;
        let guarded = client().dns_resolver(names).build();
        Ok(Self {
            caller,
            rules: rules.clone(),
            guarded: guarded.map_err(Unusable::Client)?,
            open,
        })
    }

    /// Returns the client that may call `url`; a name is checked when it connects (see [`Refused::of`]).
    ///
    /// # Errors
    /// Why it is not called.
    pub fn client(&self, url: &Url) -> Result<&Client, Refused> {
        self.counted(self.check(url, None))
    }

    /// Returns the client that may call `url`, an address that a server at `base` gave. The origin of `base` is called
    /// whatever the rules say: it comes from the settings.
    ///
    /// # Errors
    /// Why it is not called.
    pub fn client_from(&self, base: &Url, url: &Url) -> Result<&Client, Refused> {
        self.counted(self.check(url, Some(base)))
    }

    fn counted<'c>(&self, checked: Result<&'c Client, Refused>) -> Result<&'c Client, Refused> {
        checked.inspect_err(|refused| {
            CallRefused {
                caller: self.caller,
                reason: refused.reason(),
            }
            .emit();
        })
    }

    fn check(&self, url: &Url, base: Option<&Url>) -> Result<&Client, Refused> {
        // First: `blob:` has the origin of another URL.
        if !matches!(url.scheme(), "https" | "http") {
            return Err(Refused::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::Userinfo);
        }
        if base.is_some_and(|base| base.origin() == url.origin()) {
            return Ok(&self.open);
        }
        if url.scheme() == "http" && !self.rules.allow_http {
            return Err(Refused::Scheme);
        }
        let port = url.port_or_known_default();
        if !port.is_some_and(|port| self.rules.ports.contain(port)) {
            return Err(Refused::Port);
        }
        if self.rules.allow_private {
            return Ok(&self.open);
        }
        public_address::check(url, &self.rules.nat64)?;
        Ok(&self.guarded)
    }
}

/// Says why a provider is not given `url` to fetch: it would call hosts that we may reach and the user may not. Names are
/// not resolved here, since the provider resolves them by itself, later.
pub(crate) fn check_input(url: &Url, rules: &Egress) -> Result<(), Refused> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Refused::Scheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refused::Userinfo);
    }
    // The usual port of the scheme is none.
    if url.port().is_some_and(|port| !rules.ports.contain(port)) {
        return Err(Refused::Port);
    }
    if rules.allow_private {
        return Ok(());
    }
    Ok(public_address::check(url, &rules.nat64)?)
}

impl From<NotPublic> for Refused {
    fn from(reason: NotPublic) -> Self {
        match reason {
            NotPublic::Name => Self::Name,
            NotPublic::Address => Self::Address,
        }
    }
}

impl Refused {
    /// Returns why a call was refused when it was to connect, if that is why it went wrong.
    pub fn of(error: &reqwest::Error) -> Option<Self> {
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(inner) = cause {
            if let Some(refused) = inner.downcast_ref() {
                return Some(*refused);
            }
            cause = inner.source();
        }
        None
    }

    /// Returns the word for it; a label.
    fn reason(self) -> &'static str {
        match self {
            Self::Scheme => "scheme",
            Self::Userinfo => "userinfo",
            Self::Port => "port",
            Self::Name => "name",
            Self::Address => "address",
        }
    }
}
