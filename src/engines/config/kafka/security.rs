//! Settings of the connections to the brokers: encryption, and how the two sides identify each other.
//!
//! A variable is librdkafka's property in upper case behind `KAFKA_`. All combinations that cannot work are faults at
//! load, so that a client is created only with settings that fit together.

use std::path::{Path, PathBuf};

use url::Url;

use crate::domain::{Credential, Secret, parse_http_url};
use crate::engines::config::is_loopback;
use crate::engines::config::vars::{Vars, has_login};

/// How genflow connects to the brokers. By default in plain text and without a login, unless `KAFKA_OPTIONS` says
/// otherwise.
#[derive(Clone, Debug, Default)]
pub struct KafkaSecurity {
    /// `None`: no TLS.
    pub tls: Option<KafkaTls>,
    /// `None`: no SASL.
    pub login: Option<KafkaLogin>,
}

/// TLS to the brokers.
#[derive(Clone, Debug, Default)]
pub struct KafkaTls {
    /// File of certificate authorities, PEM; `None`: those of the system.
    pub ca: Option<PathBuf>,
    pub client: Option<ClientCertificate>,
}

/// A certificate that identifies genflow to the brokers.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// The certificate and its chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Opens the key, if it is encrypted.
    pub key_password: Option<Secret>,
}

/// A login by SASL.
#[derive(Clone, Debug)]
pub enum KafkaLogin {
    Password {
        mechanism: PasswordMechanism,
        username: String,
        password: Secret,
    },
    /// OAUTHBEARER.
    Token(OAuthClient),
}

/// A SASL mechanism with a user name and a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordMechanism {
    Plain,
    ScramSha256,
    ScramSha512,
}

impl PasswordMechanism {
    /// Returns Kafka's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// A client of an OAuth 2.0 token server (RFC 6749, client credentials).
#[derive(Clone, Debug)]
pub struct OAuthClient {
    pub token_endpoint: Url,
    pub id: String,
    pub secret: Credential,
    /// Space-separated scopes.
    pub scope: Option<String>,
}

pub const PROTOCOL: &str = "KAFKA_SECURITY_PROTOCOL";
pub const MECHANISM: &str = "KAFKA_SASL_MECHANISM";
pub const USERNAME: &str = "KAFKA_SASL_USERNAME";
pub const PASSWORD: &str = "KAFKA_SASL_PASSWORD";
pub const TOKEN_ENDPOINT: &str = "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL";
pub const CLIENT_ID: &str = "KAFKA_SASL_OAUTHBEARER_CLIENT_ID";
pub const CLIENT_SECRET: &str = "KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET";
pub const SCOPE: &str = "KAFKA_SASL_OAUTHBEARER_SCOPE";
pub const CA_FILE: &str = "KAFKA_SSL_CA_FILE";
pub const CERT_FILE: &str = "KAFKA_SSL_CERT_FILE";
pub const KEY_FILE: &str = "KAFKA_SSL_KEY_FILE";
pub const KEY_PASSWORD: &str = "KAFKA_SSL_KEY_PASSWORD";

const VARIABLES: [&str; 12] = [
    PROTOCOL,
    MECHANISM,
    USERNAME,
    PASSWORD,
    TOKEN_ENDPOINT,
    CLIENT_ID,
    CLIENT_SECRET,
    SCOPE,
    CA_FILE,
    CERT_FILE,
    KEY_FILE,
    KEY_PASSWORD,
];

const MECHANISMS: &str = "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER";

/// The variables as they are set, before they are compared with each other.
#[derive(Debug, Default)]
struct Given {
    protocol: Option<Protocol>,
    mechanism: Option<Mechanism>,
    username: Option<String>,
    password: Option<Secret>,
    token_endpoint: Option<Url>,
    client_id: Option<String>,
    client_secret: Option<Credential>,
    scope: Option<String>,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    key_password: Option<Secret>,
}

/// `security.protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Protocol {
    tls: bool,
    sasl: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mechanism {
    Password(PasswordMechanism),
    OAuthBearer,
}

/// Reads the variables. `foreign`: a broker is on another machine. Also returns whether any of the variables is set.
pub(super) fn read(vars: &mut Vars<'_>, foreign: bool) -> (KafkaSecurity, bool) {
    let given = Given::read(vars);
    let is_set = VARIABLES.iter().any(|name| vars.is_set(name));
    let plain = Protocol {
        tls: false,
        sasl: false,
    };
    if vars.has_fault(PROTOCOL) {
        // What the other variables need depends on it.
        return (KafkaSecurity::default(), is_set);
    }
    let protocol = given.protocol.unwrap_or(plain);
    given.check_protocol(vars, protocol);
    let login = match (protocol.sasl, given.mechanism) {
        (true, Some(Mechanism::Password(mechanism))) => given.password_login(vars, mechanism),
        (true, Some(Mechanism::OAuthBearer)) => given.token_login(vars),
        (true, None) => {
            if !vars.has_fault(MECHANISM) {
                let problem = format!(
                    "is empty, expected {MECHANISMS}, since KAFKA_SECURITY_PROTOCOL asks for SASL"
                );
                vars.fault(MECHANISM, &problem);
            }
            None
        }
        (false, _) => None,
    };
    if foreign && !protocol.tls {
        refuse_plain_secret(vars, login.as_ref());
    }
    let tls = protocol.tls.then(|| given.tls(vars));
    (KafkaSecurity { tls, login }, is_set)
}

impl Given {
    fn read(vars: &mut Vars<'_>) -> Self {
        let protocol = vars.read(
            PROTOCOL,
            "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL",
            protocol,
        );
        Self {
            protocol,
            mechanism: vars.read(MECHANISM, MECHANISMS, mechanism),
            username: vars.optional(USERNAME),
            password: vars.secret(PASSWORD).map(Secret::new),
            token_endpoint: token_endpoint(vars),
            client_id: vars.optional(CLIENT_ID),
            client_secret: vars.key(CLIENT_SECRET),
            scope: vars.optional(SCOPE),
            ca: pem_file(vars, CA_FILE, "CERTIFICATE-----"),
            certificate: pem_file(vars, CERT_FILE, "CERTIFICATE-----"),
            key: pem_file(vars, KEY_FILE, "PRIVATE KEY-----"),
            key_password: vars.secret(KEY_PASSWORD).map(Secret::new),
        }
    }

    /// The variables of PLAIN and SCRAM, and whether each is set.
    fn of_passwords(&self) -> Vec<(&'static str, bool)> {
        vec![
            (USERNAME, self.username.is_some()),
            (PASSWORD, self.password.is_some()),
        ]
    }

    fn of_tokens(&self) -> Vec<(&'static str, bool)> {
        vec![
            (TOKEN_ENDPOINT, self.token_endpoint.is_some()),
            (CLIENT_ID, self.client_id.is_some()),
            (CLIENT_SECRET, self.client_secret.is_some()),
            (SCOPE, self.scope.is_some()),
        ]
    }

    fn of_tls(&self) -> Vec<(&'static str, bool)> {
        vec![
            (CA_FILE, self.ca.is_some()),
            (CERT_FILE, self.certificate.is_some()),
            (KEY_FILE, self.key.is_some()),
            (KEY_PASSWORD, self.key_password.is_some()),
        ]
    }

    /// Checks that nothing is set that the protocol does not use.
    fn check_protocol(&self, vars: &mut Vars<'_>, protocol: Protocol) {
        if !protocol.sasl {
            let mechanism = vec![(MECHANISM, self.mechanism.is_some())];
            let all = [mechanism, self.of_passwords(), self.of_tokens()].concat();
            let expected = "needs SASL, expected KAFKA_SECURITY_PROTOCOL=SASL_SSL, or SASL_PLAINTEXT for brokers on this machine";
            refuse(vars, &all, expected);
        }
        if !protocol.tls {
            let expected = "needs TLS, expected KAFKA_SECURITY_PROTOCOL=SSL or SASL_SSL";
            refuse(vars, &self.of_tls(), expected);
        }
    }

    fn password_login(
        &self,
        vars: &mut Vars<'_>,
        mechanism: PasswordMechanism,
    ) -> Option<KafkaLogin> {
        let expected = "is for OAUTHBEARER, expected KAFKA_SASL_MECHANISM=OAUTHBEARER, or none of the variables KAFKA_SASL_OAUTHBEARER_*";
        refuse(vars, &self.of_tokens(), expected);
        require(vars, &self.of_passwords(), mechanism.as_str());
        Some(KafkaLogin::Password {
            mechanism,
            username: self.username.clone()?,
            password: self.password.clone()?,
        })
    }

    fn token_login(&self, vars: &mut Vars<'_>) -> Option<KafkaLogin> {
        let expected = "is not used by OAUTHBEARER, expected KAFKA_SASL_MECHANISM=PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, or no user name and password";
        refuse(vars, &self.of_passwords(), expected);
        let needed: Vec<_> = self.of_tokens().into_iter().take(3).collect();
        require(vars, &needed, "OAUTHBEARER");
        Some(KafkaLogin::Token(OAuthClient {
            token_endpoint: self.token_endpoint.clone()?,
            id: self.client_id.clone()?,
            secret: self.client_secret.clone()?,
            scope: self.scope.clone(),
        }))
    }

    fn tls(self, vars: &mut Vars<'_>) -> KafkaTls {
        let has_key = self.key.is_some();
        let client = match (self.certificate, self.key) {
            (Some(certificate), Some(key)) => Some(ClientCertificate {
                certificate,
                key,
                key_password: self.key_password.clone(),
            }),
            (Some(_), None) => {
                vars.fault(
                    KEY_FILE,
                    "is empty, expected the file of the key that belongs to KAFKA_SSL_CERT_FILE",
                );
                None
            }
            (None, Some(_)) => {
                vars.fault(CERT_FILE, "is empty, expected the file of the certificate that belongs to KAFKA_SSL_KEY_FILE");
                None
            }
            (None, None) => None,
        };
        if self.key_password.is_some() && !has_key {
            vars.fault(
                KEY_PASSWORD,
                "opens no key, expected KAFKA_SSL_KEY_FILE as well",
            );
        }
        KafkaTls {
            ca: self.ca,
            client,
        }
    }
}

/// A fault for each variable that is set.
fn refuse(vars: &mut Vars<'_>, variables: &[(&'static str, bool)], problem: &str) {
    for (variable, _) in variables.iter().filter(|(_, is_set)| *is_set) {
        vars.fault(variable, problem);
    }
}

/// A fault for each variable that is not set, unless it is set to something invalid.
fn require(vars: &mut Vars<'_>, variables: &[(&'static str, bool)], mechanism: &str) {
    for (variable, _) in variables.iter().filter(|(_, is_set)| !*is_set) {
        if !vars.has_fault(variable) {
            vars.fault(
                variable,
                &format!("is empty, expected a value, since KAFKA_SASL_MECHANISM is {mechanism}"),
            );
        }
    }
}

/// PLAIN sends the password itself, OAUTHBEARER the token itself.
fn refuse_plain_secret(vars: &mut Vars<'_>, login: Option<&KafkaLogin>) {
    let sent = match login {
        Some(KafkaLogin::Password { mechanism, .. }) => (*mechanism == PasswordMechanism::Plain)
            .then_some("KAFKA_SASL_PASSWORD, since KAFKA_SASL_MECHANISM is PLAIN"),
        Some(KafkaLogin::Token(_)) => Some("the token of OAUTHBEARER"),
        None => None,
    };
    if let Some(sent) = sent {
        let problem =
            format!("would send {sent}, unencrypted to another machine; expected SASL_SSL");
        vars.fault(PROTOCOL, &problem);
    }
}

fn protocol(text: &str) -> Option<Protocol> {
    let (tls, sasl) = match text.to_ascii_uppercase().as_str() {
        "PLAINTEXT" => (false, false),
        "SSL" => (true, false),
        "SASL_PLAINTEXT" => (false, true),
        "SASL_SSL" => (true, true),
        _ => return None,
    };
    Some(Protocol { tls, sasl })
}

fn mechanism(text: &str) -> Option<Mechanism> {
    use PasswordMechanism::{Plain, ScramSha256, ScramSha512};
    let text = text.to_ascii_uppercase();
    let password = [Plain, ScramSha256, ScramSha512].into_iter();
    let mut password = password.filter(|mechanism| mechanism.as_str() == text);
    match password.next() {
        Some(mechanism) => Some(Mechanism::Password(mechanism)),
        None => (text == "OAUTHBEARER").then_some(Mechanism::OAuthBearer),
    }
}

/// Reads the URL of the token server, which receives the client's secret.
fn token_endpoint(vars: &mut Vars<'_>) -> Option<Url> {
    let url = vars.read(TOKEN_ENDPOINT, "an http or https URL", parse_http_url)?;
    if has_login(&url) {
        vars.fault(TOKEN_ENDPOINT, "contains a user name or password, expected the URL alone; set KAFKA_SASL_OAUTHBEARER_CLIENT_ID and KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET");
    }
    if url.scheme() == "http" && !url.host_str().is_some_and(is_loopback) {
        vars.fault(TOKEN_ENDPOINT, "is http, which would send KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET unencrypted, expected https");
    }
    Some(url)
}

/// Reads the path of a PEM file. librdkafka reads the file whenever a client is created; a file that cannot be read, or
/// is not PEM, is a fault now.
fn pem_file(vars: &mut Vars<'_>, name: &'static str, label: &str) -> Option<PathBuf> {
    let path = vars.optional(name)?;
    match std::fs::read(Path::new(&path)) {
        Ok(bytes) if String::from_utf8_lossy(&bytes).contains(label) => {}
        Ok(_) => {
            let kind = label.trim_end_matches('-');
            vars.fault(
                name,
                &format!("names {path}, which has no PEM block {kind:?}"),
            );
        }
        Err(error) => vars.fault(
            name,
            &format!("names {path}, which cannot be read: {error}"),
        ),
    }
    Some(PathBuf::from(path))
}

#[cfg(test)]
mod tests;
