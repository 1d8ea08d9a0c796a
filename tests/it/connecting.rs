//! `docs/operating/connecting.md`, followed literally: each of its blocks of settings, with the addresses, logins and
//! files of the engines of the tests in place of those of the page, connects.

use std::path::Path;

use crate::doctor::doctor;
use crate::support::apicurio::{self, SecureApicurio};
use crate::support::axonops::{AxonOps, token};
use crate::support::certificates::{Authority, Validity};
use crate::support::engines::engines;
use crate::support::front::Front;
use crate::support::secured::tokens::{CLIENT, Grant, SECRET, TokenServer};
use crate::support::secured::{KEY_PASSWORD, Pair, USER, password_of, secured};
use crate::support::{Space, tls};

/// The settings whose value is as the page gives it.
const AS_WRITTEN: [&str; 4] = [
    "KAFKA_SASL_MECHANISM",
    "KAFKA_SASL_OAUTHBEARER_SCOPE",
    "KAFKA_SECURITY_PROTOCOL",
    "TEMPORAL_PROFILE",
];

/// Names and values.
type Settings = Vec<(String, String)>;

/// Returns the blocks of code below a heading of the page that have settings and nothing else.
fn blocks(heading: &str) -> Vec<Settings> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating/connecting.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let code = section.split("```").skip(1).step_by(2);
    code.map(|block| {
        let lines = block.lines().skip(1);
        let settings = lines.map(|line| {
            let (name, value) = line.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        });
        settings.collect()
    })
    .collect()
}

/// Puts the values of the tests' engines in place of the page's. A secret that the page has in a file is written to one.
fn filled(block: Settings, values: &[(&str, &str)], folder: &Path) -> Settings {
    let value = |name: &str| values.iter().find(|(known, _)| *known == name);
    let filled = block.into_iter().map(|(name, written)| {
        if AS_WRITTEN.contains(&&*name) {
            return (name, written);
        }
        let secret = name.strip_suffix("_FILE").and_then(value);
        let here = match (value(&name), secret) {
            (Some((_, here)), _) => (*here).to_owned(),
            (None, Some((_, secret))) => {
                let path = folder.join(Path::new(&written).file_name().unwrap());
                std::fs::write(&path, format!("{secret}\n")).unwrap();
                path.display().to_string()
            }
            (None, None) => panic!("the tests have no value for {name} of {written}"),
        };
        (name, here)
    });
    filled.collect()
}

fn borrowed(settings: &Settings) -> Vec<(&str, &str)> {
    let pairs = settings.iter();
    pairs.map(|(name, value)| (&**name, &**value)).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn the_settings_for_kafka_on_the_page_connect() {
    let secured = secured().await;
    let space = Space::with(&[("KAFKA_BROKERS", &secured.open)]).await;
    let tokens = TokenServer::start(secured.key.clone(), Grant::Good(3600));
    let ca = text(&secured.certificates.ca);
    let Pair { certificate, .. } = &secured.certificates.client;
    let by_password = [
        ("KAFKA_BROKERS", &*secured.sasl_tls),
        ("KAFKA_SASL_USERNAME", USER),
        ("KAFKA_SASL_PASSWORD", &password_of(USER)),
        ("KAFKA_SSL_CA_FILE", ca),
    ];
    let by_certificate = [
        ("KAFKA_BROKERS", &*secured.mutual),
        ("KAFKA_SSL_CA_FILE", ca),
        ("KAFKA_SSL_CERT_FILE", text(certificate)),
        ("KAFKA_SSL_KEY_FILE", text(&secured.certificates.locked_key)),
        ("KAFKA_SSL_KEY_PASSWORD", KEY_PASSWORD),
    ];
    let by_token = [
        ("KAFKA_BROKERS", &*secured.sasl_tls),
        ("KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL", &tokens.url),
        ("KAFKA_SASL_OAUTHBEARER_CLIENT_ID", CLIENT),
        ("KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET", SECRET),
        ("KAFKA_SSL_CA_FILE", ca),
    ];
    let values: [&[_]; 3] = [&by_password, &by_certificate, &by_token];
    let blocks = blocks("Kafka");
    assert_eq!(blocks.len(), values.len());
    for (block, values) in blocks.into_iter().zip(values) {
        let settings = filled(block, values, space.folder());

        let report = doctor(&space, &borrowed(&settings)).await;

        assert_eq!(report.verdict("Kafka"), "ok", "{settings:?}");
    }
}

#[tokio::test]
async fn the_settings_for_the_registry_on_the_page_connect() {
    let space = Space::new().await;
    let engines = tokio::task::spawn_blocking(engines).await.unwrap();
    let by_login = SecureApicurio::start(engines).await;
    let by_token = AxonOps::with_tokens(space.folder()).await;
    let folder = space.folder().join("mutual");
    std::fs::create_dir(&folder).unwrap();
    let by_certificate = AxonOps::secured(&folder).await;
    let valid = token("admin", 600);
    let [ca, certificate, key] = ["ca.pem", "client.pem", "client.key"].map(tls);
    let system = ("SSL_CERT_FILE", text(&ca));
    let login = [
        ("SCHEMA_REGISTRY_URL", &*by_login.url),
        ("SCHEMA_REGISTRY_USER", apicurio::USER),
        ("SCHEMA_REGISTRY_PASSWORD", apicurio::PASSWORD),
    ];
    let bearer = [
        ("SCHEMA_REGISTRY_URL", &*by_token.url),
        ("SCHEMA_REGISTRY_TOKEN", &valid),
    ];
    let mutual = [
        ("SCHEMA_REGISTRY_URL", &*by_certificate.url),
        ("SCHEMA_REGISTRY_CA_FILE", text(&ca)),
        ("SCHEMA_REGISTRY_CERT_FILE", text(&certificate)),
        ("SCHEMA_REGISTRY_KEY_FILE", text(&key)),
    ];
    // "A login or a token can be added": this registry asks for both.
    let added = ("SCHEMA_REGISTRY_TOKEN", &*valid);
    let values: [(&[_], _); 3] = [(&login, system), (&bearer, system), (&mutual, added)];
    let blocks = blocks("Schema registry");
    assert_eq!(blocks.len(), values.len());
    for (block, (values, beside)) in blocks.into_iter().zip(values) {
        let settings = filled(block, values, space.folder());
        let mut settings = borrowed(&settings);
        settings.push(beside);
        let setup = ["setup", "--replication", "1"];
        let (code, printed) = space.run_with(&setup, &settings).await;
        assert_eq!(code, 0, "{settings:?}: {printed}");

        let report = doctor(&space, &settings).await;

        assert_eq!(report.verdict("schema registry"), "ok", "{settings:?}");
    }
}

#[tokio::test]
async fn the_settings_for_temporal_on_the_page_connect() {
    let space = Space::new().await;
    let ours = Authority::new("ours", space.folder());
    let server = ours.sign("localhost", Validity::Valid);
    let client = ours.sign("genflow", Validity::Valid);
    let temporal = &space.engines.temporal;
    let by_key = Front::before(temporal, &server, None).await;
    by_key.accept(&["right"]);
    let by_certificate = Front::before(temporal, &server, Some(&ours.ca())).await;
    let address = |front: &Front| format!("localhost:{}", front.port);
    let namespace = &*space.config.temporal.namespace;
    let (key_address, certificate_address) = (address(&by_key), address(&by_certificate));
    let ca = ours.ca();
    let profile = space.folder().join("temporal.toml");
    let content = format!(
        "[profile.production]\naddress = \"{key_address}\"\nnamespace = \"{namespace}\"\napi_key = \"right\"\n"
    );
    std::fs::write(&profile, content).unwrap();
    let hosted = [
        ("TEMPORAL_ADDRESS", &*key_address),
        ("TEMPORAL_NAMESPACE", namespace),
        ("TEMPORAL_API_KEY", "right"),
    ];
    let own = [
        ("TEMPORAL_ADDRESS", &*certificate_address),
        ("TEMPORAL_TLS_SERVER_CA_CERT_PATH", text(&ca)),
        ("TEMPORAL_TLS_CLIENT_CERT_PATH", text(&client.chain)),
        ("TEMPORAL_TLS_CLIENT_KEY_PATH", text(&client.key)),
    ];
    let by_profile = [("TEMPORAL_CONFIG_FILE", text(&profile))];
    let values: [&[_]; 3] = [&hosted, &own, &by_profile];
    let blocks = blocks("Temporal");
    assert_eq!(blocks.len(), values.len());
    for (block, values) in blocks.into_iter().zip(values) {
        let settings = filled(block, values, space.folder());
        let mut settings = borrowed(&settings);
        // The space has settings of its own; an empty value counts as not set.
        settings.extend([("TEMPORAL_HOST", ""), ("SSL_CERT_FILE", text(&ca))]);

        let report = doctor(&space, &settings).await;

        assert_eq!(report.verdict("Temporal"), "ok", "{settings:?}");
    }
    assert!(by_key.calls_with("right") > 0);
}
