//! Apache Kafka: one broker that is its own controller; its files are in the folder of the run.
//!
//! The installation creates a formatted data folder, which each run copies: that is faster than formatting one.

mod install;
mod probe;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::time::sleep;

use super::install::remove;
use super::java::Java;
use super::process::{self, GLANCE, Process};
use super::{Error, Options, Running, pins, ports, whole};

/// The oldest Java that runs this Kafka.
pub(super) const OLDEST_JAVA: u32 = 17;

pub(super) const NAME: &str = ports::KAFKA.engine;

/// The longest time for a start, which takes 1 to 2 s, and several times that on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

const PROPERTIES: &str = include_str!("kafka/server.properties");

/// Kafka and the folder of its installation.
#[derive(Debug)]
pub(super) struct KafkaEngine {
    java: Java,
    home: PathBuf,
}

impl KafkaEngine {
    pub(super) fn new(options: &Options, java: Java) -> Self {
        Self {
            java,
            home: options.cache.join(folder_name()),
        }
    }

    pub(super) fn is_installed(&self) -> bool {
        whole::is_whole(&self.home)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.home
    }

    /// Starts a broker and waits until it serves clients.
    pub(super) async fn start(&self, options: &Options) -> Result<Running, Error> {
        let listing = self.home.join("classpath");
        let classpath = fs::read_to_string(&listing).map_err(Error::io("read", &listing))?;
        let folder = options.data.join("kafka");
        let files = folder.join("data");
        if !(options.keep && files.exists()) {
            remove(&folder)?;
            // Renamed when it is complete, since a kept folder must not begin with half of it.
            let part = folder.join("part");
            copy(&self.home.join("formatted"), &part)?;
            fs::rename(&part, &files).map_err(Error::io("create", &files))?;
        }
        let properties = folder.join("server.properties");
        let port = options.ports.or_zero(&ports::KAFKA);
        write(&properties, &render(port, &files))?;
        let mut command = self.java(options, &folder);
        command
            // The tests create about ten thousand partitions of tens of kilobytes each. Java takes only what it needs.
            .args(["-Xmx768m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]);
        command.arg("-Dorg.slf4j.simpleLogger.log.kafka.network.DataPlaneAcceptor=info"); // logs the ports
        command
            .args(["-cp", classpath.trim(), "kafka.Kafka"])
            .arg(properties);
        let process = Process::start(NAME, command, options.data.join("kafka.log")).await?;
        let port = process.until(START_LIMIT, ready(&process)).await?;
        Ok(Running {
            process,
            address: format!("127.0.0.1:{port}"),
            page: None,
        })
    }

    /// Returns a command for a Java that starts quickly and runs in `folder`.
    fn java(&self, options: &Options, folder: &Path) -> Command {
        let mut command = process::server(&options.guard, &self.java.program, folder);
        command.args([
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:-UsePerfData",
        ]);
        command.args(["-Xlog:disable", "-Xlog:all=error:stderr"]);
        command.arg(format!("-Djava.io.tmpdir={}", folder.display()));
        command.args(self.java.unsafe_warnings_off());
        command
    }
}

/// Waits until the broker serves clients without delay; returns the port.
///
/// The broker creates its coordinator at the first request for it. Without such a request here, the first consumer
/// group would find none, back off and lose 3 s.
async fn ready(broker: &Process) -> u16 {
    let port = loop {
        if let Some(port) = port(&broker.output().await)
            && probe::is_up(port).await.unwrap_or(false)
        {
            break port;
        }
        sleep(GLANCE).await;
    };
    while !probe::has_coordinator(port).await.unwrap_or(false) {
        sleep(GLANCE).await;
    }
    port
}

/// Reads the broker's port from its log: the first listener is the controller's, the second the broker's.
fn port(log: &str) -> Option<u16> {
    let mut ports = log
        .lines()
        .filter_map(|line| line.split_once("Awaiting socket connections on 127.0.0.1:"));
    let (_, rest) = ports.nth(1)?;
    rest.strip_suffix('.')?.parse().ok() // no dot yet: the line is still being written
}

fn folder_name() -> String {
    format!("kafka-{}", pins::KAFKA)
}

fn render(port: u16, data: &Path) -> String {
    // A backslash begins an escape in a properties file.
    let data = data.display().to_string().replace('\\', "\\\\");
    PROPERTIES
        .replace("@PORT@", &port.to_string())
        .replace("@DATA@", &data)
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::io("write", path))
}

/// Copies a folder and its contents.
fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to).map_err(Error::io("create", to))?;
    for entry in fs::read_dir(from).map_err(Error::io("read", from))? {
        let source = entry.map_err(Error::io("read", from))?.path();
        let target = to.join(source.file_name().unwrap_or_default());
        if source.is_dir() {
            copy(&source, &target)?;
        } else {
            fs::copy(&source, &target).map_err(Error::io("write", &target))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_listener_is_the_brokers() {
        let log = "[main] INFO kafka.network.DataPlaneAcceptor - Awaiting socket connections on 127.0.0.1:40001.\n\
                   [main] WARN something else\n\
                   [main] INFO kafka.network.DataPlaneAcceptor - Awaiting socket connections on 127.0.0.1:40002.\n";

        assert_eq!(port(log), Some(40002));
        assert_eq!(port(log.lines().next().unwrap()), None);
    }

    #[test]
    fn a_line_that_is_still_being_written_is_waited_for() {
        let log = "Awaiting socket connections on 127.0.0.1:40001.\nAwaiting socket connections on 127.0.0.1:400";

        assert_eq!(port(log), None);
    }

    #[test]
    fn no_placeholder_is_left_in_the_properties() {
        let properties = render(9092, Path::new("/tmp/with space"));

        assert!(
            properties
                .contains("\nlisteners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:0\n")
        );
        assert!(properties.contains("\nlog.dirs=/tmp/with space\n"));
        assert!(!properties.contains('@'));
    }
}
