//! Resolves names, and returns only the addresses that may be called.
//!
//! The client connects to these addresses and resolves nothing itself, so it calls what was checked,
//! even if the name resolves differently the next time. Errors omit the name, since they are logged.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;
use reqwest::dns::{self, Addrs, Resolve, Resolving};

use super::Refused;
use crate::domain::public_address;
use crate::engines::telemetry::events;

/// Resolves names to public addresses only.
#[derive(Clone)]
pub(super) struct PublicOnly {
    resolver: TokioResolver,
    allowed: AddressRule,
    caller: &'static str,
}

/// Returns whether an address may be called.
type AddressRule = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// Why a name cannot be resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unresolved {
    #[error("the name has no address")]
    NoAddress,
    #[error("no name server resolved the name")]
    NoAnswer,
}

impl PublicOnly {
    /// Creates a resolver with the machine's settings: `/etc/hosts`, then the name servers of `/etc/resolv.conf`.
    pub(super) fn of_machine(caller: &'static str) -> Result<Self, NetError> {
        let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|error| {
            // The C library does the same if there is no such file.
            tracing::debug!(%error, "cannot read the name servers of this machine; using 127.0.0.1");
            let here = NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into());
            let config = ResolverConfig::from_name_servers(vec![here]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        });
        let options = builder.options_mut();
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        // The lookup waits for both families, so one without an answer must leave time for the call.
        options.timeout = Duration::from_secs(2);
        Ok(Self::new(
            builder.build()?,
            public_address::is_public,
            caller,
        ))
    }

    pub(super) fn new(
        resolver: TokioResolver,
        allowed: impl Fn(IpAddr) -> bool + Send + Sync + 'static,
        caller: &'static str,
    ) -> Self {
        Self {
            resolver,
            allowed: Arc::new(allowed),
            caller,
        }
    }

    /// Returns the metric label of the caller.
    pub(super) fn caller(&self) -> &'static str {
        self.caller
    }

    async fn lookup(self, name: &str) -> Result<Addrs, Box<dyn Error + Send + Sync>> {
        // A fully qualified name: third parties must not reach names in the machine's search domains.
        let mut name = Name::from_ascii(name).map_err(|_| Unresolved::NoAddress)?;
        name.set_fqdn(true);
        let found = self.resolver.lookup_ip(name).await;
        let found = found.map_err(|error| match error.is_no_records_found() {
            true => Unresolved::NoAddress,
            false => Unresolved::NoAnswer,
        })?;
        let (public, others): (Vec<_>, Vec<_>) = found.iter().partition(|ip| (self.allowed)(*ip));
        if public.is_empty() {
            if others.is_empty() {
                return Err(Unresolved::NoAddress.into());
            }
            let refused = Refused::Address;
            events::call_refused(self.caller, refused.reason());
            return Err(refused.into());
        }
        let addresses = public.into_iter().map(|ip| SocketAddr::new(ip, 0));
        Ok(Box::new(addresses))
    }
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: dns::Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move { this.lookup(name.as_str()).await })
    }
}
