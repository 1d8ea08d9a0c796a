//! The mails of a Maildir.

use std::path::Path;
use std::time::SystemTime;

use mail_parser::{Message, MessageParser};
use serde::Serialize;

/// A mail for display; its subject and bodies are decoded.
#[derive(Serialize)]
pub(super) struct Mail {
    /// Name of its file.
    pub(super) name: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) subject: String,
    /// The header `Date`, unparsed.
    pub(super) date: String,
    /// The header `X-Genflow-Request`.
    pub(super) request: String,
    /// The header `X-Genflow-Event`.
    pub(super) event: String,
    pub(super) message_id: String,
    pub(super) text: String,
    pub(super) html: String,
}

/// Returns all mails, the newest first.
pub(super) async fn all(maildir: &Path) -> Vec<Mail> {
    let mut files = files(maildir).await;
    files.sort_by(|one, other| other.cmp(one));
    let mut mails = Vec::new();
    for (_, name) in files {
        mails.extend(read(maildir, &name).await);
    }
    mails
}

/// Returns the mail in the file `name`; `None` if it is absent or not a mail.
pub(super) async fn read(maildir: &Path, name: &str) -> Option<Mail> {
    // The name comes from a URL: allow only files in this folder.
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !name.chars().all(good) || name.starts_with('.') {
        return None;
    }
    let raw = tokio::fs::read(maildir.join("new").join(name)).await.ok()?;
    Some(Mail::of(name, &MessageParser::default().parse(&raw)?))
}

async fn files(maildir: &Path) -> Vec<(SystemTime, String)> {
    let mut files = Vec::new();
    // The folder does not exist before the catcher has created it.
    let Ok(mut entries) = tokio::fs::read_dir(maildir.join("new")).await else {
        return files;
    };
    while let Ok(Some(entry)) = entries.next_entry().await {
        let time = entry
            .metadata()
            .await
            .ok()
            .and_then(|it| it.modified().ok());
        let name = entry.file_name().to_string_lossy().into_owned();
        files.push((time.unwrap_or(SystemTime::UNIX_EPOCH), name));
    }
    files
}

impl Mail {
    fn of(name: &str, mail: &Message<'_>) -> Self {
        let raw = |header: &'static str| {
            mail.header_raw(header)
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        Self {
            name: name.to_owned(),
            from: raw("From"),
            to: raw("To"),
            subject: mail.subject().unwrap_or_default().to_owned(),
            date: raw("Date"),
            request: raw("X-Genflow-Request"),
            event: raw("X-Genflow-Event"),
            message_id: raw("Message-ID"),
            text: mail.body_text(0).unwrap_or_default().into_owned(),
            html: mail.body_html(0).unwrap_or_default().into_owned(),
        }
    }
}
