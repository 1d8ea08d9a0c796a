//! Decides which addresses genflow calls when a third party gives them: a user's webhook, a provider's result.
//!
//! Without this check, users and providers could reach hosts that only our own network may reach (SSRF). All
//! such calls are decided here. The parsed URL is checked, so every notation of an address counts
//! the same. A name is resolved once, all its addresses are checked, and the connection goes to one
//! that passed (`resolver`), so a name that resolves differently the next time (DNS rebinding) gains
//! nothing. The clients do not follow redirects; a caller that does must check each URL.

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
use crate::engines::telemetry::events;

/// Why an address is not called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Neither `https` nor, if allowed, `http`.
    #[error("the address has a scheme that is not allowed")]
    Scheme,
    /// A call would send the user name and password to that host.
    #[error("the address contains a user name or password")]
    Userinfo,
    /// A port that the settings do not allow.
    #[error("the address has a port that is not allowed")]
    Port,
    /// A name that only private networks resolve.
    #[error("the address names a host of a private network")]
    Name,
    /// A loopback, private, link-local or other special address.
    #[error("the address is not a public one")]
    Address,
}

/// Why a guard cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum UnusableGuard {
    /// The resolver of names cannot be created.
    #[error("the DNS resolver cannot be created")]
    Resolver(#[source] NetError),
    /// The HTTP client cannot be created.
    #[error("the HTTP client cannot be created")]
    Client(#[source] reqwest::Error),
}

/// How long an idle connection is kept, and how many per host: calls to many different hosts must
/// not use up all file descriptors.
const IDLE: Duration = Duration::from_secs(5);
const MOST_IDLE: usize = 8;

/// Decides which addresses one caller may call.
#[derive(Clone, Debug)]
pub struct Guard {
    caller: &'static str,
    rules: Egress,
    /// Connects to public addresses only.
    guarded: Client,
    /// For addresses from the settings, and if private addresses are allowed.
    open: Client,
}

impl Guard {
    /// Creates the guard of `caller` (a metric label). `tune` configures its clients further.
    ///
    /// # Errors
    /// [`UnusableGuard`].
    pub fn new(
        caller: &'static str,
        rules: &Egress,
        tune: impl Fn(ClientBuilder) -> ClientBuilder,
    ) -> Result<Self, UnusableGuard> {
        let names = PublicOnly::of_machine(caller).map_err(UnusableGuard::Resolver)?;
        Self::with_names(names, rules, tune)
    }

    fn with_names(
        names: PublicOnly,
        rules: &Egress,
        tune: impl Fn(ClientBuilder) -> ClientBuilder,
    ) -> Result<Self, UnusableGuard> {
        let caller = names.caller();
        let client = || {
            tune(
                http::client()
                    .pool_idle_timeout(IDLE)
                    .pool_max_idle_per_host(MOST_IDLE),
            )
        };
        let open = client().build().map_err(UnusableGuard::Client)?;
        let guarded = client().dns_resolver(names).build();
        Ok(Self {
            caller,
            rules: rules.clone(),
            guarded: guarded.map_err(UnusableGuard::Client)?,
            open,
        })
    }

    /// Returns the client that may call `url`. A name is checked when the client connects (see [`Refused::of`]).
    ///
    /// # Errors
    /// Why the call is refused.
    pub fn client(&self, url: &Url) -> Result<&Client, Refused> {
        self.counted(self.check(url, None))
    }

    /// Returns the client that may call `url`, which a server at `base` gave. The origin of `base`
    /// is always allowed: it comes from the settings.
    ///
    /// # Errors
    /// Why the call is refused.
    pub fn client_from(&self, base: &Url, url: &Url) -> Result<&Client, Refused> {
        self.counted(self.check(url, Some(base)))
    }

    fn counted<'c>(&self, checked: Result<&'c Client, Refused>) -> Result<&'c Client, Refused> {
        checked.inspect_err(|refused| events::call_refused(self.caller, refused.reason()))
    }

    fn check(&self, url: &Url, base: Option<&Url>) -> Result<&Client, Refused> {
        // Checked first: a `blob:` URL has the origin of the URL inside it.
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
        public_address::check(url)?;
        Ok(&self.guarded)
    }
}

/// Checks a URL that a provider is to fetch: a provider in our own network could reach hosts that the user may not.
/// Names are not resolved here, since the provider resolves them itself, later. `http` is always allowed.
pub(crate) fn check_input(url: &Url, rules: &Egress) -> Result<(), Refused> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Refused::Scheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refused::Userinfo);
    }
    // `port()` is `None` for the default port of the scheme.
    if url.port().is_some_and(|port| !rules.ports.contain(port)) {
        return Err(Refused::Port);
    }
    if rules.allow_private {
        return Ok(());
    }
    Ok(public_address::check(url)?)
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
    /// Returns why the guard refused a call when it connected, if that is the cause of `error`.
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

    /// Returns the reason as a metric label.
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
