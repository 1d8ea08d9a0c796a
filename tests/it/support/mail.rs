//! Received mails, and separate mail catchers with TLS.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use genflow::dev::engines::default_cache;
use mail_parser::{Message, MessageParser};

use super::{Space, eventually};

/// A received mail.
pub(crate) struct Mail {
    pub(crate) raw: Vec<u8>,
}

impl Mail {
    pub(crate) fn parsed(&self) -> Message<'_> {
        MessageParser::default().parse(&self.raw).unwrap()
    }

    /// Returns the raw header; empty if it is missing.
    pub(crate) fn header(&self, name: &str) -> String {
        let mail = self.parsed();
        let found = mail.headers_raw().find(|(header, _)| *header == name);
        found.map_or_else(String::new, |(_, value)| value.trim().to_owned())
    }
}

/// Returns the mails to that address.
pub(crate) fn mails(maildir: &Path, to: &str) -> Vec<Mail> {
    let mails = all(maildir).into_iter();
    mails
        .filter(|mail| mail.header("Delivered-To") == to)
        .collect()
}

/// Returns all mails.
pub(crate) fn all(maildir: &Path) -> Vec<Mail> {
    let entries = std::fs::read_dir(maildir.join("new"));
    let files = entries.into_iter().flatten().flatten();
    files
        .filter_map(|entry| std::fs::read(entry.path()).ok())
        .map(|raw| Mail { raw })
        .collect()
}

/// Waits for a mail to that address.
pub(crate) async fn mail(maildir: &Path, to: &str) -> Mail {
    eventually("a mail arrives", async || mails(maildir, to).pop()).await
}

/// A mail catcher with a certificate; ends with the test.
pub(crate) struct Catcher {
    pub(crate) port: u16,
    pub(crate) maildir: PathBuf,
    child: Child,
}

impl Catcher {
    /// Starts a catcher; `option` is `--starttls` or `--tls`.
    pub(crate) async fn start(space: &Space, option: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = space.folder().join(format!("mail{option}"));
        std::fs::create_dir_all(&folder).unwrap();
        let (log, maildir) = (folder.join("log"), folder.join("mail"));
        let binary = env!("CARGO_BIN_EXE_genflow");
        let child = Command::new(binary)
            .args(["guard", "--parent", &std::process::id().to_string(), "--"])
            .arg("python3")
            .arg(root.join("src/dev/engines/mail/catcher.py"))
            .arg("0")
            .arg(&maildir)
            .arg(option)
            .args(["server.pem", "server.key"])
            .current_dir(root.join("tests/tls"))
            .env("PYTHONPATH", packages())
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&log).unwrap())
            .stderr(std::fs::File::create(folder.join("errors")).unwrap())
            .spawn()
            .unwrap();
        let port = eventually("the catcher listens", async || {
            let log = std::fs::read_to_string(&log).unwrap();
            let (_, port) = log.trim_end().strip_suffix('.')?.rsplit_once(':')?;
            port.parse().ok()
        })
        .await;
        Self {
            port,
            maildir,
            child,
        }
    }
}

impl Catcher {
    /// Returns the `SMTP_URL` for unencrypted mail.
    pub(crate) fn smtp(&self) -> String {
        format!("smtp://localhost:{}?tls=none", self.port)
    }
}

impl Drop for Catcher {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Returns the folder of the catcher's packages, which the start of the engines has installed.
fn packages() -> PathBuf {
    let entries = std::fs::read_dir(default_cache()).unwrap().flatten();
    let mut found = entries.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("aiosmtpd-") && !name.ends_with(".part")
    });
    found.next().unwrap().join("package")
}
