//! Turns librdkafka's line about a failed connection into one sentence that names the setting to change.

use std::fmt;

use rdkafka::error::KafkaError;

use crate::engines::config::kafka::security::{KafkaLogin, KafkaSecurity};

/// Why brokers, or the token server, refuse genflow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    /// What is wrong and what to do; names the variables.
    sentence: String,
    /// What the other side or the TLS library said.
    detail: String,
    /// True if it may pass without a change of settings.
    pub(crate) is_passing: bool,
    /// True if there is no token: over with the next token, and not when a broker is connected, which may still be by an
    /// older token.
    pub(super) is_for_token: bool,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.sentence, self.detail)
    }
}

/// Parts of librdkafka's lines, and what they mean. The first part that a line contains decides.
const MEANINGS: [(&str, Meaning); 11] = [
    ("mechanism handshake failed", Meaning::Mechanism),
    ("SASL authentication error", Meaning::Login),
    ("authentication failed", Meaning::Login),
    ("OAUTHBEARER", Meaning::Login),
    ("certificate verify failed", Meaning::Authority),
    // Alerts of TLS: the broker does not accept our certificate, or wants one.
    ("SSL alert", Meaning::ClientCertificate),
    ("wrong version number", Meaning::NoTls),
    ("connecting to a PLAINTEXT broker listener", Meaning::NoTls),
    ("SSL handshake failed", Meaning::OtherTls),
    ("ms in state APIVERSION_QUERY", Meaning::Closed),
    ("ms in state UP", Meaning::Closed),
];

/// Listeners with TLS or SASL close a plain connection at once, and say nothing. A connection that was older, in
/// milliseconds, was closed for another reason.
const AT_ONCE: u32 = 2000;

#[derive(Clone, Copy)]
enum Meaning {
    Mechanism,
    Login,
    Authority,
    ClientCertificate,
    NoTls,
    OtherTls,
    Closed,
}

impl Meaning {
    fn sentence(self, by_token: bool) -> &'static str {
        match self {
            Self::Mechanism => {
                "the brokers do not offer KAFKA_SASL_MECHANISM: set one of those that they offer"
            }
            Self::Login if by_token => {
                "the brokers refuse the token: check KAFKA_SASL_OAUTHBEARER_CLIENT_ID and KAFKA_SASL_OAUTHBEARER_SCOPE, and the issuer and audience that the brokers expect"
            }
            Self::Login => {
                "the brokers refuse the login: check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM"
            }
            Self::Authority => {
                "the brokers' certificate is not accepted: check that KAFKA_SSL_CA_FILE has its authority, that KAFKA_BROKERS has its names, and that it has not expired"
            }
            Self::ClientCertificate => {
                "the brokers do not accept the client certificate: check that KAFKA_SSL_CERT_FILE and KAFKA_SSL_KEY_FILE are set, have not expired, and are signed by an authority that the brokers trust"
            }
            Self::NoTls => {
                "the brokers do not speak TLS at KAFKA_BROKERS: check KAFKA_SECURITY_PROTOCOL, and the port"
            }
            Self::OtherTls => {
                "TLS to the brokers failed: check KAFKA_SECURITY_PROTOCOL and KAFKA_SSL_*"
            }
            Self::Closed => {
                "the brokers close the connection, as they do if they expect TLS or a login: check KAFKA_SECURITY_PROTOCOL, and the port in KAFKA_BROKERS"
            }
        }
    }
}

impl Refusal {
    /// Returns the refusal that a line reports; `None` for other failures, such as a broker that does not answer.
    /// `security`: with these settings.
    pub(super) fn of(line: &str, security: &KafkaSecurity) -> Option<Self> {
        let mut meanings = MEANINGS.iter();
        let (_, meaning) = meanings.find(|(part, _)| line.contains(part))?;
        // The line begins with the client's thread, and ends with how long the state lasted.
        let detail = line.rsplit_once("]: ").map_or(line, |(_, rest)| rest);
        let (detail, state) = detail.rsplit_once(" (after ").unwrap_or((detail, ""));
        let is_closed = matches!(meaning, Meaning::Closed);
        if is_closed {
            let age = state.split_once("ms").and_then(|(age, _)| age.parse().ok());
            let at_once = age.is_some_and(|age: u32| age < AT_ONCE);
            if security.login.is_some() || !at_once || !detail.contains("Disconnected") {
                return None;
            }
        }
        let by_token = matches!(security.login, Some(KafkaLogin::Token(_)));
        Some(Self {
            sentence: meaning.sentence(by_token).to_owned(),
            detail: detail.to_owned(),
            // A broker that stops closes connections too.
            is_passing: is_closed,
            is_for_token: false,
        })
    }

    /// The authorizer of the brokers denies an operation on `what`.
    pub(super) fn denied(what: &str, error: &KafkaError) -> Self {
        Self {
            sentence: format!(
                "the brokers deny this principal an operation on {what}: add the ACL that docs/operating/kafka.md lists"
            ),
            detail: error.to_string(),
            is_passing: false,
            is_for_token: false,
        }
    }

    /// The token server gives no token.
    pub(super) fn no_token(sentence: &str, detail: impl fmt::Display, is_passing: bool) -> Self {
        Self {
            sentence: sentence.to_owned(),
            detail: detail.to_string(),
            is_passing,
            is_for_token: true,
        }
    }
}

/// Why librdkafka creates no client: a file or a setting that it cannot use.
#[derive(Debug, thiserror::Error)]
#[error("check {check}")]
pub struct ClientError {
    check: &'static str,
    #[source]
    source: KafkaError,
}

impl From<KafkaError> for ClientError {
    fn from(source: KafkaError) -> Self {
        let text = source.to_string();
        let check = if text.contains("ssl.ca.") {
            "KAFKA_SSL_CA_FILE"
        } else if text.contains("ssl.certificate.") {
            "KAFKA_SSL_CERT_FILE"
        } else if text.contains("ssl.key.") {
            "KAFKA_SSL_KEY_FILE and KAFKA_SSL_KEY_PASSWORD, and that the key belongs to KAFKA_SSL_CERT_FILE"
        } else {
            "KAFKA_OPTIONS"
        };
        Self { check, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::config::Config;

    fn of(line: &str, variables: &[(&str, &str)]) -> Option<String> {
        let security = Config::of(variables).unwrap().kafka.security;
        let line = format!("[thrd:127.0.0.1:1/bootstrap]: 127.0.0.1:1/bootstrap: {line}");
        Refusal::of(&line, &security).map(|refusal| refusal.to_string())
    }

    const SCRAM: [(&str, &str); 4] = [
        ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
        ("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512"),
        ("KAFKA_SASL_USERNAME", "ann"),
        ("KAFKA_SASL_PASSWORD", "x"),
    ];

    #[test]
    fn a_broker_that_is_away_or_restarts_refuses_nothing() {
        for line in [
            "Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)",
            "Disconnected: connection closed by peer: receive 0 after POLLIN (after 90000ms in state UP)",
            "1 request(s) timed out: disconnect (after 60000ms in state UP)",
        ] {
            assert_eq!(of(line, &[]), None, "{line}");
        }
        let closed = "Disconnected: connection closed by peer (after 1ms in state UP)";
        assert_eq!(of(closed, &SCRAM), None);
        let plain = of(closed, &[]).unwrap();
        assert!(plain.contains("check KAFKA_SECURITY_PROTOCOL"), "{plain}");
    }

    #[test]
    fn the_detail_is_what_the_broker_said() {
        let line = "SASL authentication error: no such user (after 5ms in state AUTH_REQ, 4 identical error(s) suppressed)";

        assert_eq!(
            of(line, &SCRAM).unwrap(),
            "the brokers refuse the login: check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM (127.0.0.1:1/bootstrap: SASL authentication error: no such user)"
        );
    }
}
