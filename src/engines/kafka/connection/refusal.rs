//! Turns librdkafka's line about a failed connection into one sentence that names the setting to change.

use std::fmt;

use rdkafka::error::KafkaError;

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
const MEANINGS: [(&str, Meaning); 14] = [
    ("mechanism handshake failed", Meaning::Mechanism),
    ("SASL authentication error", Meaning::Login),
    ("authentication failed", Meaning::Login),
    ("OAUTHBEARER", Meaning::Login),
    ("certificate has expired", Meaning::BrokerExpired),
    ("certificate verify failed", Meaning::Authority),
    (
        "broker certificate could not be verified",
        Meaning::Authority,
    ),
    // Alerts of TLS: the broker does not accept our certificate, or wants one.
    ("certificate required", Meaning::ClientCertificate),
    ("alert", Meaning::ClientCertificate),
    ("wrong version number", Meaning::NoTls),
    ("connecting to a PLAINTEXT broker listener", Meaning::NoTls),
    ("connecting to a SSL listener", Meaning::Tls),
    ("broker might require SASL authentication", Meaning::Sasl),
    ("SSL handshake failed", Meaning::OtherTls),
];

#[derive(Clone, Copy)]
enum Meaning {
    Mechanism,
    Login,
    BrokerExpired,
    Authority,
    ClientCertificate,
    NoTls,
    Tls,
    Sasl,
    OtherTls,
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
            Self::BrokerExpired => {
                "the brokers' certificate, or its authority in KAFKA_SSL_CA_FILE, has expired: renew it"
            }
            Self::Authority => {
                "no trusted authority has signed the brokers' certificate for this name: check KAFKA_SSL_CA_FILE, and the names in KAFKA_BROKERS"
            }
            Self::ClientCertificate => {
                "the brokers do not accept the client certificate: check that KAFKA_SSL_CERT_FILE and KAFKA_SSL_KEY_FILE are set, have not expired, and are signed by an authority that the brokers trust"
            }
            Self::NoTls => {
                "the brokers do not speak TLS at KAFKA_BROKERS: check KAFKA_SECURITY_PROTOCOL, and the port"
            }
            Self::Tls => {
                "the brokers close the connection, as they do if they expect TLS: check KAFKA_SECURITY_PROTOCOL, and the port in KAFKA_BROKERS"
            }
            Self::Sasl => {
                "the brokers close the connection, as they do if they expect a login: check KAFKA_SECURITY_PROTOCOL, and the port in KAFKA_BROKERS"
            }
            Self::OtherTls => {
                "TLS to the brokers failed: check KAFKA_SECURITY_PROTOCOL and KAFKA_SSL_*"
            }
        }
    }
}

impl Refusal {
    /// Returns the refusal that a line reports; `None` for other failures, such as a broker that does not answer.
    pub(super) fn of(line: &str, by_token: bool) -> Option<Self> {
        let mut meanings = MEANINGS.iter();
        let (_, meaning) = meanings.find(|(part, _)| line.contains(part))?;
        // The line begins with the client's and the broker's names, and ends with how long the state lasted.
        let detail = line.rsplit_once("]: ").map_or(line, |(_, rest)| rest);
        let detail = detail
            .rsplit_once(" (after ")
            .map_or(detail, |(rest, _)| rest);
        Some(Self {
            sentence: meaning.sentence(by_token).to_owned(),
            detail: detail.to_owned(),
            is_passing: false,
            is_for_token: false,
        })
    }

    /// The authorizer of the brokers denies an operation.
    pub(super) fn denied(error: &KafkaError) -> Self {
        Self {
            sentence: "the brokers deny this principal an operation: see \"What Kafka has to allow\" in docs/operating/README.md".to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_does_not_answer_refuses_nothing() {
        let line = "[thrd:127.0.0.1:1/bootstrap]: 127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)";

        assert_eq!(Refusal::of(line, false), None);
    }

    #[test]
    fn the_detail_is_what_the_broker_said() {
        let line = "[thrd:sasl_ssl://127.0.0.1:1/bootstrap]: sasl_ssl://127.0.0.1:1/bootstrap: SASL authentication error: no such user (after 5ms in state AUTH_REQ, 4 identical error(s) suppressed)";

        let refusal = Refusal::of(line, false).unwrap();

        assert_eq!(
            refusal.to_string(),
            "the brokers refuse the login: check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM (sasl_ssl://127.0.0.1:1/bootstrap: SASL authentication error: no such user)"
        );
        let by_token = Refusal::of(line, true).unwrap().to_string();
        assert!(
            by_token.contains("KAFKA_SASL_OAUTHBEARER_CLIENT_ID"),
            "{by_token}"
        );
    }
}
