//! The installation of Kafka: Maven's files, and a formatted data folder.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::{KafkaEngine, NAME, folder_name, render, write};
use crate::dev::engines::error::LogEnd;
use crate::dev::engines::install::Installer;
use crate::dev::engines::process::Process;
use crate::dev::engines::{Error, Options, pins};

const POM: &str = include_str!("pom.xml");
/// About how many files Maven downloads if it has none yet.
const FILES: u64 = 300;

impl KafkaEngine {
    pub(crate) async fn install(
        &self,
        installer: &Installer<'_>,
        options: &Options,
    ) -> Result<(), Error> {
        if self.is_installed() {
            return Ok(());
        }
        let files = format!("version {}, about {FILES} small files", pins::KAFKA);
        installer.report(NAME, &files);
        let staging = installer.stage(&folder_name())?;
        let pom = POM
            .replace("@KAFKA@", pins::KAFKA)
            .replace("@SLF4J@", pins::SLF4J);
        write(&staging.folder.join("pom.xml"), &pom)?;
        let (classpath, jars) = resolve(installer, &staging.folder).await?;
        let properties = staging.folder.join("server.properties");
        write(&properties, &render(0, &staging.folder.join("formatted")))?;
        let mut command = self.java(options, &staging.folder);
        command.args([
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=off",
            "-cp",
            &classpath,
            "kafka.tools.StorageTool",
            "format",
            "--standalone",
            "-t",
            &cluster_id(),
            "-c",
        ]);
        command.arg(&properties);
        let log = options.data.join("install-kafka-format.log");
        let format = Process::start("Kafka's format", command, log).await?;
        let status = format.ended().await;
        if !status.success() {
            return Err(Error::Install {
                what: NAME,
                reason: format!("formatting its data folder failed ({status})"),
                log: LogEnd::of(format.log()),
            });
        }
        staging.finish(&jars)
    }
}

/// Downloads the files of a broker with Maven; returns the class path and its files.
///
/// Maven does not check existing files. A truncated file, for example after an interrupted download, is deleted
/// and downloaded again.
async fn resolve(
    installer: &Installer<'_>,
    folder: &Path,
) -> Result<(String, Vec<PathBuf>), Error> {
    let settings = ["-DincludeScope=runtime", "-Dmdep.outputFile=classpath"].map(str::to_owned);
    let listing = folder.join("classpath");
    for again in [true, false] {
        installer
            .maven(NAME, folder, "build-classpath", &settings, FILES)
            .await?;
        let classpath = fs::read_to_string(&listing).map_err(Error::io("read", &listing))?;
        let classpath = classpath.trim().to_owned();
        let jars: Vec<_> = std::env::split_paths(&classpath).collect();
        let cut: Vec<_> = jars.iter().filter(|jar| !is_whole_jar(jar)).collect();
        if cut.is_empty() {
            return Ok((classpath, jars));
        }
        for jar in cut.into_iter().filter(|_| again) {
            let jar_name = jar.display();
            installer.report(
                NAME,
                &format!("{jar_name} is truncated; downloading it again"),
            );
            fs::remove_file(jar).map_err(Error::io("remove", jar))?;
        }
    }
    Err(Error::Install {
        what: NAME,
        reason: "Maven downloaded truncated files twice; check the disk space and the connection, then start again".to_owned(),
        log: LogEnd::default(),
    })
}

/// Returns whether a jar ends like a zip file, which a truncated one does not.
fn is_whole_jar(path: &Path) -> bool {
    const END: usize = 22;
    fs::read(path).is_ok_and(|bytes| {
        bytes
            .rchunks(END)
            .next()
            .is_some_and(|end| end.starts_with(b"PK\x05\x06"))
    })
}

/// Creates a cluster id of 16 bytes. Its encoding must not start with `-`, which the tool takes for an option.
fn cluster_id() -> String {
    let mut bytes = uuid::Uuid::new_v4().into_bytes();
    bytes[0] &= 0x7f;
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_id_is_never_taken_for_an_option() {
        for _ in 0..1000 {
            let id = cluster_id();
            assert!(id.len() == 22 && !id.starts_with('-'), "{id}");
        }
    }
}
