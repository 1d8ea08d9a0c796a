//! Settings of the schema registry: its URL, the credentials that it asks for, and the files of TLS.

use url::Url;

use super::is_loopback;
use super::tls_files::{Names, TlsFiles};
use super::vars::{Vars, has_login, trusted};
use crate::domain::{Credential, parse_http_url};

/// The schema registry and how to connect to it.
#[derive(Clone, Debug)]
pub struct SchemaRegistry {
    /// Base URL of its Confluent API, without a login and a query.
    pub url: Url,
    pub credentials: Option<Credentials>,
    pub tls: TlsFiles,
}

/// What proves to the registry who calls.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Basic authentication.
    Login { user: String, password: Credential },
    /// A bearer token.
    Token(Credential),
}

const URL: &str = "SCHEMA_REGISTRY_URL";
const DEFAULT_URL: &str = "http://127.0.0.1:8081/apis/ccompat/v7";
const USER: &str = "SCHEMA_REGISTRY_USER";
const PASSWORD: &str = "SCHEMA_REGISTRY_PASSWORD";
const TOKEN: &str = "SCHEMA_REGISTRY_TOKEN";
const TLS: Names = Names {
    authorities: "SCHEMA_REGISTRY_CA_FILE",
    certificate: "SCHEMA_REGISTRY_CERT_FILE",
    key: "SCHEMA_REGISTRY_KEY_FILE",
};

pub(super) fn read(vars: &mut Vars<'_>) -> SchemaRegistry {
    let url = url(vars);
    let credentials = credentials(vars);
    let tls = TlsFiles::read(vars, TLS);
    if url.scheme() == "http" {
        let secret = credentials.as_ref().map(|credentials| match credentials {
            Credentials::Login { .. } => PASSWORD,
            Credentials::Token(_) => TOKEN,
        });
        if let Some(secret) = secret.filter(|_| !url.host_str().is_some_and(is_loopback)) {
            let problem = format!(
                "is http, which would send {secret} unencrypted, expected https://host[:port][/path]"
            );
            vars.fault(URL, &problem);
        }
        for name in tls.set() {
            vars.fault(
                name,
                "has no effect, because SCHEMA_REGISTRY_URL is http; expected an https URL",
            );
        }
    }
    SchemaRegistry {
        url,
        credentials,
        tls,
    }
}

fn url(vars: &mut Vars<'_>) -> Url {
    let given = vars.optional(URL);
    let parsed = parse_http_url(given.as_deref().unwrap_or(DEFAULT_URL));
    let mut url = parsed.unwrap_or_else(|| {
        // The value is not shown: it may contain a login that is not recognized as one.
        vars.fault(URL, "is not a URL, expected http[s]://host[:port][/path]");
        trusted(Url::parse(DEFAULT_URL))
    });
    if has_login(&url) {
        vars.fault(
            URL,
            "contains a user name or password, expected http[s]://host[:port][/path]; set them with \
             SCHEMA_REGISTRY_USER and SCHEMA_REGISTRY_PASSWORD",
        );
    }
    // A query may contain a secret, and the API has none below its base URL.
    url.set_query(None);
    url.set_fragment(None);
    url
}

fn credentials(vars: &mut Vars<'_>) -> Option<Credentials> {
    let user = vars.optional(USER);
    let password = vars.key(PASSWORD);
    let token = vars.key(TOKEN);
    if user.as_ref().is_some_and(|user| user.contains(':')) {
        vars.fault(
            USER,
            "contains a colon, which basic authentication cannot send",
        );
    }
    match (user, password, token) {
        (None, None, None) => None,
        (Some(user), Some(password), None) => Some(Credentials::Login { user, password }),
        (None, None, Some(token)) => Some(Credentials::Token(token)),
        (Some(_), None, None) => {
            vars.fault(
                USER,
                "is set without SCHEMA_REGISTRY_PASSWORD, expected both",
            );
            None
        }
        (None, Some(_), None) => {
            vars.fault(
                PASSWORD,
                "is set without SCHEMA_REGISTRY_USER, expected both",
            );
            None
        }
        (_, _, Some(_)) => {
            vars.fault(
                TOKEN,
                "is set as well as SCHEMA_REGISTRY_USER or SCHEMA_REGISTRY_PASSWORD, expected a token or a login",
            );
            None
        }
    }
}

#[cfg(test)]
mod tests;
