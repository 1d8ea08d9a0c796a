//! Turns the settings of security into librdkafka's.

use std::path::Path;

use rdkafka::ClientConfig;

use crate::engines::config::kafka::security::{ClientCertificate, KafkaLogin, KafkaSecurity};

/// Sets how a client connects. Without settings of security, librdkafka's own default holds, or `KAFKA_OPTIONS`.
pub(in crate::engines::kafka) fn secure(client: &mut ClientConfig, security: &KafkaSecurity) {
    let KafkaSecurity { tls, login } = security;
    let protocol = match (tls, login) {
        (None, None) => return,
        (None, Some(_)) => "SASL_PLAINTEXT",
        (Some(_), None) => "SSL",
        (Some(_), Some(_)) => "SASL_SSL",
    };
    client.set("security.protocol", protocol);
    if let Some(tls) = tls {
        if let Some(ca) = &tls.ca {
            client.set("ssl.ca.location", text(ca));
        }
        if let Some(ClientCertificate {
            certificate,
            key,
            key_password,
        }) = &tls.client
        {
            client.set("ssl.certificate.location", text(certificate));
            client.set("ssl.key.location", text(key));
            if let Some(password) = key_password {
                client.set("ssl.key.password", password.expose());
            }
        }
    }
    match login {
        None => {}
        Some(KafkaLogin::Password {
            mechanism,
            username,
            password,
        }) => {
            client.set("sasl.mechanism", mechanism.as_str());
            client.set("sasl.username", username);
            client.set("sasl.password", password.expose());
        }
        Some(KafkaLogin::Token(_)) => {
            client.set("sasl.mechanism", "OAUTHBEARER");
        }
    }
}

/// The paths come from variables, which are text.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
