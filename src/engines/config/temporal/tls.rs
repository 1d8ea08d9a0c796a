//! How the connection to Temporal is encrypted: authority, client certificate, name of the server.

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use temporalio_common::envconfig::{ClientConfigTLS, DataSource};

use super::super::vars::Vars;
use super::profile;
use crate::domain::Secret;

/// How TLS is spoken with the server.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Certificates, in PEM, of the only authorities that are trusted; `None`: those of the system.
    pub ca: Option<Vec<u8>>,
    /// Name that the server's certificate must have; `None`: that of the address.
    pub server_name: Option<String>,
    pub identity: Option<Identity>,
    /// Whether a certificate of `ca` for any name is accepted.
    pub any_name: bool,
}

/// A client certificate.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate and those between it and its authority, in PEM.
    pub chain: Vec<u8>,
    /// Its private key, in PEM.
    pub key: Secret<Vec<u8>>,
}

const CA: [&str; 2] = [
    "TEMPORAL_TLS_SERVER_CA_CERT_PATH",
    "TEMPORAL_TLS_SERVER_CA_CERT_DATA",
];
const CERTIFICATE: [&str; 2] = [
    "TEMPORAL_TLS_CLIENT_CERT_PATH",
    "TEMPORAL_TLS_CLIENT_CERT_DATA",
];
const KEY: [&str; 2] = [
    "TEMPORAL_TLS_CLIENT_KEY_PATH",
    "TEMPORAL_TLS_CLIENT_KEY_DATA",
];
const ANY_NAME: &str = "TEMPORAL_TLS_DISABLE_HOST_VERIFICATION";

/// Returns whether TLS is switched on or off; `None`: the other settings decide.
pub(super) fn asked(vars: &mut Vars<'_>, profile: Option<&ClientConfigTLS>) -> Option<bool> {
    let of_profile = profile
        .and_then(|tls| tls.disabled)
        .map(|disabled| !disabled);
    vars.optional_flag("TEMPORAL_TLS").or(of_profile)
}

/// Reads the settings of TLS; `None`: there are none. Variables override the profile.
pub(super) fn read(vars: &mut Vars<'_>, profile: Option<ClientConfigTLS>) -> Option<Tls> {
    let in_profile = profile.is_some();
    let profile = profile.unwrap_or_default();
    let data = vars.optional(CA[1]);
    let ca = pem(vars, CA, data, profile.server_ca_cert);
    let identity = identity(vars, profile.client_cert, profile.client_key);
    let server_name = vars
        .optional("TEMPORAL_TLS_SERVER_NAME")
        .or(profile.server_name);
    let any_name = vars.flag(ANY_NAME, profile.disable_host_verification);
    if let Some((variable, ca)) = &ca
        && certificates(ca).is_none()
    {
        vars.fault(variable, "contains no certificate in PEM");
    }
    if any_name && ca.is_none() {
        let problem = "is true, which needs TEMPORAL_TLS_SERVER_CA_CERT_PATH: else any server with a public certificate would be trusted";
        vars.fault(ANY_NAME, problem);
    }
    let is_set = in_profile || ca.is_some() || identity.is_some() || server_name.is_some();
    is_set.then(|| Tls {
        ca: ca.map(|(_, ca)| ca),
        server_name,
        identity,
        any_name,
    })
}

fn identity(
    vars: &mut Vars<'_>,
    chain: Option<DataSource>,
    key: Option<DataSource>,
) -> Option<Identity> {
    let data = vars.optional(CERTIFICATE[1]);
    let chain = pem(vars, CERTIFICATE, data, chain);
    let data = vars.secret(KEY[1]);
    let key = pem(vars, KEY, data, key);
    let ((certificate_variable, chain), (key_variable, key)) = match (chain, key) {
        (Some(chain), Some(key)) => (chain, key),
        (None, None) => return None,
        (Some(_), None) => {
            vars.fault(
                KEY[0],
                "is not set, expected the key of the client certificate",
            );
            return None;
        }
        (None, Some(_)) => {
            vars.fault(
                CERTIFICATE[0],
                "is not set, expected the certificate of the client key",
            );
            return None;
        }
    };
    match (certificates(&chain), PrivateKeyDer::from_pem_slice(&key)) {
        (None, _) => vars.fault(certificate_variable, "contains no certificate in PEM"),
        (_, Err(_)) => vars.fault(key_variable, "contains no private key in PEM"),
        (Some(chain), Ok(key)) => {
            if CertifiedKey::from_der(chain, key, &ring::default_provider()).is_err() {
                vars.fault(key_variable, "does not fit the client certificate");
            }
        }
    }
    Some(Identity {
        chain,
        key: Secret::new(key),
    })
}

/// Parses certificates in PEM; `None` if there are none, or a faulty one.
fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    parsed.ok().filter(|found| !found.is_empty())
}

/// Returns certificates or a key, and what gave them: the file that the first variable names, `data`, which is the value of
/// the second variable, or the profile.
fn pem(
    vars: &mut Vars<'_>,
    [path_variable, data_variable]: [&'static str; 2],
    data: Option<String>,
    of_profile: Option<DataSource>,
) -> Option<(&'static str, Vec<u8>)> {
    let path = vars.optional(path_variable);
    if path.is_some() && data.is_some() {
        let problem = format!("is set as well as {path_variable}, expected only one");
        vars.fault(data_variable, &problem);
    }
    let (variable, path) = match (path, data, of_profile) {
        (Some(path), _, _) => (path_variable, path),
        (None, Some(data), _) => return Some((data_variable, data.into_bytes())),
        (None, None, Some(DataSource::Data(data))) => return Some((profile::FILE, data)),
        (None, None, Some(DataSource::Path(path))) => (profile::FILE, path),
        (None, None, Some(_) | None) => return None,
    };
    match std::fs::read(&path) {
        Ok(data) => Some((variable, data)),
        Err(error) => {
            vars.fault(
                variable,
                &format!("names {path}, which cannot be read: {error}"),
            );
            None
        }
    }
}
