//! A broker that lets in only who can identify: TLS, SASL by every mechanism, and an authorizer. One for all tests.

pub(crate) mod acl;
mod certificates;
pub(crate) mod tokens;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use genflow::engines::config::Config;
use genflow::engines::kafka::admin::wait_ready;

use self::certificates::Certificates;
pub(crate) use self::certificates::{KEY_PASSWORD, Pair};
use self::tokens::TokenKey;
use super::broker::Broker;
use super::engines::engines;
use super::{SOON, nowhere};

/// The user that may do everything, by every mechanism. The characters have a meaning in `KAFKA_OPTIONS`.
pub(crate) const USER: &str = "ann";
pub(crate) const PASSWORD: &str = "pa,ss=wo-rd";

/// The principals of the roles and commands; each may do only what a test allows, and logs in by SCRAM.
pub(crate) const PRINCIPALS: [&str; 9] = [
    "intake", "worker", "notifier", "sender", "watcher", "letters", "costs", "setup", "doctor",
];

/// Returns the password of a principal.
pub(crate) fn password_of(principal: &str) -> String {
    format!("password-of-{principal}")
}

/// The broker's listeners, and what its clients need.
pub(crate) struct Secured {
    /// Plain text, for the tests themselves; may do everything.
    pub(crate) open: String,
    /// `SASL_SSL`.
    pub(crate) sasl_tls: String,
    /// `SASL_PLAINTEXT`.
    pub(crate) sasl: String,
    /// `SSL`, with client certificates.
    pub(crate) mutual: String,
    /// `SSL`, with a certificate that has expired.
    pub(crate) expired: String,
    pub(crate) certificates: Certificates,
    pub(crate) key: TokenKey,
}

/// Returns the broker, started once; it ends with this process.
pub(crate) async fn secured() -> &'static Secured {
    static SECURED: OnceLock<Secured> = OnceLock::new();
    let starting = || {
        SECURED.get_or_init(|| {
            let (sender, receiver) = std::sync::mpsc::channel();
            // The broker ends with the thread that started it.
            std::thread::spawn(move || {
                let mut runtime = tokio::runtime::Builder::new_multi_thread();
                let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
                sender.send(runtime.block_on(start())).unwrap();
                loop {
                    std::thread::park();
                }
            });
            receiver.recv().expect("the secured broker started")
        })
    };
    tokio::task::spawn_blocking(starting).await.unwrap()
}

async fn start() -> Secured {
    let engines = tokio::task::spawn_blocking(engines).await.unwrap();
    // Another broker shows the command and the settings; its engines stop with it.
    let mut plain = Broker::beside(engines).await;
    plain.dies().await;
    let folder =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("secured-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let secured = Secured {
        open: nowhere().to_string(),
        sasl_tls: nowhere().to_string(),
        sasl: nowhere().to_string(),
        mutual: nowhere().to_string(),
        expired: nowhere().to_string(),
        certificates: Certificates::create(&folder),
        key: TokenKey::create(&folder),
    };
    let properties = folder.join("server.properties");
    let text = std::fs::read_to_string(plain.command.last().unwrap()).unwrap();
    std::fs::write(&properties, secured.properties(&text, &folder)).unwrap();
    format(&plain.command, &properties, &folder);
    run(&plain.command, &properties, &folder);
    let variables = [("KAFKA_BROKERS", &*secured.open)];
    let value = |name: &str| variables.iter().find(|(known, _)| *known == name);
    let config = Config::load(|name| value(name).map(|(_, value)| (*value).to_owned())).unwrap();
    if let Err(error) = wait_ready(&config.kafka, SOON).await {
        let log = std::fs::read_to_string(folder.join("kafka.log")).unwrap_or_default();
        panic!("{error}\n{log}");
    }
    secured
}

impl Secured {
    /// Changes the settings of a plain broker.
    fn properties(&self, plain: &str, folder: &Path) -> String {
        let replaced = [
            "listeners=",
            "listener.security.protocol.map=",
            "log.dirs=",
            "inter.broker.",
        ];
        let kept = plain
            .lines()
            .filter(|line| !replaced.iter().any(|name| line.starts_with(name)));
        let Self {
            open,
            sasl_tls,
            sasl,
            mutual,
            expired,
            certificates,
            key,
        } = self;
        let mut all: Vec<String> = kept.map(str::to_owned).collect();
        all.push(format!(
            "listeners=OPEN://{open},LOCKED://{sasl_tls},PLAINSASL://{sasl},MUTUAL://{mutual},OLD://{expired},CONTROLLER://127.0.0.1:0"
        ));
        all.push("listener.security.protocol.map=OPEN:PLAINTEXT,LOCKED:SASL_SSL,PLAINSASL:SASL_PLAINTEXT,MUTUAL:SSL,OLD:SSL,CONTROLLER:PLAINTEXT".to_owned());
        all.push("inter.broker.listener.name=OPEN".to_owned());
        all.push(format!("log.dirs={}", folder.join("data").display()));
        all.push(
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer"
                .to_owned(),
        );
        all.push(format!(
            "super.users=User:ANONYMOUS;User:{USER};User:CN=genflow;User:{}",
            tokens::CLIENT
        ));
        all.push("ssl.keystore.type=PEM".to_owned());
        all.push("ssl.truststore.type=PEM".to_owned());
        all.push(format!(
            "ssl.keystore.location={}",
            certificates.server_store.display()
        ));
        all.push(format!(
            "ssl.truststore.location={}",
            certificates.ca.display()
        ));
        all.push("listener.name.mutual.ssl.client.auth=required".to_owned());
        for (name, value) in [
            ("keystore.type", "PEM".to_owned()),
            (
                "keystore.location",
                certificates.expired_store.display().to_string(),
            ),
        ] {
            all.push(format!("listener.name.old.ssl.{name}={value}"));
        }
        for listener in ["locked", "plainsasl"] {
            all.extend(sasl_settings(listener, &key.jwks));
        }
        all.join("\n") + "\n"
    }
}

fn sasl_settings(listener: &str, jwks: &Path) -> Vec<String> {
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
    let plain = format!(
        "org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";"
    );
    let bearer = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;";
    let settings = [
        (
            "sasl.enabled.mechanisms",
            "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER".to_owned(),
        ),
        ("scram-sha-256.sasl.jaas.config", scram.to_owned()),
        ("scram-sha-512.sasl.jaas.config", scram.to_owned()),
        ("plain.sasl.jaas.config", plain),
        ("oauthbearer.sasl.jaas.config", bearer.to_owned()),
        (
            "oauthbearer.sasl.server.callback.handler.class",
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler"
                .to_owned(),
        ),
        (
            "oauthbearer.sasl.oauthbearer.jwks.endpoint.url",
            url_of(jwks),
        ),
        (
            "oauthbearer.sasl.oauthbearer.expected.audience",
            tokens::AUDIENCE.to_owned(),
        ),
        (
            "oauthbearer.sasl.oauthbearer.expected.issuer",
            tokens::ISSUER.to_owned(),
        ),
    ];
    let lines = settings.into_iter();
    lines
        .map(|(name, value)| format!("listener.name.{listener}.{name}={value}"))
        .collect()
}

fn url_of(file: &Path) -> String {
    format!("file://{}", file.display())
}

/// The command up to the class that it runs, with a temp folder of its own.
fn java(command: &[OsString], folder: &Path) -> Vec<OsString> {
    let options = command.iter().take_while(|word| *word != "kafka.Kafka");
    let mut words: Vec<OsString> = options.cloned().collect();
    let temp = format!("-Djava.io.tmpdir={}", folder.display());
    let allowed = url_of(&folder.join("jwks.json"));
    let allowed = format!("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={allowed}");
    words.splice(1..1, [temp.into(), allowed.into()]);
    words
}

/// Formats the data folder, with the users of SCRAM.
fn format(command: &[OsString], properties: &Path, folder: &Path) {
    let words = java(command, folder);
    let mut format = Command::new(&words[0]);
    format.args(&words[1..]);
    format.args([
        "kafka.tools.StorageTool",
        "format",
        "--standalone",
        "-t",
        "MkU3OEVBNTcwNTJENDM2Qg",
    ]);
    format.arg("-c").arg(properties);
    let own = PRINCIPALS.map(|name| ("SCRAM-SHA-512", name, password_of(name)));
    let user =
        ["SCRAM-SHA-256", "SCRAM-SHA-512"].map(|mechanism| (mechanism, USER, password_of(USER)));
    for (mechanism, name, password) in own.into_iter().chain(user) {
        format.arg("--add-scram");
        format.arg(format!("{mechanism}=[name={name},password={password}]"));
    }
    let done = format.current_dir(folder).output().unwrap();
    let printed = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success(),
        "{printed}{}",
        String::from_utf8_lossy(&done.stdout)
    );
}

/// Starts the broker; the guard ends it with this thread.
#[expect(clippy::zombie_processes, reason = "it runs until this process ends")]
fn run(command: &[OsString], properties: &Path, folder: &Path) {
    let parent = std::process::id().to_string();
    let log = std::fs::File::create(folder.join("kafka.log")).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_genflow"))
        .args(["guard", "--parent", &parent, "--"])
        .args(java(command, folder))
        .arg("kafka.Kafka")
        .arg(properties)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn();
    child.unwrap();
}
