//! The mail catcher: a real SMTP server that keeps every mail in a Maildir and forwards none.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;

use super::install::Installer;
use super::process::{self, GLANCE, Process};
use super::{Error, Options, Running, pins, ports, whole};

pub(super) const NAME: &str = ports::MAIL.engine;

/// The longest time for a start, which normally takes a third of a second.
const START_LIMIT: Duration = Duration::from_secs(60);

/// The server's Python program; it needs the packages that [`MailEngine::install`] installs.
const CATCHER: &str = include_str!("mail/catcher.py");

/// The mail catcher and the folder of its installation.
#[derive(Debug)]
pub(super) struct MailEngine {
    home: PathBuf,
}

impl MailEngine {
    pub(super) fn new(options: &Options) -> Self {
        let home = options.cache.join(folder_name());
        Self { home }
    }

    pub(super) fn is_installed(&self) -> bool {
        whole::is_whole(&self.home)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.home
    }

    pub(super) async fn install(&self, installer: &Installer<'_>) -> Result<(), Error> {
        if self.is_installed() {
            return Ok(());
        }
        installer.report(NAME, &format!("aiosmtpd {}, 0.3 MB", pins::AIOSMTPD));
        let staging = installer.stage(&folder_name())?;
        for (package, version) in [
            ("aiosmtpd", pins::AIOSMTPD),
            ("atpublic", pins::ATPUBLIC),
            ("attrs", pins::ATTRS),
        ] {
            let package = format!("{package}=={version}");
            installer.pip(NAME, &staging.folder, &package, 1).await?;
        }
        staging.finish(&[])
    }

    /// Starts the mail catcher and waits until it listens.
    pub(super) async fn start(&self, options: &Options) -> Result<Running, Error> {
        let port = options.ports.or_zero(&ports::MAIL).to_string();
        let mut command = process::server(&options.guard, "python3", &options.data);
        command
            .args(["-c", CATCHER, &port])
            .arg(maildir(options))
            .env("PYTHONPATH", self.home.join("package"));
        let process = Process::start(NAME, command, options.data.join("mail.log")).await?;
        let address = process.until(START_LIMIT, ready(&process)).await?;
        Ok(Running {
            process,
            address,
            page: None,
        })
    }
}

/// Returns the folder that mails are kept in.
pub(super) fn maildir(options: &Options) -> PathBuf {
    options.data.join("mail")
}

fn folder_name() -> String {
    format!("aiosmtpd-{}", pins::AIOSMTPD)
}

/// Waits until the mail catcher prints its address, which it does when it listens.
async fn ready(catcher: &Process) -> String {
    loop {
        if let Some(address) = listening(&catcher.output().await) {
            return address;
        }
        sleep(GLANCE).await;
    }
}

fn listening(log: &str) -> Option<String> {
    let (_, rest) = log.split_once("listening on ")?;
    let (address, _) = rest.split_once(".\n")?;
    Some(address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_when_its_line_is_whole() {
        assert_eq!(
            listening("listening on 127.0.0.1:1025.\n").as_deref(),
            Some("127.0.0.1:1025")
        );
        assert_eq!(listening("listening on 127.0.0.1:10"), None);
    }
}
